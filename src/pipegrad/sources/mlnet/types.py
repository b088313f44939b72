"""The types of ML.NET's columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS = {
    "Single": np.float32,
    "Double": np.float64,
    "SByte": np.int8,
    "Byte": np.uint8,
    "Int16": np.int16,
    "UInt16": np.uint16,
    "Int32": np.int32,
    "UInt32": np.uint32,
    "Int64": np.int64,
    "UInt64": np.uint64,
}


@dataclass(frozen=True)
class ColumnType:
    """The type of a column.

    Parameters
    ----------
    kind : str
        A name in `NUMBERS`, "Boolean", "TextSpan" or "Key".
    size : int, optional
        Length of the vector in each row; None for scalars, 0 for variable length.
    count : int
        Number of categories of a key.
    values : array, optional
        The category of each key, in order.
    """

    kind: str
    size: int | None = None
    count: int = 0
    values: NDArray[Any] | None = None

    @property
    def width(self) -> int:
        """The number of values in each row."""
        return 1 if self.size is None else self.size

    @property
    def text(self) -> bool:
        """Whether the column holds text."""
        return self.kind == "TextSpan"

    def sized(self, size: int | None) -> ColumnType:
        """The same type with another length."""
        return replace(self, size=size)

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """Convert values to ML.NET's representation: keys as uint32, 0 for missing ones."""
        if self.text:
            return self._texts(values)
        if self.kind == "Key":
            return values.astype(np.uint32)
        if self.kind == "Boolean":
            return values.astype(bool)
        if values.dtype.kind == "f" and self.kind not in ("Single", "Double"):
            values = np.nan_to_num(values)  # Integers represent a missing category by 0.
        return values.astype(NUMBERS[self.kind])

    def _texts(self, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype == object or self.values is None:
            return values
        # Modules represent texts by their keys.
        known = np.concatenate([np.array([""], dtype=object), self.values])
        return known[values.astype(int)]


def split_text(text: str, ends: NDArray[np.int32]) -> NDArray[Any] | None:
    """Split concatenated texts at ends counted in UTF-16 code units; None if texts overlap."""
    halves = text.encode("utf-16-le", "surrogatepass")
    starts = [0, *ends[:-1].tolist()]
    wrong = len(ends) and (ends[0] < 0 or 2 * int(ends[-1]) > len(halves))
    if wrong or (ends[1:] < ends[:-1]).any():
        return None
    out = np.empty(len(ends), dtype=object)
    for i, (a, b) in enumerate(zip(starts, ends.tolist(), strict=False)):
        out[i] = halves[2 * a : 2 * b].decode("utf-16-le", "surrogatepass")
    return out


SINGLE = ColumnType("Single")
BOOLEAN = ColumnType("Boolean")
TEXT = ColumnType("TextSpan")


def key_type(values: NDArray[Any] | None, count: int | None = None) -> ColumnType:
    """A key type over the given categories, or over ``count`` categories."""
    return ColumnType("Key", None, len(values) if count is None else count, values)  # type: ignore[arg-type]
