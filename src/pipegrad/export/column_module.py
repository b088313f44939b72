"""What host steps make of raw columns, as one torch module on a matrix of numbers.

Text enters as the place of each entry in a list of the texts that the steps know, so that the steps
look numbers up, as they do for categories that are numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .table import NotNumbersError, Part, Table, TableWriter, is_missing

UNKNOWN = -1.0
"""The number of a text that no step knows; a missing one is NaN."""

_INPUT = ""  # no column of a table has this name


@dataclass
class RawColumn:
    """A column of the input.

    Parameters
    ----------
    name : str or int
        Its name, or its place in an array.
    texts : dict of str to int, optional
        The texts that steps know, with the numbers that stand for them, if it holds text.
    """

    name: str | int
    texts: dict[str, int] | None

    def numbers(self, values: Any) -> Any:
        """The numbers of some entries."""
        if self.texts is None:
            return values
        get = self.texts.get
        return [np.nan if is_missing(value) else get(str(value), UNKNOWN) for value in values]


class ColumnWriter(TableWriter):
    """The operations of host steps on raw columns, in the order in which they run.

    Parameters
    ----------
    real : {"float64", "float32"}
        Type of real numbers.
    """

    def __init__(self, real: str) -> None:
        super().__init__(real)
        self.raw: list[RawColumn] = []
        self._dtype: torch.dtype = getattr(torch, real)
        self._calls: list[tuple[nn.Module, list[str], str]] = []
        self._texts: dict[str, RawColumn] = {}
        self._known: dict[tuple[str, tuple[int, ...]], Part] = {}

    def add_inputs(self, names: list[str] | None, kinds: list[str]) -> Table:
        """All columns are one matrix, ``X``."""
        given: Sequence[str | int] = range(len(kinds)) if names is None else names
        pairs = list(zip(given, kinds, strict=True))
        self.raw = [RawColumn(name, {} if kind == "string" else None) for name, kind in pairs]
        if names is None and "string" not in kinds:
            return Table((Part(_INPUT, len(kinds), self.real),))
        return Table(tuple(self._raw_part(place, *pair) for place, pair in enumerate(pairs)))

    def _raw_part(self, place: int, name: str | int, kind: str) -> Part:
        kind = kind if kind == "string" else self.real
        part = self._add(_Pick([place]), [_INPUT], 1, kind, str(name))
        if kind == "string":
            self._texts[part.name] = self.raw[place]
        return part

    def _add(
        self, module: nn.Module, inputs: list[str], width: int, kind: str, name: str = ""
    ) -> Part:
        name = name or f"host/{len(self._calls)}"
        self._calls.append((module, inputs, name))
        return Part(name, width, kind)

    def columns(self, part: Part, chosen: list[int]) -> Part:
        """Some columns of a part."""
        key = (part.name, tuple(chosen))
        if key not in self._known:
            self._known[key] = self._add(_Pick(chosen), [part.name], len(chosen), part.kind)
        return self._known[key]

    def numbers(self, table: Table) -> Part:
        """All columns as one block of real numbers."""
        if not table.parts:
            raise ValueError("a table without columns")
        for part in table.parts:
            if part.kind == "string":
                name = self._texts[part.name].name
                raise NotNumbersError(f"it reads numbers, and the column {name!r} holds text")
        if len(table.parts) == 1:
            return table.parts[0]
        return self._add(_Join(), [part.name for part in table.parts], table.width, self.real)

    def look_up(self, column: Part, categories: list[Any], numbers: NDArray[Any]) -> Part:
        """The numbers that stand for the entries of a column; the last for unknown ones."""
        missing = [place for place, value in enumerate(categories) if is_missing(value)]
        places: dict[float, int] = {}
        for place, value in enumerate(categories):
            key = None if is_missing(value) else self._number(column, value)
            if key is not None:
                places.setdefault(key, place)
        module = _LookUp(
            places,
            missing[0] if missing else len(categories),
            torch.as_tensor(np.ascontiguousarray(numbers), dtype=self._dtype),
        )
        return self._add(module, [column.name], numbers.shape[1], self.real)

    def _number(self, column: Part, value: Any) -> float | None:
        """The number that stands for a value in a column; None if the column cannot hold it."""
        if column.kind != "string":
            return None if isinstance(value, str) else float(value)
        texts = self._texts[column.name].texts
        assert texts is not None
        if not isinstance(value, str):
            return None
        return float(texts.setdefault(value, len(texts)))

    def replaced(self, part: Part, mark: Any, new: Any, otherwise: float | None = None) -> Part:
        """A part with another value where its entries are a mark, and a number or itself else."""
        hit = None if is_missing(mark) else self._number(part, mark)
        text = part.kind == "string" and otherwise is None
        number = self._number(part, str(new)) if text else float(new)
        assert number is not None
        module = _Replace(hit, is_missing(mark), number, otherwise)
        kind = part.kind if otherwise is None else self.real
        made = self._add(module, [part.name], part.width, kind)
        if kind == "string":
            self._texts[made.name] = self._texts[part.name]
        return made

    def whole(self, part: Part) -> Part:
        """Real numbers without their fractions."""
        return self._add(_Whole(), [part.name], part.width, part.kind)

    def zeros(self, table: Table) -> Part:
        """A column of zeros, in as many rows as a table has."""
        return self._add(_Zeros(), [table.parts[0].name], 1, self.real)

    def module(self, blocks: Sequence[Part]) -> ColumnModule:
        """What was written, as a module from the matrix to some blocks."""
        return ColumnModule(self._calls, [block.name for block in blocks])


class ColumnModule(nn.Module):
    """Operations on columns.

    Parameters
    ----------
    calls : list of (Module, list of str, str)
        Each operation with the names of what it takes and gives; the input has an empty name.
    blocks : list of str
        Names of the results.
    """

    def __init__(self, calls: list[tuple[nn.Module, list[str], str]], blocks: list[str]) -> None:
        super().__init__()
        needed = _ancestors(calls, blocks)
        calls = [call for call in calls if call[2] in needed]
        self.operations = nn.ModuleList(module for module, _, _ in calls)
        self._names = [(inputs, output) for _, inputs, output in calls]
        self._blocks = blocks

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """The blocks of some rows."""
        values = {_INPUT: X}
        for operation, (inputs, output) in zip(self.operations, self._names, strict=True):
            values[output] = operation(*[values[name] for name in inputs])
        return tuple(values[name] for name in self._blocks)


def _ancestors(calls: list[tuple[nn.Module, list[str], str]], names: list[str]) -> set[str]:
    found = set(names)
    for _, inputs, output in reversed(calls):
        if output in found:
            found.update(inputs)
    return found


class _Pick(nn.Module):
    """Some columns."""

    def __init__(self, places: list[int]) -> None:
        super().__init__()
        self.register_buffer("places", torch.tensor(places))

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.places)  # type: ignore[arg-type]


class _Join(nn.Module):
    """Columns side by side."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1)


class _LookUp(nn.Module):
    """The numbers (n, width) that stand for the numbers (n, 1) of a column.

    Parameters
    ----------
    places : dict of float to int
        The row of each known number in the table.
    missing : int
        The row of NaN.
    table : Tensor
        Numbers; the last row is for unknown ones.
    """

    keys: Tensor
    places: Tensor
    table: Tensor

    def __init__(self, places: dict[float, int], missing: int, table: Tensor) -> None:
        super().__init__()
        # With an unknown number at the end, so that there is always one to compare with.
        keys = [*sorted(places), float("inf")]
        last = len(table) - 1
        self.register_buffer("keys", torch.tensor(keys, dtype=table.dtype))
        self.register_buffer("places", torch.tensor([*(places[k] for k in keys[:-1]), last]))
        self.register_buffer("table", table)
        self.missing, self.unknown = missing, last

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        near = torch.searchsorted(self.keys, x).clamp(max=len(self.keys) - 1)
        place = torch.where(self.keys[near] == x, self.places[near], self.unknown)
        return self.table[torch.where(x.isnan(), self.missing, place)]


class _Replace(nn.Module):
    """A number where entries are a mark, and another number, or the entries, elsewhere."""

    def __init__(
        self, mark: float | None, missing: bool, new: float, otherwise: float | None
    ) -> None:
        super().__init__()
        self.mark, self.missing, self.new, self.otherwise = mark, missing, new, otherwise

    def forward(self, x: Tensor) -> Tensor:
        if self.missing:
            hit = x.isnan()
        elif self.mark is None:
            hit = torch.zeros_like(x, dtype=torch.bool)
        else:
            hit = x == self.mark
        other = x if self.otherwise is None else torch.full_like(x, self.otherwise)
        return torch.where(hit, torch.full_like(x, self.new), other)


class _Whole(nn.Module):
    """Numbers without their fractions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.trunc()


class _Zeros(nn.Module):
    """A column of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :1])
