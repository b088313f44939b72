"""Linear predictors of two classes, of several, and of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....errors import WriteBackError
from ..blocks import Numbers, Place
from ._base import Operator, Predictor, predictor
from .projections import increasing
from .scoring import Exponential, Softmax

if TYPE_CHECKING:
    from ..blocks import Reader
    from ..builder import Node


@dataclass(eq=False, kw_only=True)
class Weights(Operator):
    """A vector of weights that may be stored sparsely.

    Parameters
    ----------
    stored : Numbers
        What the file has.
    indices : array, optional
        Slots of the stored numbers; None where all are there.
    size : int
        Length of the vector.
    span : Place
        The bytes of counts, indices and weights.
    """

    stored: Numbers
    indices: NDArray[np.int64] | None
    size: int
    span: Place
    dense: NDArray[np.float32] | None = None

    def vector(self) -> NDArray[np.float32]:
        """All weights."""
        if self.dense is not None:
            return self.dense
        if self.indices is None:
            return self.stored.values
        out = np.zeros(self.size, dtype=np.float32)
        out[self.indices] = self.stored.values
        return out

    def put(self, new: Any) -> None:
        """Take all weights; where they do not fit in place, the block is to be written anew."""
        new = np.asarray(new).reshape(self.size).astype(np.float32)
        if not np.isfinite(new).all():
            raise WriteBackError(f"Weights of {self.span.entry!r} would not be finite.")
        if self.indices is None:
            self.stored.put(new)
            return
        others = np.ones(self.size, dtype=bool)
        others[self.indices] = False
        if new[others].any():
            self.dense = new
        else:
            self.stored.put(new[self.indices])

    def patches(self) -> Any:
        """The stored numbers, or the whole vector in their place."""
        if self.dense is None:
            yield from super().patches()
            return
        counts = np.array([0, self.size], dtype="<i4").tobytes()
        yield self.span, counts + self.dense.astype("<f4").tobytes()


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

    def patches(self) -> Any:
        """Those of the weights and of the bias."""
        yield from self.weights.patches()
        if self.bias.changed:
            yield self.bias.place, self.bias.bytes()


@dataclass(eq=False, kw_only=True)
class MulticlassLinear(Operator):
    """A row of weights for each class.

    Parameters
    ----------
    rows, columns : array, optional
        Places of the weights where they are stored sparsely.
    """

    weights: Numbers
    biases: Numbers
    features: int
    rows: NDArray[np.int64] | None = None
    columns: NDArray[np.int64] | None = None


@dataclass(eq=False, kw_only=True)
class Constant(Operator):
    """The same score for every row: ``2 p - 1``."""

    probability: Numbers


@dataclass(eq=False, kw_only=True)
class ConstantProbability(Operator):
    """The probability behind such a score."""


def read_weights(reader: Reader, features: int) -> Weights:
    """A vector of weights, dense or sparse."""
    size = reader.i4()
    if size != features:
        raise reader.fail(f"takes {size} numbers of {features}")
    start = reader.place
    indices = reader.counted()
    stored = reader.counted_numbers()
    span = Place(reader.block.entry, start, reader.place)
    if len(stored.values) == size and not len(indices):
        return Weights(stored=stored, indices=None, size=size, span=span)
    if len(stored.values) != len(indices):
        raise reader.fail("has as many weights as it has no indices")
    places = increasing(reader, indices, size)
    return Weights(stored=stored, indices=places, size=size, span=span)


def _linear(node: Node, features: int, kind: str) -> tuple[Reader, Linear]:
    reader = node.block.reader()
    reader.float_size()
    bias = reader.number()
    weights = read_weights(reader, features)
    return reader, Linear(weights=weights, bias=bias, kind=kind, loader=node.block.loader)


@predictor("LINEAR2C", versions=(0x00020001, 0x00020002))
def read_binary(node: Node, features: int) -> Predictor:
    """Two classes; statistics may follow."""
    return Predictor("binary", _linear(node, features, "binary")[1])


@predictor("LIN RGRS", versions=(0x00020001,))
def read_regression(node: Node, features: int) -> Predictor:
    """Numbers."""
    reader, operator = _linear(node, features, "regression")
    reader.done()
    return Predictor("regression", operator)


@predictor("OLS RGRS")
def read_least_squares(node: Node, features: int) -> Predictor:
    """Numbers, with statistics of the training behind the weights."""
    return Predictor("regression", _linear(node, features, "regression")[1])


@predictor("POI RGRS", versions=(0x00020001,))
def read_poisson(node: Node, features: int) -> Predictor:
    """Counts."""
    reader, operator = _linear(node, features, "poisson")
    reader.done()
    return Predictor("regression", operator, link=Exponential(loader=node.block.loader))


@predictor("MULTI LR", versions=(0x00010003,))
def read_maximum_entropy(node: Node, features: int) -> Predictor:
    """Several classes with probabilities."""
    out = _multiclass(node, features)
    out.link = Softmax(loader=node.block.loader)
    return out


@predictor("MCLINEAR")
def read_multiclass(node: Node, features: int) -> Predictor:
    """Several classes without probabilities."""
    return _multiclass(node, features)


def _multiclass(node: Node, features: int) -> Predictor:
    reader = node.block.reader()
    reader.float_size()
    width, classes = reader.i4(), reader.count(4, "classes", least=1)
    if width != features:
        raise reader.fail(f"takes {width} numbers of {features}")
    biases = reader.numbers(classes)
    starts, columns = reader.counted(), reader.counted()
    weights = reader.counted_numbers()
    named = reader.flag()
    labels = _label_names(node, classes) if named else None
    operator = MulticlassLinear(
        weights=weights, biases=biases, features=width, loader=node.block.loader
    )
    if not len(starts):
        if weights.values.size != classes * width or len(columns):
            raise reader.fail("has weights for other slots")
        operator.weights = weights.shaped(classes, width)
    else:
        _place_sparse(reader, operator, starts, columns)
    return Predictor("multiclass", operator, classes=classes, labels=labels)


def _place_sparse(
    reader: Reader,
    operator: MulticlassLinear,
    starts: NDArray[np.int32],
    columns: NDArray[np.int32],
) -> None:
    classes, count = operator.biases.values.size, operator.weights.values.size
    steps = np.diff(starts)
    if len(starts) != classes + 1 or starts[0] != 0 or starts[-1] != count or (steps < 0).any():
        raise reader.fail("has rows of weights that do not follow each other")
    inside = len(columns) == count and (columns >= 0).all() and (columns < operator.features).all()
    if not inside:
        raise reader.fail("has indices that reach too far")
    operator.rows = np.repeat(np.arange(classes), steps)
    operator.columns = columns.astype(np.int64)
    places = operator.rows * operator.features + operator.columns
    if (np.diff(places) <= 0).any():
        raise reader.fail("has indices that do not rise")


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
    """The share of positives."""
    reader = node.block.reader()
    reader.float_size()
    probability = reader.number()
    reader.done()
    operator = Constant(probability=probability, loader=node.block.loader)
    return Predictor("binary", operator, calibrator=ConstantProbability(loader=operator.loader))
