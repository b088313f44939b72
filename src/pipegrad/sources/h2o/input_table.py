"""Converts the columns of the user's table to the numbers that H2O's scorers take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ArgumentError
from ..named.cells import cells_of
from ..named.model import has_column
from ..named.operators import Host


@dataclass(eq=False, kw_only=True)
class Row(Host):
    """The features of a model side by side: numbers, and the places of categories.

    Parameters
    ----------
    names : tuple of str
        The columns.
    levels : dict of int to list of str
        Levels of the categorical columns, by place.
    required : frozenset of int
        Places of the categorical columns that the model cannot score without.
    unseen : bool
        Whether unseen levels have a place of their own, after the last level.
    """

    names: tuple[str, ...]
    levels: dict[int, list[str]] = field(default_factory=dict, repr=False)
    required: frozenset[int] = frozenset()
    unseen: bool = False

    # Why the table must have the columns; `require_columns` asks every reader of a table.
    missing = ""

    @property
    def name(self) -> str:
        """The names of all columns."""
        return ", ".join(self.names)

    def lacking(self, table: Any) -> list[str]:
        """The columns that a table lacks."""
        return [name for name in self.names if not has_column(table, name)]

    def run(self, *values: Any) -> Any:
        """Numbers (n, columns); NaN is missing, as is what is no level and has no place."""
        (table,) = values
        columns = [
            category_codes(table[name], self.levels[place], name, self.unseen)
            if place in self.levels
            else numbers(table[name], name)
            for place, name in enumerate(self.names)
        ]
        for place in self.required:
            unknown = np.flatnonzero(np.isnan(columns[place]))
            if len(unknown):
                raise ArgumentError(
                    f"Column {self.names[place]!r} must hold levels that the model knows, but row "
                    f"{unknown[0]} has a missing or an unseen one.\nHint: this {self.kind} model "
                    "was trained without rows of missing values, and H2O refuses them as well."
                )
        return np.stack(columns, 1) if columns else np.zeros((_count(table), 0))


def _count(table: Any) -> int:
    return len(table) if hasattr(table, "columns") else len(next(iter(table.values()), ()))


def category_codes(
    values: Any, levels: list[str], name: str, unseen: bool = False
) -> NDArray[np.float64]:
    """Places of levels (n,); NaN where a value is missing or no level.

    Parameters
    ----------
    values : array or Series
        Texts, or numbers whose texts are levels.
    levels : list of str
        The levels.
    name : str
        Name of the column, for errors.
    unseen : bool
        Whether what is no level has a place of its own, after the last level.
    """
    other = float(len(levels)) if unseen else np.nan
    place = {level: number for number, level in enumerate(levels)}
    cells = cells_of(values, "fiubM")
    if cells.ndim != 1:
        raise ArgumentError(f"Column {name!r} must hold one value in each row.")
    found: dict[Any, float] = {}
    out = np.empty(len(cells))
    for row, cell in enumerate(cells.tolist()):
        if cell not in found:
            text = _text(cell)
            found[cell] = np.nan if text is None else place.get(text, other)
        out[row] = found[cell]
    return out


def _text(cell: Any) -> str | None:
    """A value as H2O writes it into a level; None if it is missing."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell:
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1 << 53:
        return str(int(cell))
    return str(cell)


def numbers(values: Any, name: str) -> NDArray[np.float64]:
    """Numbers (n,); times are milliseconds since 1970, as in H2O.

    Raises
    ------
    ArgumentError
        If a value is no number.
    """
    cells = cells_of(values, "fiubM")
    if cells.ndim != 1:
        raise ArgumentError(f"Column {name!r} must hold one value in each row.")
    if cells.dtype.kind in "fiub":
        return cells.astype(np.float64)
    if cells.dtype.kind == "M":
        times = cells.astype("datetime64[ms]")
        return np.where(np.isnat(times), np.nan, times.astype(np.int64).astype(np.float64))
    try:
        return np.array([_number(cell) for cell in cells.tolist()], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"Column {name!r} must hold numbers: {error!s:.120}.") from error


def _number(cell: Any) -> float:
    if isinstance(cell, str):
        raise ValueError(f"{cell!r:.60} is a text")
    return float("nan") if _text(cell) is None else float(cell)
