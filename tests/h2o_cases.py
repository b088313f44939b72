"""The models that `tests/h2o_runtime.py` trains, and the rows that they learn and score."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Iterator
from typing import Any

import pandas as pd

TEXTS = {"c", "t", "big", "code", "words", "label", "three", "ord", "event", "treatment"}
NUMBERS = ["u", "v", "w"]
MIXED = ["u", "v", "c", "t"]
ALL = ["u", "v", "w", "k", "n", "c", "t", "big", "code", "day"]
DAY = 86_400_000.0
# Levels that a file of levels must quote or escape, among plain ones.
BIG = ['say "yes"', "a,b", "Übér, 日本", " padded ", "x=1: 2", "#hash", "[info]"]
BIG += [f"level{i:02d}" for i in range(35)]
WORDS = ["red", "green", "blue", "fox", "the", "a", "Über", "naïve"]


def _row(draw: random.Random, number: int) -> dict[str, Any]:
    u, v, w = draw.gauss(0, 1), draw.gauss(2, 3), draw.gauss(-1, 0.5)
    c, t, big = draw.choice("aaabbc"), draw.choice(["x", "y", "z", "zz"]), draw.choice(BIG)
    shift = {"a": 0.0, "b": 1.0, "c": -1.0}[c] + 0.1 * (BIG.index(big) % 5)
    score = u + 0.3 * v + shift + draw.gauss(0, 0.5)
    chance = 1 / (1 + math.exp(-score))
    mean = math.exp(0.3 * u + 0.2 * shift)
    treated = draw.random() < 0.5
    return {
        "u": u, "v": v, "w": w, "k": 3.0, "n": draw.randint(0, 4) + draw.choice([0, 1e-9, -1e-9]),
        "c": c, "t": t, "big": big, "code": draw.choice(["1", "2", "10", ""]),
        "day": 1.6e12 + DAY * draw.randint(0, 400),
        "words": " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 6))),
        "offset": draw.gauss(0, 0.3), "weight": float(draw.choice([1, 1, 2])),
        "y": 2 * u - v + shift + draw.gauss(0, 0.1),
        "label": "yes" if draw.random() < chance else "no",
        "bit": float(draw.random() < chance), "share": min(max(chance, 0.01), 0.99),
        "three": "low" if score < 0 else "mid" if score < 1.5 else "top",
        "ord": "1st" if score < 0 else "2nd" if score < 1.5 else "3rd",
        "count": float(min(int(mean * draw.expovariate(1)), 9)),
        "amount": mean * (0.2 + draw.expovariate(1)),
        "loss": 0.0 if draw.random() < 0.3 else mean * draw.expovariate(1),
        "start": float(number % 3), "stop": number % 3 + 0.1 + 5 * draw.expovariate(mean),
        "event": "1" if draw.random() < 0.7 else "0",
        "treatment": "treatment" if treated else "control",
    }  # fmt: skip


# Each changes one of the rows that are scored.
TRAPS: list[dict[str, Any]] = [
    {"u": math.nan}, {"v": math.nan, "w": math.nan}, {"n": math.nan, "day": math.nan},
    {"c": None}, {"t": None, "big": None, "code": None, "words": None},
    {"c": "unseen"}, {"t": "unseen", "words": "unseen"}, {"big": "unseen", "code": "3"},
    {"c": "", "words": ""}, {"u": 1e30}, {"u": -1e30}, {"v": 1e30, "w": -1e30},
    {"w": 1e-30, "u": 0.0}, {"v": 0.0, "w": 0.0, "n": 0.0, "words": "red unseen  fox"},
    dict.fromkeys(ALL), {"u": math.nan, "c": None},
]  # fmt: skip


def training_table(count: int = 84) -> pd.DataFrame:
    """Rows to learn from, a few cells of which are missing."""
    draw, rows = random.Random(0), []
    for number in range(count):
        row = _row(draw, number)
        row["big"] = BIG[number % len(BIG)]
        for name in ("u", "w", "c", "t", "big"):
            if draw.random() < 0.04:
                row[name] = None
        rows.append(row)
    return _typed(rows)


def scored_table() -> pd.DataFrame:
    draw, rows = random.Random(1), []
    for number in range(len(TRAPS) + 9):
        row = _row(draw, number)
        row.update(TRAPS[number] if number < len(TRAPS) else {})
        rows.append(row)
    return _typed(rows)


def _typed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    return table.astype({name: object if name in TEXTS else "float64" for name in table})


def _lines(table: pd.DataFrame) -> Iterator[str]:
    """A table as CSV, where an empty text is quoted and what is missing is not."""
    yield ",".join(f'"{name}"' for name in table) + "\n"
    for row in table.itertuples(index=False):
        yield ",".join(_cell(value) for value in row) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return "" if value is None or math.isnan(value) else repr(float(value))


class Frames:
    """What the cases train on, and the estimators of H2O."""

    def __init__(self, h2o: Any):
        import h2o.estimators

        self.h2o, self.estimators = h2o, h2o.estimators
        self.train = self.frame(training_table())
        self.test = scored_table()

    def frame(self, table: pd.DataFrame) -> Any:
        kinds = {name: "enum" if name in TEXTS else "numeric" for name in table}
        kinds = {name: "string" if name == "words" else kind for name, kind in kinds.items()}
        with tempfile.TemporaryDirectory() as scratch:
            path = f"{scratch}/table.csv"
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(_lines(table))
            return self.h2o.import_file(path, header=1, sep=",", col_types=kinds)

    def fit(self, kind: str, y: str | None, x: list[str], **options: Any) -> Any:
        """A fitted model; options that are functions are called with these frames."""
        options = {k: v(self) if callable(v) else v for k, v in options.items()}
        frame = options.pop("frame", self.train)
        model = getattr(self.estimators, f"H2O{kind}Estimator")(**options)
        model.train(x=x, training_frame=frame, **({} if y is None else {"y": y}))
        return model


class Case:
    """A model to train, and the columns that it reads."""

    def __init__(self, kind: str, y: str | None, x: list[str], **options: Any):
        self.kind, self.y, self.x, self.options = kind, y, x, options

    def fitted(self, at: Frames) -> Any:
        return at.fit(self.kind, self.y, self.x, **self.options)

    @property
    def reads(self) -> list[str]:
        names = [self.options.get(f"{kind}_column") for kind in ("offset", "start")]
        return [*self.x, *(name for name in names if name is not None)]


CASES: dict[str, Case] = {}

# What H2O 3.46 trains and does not export, with what it says of it.
WITHOUT_MOJO = {
    "GeneralizedLinear with interactions or interaction_pairs": "Export to MOJO not supported",
}


def case(name: str, kind: str, y: str | None, x: list[str], **options: Any) -> None:
    CASES[name] = Case(kind, y, x, **options)


# -- generalized linear models -------------------------------------------------------------------


def glm(name: str, y: str, x: list[str], **options: Any) -> None:
    case(f"glm_{name}", "GeneralizedLinear", y, x, **{"seed": 1, "lambda_": 0.01, **options})


def _plugs(at: Frames) -> Any:
    return at.frame(pd.DataFrame({"u": [0.5], "v": [1.5], "w": [-2.0], "c": ["b"], "t": ["zz"]}))


glm("gaussian", "y", ALL, family="gaussian", ignore_const_cols=False)
glm("gaussian_raw", "y", MIXED, family="gaussian", standardize=False, lambda_=0.0)
glm("gaussian_log", "amount", MIXED, family="gaussian", link="log")
glm("gaussian_inverse", "amount", NUMBERS, family="gaussian", link="inverse", lambda_=0.0)
glm("no_intercept", "y", MIXED, family="gaussian", intercept=False, standardize=False)
glm("offset", "y", MIXED, family="gaussian", offset_column="offset", weights_column="weight")
glm("collinear", "y", MIXED, family="gaussian", lambda_=0.0, remove_collinear_columns=True)
glm("p_values", "y", MIXED, family="gaussian", lambda_=0.0, compute_p_values=True,
    remove_collinear_columns=True)  # fmt: skip
glm("numbers", "y", NUMBERS, family="gaussian")
glm("categories", "y", ["c", "t"], family="gaussian")
glm("binomial", "label", [*NUMBERS, "c", "t"], family="binomial")
glm("binomial_skip", "label", MIXED, family="binomial", missing_values_handling="Skip")
glm("binomial_plugs", "label", [*NUMBERS, "c", "t"], family="binomial",
    missing_values_handling="PlugValues", plug_values=_plugs)  # fmt: skip
glm("binomial_offset", "label", MIXED, family="binomial", offset_column="offset")
glm("binomial_prior", "label", MIXED, family="binomial", prior=0.2, weights_column="weight")
glm("binomial_balanced", "label", MIXED, family="binomial", balance_classes=True)
glm("big", "label", ["big", "code", "u"], family="binomial", lambda_=0.001)
glm("quasibinomial", "bit", MIXED, family="quasibinomial")
glm("fractional", "share", MIXED, family="fractionalbinomial")
glm("poisson", "count", MIXED, family="poisson", offset_column="offset")
glm("poisson_identity", "count", ["c", "t"], family="poisson", link="identity")
glm("gamma_inverse", "amount", MIXED, family="gamma", link="inverse")
glm("gamma_log", "amount", MIXED, family="gamma", link="log")
glm("gamma_identity", "amount", ["c", "t"], family="gamma", link="identity")
glm("tweedie", "loss", MIXED, family="tweedie", tweedie_variance_power=1.5, tweedie_link_power=0.0)
glm("tweedie_identity", "loss", ["c", "t"], family="tweedie", tweedie_variance_power=1.5,
    tweedie_link_power=1.0)  # fmt: skip
glm("tweedie_power", "loss", ["c", "t"], family="tweedie", tweedie_variance_power=1.5,
    tweedie_link_power=-0.5)  # fmt: skip
glm("negative_binomial", "count", MIXED, family="negativebinomial", theta=0.5)
glm("negative_binomial_identity", "count", ["c", "t"], family="negativebinomial", theta=0.5,
    link="identity")  # fmt: skip
glm("multinomial", "three", [*NUMBERS, "c", "t"], family="multinomial")
glm("multinomial_skip", "three", MIXED, family="multinomial", missing_values_handling="Skip",
    standardize=False)  # fmt: skip
glm("ordinal", "ord", MIXED, family="ordinal", lambda_=1e-4)


# -- trees ---------------------------------------------------------------------------------------

FEW: dict[str, Any] = {"seed": 1, "ntrees": 3, "max_depth": 3, "min_rows": 3}
PLATT: dict[str, Any] = {"calibrate_model": True, "calibration_frame": lambda at: at.train}


def gbm(name: str, y: str, x: list[str], **options: Any) -> None:
    case(f"gbm_{name}", "GradientBoosting", y, x, **{**FEW, "learn_rate": 0.3, **options})


gbm("gaussian", "y", ALL, ignore_const_cols=False)
gbm("bernoulli", "label", ALL)
gbm("multinomial", "three", MIXED)
gbm("big", "y", ["big", "code", "c"], max_depth=4, min_rows=1)
gbm("numbers", "y", ["u", "v", "w", "n", "day"])
gbm("offset", "y", MIXED, offset_column="offset", weights_column="weight")
gbm("bernoulli_offset", "label", MIXED, offset_column="offset")
gbm("poisson", "count", MIXED, distribution="poisson")
gbm("poisson_offset", "count", MIXED, distribution="poisson", offset_column="offset")
gbm("gamma", "amount", MIXED, distribution="gamma")
gbm("tweedie", "loss", MIXED, distribution="tweedie", tweedie_power=1.6)
gbm("laplace", "y", MIXED, distribution="laplace")
gbm("huber", "y", MIXED, distribution="huber", huber_alpha=0.8)
gbm("quantile", "y", MIXED, distribution="quantile", quantile_alpha=0.3)
gbm("quasibinomial", "bit", MIXED, distribution="quasibinomial")
gbm("one_hot", "y", [*MIXED, "code"], categorical_encoding="one_hot_explicit")
gbm("by_response", "label", [*MIXED, "big"], categorical_encoding="sort_by_response")
gbm("label_encoder", "y", [*MIXED, "big"], categorical_encoding="label_encoder")
gbm("eigen", "y", [*MIXED, "big"], categorical_encoding="eigen")
gbm("binary", "label", [*MIXED, "big"], categorical_encoding="binary")
gbm("enum_limited", "label", [*MIXED, "big"], categorical_encoding="enum_limited")
gbm("few_bins", "y", ["big", "u"], nbins_cats=8, max_depth=4, min_rows=1)
gbm("platt", "label", MIXED, **PLATT)
gbm("isotonic", "label", MIXED, **PLATT, calibration_method="IsotonicRegression")
gbm("balanced", "label", MIXED, balance_classes=True)
gbm("balanced_multinomial", "three", MIXED, balance_classes=True)
gbm("monotone", "y", MIXED, monotone_constraints={"u": 1, "v": -1},
    interaction_constraints=[["u", "v"], ["c", "t"]])  # fmt: skip


def drf(name: str, y: str, x: list[str], **options: Any) -> None:
    case(f"drf_{name}", "RandomForest", y, x, **{**FEW, **options})


drf("binomial", "label", ALL)
drf("double_trees", "label", MIXED, binomial_double_trees=True)
drf("multinomial", "three", MIXED)
drf("regression", "y", [*ALL], weights_column="weight")
drf("platt", "label", MIXED, **PLATT)
drf("isotonic", "label", MIXED, **PLATT, calibration_method="IsotonicRegression",
    binomial_double_trees=True)  # fmt: skip
drf("balanced", "label", MIXED, balance_classes=True)
drf("balanced_multinomial", "three", MIXED, balance_classes=True)
drf("one_hot", "three", MIXED, categorical_encoding="one_hot_explicit")


# -- networks ------------------------------------------------------------------------------------


def network(name: str, y: str | None, x: list[str], **options: Any) -> None:
    fixed = {"seed": 1, "hidden": [4, 3], "epochs": 5, "reproducible": True, **options}
    case(f"dl_{name}", "AutoEncoder" if y is None else "DeepLearning", y, x, **fixed)


network("tanh", "label", ALL, activation="tanh", ignore_const_cols=False)
network("tanh_dropout", "three", MIXED, activation="tanh_with_dropout",
        hidden_dropout_ratios=[0.3, 0.1], input_dropout_ratio=0.2)  # fmt: skip
network("rectifier", "three", MIXED, activation="rectifier")
network("rectifier_dropout", "label", MIXED, activation="rectifier_with_dropout",
        hidden_dropout_ratios=[0.3, 0.1])  # fmt: skip
network("maxout", "y", MIXED, activation="maxout")
network("maxout_dropout", "label", MIXED, activation="maxout_with_dropout")
network("gaussian", "y", MIXED, weights_column="weight")
network("raw", "y", MIXED, standardize=False)
network("raw_binomial", "label", NUMBERS, standardize=False)
network("skip", "label", MIXED, missing_values_handling="Skip")
network("all_levels_off", "three", MIXED, use_all_factor_levels=False)
network("offset", "y", MIXED, offset_column="offset", distribution="gaussian")
network("poisson", "count", MIXED, distribution="poisson")
network("gamma", "amount", MIXED, distribution="gamma")
network("tweedie", "loss", MIXED, distribution="tweedie", tweedie_power=1.5)
network("laplace", "y", MIXED, distribution="laplace")
network("huber", "y", MIXED, distribution="huber")
network("quantile", "y", MIXED, distribution="quantile", quantile_alpha=0.3)
network("balanced", "label", MIXED, balance_classes=True)
network("autoencoder", None, [*NUMBERS, "c", "t"], activation="tanh")
network("autoencoder_raw", None, NUMBERS, activation="rectifier", standardize=False)


# -- clusters and dimensions ---------------------------------------------------------------------


def kmeans(name: str, x: list[str], **options: Any) -> None:
    case(f"kmeans_{name}", "KMeans", None, x, **{"seed": 1, "k": 3, "max_iterations": 5, **options})


kmeans("standardized", NUMBERS)
kmeans("raw", NUMBERS, standardize=False)
kmeans("mixed", [*MIXED, "big"])
kmeans("mixed_raw", MIXED, standardize=False)


def pca(name: str, x: list[str], **options: Any) -> None:
    fixed = {"seed": 1, "k": 2, "impute_missing": True, **options}
    case(f"pca_{name}", "PrincipalComponentAnalysis", None, x, **fixed)


pca("none", MIXED, transform="none")
pca("standardize", MIXED, transform="standardize")
pca("normalize", MIXED, transform="normalize")
pca("demean", MIXED, transform="demean", pca_impl="jama")
pca("descale", MIXED, transform="descale")
pca("all_levels", [*MIXED, "w"], transform="standardize", use_all_factor_levels=True)
pca("numbers", NUMBERS, transform="standardize", pca_method="randomized")
