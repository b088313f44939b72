"""The models of `tests/h2o_runtime.py` that are made of others, or not of one table alone."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from h2o_cases import FEW
from h2o_tables import CASES, MIXED, NUMBERS, Case, Frames, case

# -- rules ---------------------------------------------------------------------------------------


def rules(name: str, y: str, x: list[str] | None = None, **options: Any) -> None:
    fixed = {"seed": 1, "max_rule_length": 2, "min_rule_length": 1, "rule_generation_ntrees": 4}
    case(
        f"rules_{name}", "RuleFit", y, x or [*MIXED, "w"], **{**fixed, "lambda_": 0.005, **options}
    )


rules("binomial", "label", model_type="rules")
rules("linear", "label", model_type="linear")
rules("both", "y", model_type="rules_and_linear", algorithm="gbm")
rules("both_binomial", "label", model_type="rules_and_linear", algorithm="drf", lambda_=0.002)
rules("categories", "y", ["c", "t", "big", "u"], model_type="rules", max_rule_length=3)
rules("multinomial", "three", model_type="rules_and_linear")


# -- ensembles -----------------------------------------------------------------------------------

FOLDS: dict[str, Any] = {"nfolds": 2, "fold_assignment": "modulo",
                         "keep_cross_validation_predictions": True, "seed": 1}  # fmt: skip
Bases = Callable[[Frames], list[Any]]


def _bases(y: str, *kinds: str, **options: Any) -> Bases:
    """Models with predictions for the rows that they did not learn."""
    own: dict[str, dict[str, Any]] = {
        "GradientBoosting": {**FEW, "ntrees": 2},
        "RandomForest": {**FEW, "ntrees": 2},
        "GeneralizedLinear": {"lambda_": 0.01},
        "DeepLearning": {"hidden": [3], "epochs": 3, "reproducible": True},
        "XGBoost": {**FEW, "ntrees": 2},
    }
    inputs = {"GeneralizedLinear": ["u", "c"], "DeepLearning": ["v", "w", "t"]}
    return lambda at: [
        at.fit(kind, y, inputs.get(kind, MIXED), **{**own[kind], **FOLDS, **options})
        for kind in kinds
    ]


def ensemble(name: str, y: str, bases: Bases, **options: Any) -> None:
    reads = [*MIXED, "w"]
    case(f"ensemble_{name}", "StackedEnsemble", y, reads, seed=1, base_models=bases, **options)


ensemble("binomial", "label", _bases("label", "GradientBoosting", "GeneralizedLinear"))
# The metalearner does not use the network, so that the MOJO lacks it.
ensemble("logit", "label", _bases("label", "GradientBoosting", "DeepLearning"),
         metalearner_transform="Logit")  # fmt: skip
ensemble("logit_forest", "label", _bases("label", "RandomForest", "GeneralizedLinear"),
         metalearner_transform="Logit")  # fmt: skip
ensemble("boosted", "label", _bases("label", "RandomForest", "GeneralizedLinear"),
         metalearner_algorithm="gbm", metalearner_params={"ntrees": 3, "max_depth": 2})  # fmt: skip
ensemble("network", "y", _bases("y", "GradientBoosting", "GeneralizedLinear"),
         metalearner_algorithm="deeplearning",
         metalearner_params={"hidden": [3], "epochs": 2, "reproducible": True})  # fmt: skip
ensemble("multinomial", "three", _bases("three", "GradientBoosting", "GeneralizedLinear"))
ensemble("multinomial_forest", "three", _bases("three", "DeepLearning", "RandomForest"),
         metalearner_algorithm="drf", metalearner_params={"ntrees": 3, "max_depth": 3})  # fmt: skip
ensemble("regression", "y", _bases("y", "GradientBoosting", "DeepLearning", "XGBoost"))


ensemble("blended", "label", lambda at: [at.fit("GradientBoosting", "label", MIXED, **FEW),
                                         at.fit("RandomForest", "label", ["u", "c"], **FEW)],
         blending_frame=lambda at: at.train)  # fmt: skip


def _linear_bases(y: str, **options: Any) -> Bases:
    """Models that read different columns."""
    return lambda at: [
        at.fit("GeneralizedLinear", y, x, lambda_=0.01, **FOLDS, **options)
        for x in (["u", "c"], ["w", "t", "v"])
    ]


ensemble("linear", "label", _linear_bases("label"))
ensemble("linear_logit", "three", _linear_bases("three"), metalearner_transform="Logit")
ensemble("linear_regression", "y", _linear_bases("y"))
ensemble("skip", "label", _linear_bases("label", missing_values_handling="Skip"))


# -- encodings of categories by the target ---------------------------------------------------------


def encoder(name: str, y: str, **options: Any) -> None:
    fixed = {"seed": 1, "noise": 0.0, "data_leakage_handling": "none", **options}
    case(f"encoder_{name}", "TargetEncoder", y, ["c", "t", "big", "u"], **fixed)


encoder("binomial", "label")
encoder("blended", "label", blending=True, inflection_point=5, smoothing=3,
        columns_to_encode=[["c"], ["t"], ["big"]])  # fmt: skip
encoder("regression", "y", blending=True, inflection_point=2, smoothing=5)
encoder("multinomial", "three", columns_to_encode=[["c"], ["t"]])
encoder("interactions", "label", columns_to_encode=[["c", "t"], ["big"]])
encoder("folds", "label", data_leakage_handling="k_fold", fold_column="fold", blending=True)
encoder("kept", "label", keep_original_categorical_columns=False, columns_to_encode=[["c"]])
case("words", "Word2vec", None, ["words"], vec_size=3, min_word_freq=1, epochs=2, window_size=2,
     frame=lambda at: at.train["words"].ascharacter().tokenize(" "))  # fmt: skip


# -- survival, uplift, one model inside of another ------------------------------------------------


def survival(name: str, x: list[str], **options: Any) -> None:
    case(f"cox_{name}", "CoxProportionalHazards", "event", x, **{"stop_column": "stop", **options})


survival("plain", [*NUMBERS, "c"])
survival("start", MIXED, start_column="start", ties="breslow", weights_column="weight")
survival("all_levels", MIXED, use_all_factor_levels=True, max_iterations=1)
survival("strata", MIXED, stratify_by=["c"])
survival("offset", ["u", "c"], offset_column="offset")
survival("interactions", MIXED, interactions=["u", "c"])
survival("interaction_pairs", MIXED, interaction_pairs=[("u", "v"), ("c", "t")])
survival("strata_interactions", MIXED, stratify_by=["c"], interaction_pairs=[("u", "v")])

UPLIFT: dict[str, Any] = {**FEW, "treatment_column": "treatment", "max_depth": 3}
case("uplift", "UpliftRandomForest", "label", MIXED, **UPLIFT, uplift_metric="KL")
case("uplift_euclidean", "UpliftRandomForest", "label", [*MIXED, "big"], **UPLIFT,
     uplift_metric="euclidean")  # fmt: skip


class Again(Case):
    """A MOJO that H2O imported, exported again."""

    def fitted(self, at: Frames) -> Any:
        with tempfile.TemporaryDirectory() as scratch:
            return at.h2o.import_mojo(super().fitted(at).download_mojo(scratch))


CASES["generic"] = Again("GradientBoosting", "label", MIXED, **FEW)


class Pipeline(Case):
    """A MOJO that reads what another one answers, joined by H2O's builder of pipelines."""

    def fitted(self, at: Frames) -> Any:
        first, made = self.first(at)
        main = at.fit(self.kind, self.y, self.x, frame=at.train.cbind(made), **self.options)
        return Joined(first, main, made.names)

    def first(self, at: Frames) -> tuple[Any, Any]:
        """The first model, and the columns that the main model reads of it."""
        clusters = at.fit("KMeans", None, NUMBERS, seed=1, k=3)
        return clusters, clusters.predict(at.train).set_names(["cluster"])


class Encoded(Pipeline):
    """A model of encoded categories."""

    def first(self, at: Frames) -> tuple[Any, Any]:
        groups = [["c"], ["c", "t"], ["big"]]
        encoder = at.fit("TargetEncoder", self.y, ["c", "t", "big"], columns_to_encode=groups,
                         noise=0.0, blending=True, inflection_point=5, smoothing=3)  # fmt: skip
        found = encoder.transform(at.train)
        return encoder, found[[name for name in found.names if name.endswith("_te")]]


class Joined:
    """A model whose answers are columns of the main model."""

    def __init__(self, first: Any, main: Any, names: list[str]):
        self.first, self.main, self.names = first, main, names

    def download_mojo(self, folder: str) -> str:
        import jpype

        import h2o_answers

        file = jpype.JClass("java.io.File")
        target, first, main = (Path(folder) / name for name in ("joined", "first", "main"))
        for model, place in ((self.first, first), (self.main, main)):
            place.mkdir()
            Path(model.download_mojo(str(place))).rename(place / "model.zip")
        builder = h2o_answers.java().genmodel.MojoPipelineBuilder()
        builder.addModel("first", file(str(first / "model.zip")))
        builder.addMainModel("main", file(str(main / "model.zip")))
        for number, name in enumerate(self.names):
            builder.addMapping(name, "first", number)
        builder.buildPipeline(file(f"{target}.zip"))
        return f"{target}.zip"


CASES["pipeline"] = Pipeline("GeneralizedLinear", "label", ["cluster", "u", "c"], lambda_=0.01)
CASES["pipeline"].reads = [*NUMBERS, "c"]
CASES["pipeline_encoder"] = Encoded(
    "GeneralizedLinear", "label", ["c_te", "u", "c:t_te", "v", "big_te", "t"], lambda_=0.01
)
CASES["pipeline_encoder"].reads = [*MIXED, "big"]


# -- models of Sparkling Water, which this H2O reads and does not train ---------------------------

DESCRIPTION = """[info]
h2o_version = 3.46.0.6
mojo_version = 1.00
algo = svm
algorithm = Support Vector Machine (*Spark*)
endianness = LITTLE_ENDIAN
category = {category}
uuid = 1
supervised = true
n_features = 3
n_classes = {classes}
n_columns = 4
n_domains = {domains}
balance_classes = false
default_threshold = 0.5
prior_class_distrib = null
model_class_distrib = null
timestamp = 2024-01-01T00:00:00.000Z
escape_domain_values = true
{numbers}

[columns]
u
v
w
{response}

[domains]
{domain}
"""


class Written(Case):
    """A support vector machine as Sparkling Water writes it."""

    def __init__(self, **fields: Any):
        self.text, self.reads = DESCRIPTION.format(**fields), NUMBERS

    def fitted(self, at: Frames) -> Any:
        return self

    def download_mojo(self, folder: str) -> str:
        place = Path(folder) / "svm.zip"
        with zipfile.ZipFile(place, "w") as file:
            file.writestr("model.ini", self.text)
            if "d000.txt" in self.text:
                file.writestr("domains/d000.txt", "no\nyes\n")
        return str(place)


IMPUTED = """meanImputation = true
means = [0.1, 2.0, -1.0]
weights = [0.8, -0.3, 0.45]
interceptor = 0.7
defaultThreshold = 0.5
threshold = 0.0"""
CASES["svm_binomial"] = Written(
    category="Binomial", classes=2, domains=1, response="label", domain="3: 2 d000.txt",
    numbers=IMPUTED,
)  # fmt: skip
CASES["svm_high_threshold"] = Written(
    category="Binomial", classes=2, domains=1, response="label", domain="3: 2 d000.txt",
    numbers=IMPUTED.replace("threshold = 0.0", "threshold = 0.9").replace("true", "false"),
)  # fmt: skip
CASES["svm_regression"] = Written(
    category="Regression", classes=1, domains=0, response="y", domain="", numbers=IMPUTED
)
