"""Predictors that are neither linear models nor trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..binary import Numbers
from ..node import Node
from ..readers import predictor
from ._base import Operator, Predictor, width_mismatch
from .scoring import Sigmoid


@dataclass(eq=False, kw_only=True)
class LocalMachine(Operator):
    """A local deep support vector machine: a tree whose nodes each add a score."""

    weight: Numbers
    weight_bias: Numbers
    gate: Numbers
    gate_bias: Numbers
    route: Numbers
    route_bias: Numbers
    sharpness: Numbers


@dataclass(eq=False, kw_only=True)
class Factorization(Operator):
    """A field-aware factorization machine."""

    linear: Numbers
    latent: Numbers
    normalize: bool


@dataclass(eq=False, kw_only=True)
class NaiveBayes(Operator):
    """Naive Bayes: counts of present features per class."""

    labels: NDArray[np.int32]
    counts: NDArray[np.int32]
    absent: NDArray[np.float64]


@dataclass(eq=False, kw_only=True)
class Additive(Operator):
    """A generalized additive model: a step function of each feature."""

    bias: Numbers
    effects: tuple[Numbers, ...]
    bounds: tuple[NDArray[np.float64], ...]
    features: NDArray[np.int64]


@predictor("LDSVM BC")
def read_local_machine(node: Node, features: int) -> Predictor:
    """Read the weights of the nodes."""
    reader = node.block.reader()
    reader.float_size()
    leaves, width = reader.i4(), reader.i4()
    if width_mismatch(width, features) or leaves < 1 or leaves & (leaves - 1) or leaves > 1 << 20:
        raise reader.fail(f"has {leaves} leaves for {width} numbers of {features}")
    nodes, inner = 2 * leaves - 1, leaves - 1
    sharpness = reader.number()
    weight = reader.numbers(nodes * width).shaped(nodes, width)
    gate = reader.numbers(nodes * width).shaped(nodes, width)
    route = reader.numbers(inner * width).shaped(inner, width)
    weight_bias, route_bias = reader.numbers(nodes), reader.numbers(inner)
    gate_bias = reader.numbers(nodes)
    reader.done()
    operator = LocalMachine(
        weight=weight,
        weight_bias=weight_bias,
        gate=gate,
        gate_bias=gate_bias,
        route=route,
        route_bias=route_bias,
        sharpness=sharpness,
        loader=node.block.loader,
    )
    return Predictor("binary", operator)


@predictor("FAFAMAPD")
def read_factorization(node: Node, features: int) -> Predictor:
    """Read linear weights, and latent vectors per feature and field."""
    reader = node.block.reader()
    normalize = reader.flag()
    fields, width, latent = reader.i4(), reader.i4(), reader.i4()
    if width_mismatch(width, features) or fields < 1 or latent < 1:
        raise reader.fail(f"expects {width} features, but gets {features}")
    linear, vectors = reader.counted_numbers(), reader.counted_numbers()
    reader.done()
    if linear.values.size != width or vectors.values.size != width * fields * latent:
        raise reader.fail("has weights for other features")
    operator = Factorization(
        linear=linear,
        latent=vectors.shaped(width, fields, latent),
        normalize=normalize,
        loader=node.block.loader,
    )
    return Predictor("binary", operator, calibrator=Sigmoid(loader=node.block.loader))


@predictor("MNABYPRD")
def read_naive_bayes(node: Node, features: int) -> Predictor:
    """Read counts per class."""
    reader = node.block.reader()
    reader.float_size()
    labels = reader.counted()
    width = reader.i4()
    if width_mismatch(width, features) or not len(labels) or (labels < 0).any():
        raise reader.fail(f"expects {width} features, but gets {features}")
    present = int((labels > 0).sum())
    if width < 0 or present * width * 4 > reader.left:
        raise reader.fail("has counts for other classes")
    node.archive.fill(len(labels) * width, f"{node.path!r}")
    counts = np.zeros((len(labels), width), dtype=np.int32)
    for label in np.flatnonzero(labels):
        counts[label] = reader.array(width)
    absent = reader.array(len(labels), "<f8")
    reader.done()
    if (counts < 0).any() or (counts > labels[:, None]).any():
        raise reader.fail("counts more features than rows")
    operator = NaiveBayes(labels=labels, counts=counts, absent=absent, loader=node.block.loader)
    return Predictor("multiclass", operator, classes=len(labels))


@predictor("GAM REGP", versions=(0x00010002,))
def read_additive_regression(node: Node, features: int) -> Predictor:
    """Numbers."""
    return Predictor("regression", _additive(node, features))


@predictor("GAM BINP", versions=(0x00010002,))
def read_additive_binary(node: Node, features: int) -> Predictor:
    """Two classes."""
    return Predictor("binary", _additive(node, features))


def _additive(node: Node, features: int) -> Additive:
    reader = node.block.reader()
    shapes, width = reader.count(12, "shapes"), reader.i4()
    if width_mismatch(width, features):
        raise reader.fail(f"expects {width} features, but gets {features}")
    bias = reader.number("<f8")
    effects = tuple(reader.counted_numbers("<f8") for _ in range(shapes))
    bounds = tuple(reader.array(e.values.size, "<f8") for e in effects)
    of = np.full(shapes, -1, dtype=np.int64)
    for _ in range(reader.count(8, "features")):
        feature, shape = reader.i4(), reader.i4()
        if not (0 <= feature < width and 0 <= shape < shapes):
            raise reader.fail("has shapes for other features")
        of[shape] = feature
    reader.done()
    for one in bounds:
        if not len(one) or not (one[1:] > one[:-1]).all():
            raise reader.fail("has bounds that are not increasing")
    # The module keeps bounds as one table.
    node.archive.fill(shapes * max(map(len, bounds), default=0), f"{node.path!r}")
    if (of < 0).any():
        raise reader.fail("has no shapes")
    return Additive(
        bias=bias, effects=effects, bounds=bounds, features=of, loader=node.block.loader
    )
