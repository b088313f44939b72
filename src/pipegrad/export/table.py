"""Tables of columns that may differ in type, and the operations on them that host steps need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("float64", "float32", "int64", "bool", "string")


@dataclass(frozen=True)
class Part:
    """Some columns of one type.

    Parameters
    ----------
    name : str
        Name of the tensor (n, width).
    width : int
        Number of columns.
    kind : str
        Type of the entries, one of `KINDS`.
    """

    name: str
    width: int
    kind: str


@dataclass(frozen=True)
class Table:
    """Columns side by side, in parts of one type each."""

    parts: tuple[Part, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(part.width for part in self.parts)

    def places(self) -> list[tuple[Part, int]]:
        """For each column, its part and its place in there."""
        return [(part, place) for part in self.parts for place in range(part.width)]


class NotNumbersError(Exception):
    """A step reads numbers where a table has text."""


class TableWriter(ABC):
    """What writes the operations of host steps on raw columns into a file of some form.

    Parameters
    ----------
    real : {"float64", "float32"}
        Type of real numbers.
    """

    def __init__(self, real: str) -> None:
        self.real = real

    @abstractmethod
    def add_inputs(self, names: list[str] | None, kinds: list[str]) -> Table:
        """Declare the raw columns; those of an array have no names."""

    def select(self, table: Table, indices: Sequence[int]) -> Table:
        """Some columns of a table."""
        places = table.places()
        runs: list[tuple[Part, list[int]]] = []
        for index in indices:
            part, place = places[index]
            if runs and runs[-1][0] is part:
                runs[-1][1].append(place)
            else:
                runs.append((part, [place]))
        return Table(tuple(self._picked(part, chosen) for part, chosen in runs))

    def _picked(self, part: Part, chosen: list[int]) -> Part:
        return part if chosen == list(range(part.width)) else self.columns(part, chosen)

    @abstractmethod
    def columns(self, part: Part, chosen: list[int]) -> Part:
        """Some columns of a part."""

    @abstractmethod
    def numbers(self, table: Table) -> Part:
        """All columns as one block of real numbers."""

    @abstractmethod
    def look_up(self, column: Part, categories: list[Any], numbers: NDArray[Any]) -> Part:
        """The numbers that stand for the entries of a column.

        Parameters
        ----------
        column : Part
            One column.
        categories : list
            Texts or numbers, and perhaps a missing value.
        numbers : array of shape (categories + 1, width)
            What each category becomes, and at the end any other entry.
        """

    @abstractmethod
    def replaced(self, part: Part, mark: Any, new: Any, otherwise: float | None = None) -> Part:
        """A part with ``new`` where its entries are ``mark``, which may be a missing value.

        Other entries stay, or become the number ``otherwise``, so that all are real numbers.
        """

    @abstractmethod
    def whole(self, part: Part) -> Part:
        """Real numbers without their fractions."""

    @abstractmethod
    def zeros(self, table: Table) -> Part:
        """A column of zeros, in as many rows as a table has."""


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or the missing value of pandas."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def column_kind(values: Any) -> str:
    """The type of the input for values of a column."""
    dtype = np.asarray(values).dtype if not hasattr(values, "dtype") else values.dtype
    name = str(dtype).lower()
    if name in ("bool", "boolean"):
        return "bool"
    if name.lstrip("u").startswith("int"):
        return "int64"
    if name.startswith("float"):
        return "float64"
    if name.startswith(("complex", "datetime", "timedelta")):
        return name
    return "string" if not _are_numbers(values) else "float64"


def _are_numbers(values: Any) -> bool:
    found = np.asarray(values, dtype=object).ravel()
    return all(isinstance(value, int | float | np.number) for value in found)


def labels_array(labels: Any) -> NDArray[Any]:
    """Labels as an array of a type that files have."""
    array = np.asarray(labels)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    return np.array([str(label) for label in array.ravel()], dtype=object).reshape(array.shape)
