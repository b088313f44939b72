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
    """What a column holds.

    Parameters
    ----------
    kind : str
        A name of `NUMBERS`, "Boolean", "TextSpan" or "Key".
    size : int, optional
        Length of each row's vector; None for a scalar, 0 for a length that varies.
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
        """How many numbers a row has."""
        return 1 if self.size is None else self.size

    @property
    def text(self) -> bool:
        """Whether it holds text."""
        return self.kind == "TextSpan"

    def sized(self, size: int | None) -> ColumnType:
        """The same kind of another length."""
        return replace(self, size=size)

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values as ML.NET gives them: keys as uint32, 0 for none."""
        if self.text:
            return self._texts(values)
        if self.kind == "Key":
            return values.astype(np.uint32)
        if self.kind == "Boolean":
            return values.astype(bool)
        if values.dtype.kind == "f" and self.kind not in ("Single", "Double"):
            values = np.nan_to_num(values)  # no category among integers
        return values.astype(NUMBERS[self.kind])

    def _texts(self, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype == object or self.values is None:
            return values
        # Between modules a text is its key.
        known = np.concatenate([np.array([""], dtype=object), self.values])
        return known[values.astype(int)]


def split_text(text: str, ends: NDArray[np.int32]) -> NDArray[Any] | None:
    """Texts that stand one behind the other; ends count halves of UTF-16. None if they overlap."""
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
    """A key over these categories, or over so many."""
    return ColumnType("Key", None, len(values) if count is None else count, values)  # type: ignore[arg-type]
