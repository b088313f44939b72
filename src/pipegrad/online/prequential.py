"""Prequential evaluation: learners are tested on rows before they train on them.

See Dawid (1984); Gama et al. (2013) describe fading factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Half-life of a loss, in rows.
_HALF_LIFE = 1000
# Critical values, in standard errors, for replacing the baseline and a more conservative learner.
_WANTED, _AHEAD = 2.0, 1.0
# The critical value for replacing the baseline where a change is expected.
_WANTED_EAGERLY = 1.0


class FadingLosses:
    """Prequential losses of the learners with exponential fading.

    Parameters
    ----------
    count : int
        Number of learners.
    """

    def __init__(self, count: int) -> None:
        self.weight = 0.0
        self.squares = 0.0
        self.sums = np.zeros(count)
        self.gaps = np.zeros((count, count))

    def update(self, losses: NDArray[np.float64], each: float = 1.0) -> None:
        """Add the losses (learners, n) of new rows, or means over ``each`` rows."""
        count = losses.shape[1] * each
        kept = 0.5 ** (count / _HALF_LIFE)
        gaps = losses[:, None] - losses[None]
        self.weight = kept * self.weight + count
        self.squares = kept**2 * self.squares + count * each
        self.sums = kept * self.sums + each * losses.sum(axis=1)
        self.gaps = kept * self.gaps + each * np.square(gaps).sum(axis=2)

    def copied(self) -> FadingLosses:
        """Return an independent copy."""
        new = FadingLosses(len(self.sums))
        new.weight, new.squares = self.weight, self.squares
        new.sums, new.gaps = self.sums.copy(), self.gaps.copy()
        return new

    def mean(self, learner: int) -> float:
        """Return the faded mean loss of a learner."""
        return float(self.sums[learner] / self.weight)

    def inherit(self, learner: int, like: int) -> None:
        """Give a restarted learner the loss statistics of the learner it restarts from."""
        self.sums[learner] = self.sums[like]
        self.gaps[learner] = self.gaps[like]
        self.gaps[:, learner] = self.gaps[:, like]

    def gap_to(self, other: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the excess mean loss of each learner over another one, and its standard error."""
        gap = (self.sums - self.sums[other]) / self.weight
        variance = np.maximum(self.gaps[other] / self.weight - gap**2, 0.0)
        # One row less, because the variance of a single row is unknown.
        rows = max(self.weight**2 / self.squares - 1, 1e-9)
        return gap, np.sqrt(variance / rows)

    def best_conservative(self) -> int:
        """Return the most conservative learner whose loss is within noise of the best.

        Noise is two standard errors for the baseline, and one for the other learners.
        """
        gap, error = self.gap_to(int(np.argmin(self.sums)))
        wanted = np.where(np.arange(len(gap)) == 0, _WANTED, _AHEAD)
        return int(np.argmax(gap <= wanted * error))

    def best_unless_within_noise(self, usual: int) -> int:
        """Return the best learner, or the baseline or the usual one within a standard error of it.

        For streams that are expected to change; the baseline comes first.
        """
        best = int(np.argmin(self.sums))
        gap, error = self.gap_to(best)
        if gap[0] <= _WANTED_EAGERLY * error[0]:
            return 0
        return usual if gap[usual] <= _AHEAD * error[usual] else best
