"""Categories: vocabularies, indicators, hashes, lookup tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..idv import Table
from ..kinds import NUMBERS, SINGLE, TEXT, ColumnType, key_type
from ..schema import Column
from ._base import Host, Operator, transform
from .hashing import hash_numbers, hash_texts

if TYPE_CHECKING:
    from ..blocks import Reader
    from ..builder import Builder, Node


@dataclass(eq=False, kw_only=True)
class Vocabulary(Host):
    """The key of each value: 1 for the first category, 0 for none."""

    values: NDArray[Any] = field(repr=False)

    def run(self, *values: Any) -> Any:
        """Keys of the same shape."""
        (given,) = values
        place: dict[Any, int] = {}
        for i, value in enumerate(self.values.tolist()):
            place.setdefault(value, i + 1)
        place.pop("", None)
        keys = [place.get(value, 0) for value in given.ravel().tolist()]
        return np.array(keys, dtype=np.uint32).reshape(given.shape)


@dataclass(eq=False, kw_only=True)
class Hash(Host):
    """A key by a hash of each value."""

    bits: int
    seed: int
    ordered: bool

    def run(self, *values: Any) -> Any:
        """Keys of the same shape."""
        (given,) = values
        function = hash_texts if given.dtype == object else hash_numbers
        return function(given, self.seed, self.ordered, self.bits)


@dataclass(eq=False, kw_only=True)
class Indicator(Operator):
    """A column for each category; several keys side by side, or added up (``bag``)."""

    count: int
    size: int | None
    bag: bool


@dataclass(eq=False, kw_only=True)
class Bits(Operator):
    """The digits of the key in base two, the largest first."""

    count: int
    width: int


@dataclass(eq=False, kw_only=True)
class CategoryNumber(Operator):
    """The number that each key stands for; NaN for none."""

    values: NDArray[np.float32] = field(repr=False)


@dataclass(eq=False, kw_only=True)
class CategoryText(Operator):
    """The text that each key stands for: to a module, the key itself."""


@dataclass(eq=False, kw_only=True)
class LookupNumber(Host):
    """The number beside each text in a table; otherwise 0."""

    keys: NDArray[Any] = field(repr=False)
    values: NDArray[Any] = field(repr=False)

    def run(self, *values: Any) -> Any:
        """Numbers of the same shape."""
        (given,) = values
        table = dict(zip(self.keys.tolist(), self.values.tolist(), strict=True))
        found = [table.get(key, 0.0) for key in given.ravel().tolist()]
        return np.array(found, dtype=np.float32).reshape(given.shape)


@transform("TERMTRNF", versions=(0x00010003,))
def read_terms(node: Node, builder: Builder) -> None:
    """Keys by vocabulary."""
    reader = node.block.reader()
    pairs = reader.columns()
    as_text = [reader.flag() for _ in pairs]
    reader.done()
    del as_text  # says how the categories are shown, not what they are
    vocabularies = _vocabularies(node.child("Vocabulary"), len(pairs))
    added = []
    for (out, source), values in zip(pairs, vocabularies, strict=True):
        column = builder.see(source, where=node.path)
        kind = key_type(values).sized(column.type.size)
        added.append(builder.give(node, out, kind, Vocabulary(values=values), column))
    builder.add(added)


def _vocabularies(node: Node, count: int) -> list[NDArray[Any]]:
    reader = node.block.reader()
    if node.block.signature != "TERM MAN" or node.block.version != 0x00010002:
        raise node.unknown()
    if reader.i4() != count:
        raise reader.fail("has vocabularies for other columns")
    found = [_vocabulary(reader) for _ in range(count)]
    reader.done()
    return found


def _vocabulary(reader: Reader) -> NDArray[Any]:
    if not reader.flag():
        indices = reader.array(reader.count(4, "terms", weight=1))
        return np.array(reader.block.strings(indices), dtype=object)
    codec = reader.inline()
    if reader.u1():
        raise reader.fail(f"has a vocabulary of {codec} that is not served")
    if codec == "Boolean":
        return reader.array(reader.count(1, "terms", weight=1), "u1").astype(bool)
    if codec not in NUMBERS:
        raise reader.fail(f"has a vocabulary of {codec} that is not served")
    dtype = np.dtype(NUMBERS[codec])
    count = reader.count(dtype.itemsize, "terms", weight=1)
    return reader.array(count, dtype.newbyteorder("<").str)


def _keys(node: Node, builder: Builder, name: str) -> Column:
    column = builder.see(name, where=node.path)
    if column.type.kind != "Key":
        raise node.block.fail(f"takes keys, and column {name!r} holds {column.type.kind}")
    if not 0 < column.type.count <= 1 << 31:
        raise node.block.fail(f"takes keys, and column {name!r} has {column.type.count}")
    return column


@transform("KEY2VECT", versions=(0x00010002,))
def read_indicator(node: Node, builder: Builder) -> None:
    """Indicators of keys."""
    reader = node.block.reader()
    pairs = reader.columns()
    bags = [reader.flag() for _ in pairs]
    reader.done()
    added = []
    for (out, source), bag in zip(pairs, bags, strict=True):
        column = _keys(node, builder, source)
        count, size = column.type.count, column.type.size
        operator = Indicator(count=count, size=size, bag=bag)
        width = count if bag or size is None else count * size
        added.append(builder.give(node, out, SINGLE.sized(width), operator, column))
    builder.add(added)


@transform("KEY2BINR", versions=(0x00000001, 0x00010001))
def read_bits(node: Node, builder: Builder) -> None:
    """Keys in base two."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    reader.done()
    for out, source in pairs:
        column = _keys(node, builder, source)
        if column.type.size is not None:
            raise node.block.fail("takes vectors of keys, which is not served")
        width = column.type.count.bit_length() + 1
        operator = Bits(count=column.type.count, width=width)
        added.append(builder.give(node, out, SINGLE.sized(width), operator, column))
    builder.add(added)


@transform("KEY2VALT")
def read_values(node: Node, builder: Builder) -> None:
    """What keys stand for."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    reader.done()
    for out, source in pairs:
        column = _keys(node, builder, source)
        values = column.type.values
        if values is None:
            raise node.block.fail(f"takes keys without categories ({source!r})")
        if values.dtype == object:
            kind = ColumnType("TextSpan", column.type.size, len(values), values)
            added.append(builder.give(node, out, kind, CategoryText(), column))
            continue
        name = next((n for n, t in NUMBERS.items() if np.dtype(t) == values.dtype), "Boolean")
        operator = CategoryNumber(values=values.astype(np.float32))
        kind = ColumnType(name, column.type.size)
        added.append(builder.give(node, out, kind, operator, column))
    builder.add(added)


@transform("HASHTRNS", versions=(0x00010002,))
def read_hash(node: Node, builder: Builder) -> None:
    """Keys by hash."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    for out, source in pairs:
        bits, seed, ordered = reader.i4(), int(reader.array(1, "<u4")[0]), reader.flag()
        if not 1 <= bits <= 31:
            raise reader.fail(f"hashes to {bits} bits")
        column = builder.see(source, where=node.path)
        if column.type.kind not in ("TextSpan", "Single"):
            raise reader.fail(f"hashes {column.type.kind}, which is not served")
        operator = Hash(bits=bits, seed=seed, ordered=ordered)
        kind = key_type(None, 1 << bits).sized(column.type.size)
        added.append(builder.give(node, out, kind, operator, column))
    reader.done()
    builder.add(added)


@transform("VALUMAPG")
def read_lookup(node: Node, builder: Builder) -> None:
    """A table of two columns."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    reader.done()
    table = Table(node.archive, f"{node.path}/DefaultMap.idv")
    kinds = [column.type for column in table.columns]
    if len(kinds) != 2 or not kinds[0].text or kinds[1].kind != "Single":
        raise node.block.fail("looks up other than numbers of texts, which is not served")
    keys, values = table.values(0), table.values(1)
    for out, source in pairs:
        column = builder.see(source, where=node.path)
        if not column.type.text:
            raise node.block.fail(f"looks up {column.type.kind}, which is not served")
        kind = SINGLE.sized(column.type.size)
        added.append(builder.give(node, out, kind, LookupNumber(keys=keys, values=values), column))
    builder.add(added)


__all__ = ["TEXT"]
