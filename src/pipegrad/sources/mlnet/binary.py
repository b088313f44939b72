"""ML.NET's binary blocks: a validated header and values, each with its location in the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError, WriteBackError
from ..named.operators import LearnedNumbers
from ..zip_archive import Archive
from .types import split_text

_MAGIC, _TAIL = b"ML\0MODEL", b"LEDOM\0LM"
_HEADER = 0x100
_NEWEST_HEADER = 0x00010002
# This much of a string counts as another object.
_CHARGED_BYTES = 128
# Header offsets of the parts after the model block, all of which move with its length.
_LENGTH, _MOVES = 0x18, (0x20, 0x30, 0x80, 0x88, 0x90)
_ONE = {"<i4": "<i", "<u4": "<I", "<i8": "<q", "<f4": "<f", "<f8": "<d", "u1": "B"}


@dataclass(frozen=True)
class Place:
    """Location of numbers in the archive.

    Parameters
    ----------
    entry : str
        Name of the entry.
    start, stop : int
        Offsets in its unpacked data.
    """

    entry: str
    start: int
    stop: int


@dataclass(eq=False)
class Numbers(LearnedNumbers):
    """Numbers of an operator and their location in the file.

    Parameters
    ----------
    values : array
        Current values, initially as in the file.
    place : Place
        Location of their bytes.
    written : array
        Values in the file.
    """

    values: NDArray[Any]
    place: Place
    written: NDArray[Any]

    @property
    def changed(self) -> bool:
        """Whether they differ from the file."""
        return not np.array_equal(self.values, self.written, equal_nan=True)

    def put(self, new: Any) -> None:
        """Set new values of the same shape; keep values that are equal at the stored precision.

        Raises
        ------
        WriteBackError
            If a value is not finite: ML.NET refuses to load such a model.
        """
        new = np.asarray(new).reshape(self.values.shape)
        old = self.values.astype(new.dtype)
        same = (old == new) | (np.isnan(old) & np.isnan(new))
        values = np.where(same, self.values, new.astype(self.values.dtype))
        if not np.isfinite(values[~same]).all():
            raise WriteBackError(f"Learned parameters of {self.place.entry!r} would not be finite.")
        self.values = values

    def single(self) -> NDArray[np.float32]:
        """The values in single precision."""
        return self.values.astype(np.float32)

    def bytes(self) -> bytes:
        """The values as bytes in the file's format."""
        return np.ascontiguousarray(self.values, dtype=self.written.dtype).tobytes()

    def shaped(self, *shape: int) -> Numbers:
        """The same numbers in another shape."""
        return replace(self, values=self.values.reshape(shape), written=self.written.reshape(shape))


@dataclass(frozen=True, eq=False)
class Block:
    """One component of a model: a header and its model block.

    Parameters
    ----------
    archive : Archive
        The file.
    entry : str
        Name of the entry that holds it.
    signature : str
        Eight characters that identify the kind of block.
    version : int
        Version of that kind.
    loader : str
        Name of the class that loads it.
    data : bytes
        The whole entry.
    length : int
        Length of the model block in bytes.
    """

    archive: Archive = field(repr=False)
    entry: str
    signature: str
    version: int
    loader: str
    data: bytes = field(repr=False)
    length: int

    @classmethod
    def read(cls, archive: Archive, entry: str) -> Block:
        """Read the block in an entry and validate its header.

        Raises
        ------
        ModelFileError
            If offsets and lengths are inconsistent.
        """
        data = archive.unpack(entry)
        if len(data) < _HEADER + len(_TAIL) or data[:8] != _MAGIC:
            raise archive.fail(f"{entry!r} is not a block of ML.NET.")
        written, readable = struct.unpack_from("<2I", data, 0x08)
        if readable > _NEWEST_HEADER or written < 0x00010001:
            raise archive.fail(f"{entry!r} has a header of unknown version {written:#x}.")
        start, length = struct.unpack_from("<2q", data, 0x10)
        tail, end = struct.unpack_from("<2q", data, 0x80)
        if tail != len(data) - 8 or end != len(data) or data[-8:] != _TAIL:
            raise archive.fail(f"{entry!r} does not end at the stated offset.")
        if start != _HEADER or not 0 <= length <= tail - _HEADER:
            raise archive.fail(f"{entry!r} has a block that extends beyond it.")
        signature = data[0x40:0x48].replace(b"\0", b" ").decode("latin-1")
        version = struct.unpack_from("<I", data, 0x48)[0]
        loader = data[0x50:0x68].rstrip(b"\0").decode("latin-1")
        block = cls(archive, entry, signature, version, loader, data, length)
        reached = block._check_strings(start + length, tail)
        name, name_size = struct.unpack_from("<qI", data, 0x90)
        named = (name, name + name_size) == (reached, tail)
        if not named and ((name, name_size) != (0, 0) or reached != tail):
            raise block.fail("has parts that are not contiguous")
        return block

    def _check_strings(self, reached: int, tail: int) -> int:
        """Validate the string table and return its end."""
        table, table_size, characters, characters_size = struct.unpack_from("<4q", self.data, 0x20)
        if table_size == 0:
            if table or characters or characters_size:
                raise self.fail("has characters without strings")
            return reached
        inside = table == reached and table_size > 0 and table_size % 8 == 0
        inside = inside and characters == table + table_size and characters_size >= 0
        if not inside or characters + characters_size > tail:
            raise self.fail("has strings that extend beyond it")
        ends = np.frombuffer(self.data, "<i8", table_size // 8, table)
        wrong = ends[0] < 0 or ends[-1] != characters_size or (ends[1:] < ends[:-1]).any()
        if wrong or (ends % 2).any():
            raise self.fail("has strings that overlap")
        return int(characters + characters_size)

    def fail(self, what: str) -> ModelFileError:
        """An error that names the entry."""
        return self.archive.fail(f"{self.entry!r} ({self.signature.strip()}) {what}.")

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        table, size = struct.unpack_from("<2q", self.data, 0x20)
        return np.frombuffer(self.data, "<i8", size // 8, table)

    def string(self, index: int) -> str | None:
        """A string from the string table; None for index -1."""
        if index == -1:
            return None
        if not 0 <= index < len(self._ends):
            raise self.fail(f"refers to string {index} of {len(self._ends)}")
        start = struct.unpack_from("<q", self.data, 0x30)[0]
        first = int(self._ends[index - 1]) if index else 0
        last = int(self._ends[index])
        # Any number of places may refer to one string.
        self.archive.charge((last - first) // _CHARGED_BYTES)
        raw = self.data[start + first : start + last]
        return raw.decode("utf-16-le", "surrogatepass")

    def strings(self, indices: NDArray[np.int32]) -> list[str]:
        """Several strings from the string table."""
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self._ends)):
            raise self.fail(f"refers to strings outside its table of {len(self._ends)}")
        start, size = struct.unpack_from("<2q", self.data, 0x30)
        lengths = np.diff(self._ends, prepend=0)[indices]
        self.archive.charge(max(0, int(lengths.sum()) - size) // _CHARGED_BYTES)
        text = self.data[start : start + size].decode("utf-16-le", "surrogatepass")
        if 2 * len(text) != size:  # Characters outside the basic plane take two code units.
            return [self.string(int(i)) or "" for i in indices]
        ends = (self._ends // 2)[indices].tolist()
        starts = (np.concatenate([[0], self._ends[:-1]]) // 2)[indices].tolist()
        return [text[a:b] for a, b in zip(starts, ends, strict=True)]

    def reader(self) -> Reader:
        """A reader at the start of the model block."""
        return Reader(self)

    def spliced(self, patches: list[tuple[Place, bytes]]) -> bytes:
        """The entry with some bytes replaced and its header adjusted."""
        pieces, reached, growth = [], 0, 0
        for place, new in sorted(patches, key=lambda patch: patch[0].start):
            if place.start < reached:
                raise ModelFileError(f"{self.entry}: two changes overlap.")
            pieces += [self.data[reached : place.start], new]
            growth += len(new) - (place.stop - place.start)
            reached = place.stop
        data = bytearray(b"".join([*pieces, self.data[reached:]]))
        if growth:
            struct.pack_into("<q", data, _LENGTH, self.length + growth)
            for offset in _MOVES:
                old = struct.unpack_from("<q", data, offset)[0]
                if old:
                    struct.pack_into("<q", data, offset, old + growth)
        return bytes(data)


class Reader:
    """Reads a model block in order and checks the bounds of every value."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.place = _HEADER
        self.end = _HEADER + block.length

    @property
    def left(self) -> int:
        """Number of remaining bytes."""
        return self.end - self.place

    def fail(self, what: str) -> ModelFileError:
        """An error that names the entry."""
        return self.block.fail(what)

    def _take(self, size: int) -> int:
        if not 0 <= size <= self.left:
            raise self.fail(f"needs {size} bytes, but {self.left} are left")
        self.place += size
        return self.place - size

    def _one(self, kind: str) -> Any:
        code = _ONE[kind]
        return struct.unpack_from(code, self.block.data, self._take(struct.calcsize(code)))[0]

    def i4(self) -> int:
        """A signed four-byte integer."""
        return int(self._one("<i4"))

    def u1(self) -> int:
        """A byte."""
        return int(self._one("u1"))

    def flag(self) -> bool:
        """A byte that is 0 or 1."""
        value = self.u1()
        if value > 1:
            raise self.fail(f"has {value} where 0 or 1 is expected")
        return bool(value)

    def number(self, kind: str = "<f4", finite: bool = True) -> Numbers:
        """One number with its location, shape ()."""
        return self.numbers(1, kind, finite).shaped()

    def numbers(self, count: int, kind: str = "<f4", finite: bool = True) -> Numbers:
        """``count`` numbers with their location, shape (count,)."""
        start = self.place
        values = self.array(count, kind)
        if finite and not np.isfinite(values).all():
            raise self.fail("has numbers that are not finite")
        return Numbers(values, Place(self.block.entry, start, self.place), values)

    def array(self, count: int, kind: str = "<i4") -> NDArray[Any]:
        """``count`` numbers as a read-only array."""
        if count < 0:
            raise self.fail(f"has a list of {count} values")
        dtype = np.dtype(kind)
        start = self._take(count * dtype.itemsize)
        return np.frombuffer(self.block.data, dtype, count, start)

    def counted(self, kind: str = "<i4") -> NDArray[Any]:
        """Numbers preceded by their count."""
        return self.array(self.i4(), kind)

    def counted_numbers(self, kind: str = "<f4", finite: bool = True) -> Numbers:
        """Numbers with their location, preceded by their count."""
        return self.numbers(self.i4(), kind, finite)

    def count(self, size: int = 1, what: str = "parts", least: int = 0, weight: int = 10) -> int:
        """The number of items that follow, each of at least ``size`` bytes."""
        value = self.i4()
        if value < least or value * size > self.left:
            raise self.fail(f"cannot hold {value} {what}")
        self.block.archive.charge(value * weight)
        return value

    def text(self) -> str | None:
        """A string from the block's string table, or None."""
        return self.block.string(self.i4())

    def name(self) -> str:
        """A non-empty string from the block's string table."""
        value = self.text()
        if not value:
            raise self.fail("lacks a name")
        return value

    def seven_bit(self) -> int:
        """An integer in groups of seven bits, least significant first."""
        value = shift = 0
        while True:
            byte = self.u1()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
            if shift > 28:
                raise self.fail("has an unterminated length")

    def inline(self) -> str:
        """A string stored inline."""
        size = self.seven_bit()
        start = self._take(size)
        try:
            return self.block.data[start : start + size].decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail("has a string that is not text") from None

    def vector(self) -> tuple[str, int]:
        """Kind and length of the dense vector that follows, read with the name of its codec."""
        size, inner = self.u1(), self.inline()
        if size != 10 + len(inner) or self.u1():
            raise self.fail(f"has a vector of {inner} that is not supported")
        rank, length = self.i4(), self.i4()
        one, again, stored, indices = (self.i4() for _ in range(4))
        if (rank, one, stored, indices) != (1, 1, -1, 0) or not 0 <= length == again:
            raise self.fail("has a vector that is not stored densely, which is not supported")
        return inner, length

    def texts(self, count: int) -> NDArray[Any]:
        """``count`` texts stored inline: first their ends, then their characters."""
        if self.i4() != count:
            raise self.fail("has an unexpected number of texts")
        ends = self.array(count)
        size = self.seven_bit()
        start = self._take(size)
        try:
            found = split_text(self.block.data[start : start + size].decode("utf-8"), ends)
        except UnicodeDecodeError:
            found = None
        if found is None:
            raise self.fail("has texts that overlap")
        return found

    def float_size(self, *allowed: int) -> int:
        """The size of a number, with which most blocks begin."""
        value = self.i4()
        if value not in (allowed or (4,)):
            raise self.fail(f"has numbers of {value} bytes")
        return value

    def columns(self) -> list[tuple[str, str]]:
        """Pairs of output and input names."""
        return [(self.name(), self.name()) for _ in range(self.count(8, "columns"))]

    def done(self) -> None:
        """Reject unread bytes."""
        if self.left:
            raise self.fail(f"has {self.left} unread bytes")
