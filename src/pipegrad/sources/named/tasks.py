"""What the scores of predictors mean: by the name of a task, the head and the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...modules import (
    BernoulliHead,
    ErrorHead,
    Head,
    LikelihoodHead,
    LinkHead,
    MulticlassHead,
    NearestHead,
    ProbabilityHead,
    RegressionHead,
)
from ...registry import Objective

HEADS: dict[str, Any] = {
    "squared_error": lambda options: RegressionHead(),
    "absolute_error": lambda options: RegressionHead(),
    "huber": lambda options: RegressionHead(),
    "pinball": lambda options: RegressionHead(),
    "tweedie": lambda options: RegressionHead(options["link"]),
    "log_scale": lambda options: RegressionHead("log"),
    "logistic_shares": lambda options: RegressionHead("logistic"),
    "logistic": lambda options: BernoulliHead("logistic"),
    "logistic_twice": lambda options: LinkHead("logistic", scale=2.0),
    "hinge": lambda options: BernoulliHead(),
    "softmax": lambda options: MulticlassHead("softmax"),
    "shares": lambda options: ProbabilityHead(),
    "likelihood": lambda options: LikelihoodHead(),
    "one_vs_rest": lambda options: MulticlassHead(),
    "inertia": lambda options: NearestHead(),
    "reconstruction_error": lambda options: ErrorHead(),
    "mixture": lambda options: LikelihoodHead("clustering", ("predict", "predict_proba")),
}


def head_of(task: str, options: Mapping[str, Any]) -> Head | None:
    """The head of a task; None if there is no task."""
    return HEADS[task](options) if task else None


def objective_of(task: str, options: Mapping[str, Any]) -> Objective | None:
    """The loss of a task; None if there is no task, or if it lacks a number of its loss."""
    if not task:
        return None
    if task == "tweedie":
        return Objective("tweedie", {"power": options["power"], "link": options["link"]})
    if task == "huber":
        return Objective("huber", dict(options))
    if task == "pinball":
        return Objective("pinball", dict(options)) if options else None
    named = {
        "log_scale": Objective("gamma"),
        "logistic_shares": Objective("cross_entropy"),
        "logistic_twice": Objective("log_loss", {"scale": 2.0}),
        "shares": Objective("negative_log_likelihood"),
        "one_vs_rest": Objective("one_vs_rest_log_loss"),
        "inertia": Objective("inertia", {"squared": True}),
        "mixture": Objective("mixture_negative_log_likelihood"),
        **dict.fromkeys(("logistic", "softmax", "likelihood"), Objective("log_loss")),
    }
    return named.get(task, Objective(task))
