"""Tests of whether rows that a pipeline was not fitted on depend on each other.

Rows drawn independently from one distribution are exchangeable: the residuals of a pipeline on rows
that it was not fitted on then say nothing about each other. In a time series, or where several rows
belong to one patient, residuals of neighbouring rows, or of rows of one group, are alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# Standard errors beyond which residuals depend on each other; docs/no-harm.md tells how often
# independent rows exceed it.
CRITICAL_Z = 5.0
# Numbers of following rows with which each row is compared; the last one is this share of the rows.
_WINDOWS = (1, 5, 25)
_LONGEST = 0.1
# Numbers of half waves over all rows with which slow drift is compared.
_HALF_WAVES = (1, 2, 3)
# Ranks that vary less are constant but for rounding.
_CONSTANT = 1e-9
# Share of steps in one direction from which the rows count as sorted by their target.
_SORTED = 0.95


@dataclass(frozen=True)
class Correlation:
    """The mean correlation of pairs of residuals.

    Attributes
    ----------
    mean : float
        Mean inner product of the residuals of a pair, as a share of their mean squared norm.
    z : float
        The same in standard errors under exchangeability.
    """

    mean: float = 0.0
    z: float = 0.0

    @property
    def significant(self) -> bool:
        """Whether independent rows would almost never have such a correlation."""
        return self.z > CRITICAL_Z


def comparable(residuals: Array, classes: Index | None) -> Array:
    """Return the ranks of residuals within each class, centered, with unit mean square.

    Ranks keep outliers from deciding. Within a class they tell nothing about the class, so that
    rows sorted by class alone look like any others.

    Parameters
    ----------
    residuals : array of shape (n, k)
        Residuals, or other functions of a row and its prediction.
    classes : array of shape (n,), optional
        The class of each row.

    Returns
    -------
    array of shape (n, k)
        Constant columns become zero.
    """
    out = np.zeros(residuals.shape)
    known = np.zeros(len(residuals), dtype=np.int64) if classes is None else classes
    for one in np.unique(known):
        rows = known == one
        ranks = rankdata(residuals[rows], axis=0)
        out[rows] = (ranks - ranks.mean(axis=0)) / max(1, np.count_nonzero(rows))
    scale = np.sqrt(np.mean(out**2, axis=0))
    return out / np.where(scale > _CONSTANT, scale, np.inf)


def correlation_of_neighbours(values: Array) -> Correlation:
    """Return the most significant correlation of rows with those that follow them.

    The inner products of distinct pairs are uncorrelated if rows are exchangeable, so the variance
    of their sum is known without any permutation. Windows of several lengths see short memory as
    well as slow drift.

    Parameters
    ----------
    values : array of shape (n, m)
        Comparable residuals in the order of the rows.

    Returns
    -------
    Correlation
        That of the window with the largest ``z``.
    """
    count = len(values)
    found = [Correlation()]
    for window in sorted({*_WINDOWS, int(_LONGEST * count)}):
        if 0 < window < count / 2:
            sums = np.vstack([np.zeros(values.shape[1]), values.cumsum(axis=0)])
            last = np.minimum(np.arange(count) + window, count - 1)
            following = sums[last + 1] - sums[1:]
            pairs = int((last - np.arange(count)).sum())
            found.append(_correlation(float((values * following).sum()), pairs, values))
    return max(found, key=lambda one: one.z)


def correlation_with_time(values: Array) -> Correlation:
    """Return the most significant correlation of a column with a slow wave over all rows.

    Half a wave is a trend. Where a coefficient drifts slowly, this tells it from noise with fewer
    rows than neighbours do.

    Parameters
    ----------
    values : array of shape (n, m)
        Comparable residuals in the order of the rows.

    Returns
    -------
    Correlation
        Without sign.
    """
    if not values.size:
        return Correlation()
    phase = np.pi * (np.arange(len(values)) + 0.5) / len(values)
    waves = np.sqrt(2) * np.cos(np.outer(_HALF_WAVES, phase))
    largest = float(np.abs(waves @ values).max())
    return Correlation(largest / len(values), largest / np.sqrt(len(values)))


def correlation_within(values: Array, codes: Index) -> Correlation:
    """Return the correlation of different rows that have the same code."""
    sums, counts = _sums(values, codes)
    total = float((sums**2).sum() - (values**2).sum()) / 2
    return _correlation(total, int((counts * (counts - 1)).sum()) // 2, values)


def correlation_between_adjacent(values: Array, codes: Index) -> Correlation:
    """Return the correlation of the rows of each code with those of the next larger code.

    Its standard error allows for rows of one code that are alike: the products of sums of adjacent
    codes are the cases that are counted.
    """
    sums, counts = _sums(values, codes)
    products = (sums[1:] * sums[:-1]).sum(axis=1)
    pairs = max(1, int((counts[1:] * counts[:-1]).sum()))
    norm = max(float((values**2).sum()) / len(values), 1e-300)
    error = float(np.sqrt((products**2).sum()))
    z = float(products.sum()) / error if error else 0.0
    return Correlation(float(products.sum()) / pairs / norm, z)


def _sums(values: Array, codes: Index) -> tuple[Array, Index]:
    """Sums (codes, m) of the rows of each code that occurs, and their numbers."""
    present, place = np.unique(codes, return_inverse=True)
    sums = np.empty((len(present), values.shape[1]))
    for number, column in enumerate(values.T):
        sums[:, number] = np.bincount(place, column)
    return sums, np.bincount(place)


def _correlation(total: float, pairs: int, values: Array) -> Correlation:
    moments = values.T @ values / max(1, len(values))
    norm = float(np.trace(moments))
    if not pairs or not norm > 0:
        return Correlation()
    # Centered rows are slightly anticorrelated.
    expected = -pairs * norm / max(1, len(values) - 1)
    error = float(np.sqrt(pairs * float((moments**2).sum())))
    return Correlation(total / pairs / norm, (total - expected) / error)


def sorted_by_target(target: NDArray[np.generic]) -> bool:
    """Whether the rows were sorted by their target, as a whole or in a few stretches."""
    if target.ndim != 1 or target.dtype.kind not in "fiub":
        return False
    steps = np.diff(target.astype(np.float64))
    steps = steps[steps != 0]
    if not len(steps):
        return True
    rising = float(np.mean(steps > 0))
    return max(rising, 1 - rising) > _SORTED


def runs_of(codes: Iterable[int] | Index) -> Index:
    """Return the number of the run of equal codes that each row belongs to."""
    codes = np.asarray(codes)
    return np.concatenate([[0], np.cumsum(codes[1:] != codes[:-1])]).astype(np.int64)
