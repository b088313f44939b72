"""ML.NET's hash of texts and numbers: murmur3 with a last round of its own."""

from __future__ import annotations

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
    """UTF-8 as ML.NET has it: each half of UTF-16 for itself, its bytes in reverse."""
    halves = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2").tolist()
    return b"".join(chr(half).encode("utf-8", "surrogatepass")[::-1] for half in halves)


def hash_text(text: str, seed: int) -> int | None:
    """The hash of a text; None for an empty one."""
    text = text.strip(" ")
    if not text:
        return None
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


def _keys(values: NDArray[Any], seed: int, ordered: bool, bits: int, function: Any) -> Any:
    table = values[:, None] if values.ndim == 1 else values
    mask = (1 << bits) - 1
    out = np.zeros(table.shape, dtype=np.uint32)
    for slot in range(table.shape[1]):
        own = _round(seed, slot) if ordered else seed
        known: dict[Any, int] = {}
        for row, value in enumerate(table[:, slot].tolist()):
            if value not in known:
                hashed = function(value, own)
                known[value] = 0 if hashed is None else (hashed & mask) + 1
            out[row, slot] = known[value]
    return out.reshape(values.shape)


def hash_texts(values: NDArray[Any], seed: int, ordered: bool, bits: int) -> NDArray[np.uint32]:
    """Keys of texts, 0 for an empty one."""
    return _keys(values, seed, ordered, bits, hash_text)


def hash_numbers(values: NDArray[Any], seed: int, ordered: bool, bits: int) -> NDArray[np.uint32]:
    """Keys of numbers, 0 for NaN."""
    return _keys(values, seed, ordered, bits, hash_number)
