"""Reads UBJSON, the binary form of JSON, as far as XGBoost writes it."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import numpy as np

from ..document import DEEPEST, Place, shown

_INTEGERS = {b"i": ">b", b"U": ">B", b"C": ">b", b"I": ">h", b"l": ">i", b"L": ">q"}
_SCALARS = {**_INTEGERS, b"d": ">f", b"D": ">d"}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}
_SIGNED_ARRAYS = {b"i": "i1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_ARRAYS = {**_SIGNED_ARRAYS, b"U": "u1", b"u": ">u2", b"m": ">u4", b"M": ">u8"}


def read_ubjson(content: bytes, file: str) -> Place:
    """Parse UBJSON strictly.

    Arrays with a common type of their elements become numpy arrays, all others lists.

    Raises
    ------
    ModelFileError
        If it is no UBJSON, repeats a key, is nested too deeply, or declares more than it contains.
    """
    return Place(_Reader(content, file).document(), file)


class _Reader:
    def __init__(self, content: bytes, file: str) -> None:
        self._content, self._root = content, Place(None, file)
        self._at = 0

    def document(self) -> Any:
        value = self._value(0)
        if self._at != len(self._content):
            self._fail("the document ends here, but the file goes on.")
        return value

    def _fail(self, fault: str) -> NoReturn:
        self._root.fail(f"byte {self._at}: {fault}")

    def _take(self, size: int) -> bytes:
        if size > len(self._content) - self._at:
            self._fail(f"{size} more bytes are declared, but the file ends earlier.")
        self._at += size
        return self._content[self._at - size : self._at]

    def _next_is(self, marker: bytes) -> bool:
        if self._content[self._at : self._at + 1] != marker:
            return False
        self._at += 1
        return True

    def _value(self, depth: int) -> Any:
        if depth > DEEPEST:
            self._fail(f"more than {DEEPEST} objects and arrays are nested.")
        marker = self._take(1)
        if marker in _SCALARS:
            form = _SCALARS[marker]
            return struct.unpack(form, self._take(struct.calcsize(form)))[0]
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == b"S":
            return self._text()
        if marker == b"{":
            return self._object(depth)
        if marker != b"[":
            self._at -= 1
            self._fail(f"{shown(repr(marker)[1:])} is no type of a value.")
        return self._array(depth)

    def _length(self) -> int:
        # XGBoost reads no other type of lengths.
        if not self._next_is(b"L"):
            self._fail("a length must follow, as a 64-bit integer.")
        (length,) = struct.unpack(">q", self._take(8))
        if not 0 <= length <= len(self._content) - self._at:
            self._at -= 8
            self._fail(f"the length {length} is more than what the file contains.")
        return int(length)

    def _text(self) -> str:
        octets = self._take(self._length())
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError:
            self._fail("the text that ends here is not UTF-8.")
        if "\0" in text:
            self._fail("the text that ends here contains a zero byte.")
        return text

    def _object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not self._next_is(b"}"):
            key = self._text()
            if key in members:
                self._fail(f"the key {shown(key)} stands twice in one object.")
            members[key] = self._value(depth + 1)
        return members

    def _array(self, depth: int) -> Any:
        if self._next_is(b"$"):
            return self._typed_array()
        if self._next_is(b"#"):
            return [self._value(depth + 1) for _ in range(self._length())]
        values = []
        while not self._next_is(b"]"):
            values.append(self._value(depth + 1))
        return values

    def _typed_array(self) -> Any:
        marker = self._take(1)
        if marker not in _ARRAYS:
            self._fail(f"{shown(repr(marker)[1:])} is no type of an array.")
        if not self._next_is(b"#"):
            self._fail("the length of the array must follow.")
        size, dtype = self._length(), np.dtype(_ARRAYS[marker])
        octets = self._take(size * dtype.itemsize)
        return np.frombuffer(octets, dtype=dtype).astype(dtype.newbyteorder("="))
