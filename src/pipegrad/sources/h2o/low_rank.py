"""How H2O's scorer finds the weights of archetypes for a row: proximal gradient steps.

Sums run in the scorer's order: some losses jump, and another rounding would take another step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .java_random import JavaRandoms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ITERATIONS = 100
_STEPS = 0.5 ** np.arange(1, 11)
_GAIN = 1e-10
_LARGEST = np.finfo(np.float64).max
# Numbers that are computed with at once.
_CHUNK = 1 << 20


def _exp_one(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


_exp_each = np.frompyfunc(_exp_one, 1, 1)


def _exp(x: Floats) -> Floats:
    # That of numpy rounds less well, and the search then stops at another step.
    return np.asarray(_exp_each(x), dtype=np.float64)


# -- losses of numbers: of what is computed, and of what the table holds -------------------------


def _poisson(u: Floats, a: Floats) -> Floats:
    return _exp(u) + np.where(a == 0, 0.0, -a * u + a * np.log(a) - a)


def _huber(u: Floats, a: Floats) -> Floats:
    x = u - a
    return np.where(x > 1, x - 0.5, np.where(x < -1, -x - 0.5, 0.5 * x * x))


Loss = Callable[[Floats, Floats], Floats]
NUMERIC: dict[str, tuple[Loss, Loss]] = {
    "Quadratic": (lambda u, a: (u - a) * (u - a), lambda u, a: 2 * (u - a)),
    "Absolute": (lambda u, a: np.abs(u - a), lambda u, a: np.sign(u - a)),
    "Huber": (_huber, lambda u, a: np.clip(u - a, -1, 1)),
    "Poisson": (_poisson, lambda u, a: _exp(u) - a),
    "Logistic": (
        lambda u, a: np.log(1 + _exp((1 - 2 * a) * u)),
        lambda u, a: (1 - 2 * a) / (1 + _exp(-(1 - 2 * a) * u)),
    ),
    "Hinge": (
        lambda u, a: np.maximum(1 + (1 - 2 * a) * u, 0),
        lambda u, a: np.where(1 + (1 - 2 * a) * u > 0, 1 - 2 * a, 0.0),
    ),
}
"""The loss and its derivative, by name."""


# -- losses of categories: of a number for each level (n, levels), and of the place of the level -


def _categorical(u: Floats, a: Ints) -> Floats:
    own = u[np.arange(len(u)), a]
    other = _last(np.maximum(1 + u, 0))
    return other + (np.maximum(1 - own, 0) - np.maximum(1 + own, 0))


def _categorical_slope(u: Floats, a: Ints) -> Floats:
    slope = np.where(1 + u > 0, 1.0, 0.0)
    rows = np.arange(len(u))
    slope[rows, a] = np.where(1 - u[rows, a] > 0, -1.0, 0.0)
    return slope


def _ordinal(u: Floats, a: Ints) -> Floats:
    below = a[:, None] > np.arange(u.shape[1] - 1)
    return _last(np.where(below, np.maximum(1 - u[:, :-1], 0), 1.0))


def _ordinal_slope(u: Floats, a: Ints) -> Floats:
    below = a[:, None] > np.arange(u.shape[1])
    below[:, -1] = False
    return np.where(below & (1 - u > 0), -1.0, 0.0)


def _ordinal_level(u: Floats) -> Ints:
    falls = np.concatenate([np.full((len(u), 1), u.shape[1] - 1.0), -np.minimum(1, u[:, :-1])], 1)
    return np.cumsum(falls, axis=1).argmin(1)


CategoryLoss = Callable[[Floats, Ints], Floats]
CATEGORICAL: dict[str, tuple[CategoryLoss, CategoryLoss, Callable[[Floats], Ints]]] = {
    "Categorical": (_categorical, _categorical_slope, lambda u: u.argmax(1)),
    "Ordinal": (_ordinal, _ordinal_slope, _ordinal_level),
}
"""The loss, its derivative and the level that is nearest, by name."""


def _last(values: Floats) -> Floats:
    """Sums of the last axis, from left to right."""
    if not values.shape[-1]:
        return np.zeros(values.shape[:-1])
    return np.asarray(np.cumsum(values, axis=-1)[..., -1])


# -- regularizers: a penalty of weights (n, k), and the step towards less of it ------------------


def _nearest_simplex(x: Floats, *_: object) -> Floats:
    count = x.shape[1]
    order = np.sort(x, axis=1)
    level = (np.cumsum(order[:, ::-1], axis=1)[:, ::-1] - 1) / (count - np.arange(count))
    found = level[:, 0].copy()
    # The last place counts for which it holds; so it is written last.
    for place in range(1, count):
        found = np.where(level[:, place] >= order[:, place - 1], level[:, place], found)
    return np.maximum(x - found[:, None], 0)


def _simplex(x: Floats) -> Floats:
    total = _last(x)
    error = (x.shape[1] - 1) * np.spacing(np.abs(total)) * _last(np.abs(x))
    return np.where((x < 0).any(1) | ~(np.abs(total - 1) <= error), np.inf, 0.0)


def _shrunk(x: Floats, step: Floats, *_: object) -> Floats:
    factor = 1 - step / np.sqrt(_last(x * x))[:, None]
    return np.where(factor < 0, 0.0, factor * x)


def _largest(x: Floats, rows: Ints, randoms: JavaRandoms) -> Ints:
    """The place of the largest weight (n,); among equal ones, chance decides."""
    found, equal = np.zeros(len(x), dtype=np.int64), np.zeros(len(x), dtype=np.int64)
    each = np.arange(len(x))
    for place in range(1, x.shape[1]):
        best = x[each, found]
        more, same = x[:, place] > best, np.flatnonzero(x[:, place] == best)
        equal[same] += 1
        if len(same):
            taken = same[randoms.below(rows[same], equal[same]) == 0]
            found[taken] = place
        found[more], equal[more] = place, 1
    return found


def _one(x: Floats, _: Floats, rows: Ints, randoms: JavaRandoms) -> Floats:
    out, each, place = np.zeros_like(x), np.arange(len(x)), _largest(x, rows, randoms)
    out[each, place] = np.where(x[each, place] > 0, x[each, place], 1e-6)
    return out


def _unit(x: Floats, _: Floats, rows: Ints, randoms: JavaRandoms) -> Floats:
    out = np.zeros_like(x)
    out[np.arange(len(x)), _largest(x, rows, randoms)] = 1
    return out


def _allowed(good: Any) -> Floats:
    return np.where(good, 0.0, np.inf)


Penalty = Callable[[Floats], Floats]
Nearer = Callable[[Floats, Floats, Ints, JavaRandoms], Floats]
REGULARIZERS: dict[str, tuple[Penalty, Nearer]] = {
    "None": (lambda x: np.zeros(len(x)), lambda x, *_: x),
    "Quadratic": (lambda x: _last(x * x), lambda x, step, *_: x * (1 / (1 + 2 * step))),
    "L2": (lambda x: np.sqrt(_last(x * x)), _shrunk),
    "L1": (
        lambda x: _last(np.abs(x)),
        lambda x, step, *_: np.maximum(x - step, 0) + np.minimum(x + step, 0),
    ),
    "NonNegative": (lambda x: _allowed(~(x < 0).any(1)), lambda x, *_: np.maximum(x, 0)),
    "OneSparse": (lambda x: _allowed(~(x < 0).any(1) & ((x > 0).sum(1) == 1)), _one),
    "UnitOneSparse": (
        lambda x: _allowed(((x == 1).sum(1) == 1) & ((x == 0).sum(1) == x.shape[1] - 1)),
        _unit,
    ),
    "Simplex": (_simplex, _nearest_simplex),
}
"""The penalty and the proximal step, by name."""
_PROJECTED = ("NonNegative", "OneSparse", "UnitOneSparse", "Simplex")


# -- the search ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LowRankScorer:
    """What the scorer knows of a model.

    Parameters
    ----------
    archetypes : array
        Archetypes (k, entries): the levels of all categories, then numbers.
    levels : list of int
        Number of levels of each category.
    losses : list of str
        The loss of each column, categories first.
    regularizer : str
        The regularizer of the weights.
    gamma : float
        Its factor.
    seed : int
        Seed of row 0; the next row has the next one.
    """

    archetypes: Floats = field(repr=False)
    levels: list[int]
    losses: list[str]
    regularizer: str
    gamma: float
    seed: int

    def weights(self, rows: Floats) -> Floats:
        """The weights of the archetypes (n, k) for rows of levels and scaled numbers."""
        out = np.empty((len(rows), len(self.archetypes)))
        size = max(1, _CHUNK // self.archetypes.size)
        with np.errstate(all="ignore"):
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                first = (self.seed + start + (1 << 63)) % (1 << 64) - (1 << 63)
                seeds = np.int64(first) + np.arange(len(part), dtype=np.int64)
                out[start : start + size] = _Search(self, part, JavaRandoms(seeds)).run()
        return out


class _Search:
    def __init__(self, scorer: LowRankScorer, rows: Floats, randoms: JavaRandoms) -> None:
        self.scorer, self.rows, self.randoms = scorer, rows, randoms
        self.penalty, self.nearer = REGULARIZERS[scorer.regularizer]
        self.count = len(scorer.levels)
        self.bounds = np.cumsum([0, *scorer.levels]).tolist()
        self.codes = np.nan_to_num(rows[:, : self.count]).astype(np.int64)
        self.known = ~np.isnan(rows)
        self.by_row = bool((~self.known[:, : self.count]).any())
        self.archetypes = self._archetypes()

    def _archetypes(self) -> Floats:
        """Archetypes (n or 1, k, entries)."""
        every = self.scorer.archetypes
        if not self.by_row:
            return every[None]
        # The scorer does not step over the levels of a missing category.
        sizes = np.array(self.scorer.levels, dtype=np.int64)
        lost = np.cumsum(np.where(self.known[:, : self.count], 0, sizes), axis=1)
        numbers = np.repeat(lost[:, -1:], every.shape[1] - self.bounds[-1], axis=1)
        shift = np.concatenate([np.repeat(lost, sizes, axis=1), numbers], axis=1)
        places = np.maximum(np.arange(every.shape[1]) - shift, 0)
        return np.ascontiguousarray(np.moveaxis(every[:, places], 0, 1))

    def _of(self, chosen: Ints) -> Floats:
        return self.archetypes[chosen] if self.by_row else self.archetypes

    def _computed(self, x: Floats, chosen: Ints) -> Floats:
        archetypes = self._of(chosen)
        out = np.zeros((len(x), archetypes.shape[2]))
        for place in range(x.shape[1]):
            out += x[:, place, None] * archetypes[:, place]
        return out

    def _objective(self, x: Floats, chosen: Ints) -> Floats:
        u = self._computed(x, chosen)
        parts = np.empty((len(x), self.rows.shape[1]))
        for column, loss in enumerate(self.scorer.losses[: self.count]):
            block = u[:, self.bounds[column] : self.bounds[column + 1]]
            parts[:, column] = CATEGORICAL[loss][0](block, self.codes[chosen, column])
        for loss, columns, entries in self._numeric():
            given = self.rows[chosen[:, None], columns]
            parts[:, columns] = NUMERIC[loss][0](u[:, entries], given)
        total = _last(np.where(self.known[chosen], parts, 0.0))
        return np.asarray(total + self.scorer.gamma * self.penalty(x))

    def _gradient(self, x: Floats, chosen: Ints) -> Floats:
        u = self._computed(x, chosen)
        slope = np.empty_like(u)
        for column, loss in enumerate(self.scorer.losses[: self.count]):
            entries = slice(self.bounds[column], self.bounds[column + 1])
            found = CATEGORICAL[loss][1](u[:, entries], self.codes[chosen, column])
            slope[:, entries] = np.where(self.known[chosen, column, None], found, 0.0)
        for loss, columns, places in self._numeric():
            given = self.rows[chosen[:, None], columns]
            found = NUMERIC[loss][1](u[:, places], given)
            slope[:, places] = np.where(self.known[chosen[:, None], columns], found, 0.0)
        return _last(slope[:, None, :] * self._of(chosen))

    def _numeric(self) -> list[tuple[str, Ints, Ints]]:
        """Losses of numbers with their columns and the entries of archetypes."""
        losses = np.array(self.scorer.losses[self.count :], dtype=object)
        places = {loss: np.flatnonzero(losses == loss) for loss in dict.fromkeys(losses)}
        return [(n, self.count + at, self.bounds[-1] + at) for n, at in places.items()]

    def run(self) -> Floats:
        """The weights (n, k)."""
        x = self.randoms.gaussians(len(self.scorer.archetypes))
        left = np.arange(len(x))
        good = self.penalty(x) == 0
        if self.scorer.regularizer in _PROJECTED:
            skip = good if self.scorer.regularizer == "Simplex" else np.zeros_like(good)
            rows = left[~skip]
            x[rows] = self.nearer(x[rows], np.ones((len(rows), 1)), rows, self.randoms)
        before = self._objective(x, left)
        for _ in range(_ITERATIONS):
            # Without a loss, nothing moves any more.
            left = left[before[left] != 0]
            if not len(left):
                break
            after = self._step(x, before, left)
            gain = 1 - after / before[left]
            before[left] = after
            left = left[~(gain < _GAIN)]
        return x

    def _step(self, x: Floats, before: Floats, chosen: Ints) -> Floats:
        """Take the best of several steps for some rows; return what it reaches (n,)."""
        slope, start = self._gradient(x[chosen], chosen), x[chosen]
        best, found = np.full(len(chosen), _LARGEST), np.zeros_like(start)
        unit = np.where(before[chosen] > 10, 1 / before[chosen], 1.0)
        left = np.arange(len(chosen))
        for size in _STEPS:
            step = (size * unit[left])[:, None]
            moved, rows = start[left] - step * slope[left], chosen[left]
            step = step * self.scorer.gamma
            moves = step[:, 0] != 0
            if moves.any():
                moved[moves] = self.nearer(moved[moves], step[moves], rows[moves], self.randoms)
            reached = self._objective(moved, rows)
            better = best[left] > reached
            best[left[better]], found[left[better]] = reached[better], moved[better]
            left = left[reached != 0]
            if not len(left):
                break
        lower = best < before[chosen]
        x[chosen[lower]] = found[lower]
        return best
