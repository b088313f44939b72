"""Multilayer perceptrons."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ...named.operators import Predictor
from ..folder import Stage
from ..numbers import Numbers, find
from ..plan import Plan, reads
from .answers import add_classification
from .linear import features


@dataclass(eq=False, kw_only=True)
class Perceptron(Predictor):
    """Linear maps with sigmoids between them.

    Parameters
    ----------
    weights : Numbers
        All weights and biases, layer by layer; a matrix is stored column by column.
    layers : list of int
        Sizes of the layers.
    """

    weights: Numbers
    layers: list[int]


@reads("classification.MultilayerPerceptronClassificationModel")
def _perceptron(stage: Stage, plan: Plan) -> None:
    layers = stage.given("layers")
    row = stage.row()
    layers = row.get("layers", layers)
    sizes = isinstance(layers, list) and len(layers) > 1
    if not sizes or not all(isinstance(n, int) and n > 0 for n in layers):
        stage.fail("its layers are damaged.")
    weights = find(stage, "weights")
    count = sum((a + 1) * b for a, b in pairwise(layers))
    if weights.values.shape != (count,):
        stage.fail("it has another number of weights than its layers need.")
    operator = Perceptron(weights=weights, layers=layers, task="softmax")
    score = plan.step(stage, operator, features(stage, plan), method="score")
    add_classification(stage, plan, score, layers[-1], (), ("softmax",))
