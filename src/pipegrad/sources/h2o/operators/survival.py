"""Proportional hazards models of Cox."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...named.operators import LinearMap, Step
from ..mojo import Mojo
from ..numbers import listed, stored
from ..plan import Answer, Plan, reads, refused
from .linear import with_offset

_MOST_STRATA = 1 << 20
_MOST_PAIRS = 1 << 24


@dataclass(eq=False, kw_only=True)
class Design(Step):
    """The columns that have a coefficient each.

    Parameters
    ----------
    terms : list of tuple
        Columns of numbers, the column of codes, the first code and the size of each term, as in
        `modules.Term`.
    pairs : list of (int, int)
        Columns of codes that make a code together.
    tables : list of array
        The code of each pair, by both codes.
    """

    terms: list[tuple[Any, ...]]
    pairs: list[tuple[int, int]]
    tables: list[NDArray[np.float64]] = field(repr=False)


@dataclass(eq=False, kw_only=True)
class StratumMeans(Step):
    """The means of all columns in the stratum of a row.

    Parameters
    ----------
    strata : array
        Levels (strata, columns) of each stratum.
    means : array
        Means (strata, columns of `Design`).
    """

    strata: NDArray[np.float64]
    means: NDArray[np.float64] = field(repr=False)


@dataclass(eq=False, kw_only=True)
class Difference(Step):
    """The difference of two blocks."""


@reads("coxph")
def _hazards(mojo: Mojo, plan: Plan) -> Answer:
    layout = _Layout(mojo)
    operator = layout.design()
    row = plan.row(mojo, layout.names, required=layout.every)
    source = plan.step(mojo, operator, row, name="columns")
    row = plan.row(mojo, mojo.features[: layout.skipped])
    means = plan.step(mojo, layout.means(), row, name="means")
    source = plan.step(mojo, Difference(), source, means, name="centered")
    weight = listed(mojo, "coef", shape=(layout.width,))
    linear = LinearMap(weight=weight, bias=None, gaps=True)
    score = plan.step(mojo, linear, source, name="score", method="score")
    score = with_offset(mojo, plan, score, linear)
    return Answer(score, {"lp": score}, predict="lp")


class _Layout:
    """Where the description says that the columns of a row and their coefficients are."""

    def __init__(self, mojo: Mojo) -> None:
        self.mojo = mojo
        self.every = mojo.flag("use_all_factor_levels")
        self.strata = _strata(mojo)
        self.skipped = self.strata.shape[1]
        self.width = len(mojo.numbers("coef"))
        self.categories = mojo.integer("cats")
        self.offsets = _increasing(mojo, "cat_offsets", self.categories)
        numeric = mojo.integer("num_numerical_columns")
        starts = _increasing(mojo, "num_offsets", numeric)[:-1]
        # Columns beyond the coefficients are no part of the model.
        self.starts = starts[starts < self.width].tolist()
        count = self.categories + len(self.starts)
        self.columns = range(self.skipped, self.skipped + count)
        if count + self.skipped > len(mojo.features) or self.offsets[-1] > self.width:
            mojo.fail("it has fewer features than it describes.")
        self.targets = self._interactions()
        self.read = [place for place in self.columns if place not in self.targets]
        for place in self.read:
            if (place in mojo.domains) != (place < self.skipped + self.categories):
                mojo.fail(f"column {mojo.columns[place]!r} is of another kind than it describes.")
        self.names = tuple(mojo.features[place] for place in self.read)

    def _interactions(self) -> dict[int, tuple[int, int]]:
        """The two columns that make others, by the place of these."""
        mojo = self.mojo
        if not mojo.has("interaction_targets"):
            return {}
        keys = ("interaction_targets", "interactions_1", "interactions_2")
        targets, first, second = (mojo.integers(key).tolist() for key in keys)
        if not len(targets) == len(first) == len(second) == len(set(targets)):
            mojo.fail("its interactions are damaged.")
        found = dict(zip(targets, zip(first, second, strict=True), strict=True))
        if not set(targets) <= set(self.columns) or any(
            one in found or one not in self.columns for pair in found.values() for one in pair
        ):
            mojo.fail("its interactions are not those of its columns.")
        levels = [one for pair in found.values() for one in pair if one in mojo.domains]
        if self.skipped and levels:
            raise refused(mojo, "its scorer mixes up interactions of categories in strata")
        return found

    def design(self) -> Design:
        """The operator that makes the columns with coefficients."""
        place_of = {place: number for number, place in enumerate(self.read)}
        pairs: list[tuple[int, int]] = []
        tables: list[NDArray[np.float64]] = []
        terms: list[tuple[Any, ...]] = []
        for place, start, end in zip(self.columns, self.offsets, self.offsets[1:], strict=False):
            codes, first = place_of.get(place, -1), int(not self.every)
            if place in self.targets:
                codes, first = len(self.read) + len(pairs), 0
                one, other = self.targets[place]
                tables.append(self._table(place, one, other))
                pairs.append((place_of[one], place_of[other]))
            terms.append(((), codes, first, end - start))
        for place, start in zip(self.columns[self.categories :], self.starts, strict=True):
            if sum(term[3] for term in terms) != start:
                self.mojo.fail("its num_offsets have gaps.")
            terms.append(self._number(place, place_of))
        if sum(term[3] for term in terms) != self.width:
            self.mojo.fail(f"it has {self.width} coefficients, but describes others.")
        return Design(terms=terms, pairs=pairs, tables=tables)

    def _number(self, place: int, place_of: dict[int, int]) -> tuple[Any, ...]:
        """The term of a number, of a product, or of a number for each level."""
        if place not in self.targets:
            return ((place_of[place],), -1, 0, 1)
        pair = self.targets[place]
        coded = [one for one in pair if one in self.mojo.domains]
        numbers = tuple(place_of[one] for one in pair if one not in coded)
        if not coded:
            return (numbers, -1, 0, 1)
        if len(coded) == 2:
            self.mojo.fail("the interaction of two categories is a number.")
        first = int(not self.every)
        return (numbers, place_of[coded[0]], first, len(self.mojo.domains[coded[0]]) - first)

    def _table(self, place: int, one: int, other: int) -> NDArray[np.float64]:
        """The place of each pair of levels among those of an interaction."""
        domains = self.mojo.domains
        if one not in domains or other not in domains:
            self.mojo.fail("the interaction of a number is a category.")
        if place not in domains:
            self.mojo.fail("the interaction of two categories has no levels.")
        if len(domains[one]) * len(domains[other]) > _MOST_PAIRS:
            self.mojo.fail("it has too many pairs of levels.")
        codes: dict[str, int] = {}
        for code, level in enumerate(domains[place]):
            codes.setdefault(level, code)
        rows = [[codes.get(f"{a}_{b}", -1) for b in domains[other]] for a in domains[one]]
        return np.array(rows, dtype=np.float64)

    def means(self) -> StratumMeans:
        """The operator that gives the means which are subtracted."""
        parts = [
            _matrix(self.mojo, name, len(self.strata)) for name in ("x_mean_cat", "x_mean_num")
        ]
        means = np.concatenate(parts, axis=1)
        if means.shape[1] != self.width:
            self.mojo.fail(f"it has {self.width} coefficients, but {means.shape[1]} means.")
        return StratumMeans(strata=self.strata, means=means)


def _strata(mojo: Mojo) -> NDArray[np.float64]:
    """Levels (strata, columns); a single stratum of all rows without columns."""
    count = mojo.integer("strata_count")
    if not 0 <= count <= _MOST_STRATA:
        mojo.fail(f"it has {count} strata.")
    if not count:
        return np.zeros((1, 0))
    found = [mojo.integers(f"strata_{number}") for number in range(count)]
    if len({len(one) for one in found}) != 1 or not 0 < len(found[0]) <= len(mojo.features):
        mojo.fail("its strata are damaged.")
    return np.stack(found).astype(np.float64)


def _matrix(mojo: Mojo, name: str, rows: int) -> NDArray[np.float64]:
    height, width = mojo.integer(f"{name}_size1"), mojo.integer(f"{name}_size2")
    size = len(mojo.blob(name)) // 8
    if height != rows or width < 0 or height * width != size:
        mojo.fail(f"its {name} are damaged.")
    return stored(mojo, name, ">f8", np.arange(size).reshape(height, width)).values


def _increasing(mojo: Mojo, key: str, count: int) -> NDArray[np.int64]:
    """Where the coefficients of columns start, and where the last ones end."""
    found = mojo.integers(key)
    if len(found) != count + 1 or (np.diff(found) < 0).any() or found[0] < 0:
        mojo.fail(f"its {key} are damaged.")
    return found
