"""Latent Dirichlet allocation, whose iterations start where Spark's do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...named.operators import Step
from ..folder import Stage
from ..numbers import Numbers, find
from ..plan import Plan, reads
from .answers import name_of
from .linear import features

# The hash of the name of Spark's class, whatever seed the user sets: the model takes its seed
# before it gets its parameters.
_SEED = 1421925485


@dataclass(eq=False, kw_only=True)
class Topics(Step):
    """Shares of topics in documents.

    Parameters
    ----------
    words : Numbers
        Counts of words in topics (words, topics).
    prior : list of float
        Prior of each topic of a document.
    start : list of float
        Counts of topics before the first iteration.
    """

    words: Numbers
    prior: list[float]
    start: list[float]


@reads("clustering.LocalLDAModel")
def _topics(stage: Stage, plan: Plan) -> None:
    words = find(stage, "topicsMatrix", kind="matrix")
    prior = find(stage, "docConcentration").values
    shape = float(find(stage, "gammaShape", kind="number").values)
    count = words.values.shape[1]
    if prior.shape != (count,) or not count or not (words.values > 0).all():
        stage.fail("its topics are damaged.")
    if not 1 < shape < math.inf or not (prior > 0).all():
        stage.fail("its priors are damaged.")
    start = gamma_numbers(shape, count, _SEED)
    operator = Topics(words=words, prior=prior.tolist(), start=start)
    made = name_of(stage, "topicDistributionCol", "topicDistribution")
    plan.name(stage, made, plan.step(stage, operator, features(stage, plan)))


def gamma_numbers(shape: float, count: int, seed: int) -> list[float]:
    """Numbers of a gamma distribution with mean one, as the libraries of Spark draw them.

    Breeze implements Marsaglia and Tsang, *A simple method for generating gamma variables*, 2000,
    with numbers of the Mersenne Twister of Apache Commons Math.

    Parameters
    ----------
    shape : float
        Shape of the distribution, above one.
    count : int
        How many.
    seed : int
        Seed, of 64 bits.
    """
    words = _words(seed)
    normal = _normal_numbers(words)
    d = shape - 1 / 3
    c = 1 / math.sqrt(9 * d)
    found: list[float] = []
    while len(found) < count:
        x = next(normal)
        v = 1 + c * x
        if v <= 0:
            continue
        v = v * v * v
        u = _uniform_number(words)
        square = x * x
        if u < 1 - 0.0331 * square * square or (
            math.log(u) < 0.5 * square + d * (1 - v + math.log(v))
        ):
            found.append(1 / shape * d * v)
    return found


def _words(seed: int) -> Iterator[int]:
    """Words of 32 bits of a Mersenne Twister whose seed is a Java ``long``."""
    bits = seed & (1 << 64) - 1
    draw = np.random.RandomState([bits >> 32, bits & (1 << 32) - 1])
    while True:
        yield from draw.randint(0, 1 << 32, size=64, dtype=np.uint32).tolist()


def _uniform_number(words: Iterator[int]) -> float:
    high, low = next(words) >> 6, next(words) >> 6
    return (high << 26 | low) * 2.0**-52


def _normal_numbers(words: Iterator[int]) -> Iterator[float]:
    """Normal numbers in pairs, by the transform of Box and Muller."""
    while True:
        angle = 2 * math.pi * _uniform_number(words)
        radius = math.sqrt(-2 * math.log(_uniform_number(words)))
        yield radius * math.cos(angle)
        yield radius * math.sin(angle)
