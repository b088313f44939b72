"""Interpretation of a booster's raw score: links, losses and class weights."""

from __future__ import annotations

from typing import Any

from ...modules import Head, IdentityHead, LinkHead, RegressionHead
from ...registry import Objective
from ._model_text import Header

_LINKS: dict[str, Any] = {
    "poisson": "log",
    "gamma": "log",
    "tweedie": "log",
    "binary": "logistic",
    "multiclassova": "logistic",
    "multiclass": "softmax",
    "cross_entropy": "logistic",
    "cross_entropy_lambda": "softplus",
}
# Losses, each with the name of its option and LightGBM's parameter for that option.
_LOSSES: dict[str, tuple[str, str, str]] = {
    "regression": ("squared_error", "", ""),
    "regression_l1": ("absolute_error", "", ""),
    "huber": ("huber", "delta", "alpha"),
    "fair": ("fair", "c", "fair_c"),
    "quantile": ("pinball", "quantile", "alpha"),
    "mape": ("relative_error", "", ""),
    "poisson": ("poisson", "", ""),
    "gamma": ("gamma", "", ""),
    "tweedie": ("tweedie", "power", "tweedie_variance_power"),
    "cross_entropy": ("cross_entropy", "", ""),
    "cross_entropy_lambda": ("cross_entropy", "", ""),
    "binary": ("cross_entropy", "", ""),
    "multiclass": ("log_loss", "", ""),
    "multiclassova": ("one_vs_rest_log_loss", "", ""),
}


def link(header: Header) -> tuple[Any, float]:
    """The link from score to mean, and the factor that scales the score before the link."""
    name, options = header.objective
    if name.startswith("regression") and "sqrt" in options:
        return "signed_square", 1.0
    return _LINKS.get(name, "identity"), float(options.get("sigmoid", 1.0))


def mean_head(header: Header) -> Head:
    """The head for predictions of means, or of probabilities if no classes are known."""
    return RegressionHead(*link(header))


def class_head(header: Header, operator: Any, rounds: int) -> Head:
    """The head of a classifier; with a custom objective, every method returns the raw score."""
    own = ("predict", "predict_proba", "decision_function")
    responses = tuple(name for name in own if hasattr(operator, name))
    raw = float(rounds) if header.average else 1.0
    if callable(operator._objective):
        return IdentityHead(responses, raw)
    return LinkHead(*link(header), raw=raw, responses=responses)


def objective(header: Header) -> Objective | None:
    """The loss of a booster; None if there is no per-sample loss."""
    name, options = header.objective
    if name not in _LOSSES:
        return None
    loss, option, parameter = _LOSSES[name]
    if "sqrt" in options and name in ("regression", "regression_l1"):
        return Objective(f"{loss}_of_roots")
    found: dict[str, Any] = {}
    if option:
        value = header.parameters.get(parameter)
        if value is None:  # The model was saved without its parameters.
            return None
        found[option] = float(value)
    if name == "binary":  # Any number above zero means the second class.
        found["above"] = 0.0
    if "sigmoid" in options:
        found["scale"] = float(options["sigmoid"])
    # The metric of the same name, by default measured in training, refuses zeros as well.
    measured = header.parameters.get("metric", "").split(",")
    return Objective(loss, found, zeros=name == "gamma" and "gamma" not in measured)


def class_objective(header: Header, operator: Any) -> Objective | None:
    """The loss of a classifier, with its class weights."""
    base = objective(header)
    if base is None or callable(operator._objective):
        return None
    name, given = header.objective[0], operator.class_weight
    ratio = float(header.parameters.get("scale_pos_weight", 1))
    balanced = header.parameters.get("is_unbalance", "0") == "1"
    if name not in ("binary", "multiclassova") or (ratio == 1 and not balanced):
        weights = given
    elif name == "multiclassova" or len(operator.classes_) != 2:
        return None
    elif balanced:
        weights = "balanced" if given is None else None
    else:
        weights = _scaled(given, operator.classes_.tolist(), ratio)
    if weights is None and given is not None:
        return None
    options = {option: value for option, value in base.options.items() if option != "above"}
    return Objective("log_loss" if name == "binary" else base.name, options, weights)


def _scaled(given: Any, classes: list[Any], ratio: float) -> dict[Any, float] | None:
    """Weights of two classes, with a factor for the second class."""
    if isinstance(given, str):
        return None  # Balanced weights depend on the rows.
    given = given or {}
    return {c: float(given.get(c, 1)) * r for c, r in zip(classes, (1.0, ratio), strict=True)}
