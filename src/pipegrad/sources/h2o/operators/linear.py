"""Generalized linear models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...named.operators import Derive, LinearMap, Mean, Predictor, Sum
from ..mojo import Mojo
from ..numbers import Numbers, listed
from ..plan import Answer, Plan, reads
from .answers import add_binary, add_classes, add_labels, add_regression
from .expansion import expand

_POWERS = {
    "gaussian": 0.0, "poisson": 1.0, "quasipoisson": 1.0, "gamma": 2.0, "negativebinomial": 1.0,
}  # fmt: skip
_LINKS = ("identity", "logit", "log", "inverse", "tweedie")
_BINARY = ("binomial", "bernoulli", "quasibinomial", "fractionalbinomial")


@reads("glm")
def _glm(mojo: Mojo, plan: Plan) -> Answer:
    family = mojo.text("family")
    row = plan.row(mojo, required=not mojo.flag("mean_imputation"))
    source, expanded = expand(mojo, plan, row)
    if family not in ("multinomial", "ordinal"):
        beta = np.arange(expanded.width + 1)
        weight, bias = (listed(mojo, "beta", part) for part in (beta[:-1], beta[-1:]))
        return add_linear(mojo, plan, source, weight, bias)
    count, width = mojo.integer("n_classes") - (family == "ordinal"), expanded.width
    places = np.arange(count * (width + 1)).reshape(count, width + 1)
    weight = listed(mojo, "beta", places[:, :-1], (count, width))
    bias = listed(mojo, "beta", places[:, -1], (count,))
    if family == "ordinal":
        return add_ordered(mojo, plan, source, weight, bias)
    return add_multinomial(mojo, plan, source, weight, bias)


def add_linear(mojo: Mojo, plan: Plan, source: str, weight: Numbers, bias: Numbers) -> Answer:
    """The answer of a model whose mean is a function of one linear predictor."""
    family = mojo.text("family")
    task, options = _task(mojo, family)
    gaps = _has_gaps(mojo)
    operator = LinearMap(weight=weight, bias=bias, gaps=gaps, task=task, options=options)
    score = plan.step(mojo, operator, source, method="score")
    score = with_offset(mojo, plan, score, operator)
    link, power = _link(mojo)
    bounded = BoundedMean(link=link, power=power, floor=mojo.text("link") == "tweedie")
    mean = plan.step(mojo, bounded, score, name="mean")
    if mojo.integer("n_classes") not in ((1, 2) if family in _BINARY else (1,)):
        mojo.fail(f"family {family!r} has no {mojo.integer('n_classes')} classes.")
    if mojo.integer("n_classes") == 1:
        return add_regression(mojo, plan, score, mean)
    answer = add_binary(mojo, plan, score, mean)
    if family == "fractionalbinomial":
        # Targets are shares, although answers are classes.
        answer.classes = None
    return answer


def add_multinomial(mojo: Mojo, plan: Plan, source: str, weight: Numbers, bias: Numbers) -> Answer:
    """The answer of a model with a linear predictor of each class."""
    operator = LinearMap(weight=weight, bias=bias, gaps=_has_gaps(mojo), task="softmax")
    score = plan.step(mojo, operator, source, method="score")
    shares = plan.step(mojo, Derive(what="softmax_above_zero"), score, name="shares")
    return add_classes(mojo, plan, score, shares)


def add_ordered(
    mojo: Mojo, plan: Plan, source: str, weight: Numbers, bias: Numbers, decide: str = ""
) -> Answer:
    """The answer of a model whose linear predictors each part the classes up to one from others.

    Parameters
    ----------
    mojo : Mojo
        The model.
    plan : Plan
        Where steps go.
    source : str
        The step that linear predictors read.
    weight, bias : Numbers
        Coefficients and intercepts of each linear predictor.
    decide : str
        The function of linear predictors that decides; the largest probability by default.
    """
    linear = LinearMap(weight=weight, bias=bias, gaps=_has_gaps(mojo))
    scores = plan.step(mojo, linear, source, method="score")
    operator = Shares(task="shares")
    shares = plan.step(mojo, operator, scores, name="shares", method="score")
    if not decide:
        return add_classes(mojo, plan, shares, shares)
    predict = plan.step(mojo, Derive(what=decide), scores, name="predict")
    return add_labels(mojo, plan, shares, shares, predict)


def _has_gaps(mojo: Mojo) -> bool:
    """Whether missing numbers stay missing; a metalearner may replace the answer."""
    return not mojo.flag("mean_imputation", True)


def _link(mojo: Mojo) -> tuple[str, float]:
    link = mojo.text("link")
    if link not in _LINKS:
        mojo.fail(f"link {link!r:.40} is not known.")
    if link != "tweedie":
        return link, 1.0
    power = mojo.number("tweedie_link_power")
    return ("log", 1.0) if power == 0 else ("power", power)


def _task(mojo: Mojo, family: str) -> tuple[str, dict[str, Any]]:
    if family in _BINARY:
        shares = mojo.integer("n_classes") == 1 or family == "fractionalbinomial"
        return ("logistic_shares" if shares else "logistic"), {}
    if family == "gaussian" and mojo.text("link") == "identity":
        return "squared_error", {}
    if family != "tweedie" and family not in _POWERS:
        mojo.fail(f"family {family!r:.40} is not known.")
    power = mojo.number("tweedie_variance_power", 1.5) if family == "tweedie" else _POWERS[family]
    return "tweedie", {"power": power, "link": _link(mojo)[0]}


def with_offset(mojo: Mojo, plan: Plan, score: str, operator: Predictor) -> str:
    """The score and the column of offsets, if the model was trained with one.

    H2O's scorer gives no offsets to models inside of others.
    """
    if not mojo.has("offset_column") or mojo.prefix:
        return score
    row = plan.row(mojo, (mojo.text("offset_column"),))
    offset = plan.step(mojo, Derive(what="entry", numbers_=[0.0]), row, name="offset")
    total = Sum(task=operator.task, options=operator.options)
    operator.task = ""
    return plan.step(mojo, total, score, offset, name="total", method="score")


@dataclass(eq=False, kw_only=True)
class BoundedMean(Mean):
    """A mean as H2O computes it: linear predictors near zero have no reciprocal beyond 1e5.

    Parameters
    ----------
    floor : bool
        Whether the mean is at least 2e-16.
    """

    floor: bool


@dataclass(eq=False, kw_only=True)
class Shares(Predictor):
    """Probabilities of ordered classes for the logits of not exceeding each."""
