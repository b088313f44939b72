"""Linear predictors: binary and multiclass classifiers, and regressors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..binary import Numbers, Reader
from ..node import Node
from ..readers import predictor
from ._base import Operator, Predictor, width_mismatch
from .scoring import Exponential, Softmax
from .vectors import Weights, read_matrix, read_vector


@dataclass(eq=False, kw_only=True)
class Linear(Operator):
    """``weights @ x + bias``.

    Parameters
    ----------
    kind : str
        "binary", "regression" or "poisson".
    calibrated : bool
        Whether a calibrator follows.
    """

    weights: Weights
    bias: Numbers
    kind: str


@dataclass(eq=False, kw_only=True)
class MulticlassLinear(Operator):
    """A row of weights for each class.

    Parameters
    ----------
    probabilities : bool
        Whether the scores become probabilities.
    """

    weights: Weights
    biases: Numbers
    probabilities: bool = False


@dataclass(eq=False, kw_only=True)
class Constant(Operator):
    """The same score for every row: ``2 p - 1``."""

    probability: Numbers


@dataclass(eq=False, kw_only=True)
class ConstantProbability(Operator):
    """The probability that corresponds to such a score."""


def _linear(node: Node, features: int, kind: str) -> tuple[Reader, Linear]:
    reader = node.block.reader()
    reader.float_size()
    bias = reader.number()
    weights = read_vector(reader, features)
    return reader, Linear(weights=weights, bias=bias, kind=kind, loader=node.block.loader)


@predictor("LINEAR2C", versions=(0x00020001, 0x00020002))
def read_binary(node: Node, features: int) -> Predictor:
    """Read a binary classifier; training statistics after the weights are ignored."""
    return Predictor("binary", _linear(node, features, "binary")[1])


@predictor("LIN RGRS", versions=(0x00020001,))
def read_regression(node: Node, features: int) -> Predictor:
    """Numbers."""
    reader, operator = _linear(node, features, "regression")
    reader.done()
    return Predictor("regression", operator)


@predictor("OLS RGRS")
def read_least_squares(node: Node, features: int) -> Predictor:
    """Read a regressor; training statistics follow its weights."""
    return Predictor("regression", _linear(node, features, "regression")[1])


@predictor("POI RGRS", versions=(0x00020001,))
def read_poisson(node: Node, features: int) -> Predictor:
    """Counts."""
    reader, operator = _linear(node, features, "poisson")
    reader.done()
    return Predictor("regression", operator, link=Exponential(loader=node.block.loader))


@predictor("MULTI LR", versions=(0x00010003,))
def read_maximum_entropy(node: Node, features: int) -> Predictor:
    """Read a multiclass model with probabilities."""
    out = _multiclass(node, features, True)
    out.link, out.probabilities = Softmax(loader=node.block.loader), True
    return out


@predictor("MCLINEAR")
def read_multiclass(node: Node, features: int) -> Predictor:
    """Read a multiclass model without probabilities."""
    return _multiclass(node, features, False)


def _multiclass(node: Node, features: int, probabilities: bool) -> Predictor:
    reader = node.block.reader()
    reader.float_size()
    width, classes = reader.i4(), reader.count(4, "classes", least=1)
    if width_mismatch(width, features) or width < 0:
        raise reader.fail(f"expects {width} features, but gets {features}")
    biases = reader.numbers(classes)
    weights = read_matrix(reader, classes, width)
    if reader.left:
        reader.flag()  # Whether label names are stored, which their file shows as well.
    labels = _label_names(node, classes)
    loader = node.block.loader
    operator = MulticlassLinear(
        weights=weights, biases=biases, probabilities=probabilities, loader=loader
    )
    return Predictor("multiclass", operator, classes=classes, labels=labels)


def _label_names(node: Node, classes: int) -> NDArray[Any] | None:
    name = f"{node.path}/LabelNames"
    if name not in node.archive:
        return None
    data = node.archive.unpack(name)
    if len(data) != 4 * classes:
        raise node.archive.fail(f"{name!r} has names for other classes.")
    names = [node.block.string(int(i)) or "" for i in np.frombuffer(data, "<i4")]
    return np.array(names, dtype=object)


@predictor("PRIORPRD")
def read_prior(node: Node, features: int) -> Predictor:
    """Read the share of positives."""
    reader = node.block.reader()
    reader.float_size()
    probability = reader.number()
    reader.done()
    operator = Constant(probability=probability, loader=node.block.loader)
    return Predictor("binary", operator, calibrator=ConstantProbability(loader=operator.loader))
