"""Reads FlatBuffers within bounds: no offset leads out, and no part counts too often."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..faults import fail


class Buffer:
    """One FlatBuffer.

    Parameters
    ----------
    content : bytes
        The buffer.
    place : str
        What it is, for errors.
    """

    def __init__(self, content: bytes, place: str) -> None:
        self.content, self.place = content, place
        # Parts may be shared, but a small file must not stand for a large model.
        self.left = 8 * len(content) + 2**20

    def root(self) -> Table:
        """The table that the buffer is for."""
        return Table(self, self.follow(0, self.place), self.place)

    def number(self, at: int, form: str, place: str) -> Any:
        """A number in little-endian order, such as ``"i"`` for 32 bits."""
        if not 0 <= at <= len(self.content) - struct.calcsize(form):
            fail(place, "it lies beyond the end of its buffer")
        return struct.unpack_from(f"<{form}", self.content, at)[0]

    def follow(self, at: int, place: str) -> int:
        """The place that an offset leads to."""
        return at + int(self.number(at, "I", place))

    def array(self, at: int, dtype: Any, place: str) -> NDArray[Any]:
        """The vector at a place."""
        count, kind = int(self.number(at, "I", place)), np.dtype(dtype)
        size = count * kind.itemsize
        if size > len(self.content) - at - 4:
            fail(place, f"{count} entries, but the buffer ends before that")
        self.left -= size + 4
        if self.left < 0:
            fail(place, "parts of the file are shared so often that the model would be huge")
        return np.frombuffer(self.content, kind, count, at + 4)


class Table:
    """A table of a FlatBuffer, whose fields have numbers.

    Parameters
    ----------
    buffer : Buffer
        The buffer.
    at : int
        Where the table begins.
    place : str
        What it is, for errors.
    """

    def __init__(self, buffer: Buffer, at: int, place: str) -> None:
        self.buffer, self.at, self.place = buffer, at, place
        self.fields = at - int(buffer.number(at, "i", place))
        self.width = int(buffer.number(self.fields, "H", place))
        self.size = int(buffer.number(self.fields + 2, "H", place))
        end = len(buffer.content)
        if self.width < 4 or self.fields + self.width > end or at + self.size > end:
            fail(place, "its description lies beyond the end of its buffer")
        buffer.left -= self.size

    def _field(self, number: int, size: int, place: str) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self.width:
            return None
        offset = int(self.buffer.number(self.fields + entry, "H", place))
        if offset and not 4 <= offset <= self.size - size:
            fail(place, "it lies outside of its table")
        return self.at + offset if offset else None

    def named(self, name: str) -> str:
        """The place of a field, for errors."""
        return f"{self.place}, {name}"

    def number(self, number: int, name: str, form: str, default: float) -> Any:
        """A number, or the default if it is absent."""
        place = self.named(name)
        at = self._field(number, struct.calcsize(form), place)
        return default if at is None else self.buffer.number(at, form, place)

    def _target(self, number: int, name: str) -> int | None:
        at = self._field(number, 4, self.named(name))
        return None if at is None else self.buffer.follow(at, self.named(name))

    def has(self, number: int, name: str) -> bool:
        """Whether the field is there."""
        return self._field(number, 1, self.named(name)) is not None

    def array(self, number: int, name: str, dtype: Any) -> NDArray[Any]:
        """A vector of numbers; empty if it is absent."""
        at = self._target(number, name)
        if at is None:
            return np.zeros(0, dtype)
        return self.buffer.array(at, dtype, self.named(name))

    def table(self, number: int, name: str) -> Table:
        """A table, which must be there."""
        at = self._target(number, name)
        if at is None:
            fail(self.place, f"there is no {name}")
        return Table(self.buffer, at, self.named(name))

    def tables(self, number: int, name: str) -> list[Table]:
        """A vector of tables."""
        return [
            Table(self.buffer, at, f"{self.named(name)}[{i}]")
            for i, at in enumerate(self._targets(number, name))
        ]

    def text(self, number: int, name: str) -> str | None:
        """A text; None if it is absent."""
        at = self._target(number, name)
        return None if at is None else self._text(at, self.named(name))

    def texts(self, number: int, name: str) -> list[str]:
        """A vector of texts."""
        return [self._text(at, self.named(name)) for at in self._targets(number, name)]

    def _targets(self, number: int, name: str) -> list[int]:
        at = self._target(number, name)
        if at is None:
            return []
        offsets = self.buffer.array(at, "<u4", self.named(name))
        return [at + 4 + 4 * i + offset for i, offset in enumerate(offsets.tolist())]

    def _text(self, at: int, place: str) -> str:
        try:
            return self.buffer.array(at, "u1", place).tobytes().decode()
        except UnicodeDecodeError:
            fail(place, "its text is not UTF-8")
