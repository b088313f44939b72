"""Interpretation of a model's raw score: links, losses and class weights."""

from __future__ import annotations

import math
from typing import Any

from ...modules import Head, LinkHead, RegressionHead, ShareHead
from ...registry import Objective

_LOSSES = {
    "RMSE": "squared_error",
    "MultiRMSE": "squared_error",
    "MAE": "absolute_error",
    "Poisson": "poisson",
}
_LOGISTIC = ("Logloss", "CrossEntropy")
_LABELS = ("MultiLogloss", "MultiCrossEntropy")
_ANSWERS = ("predict", "predict_proba", "predict_log_proba")


def mean_head(operator: Any) -> Head:
    """The head for predictions of means or their logarithms."""
    return RegressionHead(
        "log" if operator._get_default_prediction_type() == "Exponent" else "identity"
    )


def class_head(operator: Any) -> Head:
    """The head of a classifier."""
    name, _ = loss(operator)
    if name in _LABELS:
        labels = ShareHead("logistic", labels=True)
        labels.responses = _ANSWERS
        return labels
    if name.startswith("MultiClass"):
        return LinkHead(
            "softmax" if name == "MultiClass" else "logistic", responses=_ANSWERS, column=True
        )
    return LinkHead("logistic", responses=_ANSWERS, boundary=_boundary(operator))


def objective(operator: Any) -> Objective | None:
    """The loss of a model of any estimator class."""
    name, options = loss(operator)
    if name in _LOGISTIC + _LABELS:
        return Objective("cross_entropy")
    if name == "MultiClass":
        return Objective("log_loss")
    return _numeric(name, options)


def mean_objective(operator: Any) -> Objective | None:
    """The loss of a regression."""
    name, options = loss(operator)
    return _numeric(name, options)


def class_objective(operator: Any) -> Objective | None:
    """The loss of a classifier, with its class weights."""
    name, _ = loss(operator)
    weights = _class_weights(operator)
    if name in (*_LOGISTIC, *_LABELS, "MultiClass"):
        return Objective("log_loss", {}, weights)
    if name == "MultiClassOneVsAll":
        return Objective("one_vs_rest_log_loss", {}, weights)
    return None


def loss(operator: Any) -> tuple[str, dict[str, str]]:
    """Name and options of the loss, as CatBoost writes them: ``Quantile:alpha=0.3``."""
    text = operator.get_all_params().get("loss_function") or ""
    name, _, rest = str(text).partition(":")
    pairs = [part.partition("=") for part in rest.split(";") if part]
    return name, {key: value for key, _, value in pairs}


def _numeric(name: str, options: dict[str, str]) -> Objective | None:
    """The loss of a regression, or None if we have no such loss."""
    if name == "Quantile":
        return Objective("pinball", {"quantile": float(options.get("alpha", 0.5))})
    if name == "Tweedie":
        power = float(options["variance_power"])
        return Objective("tweedie", {"power": power}, any_target=True)
    if name == "Huber":
        return Objective("huber", {"delta": float(options["delta"])})
    # CatBoost checks no counts.
    return Objective(_LOSSES[name], any_target=name == "Poisson") if name in _LOSSES else None


def _boundary(operator: Any) -> float:
    """The probability above which a row is assigned to the second class."""
    given = operator.get_probability_threshold()
    return 0.5 if given is None or math.isnan(given) else float(given)


def _class_weights(operator: Any) -> Any:
    params = operator.get_params()
    if params.get("auto_class_weights") == "Balanced":
        return "balanced"
    given, labels = params.get("class_weights"), list(operator.classes_)
    if params.get("auto_class_weights") == "SqrtBalanced":
        given = operator.get_all_params()["class_weights"]
    if params.get("scale_pos_weight") is not None:
        given = [1.0, params["scale_pos_weight"]]
    if given is None or isinstance(given, dict):
        return given
    return dict(zip(labels, given, strict=True))
