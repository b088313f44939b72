"""Steps that concatenate, copy, select or convert columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..binary import Reader
from ..builder import Builder
from ..node import Node
from ..readers import OPAQUE, read_transform, transform
from ..schema import Column
from ..types import NUMBERS, SINGLE, TEXT, ColumnType
from ._base import Host, Operator

# Transforms that need .NET, with the reason and the type of their output.
_TEXT = {
    "TEXT XFR": ("turns text into numbers", SINGLE),
    "TEXTNORM": ("normalizes text", TEXT),
    "WRDTOKNS": ("splits text into words", TEXT),
    "STOPWRDR": ("removes words", TEXT),
    "CSTOPWRD": ("removes words", TEXT),
    "CHARTOKN": ("splits text into characters", ColumnType("Key", count=65535)),
    "NGRAMTRN": ("counts n-grams of text", SINGLE),
    "NGRAMHSH": ("counts n-grams of text", SINGLE),
    "W2VTRANS": ("looks up vectors of words", SINGLE),
    "LIGHTLDA": ("finds topics", SINGLE),
    "HSHJOINF": ("hashes columns together", ColumnType("Key", count=1 << 31)),
    "NADROPXF": ("gives rows of different lengths", SINGLE),
}
OPAQUE.update({sign: (f"{why}, which needs .NET", kind) for sign, (why, kind) in _TEXT.items()})

# ML.NET's codes of data types; dates, time spans and identifiers are not included.
DATA_KINDS = {
    1: "SByte",
    2: "Byte",
    3: "Int16",
    4: "UInt16",
    5: "Int32",
    6: "UInt32",
    7: "Int64",
    8: "UInt64",
    9: "Single",
    10: "Double",
    11: "TextSpan",
    12: "Boolean",
}


@dataclass(eq=False, kw_only=True)
class Concatenate(Operator):
    """Concatenates numeric columns."""

    def gives_sparse(self, sparse: bool) -> bool:
        """Whether any column is sparse."""
        return sparse


@dataclass(eq=False, kw_only=True)
class ConcatenateTexts(Host):
    """Concatenates columns of texts or keys."""

    def run(self, *values: Any) -> Any:
        """Stack horizontally."""
        return np.hstack([v[:, None] if v.ndim == 1 else v for v in values])


@dataclass(eq=False, kw_only=True)
class Convert(Operator):
    """Converts numbers to another type, which does not matter to modules."""

    kind: str = "Single"
    exact = True

    def gives_sparse(self, sparse: bool) -> bool:
        """Whether the column is sparse."""
        return sparse

    def run(self, *values: Any) -> Any:
        """Convert the numbers and keep all their digits."""
        with np.errstate(over="ignore"):
            return values[0].astype(bool if self.kind == "Boolean" else NUMBERS[self.kind])


@dataclass(eq=False, kw_only=True)
class Truth(Operator):
    """Whether a number is nonzero; NaN counts as nonzero."""


@dataclass(eq=False, kw_only=True)
class Parse(Host):
    """Parses texts as numbers or Booleans."""

    kind: str

    def run(self, *values: Any) -> Any:
        """Parse each text."""
        (texts,) = values
        flat = [_parse(text, self.kind) for text in texts.ravel().tolist()]
        with np.errstate(over="ignore"):
            dtype = bool if self.kind == "Boolean" else NUMBERS[self.kind]
            return np.array(flat).astype(dtype).reshape(texts.shape)


@dataclass(eq=False, kw_only=True)
class SelectSlots(Operator):
    """Selects slots of a vector."""

    keep: NDArray[np.int64]

    def gives_sparse(self, sparse: bool) -> bool:
        """Whether the vector is sparse."""
        return sparse


_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INFINITY = re.compile(r"([+-]?)(Infinity|∞)")
_INTEGER = re.compile(r"-?[0-9]+")
_TRUE = ("1", "+", "t", "y", "yes", "true")


def _parse(text: str, kind: str) -> Any:
    """Parse a text as ML.NET does: empty texts give 0, invalid numbers NaN or 0."""
    if kind == "Boolean":
        return text.lower() in _TRUE
    if kind in ("Single", "Double"):
        text = text.rstrip(" ")
        infinite = _INFINITY.fullmatch(text)
        if infinite:
            return -np.inf if infinite[1] == "-" else np.inf
        return float(text) if _DECIMAL.fullmatch(text) else np.nan if text else 0.0
    limits = np.iinfo(np.dtype(NUMBERS[kind]).str)
    value = int(text) if _INTEGER.fullmatch(text) and len(text) < 25 else 0
    return np.array(value if limits.min <= value <= limits.max else 0, dtype=NUMBERS[kind])


@transform("XF CHAIN")
def read_chain(node: Node, builder: Builder) -> None:
    """Read a nested chain."""
    count = node.block.reader().count(4, "steps")
    for i in range(count):
        read_transform(node.child(f"Transform_{i:03d}"), builder)


@transform("ROW MPPR")
def read_wrapper(node: Node, builder: Builder) -> None:
    """Read the transform inside a wrapper."""
    read_transform(node.child("Mapper"), builder)


@transform("NOOPNOOP")
def read_nothing(node: Node, builder: Builder) -> None:
    """Keep all columns unchanged."""


@transform("OPTCOL T", versions=(0x00010001, 0x00010002))
def read_optional(node: Node, builder: Builder) -> None:
    """Read an optional label, which is the unchanged column."""
    reader = node.block.reader()
    names = [reader.name() for _ in range(reader.count(4, "columns"))]
    sources = [builder.require_column(name, where=node.path) for name in names]
    builder.add([Column(c.name, c.type, c.value) for c in sources])


@transform("CONCAT F", versions=(0x00010003,))
def read_concatenate(node: Node, builder: Builder) -> None:
    """Read the concatenation of columns to vectors."""
    reader = node.block.reader()
    outputs = []
    for _ in range(reader.count(8, "columns")):
        name, parts = reader.name(), []
        for _ in range(reader.count(8, "columns", least=1)):
            parts.append(reader.name())
            reader.text()
        outputs.append((name, parts))
    reader.done()
    added = []
    for name, parts in outputs:
        sources = [builder.require_column(part, where=node.path) for part in parts]
        kinds = {source.type.kind for source in sources}
        if len(kinds) > 1:
            raise node.block.fail(f"joins columns of {', '.join(sorted(kinds))}")
        size = sum(source.type.width for source in sources)
        varies = any(source.type.size == 0 for source in sources)
        kind = sources[0].type.sized(0 if varies else size)
        if len(sources) == 1 and sources[0].type.size is not None:
            added.append(Column(name, kind, sources[0].value))
            continue
        text = kind.text or kind.kind == "Key"
        operator = ConcatenateTexts() if text else Concatenate()
        added.append(builder.add_step(node, name, kind, operator, *sources))
    builder.add(added)


@transform("COPYCOLT")
def read_copy(node: Node, builder: Builder) -> None:
    """Read copies of columns under other names."""
    reader = node.block.reader()
    pairs = reader.columns()
    reader.done()
    sources = [(out, builder.require_column(source, where=node.path)) for out, source in pairs]
    builder.add([Column(out, c.type, c.value) for out, c in sources])


@transform("SELCOLST")
def read_select(node: Node, builder: Builder) -> None:
    """Read the columns to keep, in order, or to drop."""
    reader = node.block.reader()
    keep, keep_hidden, ignore = reader.flag(), reader.flag(), reader.flag()
    names = [reader.name() for _ in range(reader.count(4, "columns"))]
    reader.done()
    found = builder.schema.columns if keep_hidden else builder.schema.visible()
    present = {c.name for c in found}
    missing = [name for name in names if name not in present]
    if missing and keep and not ignore and not builder.unserved:
        raise node.block.fail(f"keeps column {missing[0]!r}, which is missing")
    if keep:
        by_name: dict[str, list[Column]] = {}
        for column in found:
            by_name.setdefault(column.name, []).append(column)
        kept = [c for name in names for c in by_name.get(name, ())]
    else:
        dropped = set(names)
        kept = [c for c in found if c.name not in dropped]
    builder.replace_schema(builder.with_required_inputs(kept))


@transform("CHSCOLIF")
def read_choice(node: Node, builder: Builder) -> None:
    """Read the columns to keep or to drop, by position."""
    reader = node.block.reader()
    drop, places = reader.flag(), reader.counted().tolist()
    reader.done()
    found = builder.schema.columns
    if not all(0 <= place < len(found) for place in places):
        raise node.block.fail("selects missing columns")
    if drop:
        places = sorted(set(range(len(found))) - set(places))
    builder.replace_schema([found[place] for place in places])


@transform("CONVERTF", versions=(0x00010003, 0x00010004))
def read_convert(node: Node, builder: Builder) -> None:
    """Read type conversions of columns."""
    reader = node.block.reader()
    pairs = reader.columns()
    kinds = [_kind(reader) for _ in pairs]
    reader.done()
    added = []
    for (out, source), kind in zip(pairs, kinds, strict=True):
        column = builder.require_column(source, where=node.path)
        added.append(_converted(node, builder, out, column, kind))
    builder.add(added)


def _kind(reader: Any) -> str:
    code = reader.u1()
    kind = DATA_KINDS.get(code)
    if kind is None:
        raise reader.fail(f"converts to a type that is not supported ({code})")
    return kind


def _converted(node: Node, builder: Builder, out: str, column: Column, kind: str) -> Column:
    target = ColumnType(kind, column.type.size)
    if column.type.kind == kind:
        return Column(out, target, column.value)
    if column.type.text and column.type.values is None and kind in (*NUMBERS, "Boolean"):
        return builder.add_step(node, out, target, Parse(kind=kind), column)
    if column.type.kind in NUMBERS and kind == "Boolean":
        return builder.add_step(node, out, target, Truth(), column)
    if column.type.kind in (*NUMBERS, "Boolean") and kind in NUMBERS:
        return builder.add_step(node, out, target, Convert(kind=kind), column)
    raise node.block.fail(f"converts {column.type.kind} to {kind}, which is not supported")


def _outside(
    reader: Reader, first: NDArray[Any], last: NDArray[Any], width: int
) -> NDArray[np.int64]:
    """The slots that are in none of the ranges, whose ends belong to them."""
    if (first < 0).any() or (last < first).any():
        raise reader.fail("drops slots in the wrong order")
    reader.block.archive.fill(2 * width, f"{reader.block.entry!r}")
    begins = np.bincount(first[first < width], minlength=width)
    ends = np.bincount(last[last < width - 1] + 1, minlength=width)
    return np.flatnonzero(np.cumsum(begins - ends) == 0)


@transform("DROPSLOT")
def read_drop_slots(node: Node, builder: Builder) -> None:
    """Read ranges of slots to drop."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    for out, source in pairs:
        first = reader.counted()
        last = reader.array(len(first))
        column = builder.require_column(source, where=node.path)
        keep = _outside(reader, first, last, column.type.width)
        kind = column.type.sized(len(keep))
        added.append(builder.add_step(node, out, kind, SelectSlots(keep=keep), column))
    reader.done()
    builder.add(added)
