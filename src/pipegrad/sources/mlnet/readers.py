"""Registry of block readers by signature, to which each family of operators adds its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import ModelFileError
from .binary import Block
from .builder import Builder
from .node import Node
from .operators._base import Operator, Predictor
from .types import SINGLE, ColumnType

Transform = Callable[[Node, Builder], None]
PredictorReader = Callable[[Node, int], Predictor]
CalibratorReader = Callable[[Node], Operator]


@dataclass(frozen=True)
class VersionedReader:
    """A function that reads a block, and the block versions that it supports."""

    read: Any
    versions: tuple[int, ...]

    def check(self, block: Block) -> None:
        """Reject an unknown version."""
        if block.version not in self.versions:
            raise block.fail(f"has version {block.version:#x}, which is unknown")


TRANSFORMS: dict[str, VersionedReader] = {}
PREDICTORS: dict[str, VersionedReader] = {}
CALIBRATORS: dict[str, VersionedReader] = {}
OPAQUE: dict[str, tuple[str, ColumnType]] = {}
"""Signatures that are not translated, with the reason and the type of the output."""
_CALIBRATED = ("PMIXCALP", "CALIPRED", "FTWTCALP")


def _into(
    table: dict[str, VersionedReader], signatures: tuple[str, ...], versions: tuple[int, ...]
) -> Any:
    def decorate(function: Any) -> Any:
        for signature in signatures:
            table[signature] = VersionedReader(function, versions)
        return function

    return decorate


def transform(*signatures: str, versions: tuple[int, ...] = (0x00010001,)) -> Any:
    """Register ``read(node, builder)``, which adds the columns of a transform."""
    return _into(TRANSFORMS, signatures, versions)


def predictor(*signatures: str, versions: tuple[int, ...] = (0x00010001,)) -> Any:
    """Register ``read(node, features) -> Predictor``."""
    return _into(PREDICTORS, signatures, versions)


def calibrator(*signatures: str, versions: tuple[int, ...] = (0x00010001,)) -> Any:
    """Register ``read(node) -> Operator``."""
    return _into(CALIBRATORS, signatures, versions)


def read_transform(node: Node, builder: Builder) -> None:
    """Read the transform in a folder by its signature."""
    signature = node.block.signature
    if signature in OPAQUE:
        reason, kind = OPAQUE[signature]
        builder.external(node, _opaque_columns(node), reason, kind)
        return
    reader = TRANSFORMS.get(signature)
    if reader is None:
        _read_unknown(node, builder)
        return
    reader.check(node.block)
    reader.read(node, builder)


def _read_unknown(node: Node, builder: Builder) -> None:
    """Read an unknown transform, which usually begins with its output and input columns."""
    try:
        pairs = _names(node)
    except ModelFileError:
        raise node.unsupported_error() from None
    if not pairs or any(builder.schema.find(source) is None for _, source in pairs):
        raise node.unsupported_error()
    builder.external(node, [out for out, _ in pairs], "is an unknown transform", SINGLE)


def read_predictor(node: Node, features: int) -> Predictor:
    """Read the predictor in a folder, with its calibrator if there is one."""
    if node.block.signature in _CALIBRATED:
        VersionedReader(None, (0x00010001,)).check(node.block)
        inner = read_predictor(node.child("Predictor"), features)
        inner.calibrator = read_calibrator(node.child("Calibrator"))
        return inner
    reader = PREDICTORS.get(node.block.signature)
    if reader is None:
        raise node.unsupported_error()
    reader.check(node.block)
    return reader.read(node, features)


def read_calibrator(node: Node) -> Operator:
    """Read the calibrator in a folder."""
    reader = CALIBRATORS.get(node.block.signature)
    if reader is None:
        raise node.unsupported_error()
    reader.check(node.block)
    return reader.read(node)


def _names(node: Node) -> list[tuple[str, str]]:
    """Output and input names, stored as string indices or, by native libraries, as strings."""
    try:
        return node.block.reader().columns()
    except ModelFileError:
        pairs, reader = [], node.block.reader()
        for _ in range(reader.count(7, "columns")):
            pairs.append((reader.inline(), reader.inline()))
            reader.inline()
            reader.array(reader.i4(), "u1")
        reader.done()
        return pairs


def _opaque_columns(node: Node) -> list[str]:
    if node.block.signature == "TEXT XFR":
        return _text_columns(node)
    return [out for out, _ in node.block.reader().columns()]


def _text_columns(node: Node) -> list[str]:
    """Output columns of a text featurizer, which its second-to-last step produces."""
    chain = node.child("Chain")
    count = chain.block.reader().count(4, "steps")
    for i in reversed(range(count)):
        inner = chain.child(f"Transform_{i:03d}").block
        if inner.signature == "CONCAT F":
            reader = inner.reader()
            return [reader.name() for _ in range(min(reader.i4(), 1))]
    raise node.unsupported_error()
