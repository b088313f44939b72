"""Losses relative to those of the fitted pipeline, so that splits and candidates compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .learning_curves import Curve

# Beyond this ratio of start and end, a straight scale shows nothing of the end.
_RATIO = 20.0
# How far a chart goes for what lies above the start, or for training losses below all others, as a
# share of what it shows between.
_BEYOND = 0.25


@dataclass(frozen=True)
class Relative:
    """Curves as shares of where they started, or as differences where a loss is not positive.

    Parameters
    ----------
    curves : sequence of Curve
        Of all candidates and splits.
    """

    curves: tuple[Curve, ...]

    @property
    def shares(self) -> bool:
        """Whether a share makes sense."""
        return all(c.train[0] > 0 and c.valid[0] > 0 for c in self.curves)

    @property
    def start(self) -> float:
        """Where all curves begin."""
        return 1.0 if self.shares else 0.0

    @property
    def unit_label(self) -> str:
        """What the numbers are."""
        if self.shares:
            return "loss as a share of the fitted pipeline's"
        return "loss less that of the fitted pipeline"

    @property
    def candidates(self) -> list[str]:
        """Names in the order of the curves."""
        return list(dict.fromkeys(c.candidate for c in self.curves))

    def of(self, losses: Sequence[float]) -> NDArray[np.float64]:
        """One curve, relative to its first value."""
        values = np.asarray(losses, dtype=float)
        return values / values[0] if self.shares else values - values[0]

    def mean(self, candidate: str) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Of a candidate: training and validation over its splits, and its checkpoint.

        A run that ended early goes on as it ended.
        """
        own = [c for c in self.curves if c.candidate == candidate]
        longest = max(len(c.valid) for c in own)
        train, valid = (
            np.mean([_extended(self.of(part), longest) for part in parts], axis=0)
            for parts in ([c.train for c in own], [c.valid for c in own])
        )
        return train, valid, min(own[0].checkpoint, longest - 1)

    def bounds(self) -> tuple[float, float, bool]:
        """The lowest and highest value that a chart shows, and whether its scale is logarithmic.

        Validation losses fit in. Neither a run that went astray nor training losses that vanish
        squeeze the others.
        """
        valid, train = (
            np.concatenate([self.of(part) for part in parts])
            for parts in ([c.valid for c in self.curves], [c.train for c in self.curves])
        )
        low, high = float(np.nanmin(valid)), float(np.nanmax(valid))
        room = max(self.start - low, 1e-3)
        high = min(high, self.start + _BEYOND * room)
        if self.shares and 0 < low < 1 / _RATIO:
            return low / 1.3, max(high, 1.0) * 1.3, True
        low = min(low, max(float(np.nanmin(train)), low - _BEYOND * room))
        return low - 0.08 * room, high + 0.08 * room, False


def _extended(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.concatenate([values, np.full(count - len(values), values[-1])])


def extent(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """Ends of a scale for intervals around zero; those far below zero do not squeeze the others."""
    high = max([v for v in highs if math.isfinite(v)] + [0.0])
    low = min([v for v in lows if math.isfinite(v)] + [0.0])
    if high > 0:
        low = max(low, -high)
    room = 0.06 * (high - low) or 1e-12
    return low - room, high + room
