"""Reads ML.NET's binary tables (IDV): schema columns and small tables of values."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..zip_archive import Archive
from .types import NUMBERS, ColumnType, split_text

_HEADER = 0x100
_MAGIC, _TAIL = b"CML\0DVB\0", b"\0BVD\0LMC"
_MOST_VALUES = 1 << 20
_MOST_BLOCKS = 4096


@dataclass(frozen=True)
class Stored:
    """The entry of a column in the table of contents."""

    name: str
    type: ColumnType
    packed: bool
    rows_per_block: int
    lookup: int


class Table:
    """A validated IDV file.

    Parameters
    ----------
    archive : Archive
        The model file.
    entry : str
        The entry that holds the table.
    """

    def __init__(self, archive: Archive, entry: str) -> None:
        self.archive, self.entry = archive, entry
        self.data = archive.unpack(entry)
        if len(self.data) < _HEADER or self.data[:8] != _MAGIC:
            raise self.fail("is not a table of ML.NET")
        contents, tail, self.rows, count = struct.unpack_from("<3qi", self.data, 0x18)
        if not _HEADER <= contents <= tail <= len(self.data) - 8 or self.rows < 0:
            raise self.fail("has offsets that contradict its size")
        # Each column needs at least a name, a codec and two offsets.
        if not 0 <= count * 21 <= tail - contents:
            raise self.fail(f"cannot hold {count} columns")
        archive.charge(count)
        self._place, self._end = contents, tail
        self._stored = len(self.data)
        self.columns = [self._column() for _ in range(count)]

    def fail(self, what: str) -> Exception:
        """An error that names the table."""
        return self.archive.fail(f"{self.entry!r} {what}.")

    def _take(self, size: int) -> bytes:
        if not 0 <= size <= self._end - self._place:
            raise self.fail("is truncated")
        self._place += size
        return self.data[self._place - size : self._place]

    def _seven_bit(self) -> int:
        value = shift = 0
        while shift <= 28:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
        raise self.fail("has an unterminated length")

    def _text(self) -> str:
        try:
            return self._take(self._seven_bit()).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail("has a name that is not text") from None

    def _column(self) -> Stored:
        name, kind = self._text(), self._codec(0)
        packing = self._take(1)[0]
        if packing > 1:
            raise self.fail("uses an unsupported compression method")
        rows_per_block = self._seven_bit()
        lookup, _ = struct.unpack("<2q", self._take(16))
        return Stored(name, kind, bool(packing), rows_per_block, lookup)

    def _codec(self, depth: int) -> ColumnType:
        codec, size = self._text(), self._seven_bit()
        end = self._place + size
        if end > self._end:
            raise self.fail("is truncated")
        if codec == "VBuffer" and depth == 0:
            inner = self._codec(1)
            rank = struct.unpack("<i", self._take(4))[0]
            if not 0 <= rank * 4 <= end - self._place:
                raise self.fail("has a vector of unknown rank")
            sizes = [int(n) for n in np.frombuffer(self._take(4 * rank), "<i4")]
            if any(n < 0 for n in sizes):
                raise self.fail("has a vector of negative length")
            # Multidimensional vectors are flattened.
            total = 1
            for n in sizes:
                total = min(total * n, 1 << 31)
            kind = inner.sized(total if sizes else 0)
        elif codec.startswith("Key"):
            parameters = self._take(size)
            kind = ColumnType("Key", count=_key_count(parameters))
        else:
            kind = ColumnType(codec)
        self._place = end
        return kind

    def values(self, index: int) -> NDArray[Any]:
        """The values of a numeric or text column."""
        column = self.columns[index]
        if self.rows > _MOST_VALUES:
            raise self.fail(f"holds {self.rows} rows, more than {_MOST_VALUES}")
        self.archive.charge(self.rows)
        if column.rows_per_block <= 0 or column.type.size is not None:
            raise self.fail("has a column that is not supported")
        if self.rows > _MOST_BLOCKS * column.rows_per_block:
            raise self.fail("has more blocks than are served")
        parts: list[NDArray[Any]] = []
        self._stored = len(self.data)
        for block in range(-(-self.rows // column.rows_per_block)):
            rows = min(column.rows_per_block, self.rows - block * column.rows_per_block)
            parts.append(self._block(column, block, rows))
        return np.concatenate(parts) if parts else np.array([], dtype=object)

    def _block(self, column: Stored, block: int, rows: int) -> NDArray[Any]:
        place = column.lookup + 16 * block
        if not _HEADER <= place <= len(self.data) - 16:
            raise self.fail("has a lookup table outside it")
        start, packed, size = struct.unpack_from("<qii", self.data, place)
        if start < _HEADER or packed < 0 or not 0 <= size <= 64 * _MOST_VALUES:
            raise self.fail("has a block outside it")
        self._stored -= packed
        if start + packed > len(self.data) or self._stored < 0:
            raise self.fail("has blocks that overlap, or a block outside it")
        data = self.data[start : start + packed]
        if column.packed:
            data = self._unpack(data, size)
        return self._decode(column.type, data, rows)

    def _unpack(self, data: bytes, size: int) -> bytes:
        self.archive.limit -= size
        if self.archive.limit < 0:
            raise self.fail("unpacks to more data than allowed for a file of this size")
        try:
            out = zlib.decompressobj(-15).decompress(data, size + 1)
        except zlib.error as error:
            raise self.fail(f"does not unpack: {error}") from None
        if len(out) != size:
            raise self.fail("does not have the stated size")
        return out

    def _decode(self, kind: ColumnType, data: bytes, rows: int) -> NDArray[Any]:
        if kind.kind in NUMBERS:
            dtype = np.dtype(NUMBERS[kind.kind])
            if len(data) != rows * dtype.itemsize:
                raise self.fail("has a block of the wrong size")
            return np.frombuffer(data, dtype)
        if kind.kind == "Key" and rows and len(data) in (rows, 2 * rows, 4 * rows):
            return np.frombuffer(data, f"<u{len(data) // rows}").astype(np.uint32)
        if kind.kind == "Boolean" and len(data) == (rows + 7) // 8:
            packed = np.frombuffer(data, "u1")
            return np.unpackbits(packed, bitorder="little")[:rows].astype(bool)
        if not kind.text or len(data) < 5 + 4 * rows:
            raise self.fail("has a column that is not supported")
        count = struct.unpack_from("<i", data)[0]
        ends = np.frombuffer(data, "<i4", rows, 4)
        # The characters follow their count, which is stored in groups of seven bits.
        start = 4 + 4 * rows
        while data[start] & 0x80 and start < len(data) - 1:
            start += 1
        try:
            texts = split_text(data[start + 1 :].decode("utf-8"), ends)
        except UnicodeDecodeError:
            raise self.fail("has texts that are not text") from None
        if count != rows or texts is None:
            raise self.fail("has texts that overlap")
        return texts


def _key_count(parameters: bytes) -> int:
    """The number of categories, which follows the raw type and possibly a minimum."""
    return int.from_bytes(parameters[-8:], "little") if len(parameters) >= 8 else 0
