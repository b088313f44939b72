"""Operators on categories: vocabularies, indicators, hashes and lookup tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..binary import Reader
from ..builder import Builder
from ..idv import Table
from ..node import Node
from ..readers import transform
from ..schema import Column
from ..types import NUMBERS, SINGLE, TEXT, ColumnType, key_type
from ._base import Host, Operator
from .hashing import HASHES, hash_keys

# Indicators wider than this are sparse.
_WIDE = 256


@dataclass(eq=False, kw_only=True)
class Vocabulary(Host):
    """The key of each value: 1 for the first category, 0 for unknown values."""

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
    """The hash of each value as its key."""

    kind: str
    bits: int
    seed: int
    ordered: bool

    def run(self, *values: Any) -> Any:
        """Keys of the same shape."""
        (given,) = values
        return hash_keys(given, self.kind, self.seed, self.ordered, self.bits)


@dataclass(eq=False, kw_only=True)
class Indicator(Operator):
    """One column per category; vectors of keys are concatenated or summed (``bag``)."""

    count: int
    size: int | None
    bag: bool

    @property
    def keys(self) -> int:
        """Number of keys in each row."""
        return 1 if self.size is None else self.size

    def gives_sparse(self, sparse: bool) -> bool:
        """Whether there are many columns."""
        return self.count * self.keys > _WIDE


@dataclass(eq=False, kw_only=True)
class Bits(Operator):
    """The binary digits of the key, most significant first."""

    count: int
    width: int


@dataclass(eq=False, kw_only=True)
class CategoryNumber(Operator):
    """The number that each key stands for; NaN, or 0 for integers, if the key is missing."""

    values: NDArray[Any] = field(repr=False)
    exact = True

    def run(self, *values: Any) -> Any:
        """Numbers of the same type as the categories."""
        none = np.nan if self.values.dtype.kind == "f" else 0
        table = np.concatenate([np.array([none], dtype=self.values.dtype), self.values])
        return table[values[0].astype(np.int64)]


@dataclass(eq=False, kw_only=True)
class CategoryText(Operator):
    """The text that each key stands for, which modules represent by the key."""


@dataclass(eq=False, kw_only=True)
class Lookup(Host):
    """The number that a lookup table assigns to each value; 0 for unknown values."""

    keys: NDArray[Any] = field(repr=False)
    values: NDArray[Any] = field(repr=False)

    def run(self, *values: Any) -> Any:
        """Entries of the same shape."""
        (given,) = values
        none = "" if self.values.dtype == object else 0
        table = dict(zip(self.keys.tolist(), self.values.tolist(), strict=True))
        found = [table.get(key, none) for key in given.ravel().tolist()]
        return np.array(found, dtype=self.values.dtype).reshape(given.shape)


@dataclass(eq=False, kw_only=True)
class LookupText(Lookup):
    """The text that a lookup table assigns to each value; empty for unknown values."""


@transform("TERMTRNF", versions=(0x00010003,))
def read_terms(node: Node, builder: Builder) -> None:
    """Read vocabularies that map values to keys."""
    reader = node.block.reader()
    pairs = reader.columns()
    as_text = [reader.flag() for _ in pairs]
    reader.done()
    del as_text  # Affects only how the categories are displayed.
    vocabularies = _vocabularies(node.child("Vocabulary"), len(pairs))
    added = []
    for (out, source), values in zip(pairs, vocabularies, strict=True):
        column = builder.require_column(source, where=node.path)
        kind = key_type(values).sized(column.type.size)
        added.append(builder.add_step(node, out, kind, Vocabulary(values=values), column))
    builder.add(added)


def _vocabularies(node: Node, count: int) -> list[NDArray[Any]]:
    reader = node.block.reader()
    if node.block.signature != "TERM MAN" or node.block.version != 0x00010002:
        raise node.unsupported_error()
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
        raise reader.fail(f"has a vocabulary of {codec} that is not supported")
    if codec == "Boolean":
        count = reader.count(0, "terms", weight=1)
        packed = reader.array((count + 7) // 8, "u1")
        return np.unpackbits(packed, bitorder="little")[:count].astype(bool)
    if codec not in NUMBERS:
        raise reader.fail(f"has a vocabulary of {codec} that is not supported")
    dtype = np.dtype(NUMBERS[codec])
    count = reader.count(dtype.itemsize, "terms", weight=1)
    return reader.array(count, dtype.newbyteorder("<").str)


def _keys(node: Node, builder: Builder, name: str) -> Column:
    column = builder.require_column(name, where=node.path)
    if column.type.kind != "Key":
        raise node.block.fail(f"takes keys, but column {name!r} holds {column.type.kind}")
    if not 0 < column.type.count <= 1 << 31:
        raise node.block.fail(f"takes keys, but column {name!r} has {column.type.count}")
    return column


@transform("KEY2VECT", versions=(0x00010002,))
def read_indicator(node: Node, builder: Builder) -> None:
    """Read indicators of keys."""
    reader = node.block.reader()
    pairs = reader.columns()
    bags = [reader.flag() for _ in pairs]
    reader.done()
    added = []
    for (out, source), bag in zip(pairs, bags, strict=True):
        column = _keys(node, builder, source)
        count, size = column.type.count, column.type.size
        builder.archive.charge(size or 0)
        operator = Indicator(count=count, size=size, bag=bag)
        width = count if bag or size is None else count * size
        added.append(builder.add_step(node, out, SINGLE.sized(width), operator, column))
    builder.add(added)


@transform("KEY2BINR", versions=(0x00000001, 0x00010001))
def read_bits(node: Node, builder: Builder) -> None:
    """Read binary encodings of keys."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    reader.done()
    for out, source in pairs:
        column = _keys(node, builder, source)
        width = column.type.count.bit_length() + 1
        operator = Bits(count=column.type.count, width=width)
        size = width if column.type.size is None else width * column.type.size
        added.append(builder.add_step(node, out, SINGLE.sized(size), operator, column))
    builder.add(added)


@transform("KEY2VALT")
def read_values(node: Node, builder: Builder) -> None:
    """Read the conversion of keys to their values."""
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
            added.append(builder.add_step(node, out, kind, CategoryText(), column))
            continue
        name = next((n for n, t in NUMBERS.items() if np.dtype(t) == values.dtype), "Boolean")
        operator = CategoryNumber(values=values)
        kind = ColumnType(name, column.type.size)
        added.append(builder.add_step(node, out, kind, operator, column))
    builder.add(added)


@transform("HASHTRNS", versions=(0x00010002,))
def read_hash(node: Node, builder: Builder) -> None:
    """Read the conversion of values to keys by hashing."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    for out, source in pairs:
        bits, seed, ordered = reader.i4(), int(reader.array(1, "<u4")[0]), reader.flag()
        if not 1 <= bits <= 31:
            raise reader.fail(f"hashes to {bits} bits")
        column = builder.require_column(source, where=node.path)
        if column.type.kind not in HASHES:
            raise reader.fail(f"hashes {column.type.kind}, which is not supported")
        operator = Hash(kind=column.type.kind, bits=bits, seed=seed, ordered=ordered)
        kind = key_type(None, 1 << bits).sized(column.type.size)
        added.append(builder.add_step(node, out, kind, operator, column))
    reader.done()
    builder.add(added)


@transform("VALUMAPG")
def read_lookup(node: Node, builder: Builder) -> None:
    """Read a lookup table of two columns."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    reader.done()
    table = Table(node.archive, f"{node.path}/DefaultMap.idv")
    columns = {column.name: i for i, column in enumerate(table.columns)}
    kinds = [column.type for column in table.columns]
    plain = {"Key", "Value"} <= set(columns) <= {"Key", "Value", "KeyValues"}
    for name in ("Key", "Value") if plain else ():
        kind = kinds[columns[name]]
        plain &= kind.size is None and kind.kind in (*NUMBERS, "Boolean", "TextSpan", "Key")
    if not plain:
        names = [out for out, _ in pairs]
        builder.external(node, names, "looks up vectors, which needs .NET", SINGLE)
        return
    keys, values = (table.values(columns[name]) for name in ("Key", "Value"))
    given, found = (kinds[columns[name]] for name in ("Key", "Value"))
    for out, source in pairs:
        column = builder.require_column(source, where=node.path)
        if column.type.kind != given.kind or column.type.values is not None:
            raise node.block.fail(f"looks up {given.kind} in {column.type.kind}")
        lookup = (LookupText if found.text else Lookup)(keys=keys, values=values)
        kind = found.sized(column.type.size)
        added.append(builder.add_step(node, out, kind, lookup, column))
    builder.add(added)


__all__ = ["TEXT"]
