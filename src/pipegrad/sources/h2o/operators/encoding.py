"""Categories as the numbers that trees split, in the ways that H2O has for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ....errors import UntranslatableError
from ...named.operators import Step
from ..mojo import Mojo
from ..plan import Plan

_AS_LEVELS = ("AUTO", "Enum", "SortByResponse")
_MOST_NAMES = 100_000
# What Java reads as a whole number.
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")

_BEYOND = 1 << 31
_OTHER = "other"

Table = NDArray[np.float64]
Levels = dict[int, list[str]]


@dataclass(eq=False, kw_only=True)
class Encode(Step):
    """Numbers, and places of levels, as the columns that a model reads.

    Parameters
    ----------
    columns : list of int
        The columns in their new order.
    sizes : list of int
        The number of levels of each of them; 0 for numbers.
    tables : list of array, optional
        The numbers (levels, k) that stand for the levels of each categorical column; an indicator
        for each level by default.
    """

    columns: list[int]
    sizes: list[int]
    tables: list[Table] | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """Number of columns of the output."""
        numbers = self.sizes.count(0)
        if self.tables is None:
            return numbers + sum(self.sizes)
        return numbers + sum(table.shape[1] for table in self.tables)


def encoded_row(mojo: Mojo, plan: Plan) -> str:
    """The step with the features of a model, encoded as it reads them."""
    way = mojo.text("_genmodel_encoding", "AUTO")
    if way in _AS_LEVELS:
        return plan.row(mojo)
    names, levels = _original(mojo)
    # These put numbers first, and have columns for levels that are unseen.
    apart = way in ("OneHotExplicit", "Binary")
    if not apart:  # offsets and weights follow the features
        names = names[: len(mojo.features)]
        levels = {place: found for place, found in levels.items() if place < len(names)}
    if apart:
        order = sorted(range(len(names)), key=lambda place: place in levels)
    else:
        order = list(range(len(names)))
    tables = None
    if way != "OneHotExplicit":
        if way not in _TABLES:
            mojo.fail(f"encoding {way!r:.40} is not known.")
        levels, tables = _TABLES[way](mojo, levels)
    sizes = [len(levels[place]) + apart if place in levels else 0 for place in order]
    operator = Encode(columns=order, sizes=sizes, tables=tables)
    if operator.width != len(mojo.features):
        why = "its scorer takes other columns, such as offsets, for encoded ones"
        raise UntranslatableError([(mojo.prefix or "model", f"H2O {mojo.algorithm}", why)])
    source = plan.row(mojo, tuple(names), levels=levels, unseen=apart)
    return plan.step(mojo, operator, source, name="encoded")


def _original(mojo: Mojo) -> tuple[list[str], Levels]:
    """The names of the features in the user's table, and the levels of some."""
    count = mojo.integer("_n_orig_names")
    if not 0 < count <= _MOST_NAMES or mojo.integer("_n_orig_domain_values") < count:
        mojo.fail("its original columns are damaged.")
    names = mojo.lines("_orig_names", count)
    if names[-1] == mojo.response:
        names = names[:-1]
    levels = {}
    for place in range(len(names)):
        size = mojo.integer(f"_m_orig_domain_values_{place}")
        if size > 0:
            levels[place] = mojo.lines(f"_orig_domain_values_{place}", size)
    return names, levels


def _binary(mojo: Mojo, levels: Levels) -> tuple[Levels, list[Table]]:
    """The digits of places of levels, from 1 on; 0 is an unseen level."""
    tables = []
    for found in levels.values():
        numbers = np.append(np.arange(1, len(found) + 1), 0)
        digits = np.arange(len(found).bit_length())
        tables.append((numbers[:, None] >> digits & 1).astype(np.float64))
    return levels, tables


def _labels(mojo: Mojo, levels: Levels) -> tuple[Levels, list[Table]]:
    """Levels that are numbers stand for these, others for their place."""
    found = levels.values()
    return levels, [np.array([[_label(*one)] for one in enumerate(each)]) for each in found]


def _label(place: int, level: str) -> float:
    whole = int(level) if _WHOLE.fullmatch(level) else _BEYOND
    return float(whole if -_BEYOND <= whole < _BEYOND else place)


def _eigen(mojo: Mojo, levels: Levels) -> tuple[Levels, list[Table]]:
    """Numbers of a projection, in single precision."""
    ends = np.cumsum([0, *map(len, levels.values())])
    every = mojo.numbers("_orig_projection_array") if levels else np.zeros(0)
    if len(every) < ends[-1]:
        mojo.fail("its projection of categories is too short.")
    with np.errstate(over="ignore"):
        rounded = every.astype(np.float32).astype(np.float64)
    return levels, [rounded[a:b, None] for a, b in pairwise(ends)]


def _limited(mojo: Mojo, levels: Levels) -> tuple[Levels, list[Table]]:
    """Places of the levels that the model keeps; the others are one level together."""
    kept, tables = {}, []
    for place, found in levels.items():
        numbers = {level: number for number, level in enumerate(mojo.domains.get(place, found))}
        if _OTHER in numbers:
            numbers = {**dict.fromkeys(found, numbers[_OTHER]), **numbers}
            del numbers[_OTHER]
        kept[place] = list(numbers)
        tables.append(np.array([float(number) for number in numbers.values()])[:, None])
    return kept, tables


_TABLES: dict[str, Callable[[Mojo, Levels], tuple[Levels, list[Table]]]] = {
    "Binary": _binary,
    "LabelEncoder": _labels,
    "Eigen": _eigen,
    "EnumLimited": _limited,
}
