"""ML.NET's hash of texts and numbers: MurmurHash3 with a custom final mix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALL = 0xFFFFFFFF


def _rotate(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _ALL


def _round(state: int, value: int) -> int:
    value = (value * 0xCC9E2D51) & _ALL
    value = (_rotate(value, 15) * 0x1B873593) & _ALL
    return (_rotate(state ^ value, 13) * 5 + 0xE6546B64) & _ALL


def _mix(state: int) -> int:
    state = ((state ^ (state >> 16)) * 0x85EBCA6B) & _ALL
    state = ((state ^ (state >> 13)) * 0xC2B2AE35) & _ALL
    return state ^ (state >> 16)


def _wide(text: str) -> bytes:
    """ML.NET's variant of UTF-8: each UTF-16 code unit separately, its bytes reversed."""
    halves = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2").tolist()
    return b"".join(chr(half).encode("utf-8", "surrogatepass")[::-1] for half in halves)


def hash_text(text: str, seed: int) -> int | None:
    """The hash of a text; None for an empty one."""
    if not text:
        return None
    text = text.strip(" ")
    data = text.encode("ascii") if text.isascii() else _wide(text)
    state = seed
    for start in range(0, len(data), 4):
        state = _round(state, int.from_bytes(data[start : start + 4], "little"))
    return _mix(_round(state, len(data)))


def hash_number(value: float, seed: int) -> int | None:
    """The hash of a number in single precision; None for NaN."""
    if value != value:
        return None
    bits = 0 if value == 0 else int(np.float32(value).view(np.uint32))
    return _mix(_round(seed, bits))


def hash_double(value: float, seed: int) -> int | None:
    """The hash of a number in double precision; None for NaN."""
    if value != value:
        return None
    return hash_long(0 if value == 0 else int(np.float64(value).view(np.uint64)), seed)


def hash_integer(value: int, seed: int) -> int | None:
    """The hash of a Boolean or of an integer of at most four bytes."""
    return _mix(_round(seed, int(value) & _ALL))


def hash_long(value: int, seed: int) -> int | None:
    """The hash of an integer of eight bytes."""
    low, high = value & _ALL, (value >> 32) & _ALL
    state = _round(seed, low)
    return _mix(_round(state, high) if high else state)


def hash_key(value: int, seed: int) -> int | None:
    """The hash of a key; None for a missing key."""
    return hash_integer(value, seed) if value else None


HASHES: dict[str, Callable[[Any, int], int | None]] = {
    "TextSpan": hash_text,
    "Single": hash_number,
    "Double": hash_double,
    "Key": hash_key,
    "Int64": hash_long,
    "UInt64": hash_long,
    **dict.fromkeys(
        ("Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32"), hash_integer
    ),
}
"""The hash function of each kind of value."""


def seed_of_slot(seed: int, slot: int, ordered: bool) -> int:
    """The state in which the hash of a slot of a vector begins."""
    return _round(seed, slot) if ordered else seed


def hash_keys(
    values: NDArray[Any], kind: str, seed: int, ordered: bool, bits: int
) -> NDArray[np.uint32]:
    """Hash values of the given kind to keys; 0 for missing values."""
    function = HASHES[kind]
    table = values[:, None] if values.ndim == 1 else values
    mask = (1 << bits) - 1
    out = np.zeros(table.shape, dtype=np.uint32)
    for slot in range(table.shape[1]):
        own = seed_of_slot(seed, slot, ordered)
        known: dict[Any, int] = {}
        for row, value in enumerate(table[:, slot].tolist()):
            if value not in known:
                hashed = function(value, own)
                known[value] = 0 if hashed is None else (hashed & mask) + 1
            out[row, slot] = known[value]
    return out.reshape(values.shape)
