"""Operators for missing values, and column-wise and row-wise normalizers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..binary import Numbers, Reader
from ..builder import Builder
from ..node import Node
from ..readers import transform
from ..schema import Column
from ..types import BOOLEAN
from ._base import Operator, width_mismatch


@dataclass(eq=False, kw_only=True)
class ReplaceMissing(Operator):
    """Replaces NaN by one number for all slots or by one per slot."""

    fill: Numbers

    def gives_sparse(self, sparse: bool) -> bool:
        """Whether the column is sparse."""
        return sparse


@dataclass(eq=False, kw_only=True)
class IsMissing(Operator):
    """Whether each number is NaN."""

    def gives_sparse(self, sparse: bool) -> bool:
        """Whether the column is sparse."""
        return sparse


@dataclass(eq=False, kw_only=True)
class Affine(Operator):
    """``(x - offset) * scale``, possibly of some slots only."""

    scale: Numbers
    offset: Numbers | None
    slots: NDArray[np.int64] | None

    def gives_sparse(self, sparse: bool) -> bool:
        """Whether zeros stay zeros."""
        return sparse and self.offset is None and self.slots is None


@dataclass(eq=False, kw_only=True)
class Robust(Operator):
    """``(x - center) / range``."""

    center: Numbers
    range: Numbers


@dataclass(eq=False, kw_only=True)
class Cumulative(Operator):
    """The normal cumulative distribution function of a number or of its logarithm."""

    mean: Numbers
    deviation: Numbers
    logarithm: bool


@dataclass(eq=False, kw_only=True)
class Binning(Operator):
    """The rank among upper bounds, scaled to between 0 and 1."""

    bounds: tuple[NDArray[np.float32], ...]
    fix_zero: bool


@dataclass(eq=False, kw_only=True)
class RowNorm(Operator):
    """Divides each row by its norm, possibly after subtracting its mean."""

    center: bool
    norm: str
    scale: float


@transform("NAREP TF", versions=(0x00010002,))
def read_replace(node: Node, builder: Builder) -> None:
    """Read the fill values for missing numbers."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    for out, source in pairs:
        column = _singles(node, builder, source)
        fill = _fill(reader)
        if fill.values.size not in (1, column.type.width):
            raise reader.fail("has as many fill values as no column has slots")
        operator = ReplaceMissing(fill=fill)
        added.append(builder.add_step(node, out, column.type, operator, column))
    reader.done()
    builder.add(added)


_FORMATS = {"Single": "<f4", "Double": "<f8"}


def _fill(reader: Reader) -> Numbers:
    codec = reader.inline()
    size = 1
    if codec == "VBuffer":
        codec, size = reader.vector()
    elif reader.u1():
        raise reader.fail(f"replaces values of {codec}, which is not supported")
    if codec not in _FORMATS:
        raise reader.fail(f"replaces values of {codec}, which is not supported")
    return reader.numbers(size, _FORMATS[codec])


@transform("NAIND TF")
def read_missing(node: Node, builder: Builder) -> None:
    """Read indicators of missing numbers."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    reader.done()
    for out, source in pairs:
        column = _singles(node, builder, source)
        kind = BOOLEAN.sized(column.type.size)
        added.append(builder.add_step(node, out, kind, IsMissing(), column))
    builder.add(added)


def _singles(node: Node, builder: Builder, name: str) -> Column:
    column = builder.require_column(name, where=node.path)
    if column.type.kind not in ("Single", "Double"):
        raise node.block.fail(f"takes numbers, but column {name!r} holds {column.type.kind}")
    return column


@transform("NORMALZR", versions=(0x00010002,))
def read_normalizers(node: Node, builder: Builder) -> None:
    """Read one normalizer per column."""
    reader = node.block.reader()
    pairs = reader.columns()
    added: list[Column] = []
    for out, source in pairs:
        _column_type(reader)
        column = _singles(node, builder, source)
        operator, width = _normalizer(node.child(f"Normalizer_{len(added):03d}"), column.type.width)
        kind = column.type.sized(width) if column.type.size == 0 else column.type
        added.append(builder.add_step(node, out, kind, operator, column))
    reader.done()
    builder.add(added)


def _column_type(reader: Reader) -> None:
    is_vector, kind = reader.flag(), reader.u1()
    if kind not in (9, 10):
        raise reader.fail(f"normalizes a type that is not supported ({kind})")
    if is_vector:
        reader.counted()


def _normalizer(node: Node, width: int) -> tuple[Operator, int]:
    """Read a normalizer for ``width`` slots (0 if the file decides); return it and its width."""
    reads = {"AFF NORM": _affine, "CDFNORMF": _cumulative, "BINNORMF": _binning}
    versions = {"AFF NORM": 0x00010003, "CDFNORMF": 0x00010001, "BINNORMF": 0x00010001}
    read = reads.get(node.block.signature)
    if read is None or node.block.version != versions[node.block.signature]:
        raise node.unsupported_error()
    operator, width = read(node, width)
    operator.loader = node.block.loader
    return operator, width


def _affine(node: Node, width: int) -> tuple[Operator, int]:
    reader = node.block.reader()
    kind = "<f4" if reader.float_size(4, 8) == 4 else "<f8"
    size, morph = reader.i4(), reader.i4()
    slots = None if morph < 0 else reader.array(morph).astype(np.int64)
    scale, offset = reader.counted_numbers(kind), reader.counted_numbers(kind)
    reader.done()
    if width_mismatch(size, width) or not 0 <= size <= 1 << 24 or morph < -1:
        raise reader.fail(f"normalizes {size} slots of {width}")
    width = size
    count = width if slots is None else len(slots)
    outside = slots is not None and len(slots) and (slots.min() < 0 or slots.max() >= width)
    if outside or scale.values.size != count or offset.values.size not in (0, count):
        raise reader.fail("has scales for other slots")
    given = offset if offset.values.size else None
    return Affine(scale=scale, offset=given, slots=slots), width


def _cumulative(node: Node, width: int) -> tuple[Operator, int]:
    reader = node.block.reader()
    kind = "<f4" if reader.float_size(4, 8) == 4 else "<f8"
    logarithm, count = reader.flag(), reader.i4()
    mean, deviation = reader.numbers(count, kind), reader.numbers(count, kind)
    reader.done()
    if width_mismatch(count, width):
        raise reader.fail(f"normalizes {count} slots of {width}")
    return Cumulative(mean=mean, deviation=deviation, logarithm=logarithm), count


def _binning(node: Node, width: int) -> tuple[Operator, int]:
    reader = node.block.reader()
    fix_zero = reader.flag()
    reader.done()
    inner = node.child("BinNormalizer")
    if inner.block.signature != "BIN NORM" or inner.block.version != 0x00010001:
        raise inner.unsupported_error()
    reader = inner.block.reader()
    kind = "<f4" if reader.float_size(4, 8) == 4 else "<f8"
    bounds = tuple(reader.counted(kind) for _ in range(reader.count(4, "slots")))
    reader.done()
    if width_mismatch(len(bounds), width):
        raise reader.fail(f"normalizes {len(bounds)} slots of {width}")
    for one in bounds:
        if not len(one) or not (one[1:] > one[:-1]).all() or one[-1] != np.inf:
            raise reader.fail("has bounds that do not increase to infinity")
    # The module keeps bounds as one table.
    node.archive.fill(len(bounds) * max(map(len, bounds), default=0), f"{node.path!r}")
    return Binning(bounds=bounds, fix_zero=fix_zero), len(bounds)


@transform("GCNORMAF", versions=(0x00010003,))
def read_row_norm(node: Node, builder: Builder) -> None:
    """Read row-wise norms."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    for out, source in pairs:
        center, code = reader.flag(), reader.u1()
        scale = float(reader.number().values)
        if code > 3:
            raise reader.fail(f"has an unknown norm ({code})")
        column = _singles(node, builder, source)
        operator = RowNorm(center=center, norm=("l2", "std", "l1", "max")[code], scale=scale)
        added.append(builder.add_step(node, out, column.type, operator, column))
    reader.done()
    builder.add(added)


@transform("RbScal T")
def read_robust(node: Node, builder: Builder) -> None:
    """Read center and range from the state of a native library."""
    reader = node.block.reader()
    added = []
    for _ in range(reader.count(12, "columns")):
        out, source, kind = reader.inline(), reader.inline(), reader.inline()
        code = {"System.Single": "<f4", "System.Double": "<f8"}.get(kind, "")
        if not code or reader.i4() != 2 * np.dtype(code).itemsize:
            raise reader.fail(f"scales {kind} in a way that is not supported")
        center, width = reader.numbers(1, code), reader.numbers(1, code)
        column = _singles(node, builder, source)
        if column.type.width != 1 or not width.values[0]:
            raise reader.fail(f"cannot scale column {source!r}")
        operator = Robust(center=center, range=width)
        added.append(builder.add_step(node, out, column.type, operator, column))
    reader.done()
    builder.add(added)
