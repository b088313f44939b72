"""Linear classifiers fitted in batch mode."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model._base import LinearClassifierMixin

from ...modules import BernoulliHead, Head, MulticlassHead, MultilabelHead
from ...registry import Example, Objective, register
from ..target_refusals import one_class
from ._base import SKLEARN, parse_version
from .linear import SEARCH, LinearPredictor, no_intercept

NEW_PENALTY = "1.8"
"""From this version on, C and l1_ratio determine the penalty."""
ONE_VS_REST = ("liblinear", "newton-cholesky") if parse_version("1.6") > SKLEARN else ("liblinear",)
"""Solvers that fit one classifier per class (one-vs-rest) by default."""


class LinearClassifier(LinearPredictor):
    """One margin for two classes; one margin per class otherwise."""

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ("zeros", "nonnegative", "probabilities")

    def squeeze(self, operator: Any) -> bool:
        return np.ndim(operator.coef_) == 1 or operator.coef_.shape[0] == 1

    def head(self, operator: Any) -> Head:
        return BernoulliHead() if two_classes(operator) else MulticlassHead()


def two_classes(operator: Any) -> bool:
    """Return whether there is a single margin, as for two classes or only one."""
    return len(operator.classes_) <= 2


@cache
def shares_nothing() -> bool:
    """Return whether one-vs-rest gives NaN if all probabilities are 0 (older scikit-learn)."""
    far = SimpleNamespace(decision_function=lambda X: np.full((1, 3), -1e4))
    with np.errstate(invalid="ignore"):
        return bool(np.isnan(LinearClassifierMixin._predict_proba_lr(far, None)).any())


def one_vs_rest() -> MulticlassHead:
    """Return a head of logistic functions, normalized over the classes."""
    return MulticlassHead("one_vs_rest", share=not shares_nothing())


_L1 = {"C": 0.5, "l1_ratio": 1.0}
_OLD_L1 = {"C": 0.5, "penalty": "l1"}


class Logistic(LinearClassifier):
    """The score is the logit (two classes) or the vector of logits."""

    def head(self, operator: Any) -> Head:
        alone = _one_by_one(operator)
        if two_classes(operator):
            return BernoulliHead("logistic" if alone else "softmax")
        return one_vs_rest() if alone else MulticlassHead("softmax")

    def objective(self, operator: Any) -> Objective:
        weight = operator.class_weight
        if two_classes(operator):
            # The old multinomial form has two weight vectors, which differ only in sign.
            scale = 1.0 if _one_by_one(operator) else 2.0
            return Objective("log_loss", {"scale": scale}, weight)
        if not _one_by_one(operator):
            return Objective("log_loss", {}, weight)
        return Objective("one_vs_rest_log_loss", self._weigh(operator), weight)

    def _weigh(self, operator: Any) -> dict[str, str]:
        return {}

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)


def _one_by_one(operator: Any) -> bool:
    way = getattr(operator, "multi_class", "auto")
    if way in ("auto", "deprecated"):
        return two_classes(operator) or operator.solver in ONE_VS_REST
    return way != "multinomial"


@register("sklearn.linear_model.LogisticRegression")
class LogisticRegression(Logistic):
    """Logistic regression with a fixed penalty."""

    examples = (
        {},
        no_intercept(),
        {"class_weight": "balanced"},
        {"solver": "newton-cg"},
        {"solver": "newton-cholesky"},
        {"solver": "sag", "max_iter": 20, "random_state": 0},
        {"solver": "saga", "max_iter": 20, "random_state": 0},
        Example({**_L1, "solver": "saga", "max_iter": 20, "random_state": 0}, since=NEW_PENALTY),
        Example({**_OLD_L1, "solver": "saga", "max_iter": 20, "random_state": 0}, before="1.8"),
        Example({"C": float("inf")}, since=NEW_PENALTY),
        Example({"penalty": None}, before=NEW_PENALTY),
        Example({}, data="binary"),
        Example({}, data="binary_strings"),
        Example({"class_weight": {0: 1.0, 1: 3.0}}, data="binary"),
        no_intercept("binary"),
        Example({"solver": "liblinear"}, data="binary"),
        Example({"solver": "liblinear", "dual": True, "random_state": 0}, data="binary"),
        Example({"solver": "liblinear", "intercept_scaling": 10.0}, data="binary"),
        Example({"solver": "newton-cholesky"}, data="binary"),
        Example({**_L1, "solver": "liblinear"}, data="binary", since=NEW_PENALTY),
        Example({}, data="sparse_multiclass"),
        # Older versions have an option for multiclass classification.
        Example({"multi_class": "ovr"}, before="1.8"),
        Example({"multi_class": "ovr", "class_weight": "balanced"}, before="1.8"),
        Example({"multi_class": "multinomial"}, before="1.8"),
        Example({"multi_class": "auto"}, before="1.8"),
        Example({"multi_class": "multinomial"}, data="binary", before="1.8"),
        Example({"multi_class": "ovr"}, data="binary", before="1.8"),
        Example({"solver": "liblinear"}, before="1.8"),
        Example({"solver": "liblinear", "class_weight": "balanced"}, before="1.8"),
    )

    def _weigh(self, operator: Any) -> dict[str, str]:
        if operator.solver == "liblinear":
            return {"weigh": "positives"}
        return {"weigh": "each"} if operator.class_weight == "balanced" else {}


_CV = {"Cs": 3, "cv": 3}
_NEW_CV = {**_CV, "l1_ratios": (0,), "scoring": "neg_log_loss", "use_legacy_attributes": False}


@register("sklearn.linear_model.LogisticRegressionCV")
class LogisticRegressionCV(Logistic):
    """Logistic regression with a cross-validated penalty.

    The search converts "balanced" into class weights, which then weight the samples.
    """

    examples = (
        Example(_NEW_CV, since="1.8"),
        Example(_NEW_CV, data="binary", since="1.8"),
        Example({**_NEW_CV, "use_legacy_attributes": True}, since="1.8"),
        Example({**_NEW_CV, "refit": False}, since="1.8"),
        Example(
            {**_NEW_CV, "l1_ratios": (0, 0.5), "solver": "saga", "max_iter": 20, "random_state": 0},
            since="1.8",
        ),
        Example(_CV, before="1.8"),
        Example(_CV, data="binary", before="1.8"),
        Example({**_CV, "refit": False}, before="1.8"),
        Example({**_CV, "multi_class": "ovr"}, before="1.8"),
        Example({**_CV, "multi_class": "multinomial"}, data="binary", before="1.8"),
        Example({**_CV, "class_weight": "balanced", "solver": "liblinear"}, before="1.8"),
    )
    unchanged_attributes = {
        "C_": SEARCH,
        "Cs_": SEARCH,
        "l1_ratio_": SEARCH,
        "l1_ratios_": SEARCH,
        "scores_": SEARCH,
        "coefs_paths_": "the paths of the source's fits",
    }


class SquaresOnSigns(LinearClassifier):
    """Least squares on labels of plus and minus one."""

    def head(self, operator: Any) -> Head:
        if operator._label_binarizer.y_type_.startswith("multilabel"):
            return MultilabelHead()
        return super().head(operator)

    def objective(self, operator: Any) -> Objective:
        return Objective("squared_error_on_signs", {}, operator.class_weight)


@register("sklearn.linear_model.RidgeClassifier")
class RidgeClassifier(SquaresOnSigns):
    """Ridge classification with a fixed penalty."""

    examples = (
        {},
        {"class_weight": "balanced"},
        no_intercept(),
        {"solver": "lsqr"},
        {"positive": True, "solver": "lbfgs"},
        Example({}, data="binary"),
        no_intercept("binary_strings"),
        Example({}, data="multilabel"),
        Example({}, data="sparse_multiclass"),
    )
    unchanged_attributes = {"solver_": "records how the source was fitted"}


@register("sklearn.linear_model.RidgeClassifierCV")
class RidgeClassifierCV(SquaresOnSigns):
    """Ridge classification with a cross-validated penalty."""

    examples = (
        {},
        {"cv": 3},
        {"store_cv_results": True},
        no_intercept(class_weight="balanced"),
        Example({}, data="binary"),
        Example({}, data="multilabel"),
    )
    unchanged_attributes = {
        "alpha_": SEARCH,
        "best_score_": SEARCH,
        "cv_results_": SEARCH,
        "cv_values_": SEARCH,
    }


@register("sklearn.svm.LinearSVC")
class LinearSVC(LinearClassifier):
    """A linear support vector machine for classification."""

    examples = (
        {"random_state": 0},
        {"loss": "hinge", "random_state": 0},
        {"penalty": "l1", "dual": False},
        {"multi_class": "crammer_singer", "random_state": 0},
        no_intercept(multi_class="crammer_singer", random_state=0),
        no_intercept(random_state=0),
        {"intercept_scaling": 10.0, "random_state": 0},
        {"class_weight": "balanced", "random_state": 0},
        Example({"random_state": 0}, data="binary"),
        Example({"loss": "hinge", "random_state": 0}, data="binary_strings"),
        Example({"multi_class": "crammer_singer", "random_state": 0}, data="binary"),
        Example({"random_state": 0}, data="sparse_multiclass"),
    )

    def objective(self, operator: Any) -> Objective:
        weight, pair = operator.class_weight, two_classes(operator)
        if operator.multi_class == "crammer_singer":
            # With two classes, the joint (Crammer-Singer) margin is the ordinary margin.
            return Objective("hinge" if pair else "crammer_singer", {}, weight)
        return Objective(operator.loss, {} if pair else {"weigh": "positives"}, weight)

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)
