"""Model selection with a significance test on paired validation losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Smallest relative loss reduction that counts as a gain.
MIN_RELATIVE_GAIN = 1e-3
# The same where splits differ, in time: the next period may differ more than the splits did.
MIN_DRIFTING_GAIN = 1e-2
# With fewer rows, the standard error itself is poorly estimated.
SMALL_SAMPLE = 1000
# Two halves: with more parts, the selections share rows and the standard error is underestimated.
_GROUPS = 2
_REPEATS = 8
_FLOOR = 1e-12
# Critical value at which the standard error over few splits is corrected (Student's t).
_LOOK = 2.0


Place = tuple[int, int]  # index of a candidate and of its checkpoint


@dataclass(frozen=True)
class Halves:
    """A random division of the rows into parts, and what was selected without each part.

    Attributes
    ----------
    part : array of int, shape (n,)
        The part of each row.
    chosen : tuple of (int, int) or None
        For each part, the candidate and the checkpoint selected on the other rows; None for the
        baseline.
    """

    part: NDArray[np.int64]
    chosen: tuple[Place | None, ...]


@dataclass(frozen=True)
class Selection:
    """Result of model selection.

    Attributes
    ----------
    best : tuple of int, optional
        Index of the best candidate and of its checkpoint; None if no candidate has finite losses.
    gain : float
        Mean loss reduction on rows that were not used for the selection.
    error : float
        Standard error of ``gain``.
    critical_z : float
        Critical value: the number of standard errors that a significant gain exceeds.
    before : float
        Loss of the baseline.
    floor : float
        Largest gain that rounding errors may produce.
    least : float
        Smallest relative loss reduction that counts as a gain.
    halves : tuple of Halves
        The selections that ``gain`` is measured on, for other measures of the same selection.
    """

    best: Place | None
    gain: float
    error: float
    critical_z: float
    before: float
    floor: float = _FLOOR
    least: float = MIN_RELATIVE_GAIN
    halves: tuple[Halves, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether the gain exceeds noise and the smallest relevant loss reduction."""
        if self.best is None or not np.isfinite(self.gain):
            return False
        return bool(
            self.gain > max(self.critical_z * self.error, self.least * abs(self.before), self.floor)
        )


def critical_value(count: int, once: bool = False) -> float:
    """Return the critical value, in standard errors, for a gain on ``count`` rows.

    A single test, ``once``, uses 2. Otherwise there are up to five interim looks, one after each
    split; the constant group-sequential boundary of Pocock (1977) for five looks, 2.4, keeps the
    overall false-positive rate about the same. Small samples use 3.
    """
    if count < SMALL_SAMPLE:
        return 3.0
    return 2.0 if once else 2.4


def select_candidate(
    start: NDArray[np.float64],
    losses: NDArray[np.float64],
    seed: int,
    size: float = 1.0,
    cluster: NDArray[np.int64] | None = None,
    drifting: bool = False,
) -> Selection:
    """Select a checkpoint, and estimate the gain of this selection on other rows.

    The loss of the best of many checkpoints is optimistically biased. The rows are therefore split
    into halves, the selection is made on each half and evaluated on the other one, and this is
    repeated for several random splits.

    Parameters
    ----------
    start : array of shape (n,)
        Per-sample loss of the baseline.
    losses : array of shape (candidates, checkpoints, n)
        Per-sample loss of each checkpoint; a non-finite loss excludes the checkpoint.
    seed : int
        Seed for the random halves.
    size : float
        Root mean square of the target, which sets the scale of squared errors and of rounding.
    cluster : array of shape (n,), optional
        The split or the group of each row, if rows of one split (in time) or of one group are
        correlated. The standard error is then computed over clusters instead of rows.
    drifting : bool
        Whether splits differ because the rows are in time, or may be. A gain is then accepted after
        the last split only, rather than after any of them, and it has to be larger.

    Returns
    -------
    Selection
        The best checkpoint on all rows, with the gain on rows that were not used to select it.
    """
    count = len(start)
    least = MIN_DRIFTING_GAIN if drifting else MIN_RELATIVE_GAIN
    wanted, before = critical_value(count, drifting), float(start.mean())
    floor = _FLOOR * min(size, 1.0) ** 2
    flat = losses.reshape(-1, count)
    usable = np.asarray(np.isfinite(flat).all(axis=1))
    if not usable.any() or count < 2:
        return Selection(None, 0.0, 0.0, wanted, before, floor, least)
    gains = np.where(usable[:, None], start - np.where(usable[:, None], flat, 0.0), 0.0)
    squares = gains**2
    halves = []
    generator = np.random.default_rng(seed)
    groups = min(_GROUPS, count)
    for _ in range(_REPEATS):
        group = generator.permutation(np.arange(count) % groups)
        others = (group[:, None] != np.arange(groups)).astype(float)
        bounds = _lower(gains @ others, squares @ others, others.sum(axis=0))
        bounds[~usable] = -np.inf
        chosen = bounds.argmax(axis=0)
        stays = bounds[chosen, np.arange(groups)] <= 0
        places = zip(*np.unravel_index(chosen, losses.shape[:2]), strict=True)
        picked = [None if stay else place for stay, place in zip(stays, places, strict=True)]
        halves.append(Halves(group, tuple(picked)))
    table = gains.reshape(losses.shape)
    none = np.zeros(count)
    mean, error = cross_fitted_mean(halves, lambda p: none if p is None else table[p], cluster)
    bounds = _lower(gains.sum(axis=1), squares.sum(axis=1), np.array(float(count)))
    bounds[~usable] = -np.inf
    place = np.unravel_index(int(bounds.argmax()), losses.shape[:2])
    best = (int(place[0]), int(place[1]))
    return Selection(best, mean, error, wanted, before, floor, least, tuple(halves))


def cross_fitted_mean(
    halves: Sequence[Halves],
    gains: Callable[[Place | None], NDArray[np.float64]],
    cluster: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """Return the mean gain of selections on rows that they were not made on, and its error.

    Parameters
    ----------
    halves : sequence of Halves
        The selections.
    gains : callable
        The gain of each row (n,) for a candidate and a checkpoint, or for the baseline (None);
        rows with NaN do not count.
    cluster : array of shape (n,), optional
        The split or the group of each row, if rows of one split or of one group are correlated.

    Returns
    -------
    mean, error : float
        The mean gain, and its standard error.
    """
    count = len(halves[0].part)
    mean, variance, on_rows = 0.0, 0.0, np.zeros(count)
    for one in halves:
        credit = np.zeros(count)
        for part, place in enumerate(one.chosen):
            rows = one.part == part
            credit[rows] = gains(place)[rows]
        known = credit[~np.isnan(credit)]
        mean += float(known.mean()) / len(halves)
        # Repeats use the same rows, so their errors do not average out.
        variance += float(known.var(ddof=1)) / len(halves)
        on_rows += credit / len(halves)
    error = float(np.sqrt(variance / len(known)))
    if cluster is not None:
        counts = ~np.isnan(on_rows)
        error = max(error, _between(on_rows[counts], cluster[counts]))
    return mean, error


def successive_parts(count: int, parts: int) -> NDArray[np.int64]:
    """Return the part of each row, for parts of successive rows that differ by one at most."""
    ends = [count * part // parts for part in range(parts + 1)]
    return np.repeat(np.arange(parts), np.diff(ends))


def _between(credit: NDArray[np.float64], cluster: NDArray[np.int64]) -> float:
    """Standard error of the mean over clusters, widened for few clusters (Student's t)."""
    labels, place = np.unique(cluster, return_inverse=True)
    count = len(labels)
    if count < 2:
        return 0.0
    sums = np.bincount(place, credit - credit.mean(), minlength=count)
    wider = stats.t.ppf(stats.norm.cdf(_LOOK), count - 1) / _LOOK
    return float(wider * np.sqrt(count / (count - 1) * (sums**2).sum()) / len(credit))


def _lower(
    total: NDArray[np.float64], squares: NDArray[np.float64], count: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean gain minus its standard error; prefers the more certain of two equal gains."""
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0) / np.maximum(count - 1, 1.0)
    return np.asarray(mean - np.sqrt(variance))
