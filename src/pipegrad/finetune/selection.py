"""Whether training helped: paired losses on rows that nothing was fitted on, and their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Share of the loss below which a gain is no gain.
MIN_RELATIVE_GAIN = 1e-3
# Fewer rows than this are few: their noise is itself known badly.
SMALL_SAMPLE = 1000
# Two halves: with more parts the choices share rows, and the error comes out too small.
_GROUPS = 2
_REPEATS = 8
_FLOOR = 1e-12
# Standard errors for which the error of few splits is right.
_LOOK = 2.0


@dataclass(frozen=True)
class Selection:
    """What the rows say.

    Attributes
    ----------
    best : tuple of int, optional
        Candidate and checkpoint that did best; None where none may be compared.
    gain : float
        How much lower the loss of a row gets by choosing as we do, on rows that had no part in
        the choice.
    error : float
        Standard error of ``gain``.
    wanted : float
        How many standard errors the gain has to be away from zero.
    before : float
        Loss of the fitted pipeline.
    floor : float
        What rounding may gain.
    """

    best: tuple[int, int] | None
    gain: float
    error: float
    critical_z: float
    before: float
    floor: float = _FLOOR

    @property
    def significant(self) -> bool:
        """Whether the gain is more than noise, and worth a change."""
        if self.best is None or not np.isfinite(self.gain):
            return False
        return bool(
            self.gain
            > max(self.critical_z * self.error, MIN_RELATIVE_GAIN * abs(self.before), self.floor)
        )


def critical_value(count: int) -> float:
    """How many standard errors a gain on ``count`` rows needs.

    One look would need two. There are up to five, after as many splits; with 2.4 for each, they
    all together take chance for a gain about as often (Pocock, 1977).
    """
    return 2.4 if count >= SMALL_SAMPLE else 3.0


def select_candidate(
    start: NDArray[np.float64],
    losses: NDArray[np.float64],
    seed: int,
    size: float = 1.0,
    split: NDArray[np.int64] | None = None,
) -> Selection:
    """Choose among checkpoints, and measure on other rows what such a choice is worth.

    The loss of the best of many checkpoints flatters, since chance has a part in which is best.
    So the rows are split in halves, the choice is made on each and measured on the other, and this
    is repeated for other splits.

    Parameters
    ----------
    start : array of shape (n,)
        Loss of each row under the fitted pipeline.
    losses : array of shape (candidates, checkpoints, n)
        Loss of each row under each checkpoint; one that is not finite excludes the checkpoint.
    seed : int
        Of the halves.
    size : float
        Of what the losses compare with. Where that is small, so are squared errors, and rounding.
    split : array of shape (n,), optional
        Where rows of a split resemble each other, as those of a time or a group do, the number of
        each row's split: splits are then what is counted, not rows.

    Returns
    -------
    Selection
        The best by all rows, with the gain on rows that had no part in choosing.
    """
    count = len(start)
    wanted, before = critical_value(count), float(start.mean())
    floor = _FLOOR * min(size, 1.0) ** 2
    flat = losses.reshape(-1, count)
    usable = np.asarray(np.isfinite(flat).all(axis=1))
    if not usable.any() or count < 2:
        return Selection(None, 0.0, 0.0, wanted, before, floor=floor)
    gains = np.where(usable[:, None], start - np.where(usable[:, None], flat, 0.0), 0.0)
    squares = gains**2
    mean, variance, on_rows = 0.0, 0.0, np.zeros(count)
    generator = np.random.default_rng(seed)
    groups = min(_GROUPS, count)
    for _ in range(_REPEATS):
        group = generator.permutation(np.arange(count) % groups)
        others = (group[:, None] != np.arange(groups)).astype(float)
        bounds = _lower(gains @ others, squares @ others, others.sum(axis=0))
        bounds[~usable] = -np.inf
        chosen = bounds.argmax(axis=0)
        stays = bounds[chosen, np.arange(groups)] <= 0
        credit = np.where(stays[group], 0.0, gains[chosen[group], np.arange(count)])
        mean += float(credit.mean()) / _REPEATS
        # Repeats share their rows, so their noise does not average out.
        variance += float(credit.var(ddof=1)) / _REPEATS
        on_rows += credit / _REPEATS
    bounds = _lower(gains.sum(axis=1), squares.sum(axis=1), np.array(float(count)))
    bounds[~usable] = -np.inf
    place = np.unravel_index(int(bounds.argmax()), losses.shape[:2])
    error = float(np.sqrt(variance / count))
    if split is not None:
        error = max(error, _between(on_rows, split))
    best = (int(place[0]), int(place[1]))
    return Selection(best, mean, error, wanted, before, floor)


def _between(credit: NDArray[np.float64], split: NDArray[np.int64]) -> float:
    """Standard error of the mean from the means of splits, wider as there are fewer (Student)."""
    means = np.array([credit[split == one].mean() for one in np.unique(split)])
    if len(means) < 2:
        return 0.0
    wider = stats.t.ppf(stats.norm.cdf(_LOOK), len(means) - 1) / _LOOK
    return float(wider * means.std(ddof=1) / np.sqrt(len(means)))


def _lower(
    total: NDArray[np.float64], squares: NDArray[np.float64], count: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean gain less its standard error: of two equal gains, the surer one."""
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0) / np.maximum(count - 1, 1.0)
    return np.asarray(mean - np.sqrt(variance))
