"""Interpretation of a booster's raw score: links, losses and classification heads."""

from __future__ import annotations

import json
from typing import Any

from ...modules import Head, MulticlassHead, ShareHead
from ...registry import Objective

_LINKS: dict[str, Any] = {
    "reg:logistic": "logistic",
    "binary:logistic": "logistic",
    "binary:hinge": "sign",
    "count:poisson": "log",
    "reg:gamma": "log",
    "reg:tweedie": "log",
    "survival:cox": "log",
    "survival:aft": "log",
    "multi:softprob": "softmax",
    "multi:softmax": "largest",
}
_LOSSES: dict[str, str] = {
    "reg:squarederror": "squared_error",
    "reg:linear": "squared_error",
    "reg:squaredlogerror": "squared_log_error",
    "reg:absoluteerror": "absolute_error",
    "count:poisson": "poisson",
    "reg:gamma": "gamma",
    "binary:hinge": "hinge",
    "multi:softprob": "log_loss",
    "multi:softmax": "log_loss",
}
_LOGISTIC = ("reg:logistic", "binary:logistic", "binary:logitraw")


def link(content: dict[str, Any]) -> Any:
    """The link from score to mean for the objective in a booster's settings."""
    return _LINKS.get(content["name"], "identity")


def class_head(content: dict[str, Any], outputs: int) -> Head:
    """The head of a classifier of classes, or of labels if there are several ``outputs``."""
    if not content["name"].startswith("multi:"):
        return ShareHead(link(content), labels=outputs > 1)
    head = MulticlassHead("softmax")
    head.responses = ("predict", "predict_proba")
    return head


def objective(content: dict[str, Any], two_classes: str) -> Objective | None:
    """The loss of a booster, or None if we have none; ``two_classes`` names the logistic loss."""
    name = content["name"]
    if name in _LOGISTIC:
        weight = float(content["reg_loss_param"]["scale_pos_weight"])
        return Objective(two_classes, {"positive": weight})
    if name == "reg:pseudohubererror":
        slope = float(content["pseudo_huber_param"]["huber_slope"])
        return Objective("pseudo_huber", {"slope": slope})
    if name == "reg:tweedie":
        power = content["tweedie_regression_param"]["tweedie_variance_power"]
        return Objective("tweedie", {"power": float(power)})
    if name == "reg:quantileerror":
        levels = quantiles(content)
        assert levels is not None
        return None if len(levels) > 1 else Objective("pinball", {"quantile": levels[0]})
    return Objective(_LOSSES[name]) if name in _LOSSES else None


def quantiles(content: dict[str, Any]) -> tuple[float, ...] | None:
    """The levels of the quantiles that a booster predicts, or None."""
    if content["name"] != "reg:quantileerror":
        return None
    levels = json.loads(content["quantile_loss_param"]["quantile_alpha"])
    return tuple(map(float, levels if isinstance(levels, list) else [levels]))
