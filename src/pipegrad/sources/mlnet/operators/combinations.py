"""Multiclass predictors that combine binary classifiers."""

from __future__ import annotations

from dataclasses import dataclass

from ..node import Node
from ..readers import predictor, read_predictor
from ._base import Operator, Predictor
from .scoring import Softmax


@dataclass(eq=False, kw_only=True)
class Calibrated(Operator):
    """A binary score and its conversion to a probability."""

    score: Operator
    calibrator: Operator | None


@dataclass(eq=False, kw_only=True)
class OneVersusAll(Operator):
    """One predictor per class; ``normalize`` divides probabilities by their sum."""

    parts: tuple[Calibrated, ...]
    normalize: bool


@dataclass(eq=False, kw_only=True)
class PairwiseCoupling(Operator):
    """One predictor per class and per pair of classes, in row order of a triangular matrix."""

    parts: tuple[Calibrated, ...]
    classes: int


def _part(node: Node, features: int) -> Calibrated:
    inner = read_predictor(node, features)
    if inner.task != "binary" or inner.link is not None:
        raise node.block.fail("is not a binary classifier")
    return Calibrated(score=inner.score, calibrator=inner.calibrator, loader=node.block.loader)


@predictor("TLC OVA ")
def read_one_versus_all(node: Node, features: int) -> Predictor:
    """Read one predictor per class."""
    reader = node.block.reader()
    reader.float_size()
    formula, count = reader.u1(), reader.i4()
    reader.done()
    if not 1 <= count <= len(node.archive.entries) or formula > 2:
        raise reader.fail(f"has {count} parts")
    parts = tuple(_part(node.child(f"SubPredictor_{i:03d}"), features) for i in range(count))
    normalize = formula == 1
    if normalize and any(part.calibrator is None for part in parts):
        raise reader.fail("has parts without probabilities")
    operator = OneVersusAll(parts=parts, normalize=normalize, loader=node.block.loader)
    link = Softmax(loader=node.block.loader) if formula == 2 else None
    return Predictor("multiclass", operator, link=link, classes=count, probabilities=formula > 0)


@predictor("TLC PKPD")
def read_pairwise_coupling(node: Node, features: int) -> Predictor:
    """Read one predictor per class and per pair of classes."""
    reader = node.block.reader()
    reader.float_size()
    count = reader.i4()
    reader.done()
    if not 1 <= count * (count + 1) // 2 <= len(node.archive.entries):
        raise reader.fail(f"has {count} classes")
    names = [
        f"SubPredictor_{i:03d}" + ("" if i == j else f"_{j:03d}")
        for i in range(count)
        for j in range(i + 1)
    ]
    parts = tuple(_part(node.child(name), features) for name in names)
    if any(part.calibrator is None for part in parts):
        raise reader.fail("has parts without probabilities")
    operator = PairwiseCoupling(parts=parts, classes=count, loader=node.block.loader)
    return Predictor("multiclass", operator, classes=count, probabilities=True)
