"""Calibrators: from a score to a probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..binary import Numbers
from ..node import Node
from ..readers import calibrator
from ._base import Operator


@dataclass(eq=False, kw_only=True)
class Platt(Operator):
    """Probability 1 / (1 + exp(slope * score + offset))."""

    slope: Numbers
    offset: Numbers


@dataclass(eq=False, kw_only=True)
class Isotonic(Operator):
    """Constant on each piece, linear between two pieces."""

    low: Numbers
    high: Numbers
    level: Numbers


@dataclass(eq=False, kw_only=True)
class Binned(Operator):
    """One probability for each equal-width bin."""

    width: float
    start: float
    level: Numbers


@calibrator("PLATTCAL")
def read_platt(node: Node) -> Platt:
    """Read slope and offset."""
    reader = node.block.reader()
    slope, offset = reader.number("<f8"), reader.number("<f8")
    reader.done()
    return Platt(slope=slope, offset=offset, loader=node.block.loader)


@calibrator("PAV  CAL")
def read_isotonic(node: Node) -> Isotonic:
    """Read the pieces: smallest score, largest score and level."""
    reader = node.block.reader()
    reader.float_size()
    count = reader.count(12, "pieces", least=1)
    pieces = reader.numbers(3 * count).shaped(count, 3)
    reader.done()
    low, high, level = pieces.values.T
    rising = (np.diff(level) >= 0).all() and (low <= high).all() and (high[:-1] <= low[1:]).all()
    if not rising or level[0] < 0 or level[-1] > 1:
        raise reader.fail("has pieces that are not increasing")
    # The three columns share one location, which is safe because none of them trains.
    return Isotonic(
        low=_column(pieces, 0),
        high=_column(pieces, 1),
        level=_column(pieces, 2),
        loader=node.block.loader,
    )


def _column(pieces: Numbers, index: int) -> Numbers:
    return Numbers(pieces.values[:, index], pieces.place, pieces.written[:, index])


@calibrator("NAIVECAL")
def read_binned(node: Node) -> Binned:
    """Read equal-width bins."""
    reader = node.block.reader()
    reader.float_size()
    width, start = float(reader.number().values), float(reader.number().values)
    level = reader.counted_numbers()
    reader.done()
    if width <= 0 or not level.values.size:
        raise reader.fail("has no bins")
    if (level.values < 0).any() or (level.values > 1).any():
        raise reader.fail("has probabilities outside [0, 1]")
    return Binned(width=width, start=start, level=level, loader=node.block.loader)
