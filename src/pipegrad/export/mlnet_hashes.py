"""ML.NET's hash of whole numbers, by operators of ONNX on 64-bit integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..sources.mlnet.operators.hashing import seed_of_slot
from .table import Part

if TYPE_CHECKING:
    from .onnx_graph import GraphWriter

_ALL = 0xFFFFFFFF
_LONG = ("Int64", "UInt64")
WHOLE = ("Key", "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", *_LONG)
"""The types whose hash ONNX can express; it has no operators for letters and for bits of reals."""


def hash_keys(writer: GraphWriter, operator: Any, part: Part) -> Part:
    """The hash of each number as its key; 0 for missing keys."""
    hashing = _Hashing(writer)
    number = writer.cast(part.name, "int64", part.kind)
    seeds = [seed_of_slot(operator.seed, i, operator.ordered) for i in range(part.width)]
    state = hashing.round(writer.constant(np.array([seeds])), hashing.low(number))
    if operator.kind in _LONG:
        high = hashing.high(number)
        none = writer.node("Equal", high, hashing.whole(0))
        state = writer.node("Where", none, state, hashing.round(state, high))
    found = writer.node("BitwiseAnd", hashing.mixed(state), hashing.whole((1 << operator.bits) - 1))
    keys = writer.node("Add", found, hashing.whole(1))
    if operator.kind == "Key":
        none = writer.node("Equal", number, hashing.whole(0))
        keys = writer.node("Where", none, hashing.whole(0), keys)
    return Part(keys, part.width, "int64")


class _Hashing:
    """The steps of the hash, which `sources.mlnet.operators.hashing` computes in Python.

    All numbers are below 2**32; products lose their higher digits, which take no part.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    """

    def __init__(self, writer: GraphWriter) -> None:
        self.writer = writer

    def whole(self, number: int) -> str:
        """A number as a constant."""
        return self.writer.constant(np.array(number, dtype=np.int64))

    def low(self, value: str) -> str:
        """The lower 32 digits."""
        return self.writer.node("BitwiseAnd", value, self.whole(_ALL))

    def high(self, value: str) -> str:
        """The higher 32 digits."""
        rest = self.writer.node("Sub", value, self.low(value))
        return self.low(self.writer.node("Div", rest, self.whole(1 << 32)))

    def times(self, value: str, factor: int) -> str:
        """The lower digits of a product."""
        return self.low(self.writer.node("Mul", value, self.whole(factor)))

    def rotated(self, value: str, by: int) -> str:
        """The digits moved to the left, in a circle."""
        left = self.times(value, 1 << by)
        right = self.writer.node("Div", value, self.whole(1 << (32 - by)))
        return self.writer.node("BitwiseOr", left, right)

    def shifted(self, value: str, by: int) -> str:
        """A number mixed with its higher digits."""
        right = self.writer.node("Div", value, self.whole(1 << by))
        return self.writer.node("BitwiseXor", value, right)

    def round(self, state: str, value: str) -> str:
        """The state after one more number."""
        value = self.times(self.rotated(self.times(value, 0xCC9E2D51), 15), 0x1B873593)
        state = self.rotated(self.writer.node("BitwiseXor", state, value), 13)
        state = self.writer.node("Mul", state, self.whole(5))
        return self.low(self.writer.node("Add", state, self.whole(0xE6546B64)))

    def mixed(self, state: str) -> str:
        """The state at the end."""
        state = self.times(self.shifted(state, 16), 0x85EBCA6B)
        return self.shifted(self.times(self.shifted(state, 13), 0xC2B2AE35), 16)
