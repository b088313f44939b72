"""Linear models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...named.operators import Derive, LinearMap, Mean, Predictor, Sum
from ..folder import Stage
from ..numbers import Numbers, find
from ..plan import Plan, reads
from .answers import add_classification, add_regression


def features(stage: Stage, plan: Plan) -> str:
    """The step with the features of a predictor."""
    return plan.column(stage.text("featuresCol", "features"))


def _bias(stage: Stage, *keys: str, kind: Any = "number") -> Numbers | None:
    return find(stage, *keys, kind=kind) if stage.flag("fitIntercept", True) else None


def _number(stage: Stage, name: str, default: float) -> float:
    found = stage.row().get(name, default)
    return float(found) if isinstance(found, int | float) else default


@reads("regression.LinearRegressionModel")
def _linear_regression(stage: Stage, plan: Plan) -> None:
    huber = stage.text("loss", "squaredError") == "huber"
    delta = stage.number("epsilon", 1.35) * _number(stage, "scale", 1.0)
    operator = LinearMap(
        weight=find(stage, "coefficients"),
        bias=_bias(stage, "intercept"),
        task="huber" if huber else "squared_error",
        options={"delta": delta} if huber else {},
    )
    score = plan.step(stage, operator, features(stage, plan), method="score")
    add_regression(stage, plan, score, score)


@reads("classification.LogisticRegressionModel")
def _logistic_regression(stage: Stage, plan: Plan) -> None:
    row = stage.row()
    several, classes = row.get("isMultinomial"), row.get("numClasses")
    if not isinstance(several, bool) or not isinstance(classes, int):
        stage.fail("its number of classes is damaged.")
    weight = find(stage, "coefficientMatrix", kind="matrix")
    bias = _bias(stage, "interceptVector", kind="vector")
    if classes < 1 or (classes > 2 and not several):
        stage.fail(f"it has {classes} classes.")
    rows = classes if several else 1
    if weight.values.shape[0] != rows or (bias is not None and len(bias.values) != rows):
        stage.fail("its coefficients have another size than its classes.")
    task = "softmax" if several else "logistic"
    operator = LinearMap(weight=weight, bias=bias, task=task)
    score = plan.step(stage, operator, features(stage, plan), method="score")
    if several:
        add_classification(stage, plan, score, classes, (), ("softmax",))
        return
    bound = _threshold(stage)
    if bound in (0.0, 1.0):
        border = -math.inf if bound == 0 else math.inf
    else:
        border = math.log(bound / (1 - bound))
    decide = Derive(what="above", numbers_=[border])
    add_classification(stage, plan, score, 2, ("two_scores",), ("sigmoid", "two_shares"), decide)


def _threshold(stage: Stage) -> float:
    """The probability above which the second class is predicted."""
    pair = stage.numbers("thresholds")
    if not pair:
        single = stage.number("threshold", 0.5)
        if not 0 <= single <= 1:
            stage.fail(f"its threshold must be between 0 and 1, got {single}.")
        return single
    if len(pair) != 2 or not all(t >= 0 for t in pair) or not sum(pair):
        stage.fail("its thresholds are damaged.")
    return 1.0 / (1.0 + pair[0] / pair[1]) if pair[1] else 0.0


@reads("classification.LinearSVCModel")
def _linear_svc(stage: Stage, plan: Plan) -> None:
    operator = LinearMap(
        weight=find(stage, "coefficients"), bias=_bias(stage, "intercept"), task="hinge"
    )
    score = plan.step(stage, operator, features(stage, plan), method="score")
    decide = Derive(what="above", numbers_=[stage.number("threshold", 0.0)])
    add_classification(stage, plan, score, 2, ("two_scores",), None, decide)


_POWERS = {"gaussian": 0.0, "poisson": 1.0, "gamma": 2.0}
_LINKS = {"gaussian": "identity", "binomial": "logit", "poisson": "log", "gamma": "inverse"}


@reads("regression.GeneralizedLinearRegressionModel")
def _generalized(stage: Stage, plan: Plan) -> None:
    family = stage.text("family", "gaussian").lower()
    link, power = _link(stage, family)
    weight, bias = find(stage, "coefficients"), _bias(stage, "intercept")
    task, options = _task(stage, family, link)
    offset = stage.text("offsetCol")
    direct = task if link in ("identity", "log") or task == "logistic_shares" else ""
    operator = LinearMap(weight=weight, bias=bias)
    if not offset and direct:
        operator.task, operator.options = task, {**options, "link": link}
    method = "score" if operator.task else "transform"
    eta = plan.step(stage, operator, features(stage, plan), method=method)
    if offset:
        total = Sum()
        if direct:
            total.task, total.options = task, {**options, "link": link}
        method = "score" if total.task else "transform"
        eta = plan.step(stage, total, eta, plan.column(offset), name="offset", method=method)
    mean = eta
    if link != "identity":
        inverse = Mean(link=link, power=power)
        if not direct:
            inverse.task, inverse.options = task, {**options, "link": "identity"}
        method = "transform" if direct else "score"
        mean = plan.step(stage, inverse, eta, name="mean", method=method)
    plan.name(stage, stage.text("linkPredictionCol"), eta)
    add_regression(stage, plan, eta if direct else mean, mean)


def _link(stage: Stage, family: str) -> tuple[str, float]:
    """The name of the link, and its power."""
    if family == "tweedie":
        power = stage.number("linkPower", 1 - stage.number("variancePower", 0.0))
        known = {0.0: "log", 1.0: "identity", -1.0: "inverse", 0.5: "sqrt"}
        return known.get(power, "power"), power
    if family not in _LINKS:
        stage.fail(f"family {family!r:.40} is not known.")
    link = stage.text("link", _LINKS[family]).lower()
    known_links = ("identity", "log", "inverse", "logit", "probit", "cloglog", "sqrt")
    if link not in known_links:
        stage.fail(f"link {link!r:.40} is not known.")
    return link, 1.0


def _task(stage: Stage, family: str, link: str) -> tuple[str, dict[str, Any]]:
    if family == "binomial":
        return ("logistic_shares", {}) if link == "logit" else ("squared_error", {})
    power = stage.number("variancePower", 0.0) if family == "tweedie" else _POWERS[family]
    return "tweedie", {"power": power}


@reads("regression.AFTSurvivalRegressionModel")
def _survival(stage: Stage, plan: Plan) -> None:
    operator = LinearMap(
        weight=find(stage, "coefficients"), bias=_bias(stage, "intercept"), task="log_scale"
    )
    score = plan.step(stage, operator, features(stage, plan), method="score")
    mean = plan.step(stage, Mean(link="log"), score, name="mean")
    scale = _number(stage, "scale", 1.0)
    levels = stage.numbers("quantileProbabilities") or [
        0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99,
    ]  # fmt: skip
    column = stage.text("quantilesCol")
    if column:
        factors = np.exp(np.log(-np.log1p(-np.array(levels))) * scale).tolist()
        quantiles = Derive(what="multiples", numbers_=factors)
        plan.name(stage, column, plan.step(stage, quantiles, mean, name="quantiles"))
    add_regression(stage, plan, score, mean)


@dataclass(eq=False, kw_only=True)
class Interpolate(Predictor):
    """Linear interpolation of one entry between the points of an isotonic regression."""

    bounds: Numbers
    values: Numbers
    place: int
    increasing: bool


@reads("regression.IsotonicRegressionModel")
def _isotonic(stage: Stage, plan: Plan) -> None:
    bounds, values = find(stage, "boundaries", kind="list"), find(stage, "predictions", kind="list")
    if len(bounds.values) != len(values.values) or not len(bounds.values):
        stage.fail("its points are damaged.")
    increasing = stage.flag("isotonic", True)
    steps = np.diff(values.values)
    if (np.diff(bounds.values) <= 0).any() or ((steps < 0) if increasing else (steps > 0)).any():
        stage.fail("its points are not in order.")
    operator = Interpolate(
        bounds=bounds,
        values=values,
        place=stage.integer("featureIndex", 0),
        increasing=increasing,
        task="squared_error",
    )
    score = plan.step(stage, operator, features(stage, plan), method="score")
    add_regression(stage, plan, score, score)


@dataclass(eq=False, kw_only=True)
class FactorizationMachine(Predictor):
    """Linear terms, and products of pairs of entries weighted by inner products of factors."""

    weight: Numbers | None
    bias: Numbers | None
    factors: Numbers


def _factorization(stage: Stage, plan: Plan, task: str) -> str:
    weight = find(stage, "linear") if stage.flag("fitLinear", True) else None
    operator = FactorizationMachine(
        weight=weight,
        bias=_bias(stage, "intercept"),
        factors=find(stage, "factors", kind="matrix"),
        task=task,
    )
    return plan.step(stage, operator, features(stage, plan), method="score")


@reads("regression.FMRegressionModel")
def _factorization_regression(stage: Stage, plan: Plan) -> None:
    score = _factorization(stage, plan, "squared_error")
    add_regression(stage, plan, score, score)


@reads("classification.FMClassificationModel")
def _factorization_classifier(stage: Stage, plan: Plan) -> None:
    score = _factorization(stage, plan, "logistic")
    add_classification(stage, plan, score, 2, ("two_scores",), ("sigmoid", "two_shares"))
