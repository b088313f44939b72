"""Losses of learners on rows before they learned from them, and what these losses tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Rows after which a loss counts half.
_HALF_LIFE = 1000
# Standard errors by which a learner has to be ahead of the pipeline as it was, and of a calmer one.
_WANTED, _AHEAD = 2.0, 1.0


class FadingLosses:
    """What the learners' losses were before they learned, forgotten little by little.

    Parameters
    ----------
    count : int
        How many learners.
    """

    def __init__(self, count: int) -> None:
        self.weight = 0.0
        self.squares = 0.0
        self.sums = np.zeros(count)
        self.gaps = np.zeros((count, count))

    def update(self, losses: NDArray[np.float64], each: float = 1.0) -> None:
        """Take the losses (learners, n) of new rows, or the means of ``each`` rows."""
        count = losses.shape[1] * each
        kept = 0.5 ** (count / _HALF_LIFE)
        gaps = losses[:, None] - losses[None]
        self.weight = kept * self.weight + count
        self.squares = kept**2 * self.squares + count * each
        self.sums = kept * self.sums + each * losses.sum(axis=1)
        self.gaps = kept * self.gaps + each * np.square(gaps).sum(axis=2)

    def copied(self) -> FadingLosses:
        """A copy of its own."""
        new = FadingLosses(len(self.sums))
        new.weight, new.squares = self.weight, self.squares
        new.sums, new.gaps = self.sums.copy(), self.gaps.copy()
        return new

    def mean(self, learner: int) -> float:
        """Mean loss of a learner."""
        return float(self.sums[learner] / self.weight)

    def inherit(self, learner: int, like: int) -> None:
        """A learner that starts again from another one has that one's past."""
        self.sums[learner] = self.sums[like]
        self.gaps[learner] = self.gaps[like]
        self.gaps[:, learner] = self.gaps[:, like]

    def gap_to(self, other: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """By how much each learner's mean loss is above that of another one, and the noise."""
        gap = (self.sums - self.sums[other]) / self.weight
        variance = np.maximum(self.gaps[other] / self.weight - gap**2, 0.0)
        # As of one row less: a single row tells nothing.
        rows = max(self.weight**2 / self.squares - 1, 1e-9)
        return gap, np.sqrt(variance / rows)

    def best_conservative(self) -> int:
        """The calmest learner that is not behind the best by more than the noise."""
        best = int(np.argmin(self.sums))
        gap, error = self.gap_to(best)
        wanted = np.where(np.arange(len(gap)) == 0, _WANTED, _AHEAD)
        return int(np.argmax(gap <= wanted * error))
