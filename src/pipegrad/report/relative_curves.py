"""Losses relative to the fitted pipeline, so that splits and candidates are comparable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .learning_curves import Curve

# Beyond this ratio of start to end, the scale is logarithmic: a linear one would hide the end.
_RATIO = 20.0
# How far a chart extends above the start, or below all validation losses for training losses, as a
# share of the range in between.
_BEYOND = 0.25


@dataclass(frozen=True)
class Relative:
    """Curves as ratios to their first value, or as differences if a loss is not positive.

    Parameters
    ----------
    curves : sequence of Curve
        Learning curves of all candidates and splits.
    """

    curves: tuple[Curve, ...]

    @property
    def shares(self) -> bool:
        """Whether ratios are defined: all initial losses are positive."""
        return all(c.train[0] > 0 and c.valid[0] > 0 for c in self.curves)

    @property
    def start(self) -> float:
        """The value at which all curves begin."""
        return 1.0 if self.shares else 0.0

    @property
    def unit_label(self) -> str:
        """The label of the loss axis."""
        if self.shares:
            return "loss relative to the fitted pipeline"
        return "difference in loss from the fitted pipeline"

    @property
    def candidates(self) -> list[str]:
        """Names of the candidates in the order of the curves."""
        return list(dict.fromkeys(c.candidate for c in self.curves))

    def of(self, losses: Sequence[float]) -> NDArray[np.float64]:
        """One curve, relative to its first value."""
        values = np.asarray(losses, dtype=float)
        return values / values[0] if self.shares else values - values[0]

    def mean(self, candidate: str) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Mean training and validation curves of a candidate over its splits, and its checkpoint.

        A run that stopped early is extended with its last value.
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

        All validation losses down to the lowest are shown. Neither a run that diverged nor
        vanishing training losses compress the others.
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
    """Ends of a scale for intervals around zero; those far below zero are cut off."""
    high = max([v for v in highs if math.isfinite(v)] + [0.0])
    low = min([v for v in lows if math.isfinite(v)] + [0.0])
    if high > 0:
        low = max(low, -high)
    room = 0.06 * (high - low) or 1e-12
    return low - room, high + room
