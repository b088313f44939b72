"""The zip file around a model: every field is validated, unchanged bytes are preserved.

Python's `zipfile` trusts stated sizes and ignores contradictions. Model files can come from
untrusted sources, so each field is checked against its surroundings before it is used.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from .files import open_regular

SMALLEST_LIMIT = 32 << 20
"""Number of bytes that the entries of any file, however small, may unpack to."""
RATIO = 4
"""Entries of a large file may unpack to this many times its size."""
MOST_OBJECTS = 1_000_000
"""Maximal number of strings, columns, nodes and other objects that a file may define."""
MOST_NUMBERS = 1 << 26
"""Numbers that reading any file, however small, may fill in where it states only how many."""
NUMBERS_PER_BYTE = 16
"""Reading a large file may fill in this many times its size."""

_END = struct.Struct("<4s4H2IH")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR, _PATCHED, _UTF8 = 1, 8, 32, 2048


@dataclass(frozen=True)
class Entry:
    """Location of one file in the archive.

    Parameters
    ----------
    name : str
        Path, with ``/`` as separator.
    header, data, end : int
        Offsets of its local header, of its data and of the end of its data.
    size, checksum : int
        Stated size and checksum of the unpacked data.
    method : int
        Compression method: 0 stored, 8 deflated.
    central : int
        Offset of its record in the central directory.
    """

    name: str
    header: int
    data: int
    end: int
    size: int
    checksum: int
    method: int
    central: int


class Archive:
    """The bytes of a model file and its entries; immutable.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        Name of the file in error messages.
    """

    def __init__(self, content: bytes, name: str = "the file") -> None:
        self.content = content
        self.name = name
        self.limit = max(SMALLEST_LIMIT, RATIO * len(content))
        self.objects = MOST_OBJECTS
        self.numbers = max(MOST_NUMBERS, NUMBERS_PER_BYTE * len(content))
        self._unpacked: dict[str, bytes] = {}
        self._directory, self._count = self._find_directory()
        self.entries = self._read_directory()
        self._check_apart()

    @classmethod
    def read(cls, path: Any) -> Archive:
        """The archive at ``path``.

        Raises
        ------
        ModelFileError
            If it is not a valid and consistent zip file.
        """
        place = Path(path)
        with open_regular(place) as file:
            # Check for the zip signature at the end before reading the rest.
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _END.size - 0xFFFF))
            if b"PK\x05\x06" not in file.read():
                raise ModelFileError(f"{place}: not a zip file, or truncated.")
            file.seek(0)
            return cls(file.read(), str(place))

    def __deepcopy__(self, memo: Any) -> Archive:
        return self

    def fail(self, what: str) -> ModelFileError:
        """An error that names the file."""
        return ModelFileError(f"{self.name}: {what}")

    def charge(self, objects: int) -> None:
        """Count objects about to be created; reject too many."""
        self.objects -= objects
        if self.objects < 0:
            raise self.fail(f"it defines more than {MOST_OBJECTS} strings, columns or nodes.")

    def fill(self, count: int, what: str) -> None:
        """Count numbers that the file states without storing them; reject too many."""
        self.numbers -= count
        if self.numbers < 0:
            raise self.fail(
                f"{what} needs {4 * count / 1e9:.2g} GB for numbers that the file does not store, "
                "which is more than allowed for a file of this size."
            )

    # -- reading -------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def folder(self, path: str) -> list[str]:
        """Names of the entries below ``path``."""
        return [name for name in self.entries if name.startswith(f"{path}/")]

    def unpack(self, name: str) -> bytes:
        """The unpacked data of an entry.

        Raises
        ------
        ModelFileError
            If it is missing, exceeds its stated size or does not unpack.
        """
        if name not in self._unpacked:
            if name not in self.entries:
                raise self.fail(f"{name!r} is missing.")
            entry = self.entries[name]
            self.limit -= entry.size
            if self.limit < 0:
                raise self.fail(
                    f"{name!r} unpacks to more data than allowed for a file of this size."
                )
            self._unpacked[name] = self._inflate(entry)
        return self._unpacked[name]

    def _inflate(self, entry: Entry) -> bytes:
        packed = memoryview(self.content)[entry.data : entry.end]
        if entry.method == _STORED:
            data = bytes(packed)
        else:
            machine = zlib.decompressobj(-15)
            try:
                data = machine.decompress(packed, entry.size + 1)
            except zlib.error as error:
                raise self.fail(f"{entry.name!r} does not unpack: {error}.") from None
            if not machine.eof and len(data) <= entry.size:
                raise self.fail(f"{entry.name!r} is truncated.")
        if len(data) != entry.size:
            raise self.fail(f"{entry.name!r} does not have the stated size.")
        if zlib.crc32(data) != entry.checksum:
            raise self.fail(f"{entry.name!r} has a wrong checksum.")
        return data

    def _find_directory(self) -> tuple[int, int]:
        content = self.content
        place = content.rfind(b"PK\x05\x06", max(0, len(content) - _END.size - 0xFFFF))
        if place < 0 or place + _END.size > len(content):
            raise self.fail("not a zip file, or truncated.")
        _, disk, start_disk, here, count, size, start, comment = _END.unpack_from(content, place)
        if place + _END.size + comment != len(content):
            raise self.fail("it has bytes after the end of the zip file.")
        if disk or start_disk or here != count or count == 0xFFFF:
            raise self.fail(
                "zip files of several parts or of more than 65534 entries are not supported."
            )
        if start + size != place:
            raise self.fail("the directory of the zip file is not at the stated offset.")
        return start, count

    def _read_directory(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        seen: set[str] = set()
        place, end = self._directory, self.content.rfind(b"PK\x05\x06")
        for _ in range(self._count):
            if place + _CENTRAL.size > end:
                raise self.fail("the directory of the zip file is truncated.")
            entry, place = self._read_entry(place, end)
            # .NET looks up entries case-insensitively, so names must differ by more than case.
            if entry.name.casefold() in seen:
                raise self.fail(f"{entry.name!r} occurs twice.")
            seen.add(entry.name.casefold())
            entries[entry.name] = entry
        if place != end:
            raise self.fail("the directory of the zip file holds more than stated.")
        return entries

    def _read_entry(self, place: int, end: int) -> tuple[Entry, int]:
        fields = _CENTRAL.unpack_from(self.content, place)
        magic, _, _, flags, method, _, _, checksum, packed, size = fields[:10]
        name_size, extra, comment, _, _, _, header = fields[10:]
        after = place + _CENTRAL.size + name_size + extra + comment
        if magic != b"PK\x01\x02" or after > end:
            raise self.fail("the directory of the zip file is damaged.")
        start = place + _CENTRAL.size
        raw = self.content[start : start + name_size]
        name = self._name(raw, flags)
        if flags & (_ENCRYPTED | _PATCHED) or method not in (_STORED, _DEFLATED):
            raise self.fail(f"{name!r} is encrypted, or uses an unsupported compression method.")
        if 0xFFFFFFFF in (packed, size, header):
            raise self.fail(f"{name!r} needs zip64, which is not supported.")
        if method == _STORED and packed != size:
            raise self.fail(f"{name!r} does not have the stated size.")
        data = self._data_of(header, raw, name, (flags, method, checksum, packed, size))
        if data + packed > self._directory:
            raise self.fail(f"{name!r} extends beyond the file.")
        return Entry(name, header, data, data + packed, size, checksum, method, place), after

    def _data_of(self, header: int, raw: bytes, name: str, stated: tuple[int, ...]) -> int:
        """Offset of the data after a local header, which must agree with the directory."""
        if header + _LOCAL.size > self._directory:
            raise self.fail(f"{name!r} lies outside the file.")
        fields = _LOCAL.unpack_from(self.content, header)
        magic, _, flags, method, _, _, *sizes, name_size, extra = fields
        start = header + _LOCAL.size
        same_sizes = flags & _DESCRIPTOR or tuple(sizes) == stated[2:]
        same = (flags, method) == stated[:2] and same_sizes
        if magic != b"PK\x03\x04" or self.content[start : start + name_size] != raw or not same:
            raise self.fail(f"{name!r} contradicts the directory of the zip file.")
        return start + name_size + extra

    def _name(self, raw: bytes, flags: int) -> str:
        try:
            name = raw.decode("utf-8" if flags & _UTF8 else "cp437").replace("\\", "/")
        except UnicodeDecodeError:
            raise self.fail("an entry has a name that is not text.") from None
        parts = name.rstrip("/").split("/")
        if "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise self.fail(f"an entry has the unusable name {name!r:.80}.")
        return name

    def _check_apart(self) -> None:
        """Check that no two entries overlap."""
        reached = 0
        for entry in sorted(self.entries.values(), key=lambda e: e.header):
            if entry.header < reached:
                raise self.fail(f"{entry.name!r} overlaps another entry.")
            reached = entry.end

    # -- writing -------------------------------------------------------------------------------

    def replaced(self, changes: Mapping[str, bytes | None]) -> bytes:
        """The file with new data in some entries; None drops an entry.

        The bytes of all other entries stay unchanged.
        """
        if not changes:
            return self.content
        pieces: list[bytes] = []
        moved: dict[str, int] = {}
        place = length = 0
        for entry in sorted(self.entries.values(), key=lambda e: e.header):
            pieces.append(self.content[place : entry.header])
            length += len(pieces[-1])
            moved[entry.name], place = length, entry.end
            if entry.name not in changes:
                pieces.append(self.content[entry.header : entry.end])
            else:
                data = changes[entry.name]
                pieces.append(b"" if data is None else self._pack(entry, data))
                place += self._descriptor_size(entry)
            length += len(pieces[-1])
        pieces.append(self.content[place : self._directory])
        length += len(pieces[-1])
        directory = self._new_directory(changes, moved)
        return b"".join([*pieces, directory, self._new_end(changes, length, len(directory))])

    def _pack(self, entry: Entry, data: bytes) -> bytes:
        packed = _deflate(data) if entry.method == _DEFLATED else data
        header = bytearray(self.content[entry.header : entry.data])
        _state_sizes(header, 6, 14, data, packed)
        return bytes(header) + packed

    def _descriptor_size(self, entry: Entry) -> int:
        """Size of the data descriptor that some writers append to the data."""
        if not struct.unpack_from("<H", self.content, entry.header + 6)[0] & _DESCRIPTOR:
            return 0
        signed = self.content[entry.end : entry.end + 4] == b"PK\x07\x08"
        return 16 if signed else 12

    def _new_directory(
        self, changes: Mapping[str, bytes | None], moved: Mapping[str, int]
    ) -> bytes:
        records = []
        ordered = sorted(self.entries.values(), key=lambda e: e.central)
        ends = [*(e.central for e in ordered[1:]), self._directory_end()]
        for entry, end in zip(ordered, ends, strict=True):
            record = bytearray(self.content[entry.central : end])
            struct.pack_into("<I", record, 42, moved[entry.name])
            if entry.name in changes:
                data = changes[entry.name]
                if data is None:
                    continue
                packed = _deflate(data) if entry.method == _DEFLATED else data
                _state_sizes(record, 8, 16, data, packed)
            records.append(bytes(record))
        return b"".join(records)

    def _directory_end(self) -> int:
        return self.content.rfind(b"PK\x05\x06")

    def _new_end(self, changes: Mapping[str, bytes | None], start: int, size: int) -> bytes:
        end = bytearray(self.content[self._directory_end() :])
        count = self._count - sum(data is None for data in changes.values())
        struct.pack_into("<2H2I", end, 8, count, count, size, start)
        return bytes(end)


def _deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(6, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def _state_sizes(header: bytearray, flags: int, sizes: int, data: bytes, packed: bytes) -> None:
    """Write checksum and sizes into a header, which then needs no data descriptor."""
    old = struct.unpack_from("<H", header, flags)[0]
    struct.pack_into("<H", header, flags, old & ~_DESCRIPTOR)
    struct.pack_into("<3I", header, sizes, zlib.crc32(data), len(packed), len(data))
