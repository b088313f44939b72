"""Distributions of targets: losses, means, and shares of classes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ...named.operators import Derive, Mean
from ..mojo import Mojo
from ..plan import Plan

# The task of each distribution, and its link where the file has none.
DISTRIBUTIONS = {
    "bernoulli": ("logistic", "logit"),
    "quasibinomial": ("logistic", "logit"),
    "gaussian": ("squared_error", "identity"),
    "poisson": ("tweedie", "log"),
    "gamma": ("tweedie", "log"),
    "tweedie": ("tweedie", "log"),
    "laplace": ("absolute_error", "identity"),
    "huber": ("huber", "identity"),
    "quantile": ("pinball", "identity"),
}
_POWERS = {"poisson": 1.0, "gamma": 2.0}
# H2O takes no exponential for larger than this.
_LARGEST = 1e19


def loss_options(mojo: Mojo, distribution: str, link: str) -> dict[str, Any]:
    """The numbers of the loss."""
    task = DISTRIBUTIONS[distribution][0]
    if task == "tweedie":
        power = _POWERS.get(distribution) or parameter(mojo, "tweedie_power", 1, 2) or 1.5
        return {"power": power, "link": link}
    quantile = parameter(mojo, "quantile_alpha", 0, 1) if task == "pinball" else None
    return {} if quantile is None else {"quantile": quantile}


def parameter(mojo: Mojo, name: str, low: float, high: float) -> float | None:
    """A number between two others that the model was trained with; scoring does not need it.

    It stands in what H2O shows of the model, which a file may lack.
    """
    place = "experimental/modelDetails.json"
    if mojo.prefix + place not in mojo.archive:
        return None
    try:
        parameters = json.loads(mojo.blob(place))["parameters"]
        values = {one["name"]: one["actual_value"] for one in parameters}
        found = float(values[name])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return found if low < found < high else None


def add_mean(mojo: Mojo, plan: Plan, score: str, link: str) -> str:
    """The step with the mean for a linear predictor."""
    if link == "identity":
        return score
    bound = float(np.log(_LARGEST))
    limits = [-bound, np.inf] if link == "logit" else [-np.inf, bound]
    bounded = plan.step(mojo, Derive(what="clamp", numbers_=limits), score, name="bounded")
    return plan.step(mojo, Mean(link=link), bounded, name="mean")


def balance_factors(mojo: Mojo) -> list[float]:
    """How rare each class is, relative to the balanced rows that a model learned from."""
    before, balanced = mojo.numbers("prior_class_distrib"), mojo.numbers("model_class_distrib")
    if not len(before) == len(balanced) == mojo.integer("n_classes"):
        mojo.fail("its distributions of classes are damaged.")
    if not all((x >= 0).all() and np.isfinite(x).all() for x in (before, balanced)):
        mojo.fail("its distributions of classes are damaged.")
    used = (before > 0) & (balanced > 0)
    return np.where(used, before / np.where(used, balanced, 1.0), 1.0).tolist()
