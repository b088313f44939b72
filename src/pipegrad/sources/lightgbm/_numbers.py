"""The numbers in the text of a LightGBM model, and the error for what is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..faults import fail

_INT32 = 2**31
_LONGEST_NUMBER = 400
_DIGITS = b"0123456789+- "
_FLOAT_CHARACTERS = _DIGITS + b".eEnaifityNAIFTY"
# Zero, infinity and NaN in writing.
_EXACT = re.compile(rb"[+-]?([0.]+(e[+-]?\d+)?|nan|inf(inity)?)", re.IGNORECASE)


def shown(value: bytes) -> str:
    """The beginning of a value, for a message."""
    return repr(value[:40].decode(errors="replace"))


def words(value: bytes) -> list[bytes]:
    """The words of a line; LightGBM separates them by spaces alone."""
    found = value.split(b" ")
    return [word for word in found if word] if b"" in found else found


def integer(place: str, value: bytes) -> int:
    """A whole number of 32 bits."""
    if not re.fullmatch(rb"-?[0-9]{1,10}", value) or not -_INT32 <= int(value) < _INT32:
        fail(place, f"{shown(value)} is no whole number of 32 bits")
    return int(value)


def numbers(place: str, tokens: list[bytes], read: Callable[[Any], Any]) -> NDArray[Any]:
    """The numbers in some words of the file."""
    allowed = _DIGITS if read is int else _FLOAT_CHARACTERS
    longest = 20 if read is int else _LONGEST_NUMBER
    for token in tokens if b"".join(tokens).translate(None, allowed) else ():
        if token.translate(None, allowed):
            fail(place, f"{shown(token)} is no number")
    if max(map(len, tokens), default=0) > longest:
        fail(place, f"a number of more than {longest} digits")
    try:
        return np.array(list(map(read, tokens)), dtype=np.int64 if read is int else np.float64)
    except (ValueError, OverflowError):
        wrong = next((t for t in tokens if not _is_number(t, read)), b"")
        fail(place, f"{shown(wrong)} is no number")


def check_range(place: str, tokens: list[bytes], values: NDArray[Any]) -> None:
    """Check for numbers that overflow or underflow, at which LightGBM ends the process."""
    size = np.abs(values)
    for i in np.flatnonzero(~((size >= np.finfo(float).tiny) & np.isfinite(size))).tolist():
        if not _EXACT.fullmatch(tokens[i]):
            fail(place, f"{shown(tokens[i])} is beyond the range of normal numbers")


def _is_number(token: bytes, read: Callable[[Any], Any]) -> bool:
    try:
        return -(2**63) <= read(token) < 2**63 or read is float
    except ValueError:
        return False
