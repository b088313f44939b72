"""Naive Bayes, in all four kinds."""

from __future__ import annotations

from dataclasses import dataclass

from ...named.operators import Predictor
from ..folder import Stage
from ..numbers import Numbers, find
from ..plan import Plan, reads
from .answers import add_classification
from .linear import features


@dataclass(eq=False, kw_only=True)
class JointLogProbabilities(Predictor):
    """Log-probability of each class and a row.

    Parameters
    ----------
    variant : {"multinomial", "bernoulli", "complement", "gaussian"}
        How entries are distributed.
    prior, theta, sigma : Numbers
        Logarithms of the priors, and numbers of the distributions.
    """

    variant: str
    prior: Numbers
    theta: Numbers
    sigma: Numbers | None = None


@reads("classification.NaiveBayesModel")
def _naive_bayes(stage: Stage, plan: Plan) -> None:
    variant = stage.text("modelType", "multinomial")
    if variant not in ("multinomial", "bernoulli", "complement", "gaussian"):
        stage.fail(f"model type {variant!r:.40} is not known.")
    prior, theta = find(stage, "pi"), find(stage, "theta", kind="matrix")
    sigma = find(stage, "sigma", kind="matrix") if variant == "gaussian" else None
    classes = theta.values.shape[0]
    alike = sigma is None or sigma.values.shape == theta.values.shape
    if not alike or (variant != "complement" and prior.values.shape != (classes,)):
        stage.fail("its numbers differ in size.")
    operator = JointLogProbabilities(
        variant=variant, prior=prior, theta=theta, sigma=sigma, task="likelihood"
    )
    score = plan.step(stage, operator, features(stage, plan), method="score")
    # Spark normalizes the scores of this kind alone.
    raw = ("log_softmax",) if variant == "complement" else ()
    add_classification(stage, plan, score, classes, raw, ("softmax",))
