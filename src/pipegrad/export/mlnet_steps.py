"""Steps of ML.NET that read raw columns, on operators of ONNX."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Step
from ..sources.mlnet.types import NUMBERS, ColumnType
from .host_steps import ENCODERS, LIMITS, TRANSFORMERS, onnx_emitter
from .mlnet_hashes import WHOLE, hash_keys
from .table import Part, Table

if TYPE_CHECKING:
    from .onnx_graph import GraphWriter

emitter = partial(onnx_emitter, "a program of torch takes one matrix, and ML.NET columns of types")

_AT = "pipegrad.sources.mlnet.operators"
_INPUT = f"{_AT}._base.Input"
_VOCABULARY, _HASH = f"{_AT}.categories.Vocabulary", f"{_AT}.categories.Hash"
_LOOKUPS = f"{_AT}.categories.Lookup", f"{_AT}.categories.LookupText"
_PARSE = f"{_AT}.plumbing.Parse"
_NAMES = {"Boolean": "bool", "TextSpan": "string", "Key": "uint32"}


def element(kind: ColumnType) -> str:
    """The type of a column in an ONNX file, a key of `onnx_graph.ELEMENT`."""
    return _NAMES.get(kind.kind) or np.dtype(NUMBERS[kind.kind]).name


@emitter(TRANSFORMERS, _INPUT)
def _column(writer: GraphWriter, step: Step, table: Table) -> Table:
    operator = step.operator
    kind, width = element(operator.type), operator.type.width
    writer.add_input(operator.name, kind, ["rows", width])
    return Table((Part(operator.name, width, kind),))


def _why_no_input(operator: Any) -> str | None:
    known = (*NUMBERS, *_NAMES)
    if operator.missing:
        return operator.missing
    if operator.type.size == 0:
        return "its length differs from row to row"
    if operator.type.kind not in known:
        return f"it holds {operator.type.kind}, which no input of ONNX does"
    return None


LIMITS[_INPUT] = _why_no_input


@emitter(ENCODERS, _VOCABULARY)
@emitter(TRANSFORMERS, _VOCABULARY)
def _keys(writer: GraphWriter, step: Step, table: Table) -> Table:
    """Keys from one; zero for all other values, among which are empty texts."""
    place: dict[Any, int] = {}
    for number, value in enumerate(step.operator.values.tolist()):
        place.setdefault(value, number + 1)
    place.pop("", None)
    keys = [*place.values(), 0]
    return Table(tuple(_found(writer, part, list(place), keys, "int64") for part in table.parts))


@emitter(ENCODERS, _LOOKUPS[0])
@emitter(TRANSFORMERS, *_LOOKUPS)
def _entries(writer: GraphWriter, step: Step, table: Table) -> Table:
    operator = step.operator
    text = operator.values.dtype == object
    known = dict(zip(operator.keys.tolist(), operator.values.tolist(), strict=True))
    kind = "string" if text else operator.values.dtype.name
    values = [*known.values(), "" if text else 0]
    return Table(tuple(_found(writer, part, list(known), values, kind) for part in table.parts))


def _found(writer: GraphWriter, part: Part, keys: list[Any], values: list[Any], kind: str) -> Part:
    """The value for each entry that is a key, and the last value for all others."""
    index = _index(writer, part, keys)
    dtype = object if kind == "string" else np.dtype(kind)
    table = writer.constant(np.array(values, dtype=dtype))
    return Part(writer.node("Gather", table, index, axis=0), part.width, kind)


def _index(writer: GraphWriter, part: Part, keys: list[Any]) -> str:
    """The place of each entry (n, width) among some keys; their number if it is none of them."""
    places = list(range(len(keys)))
    if not keys:
        zeros = writer.cast(writer.node("Shape", part.name), "int64")
        return writer.node("Expand", writer.constant(np.array([0])), zeros)
    text = part.kind == "string"
    if text or part.kind.lstrip("u").startswith("int"):
        name = part.name if text else writer.cast(part.name, "int64", part.kind)
        numbers = [key if text else int(np.array(key).astype(np.int64)) for key in keys]
        options: dict[str, Any] = {"keys_strings" if text else "keys_int64s": numbers}
        options |= {"values_int64s": places, "default_int64": len(keys)}
        return writer.node("LabelEncoder", name, domain="ai.onnx.ml", **options)
    columns = [writer.select(Table((part,)), [i]).parts[0] for i in range(part.width)]
    found = [writer.index_of_numbers(column, keys, places, []) for column in columns]
    return found[0] if len(found) == 1 else writer.node("Concat", *found, axis=1)


@emitter(ENCODERS, _HASH)
@emitter(TRANSFORMERS, _HASH)
def _hashed(writer: GraphWriter, step: Step, table: Table) -> Table:
    return Table(tuple(hash_keys(writer, step.operator, part) for part in table.parts))


def _why_no_hash(operator: Any) -> str | None:
    return (
        None if operator.kind in WHOLE else f"ONNX has no operator for its hash of {operator.kind}"
    )


LIMITS[_HASH] = _why_no_hash


@emitter(TRANSFORMERS, f"{_AT}.categories.CategoryNumber")
def _numbers_of_keys(writer: GraphWriter, step: Step, table: Table) -> Table:
    values = step.operator.values
    none = np.nan if values.dtype.kind == "f" else 0
    known = writer.constant(np.concatenate([np.array([none], dtype=values.dtype), values]))
    (part,) = table.parts
    places = writer.cast(part.name, "int64", part.kind)
    return Table((Part(writer.node("Gather", known, places), part.width, values.dtype.name),))


@emitter(TRANSFORMERS, f"{_AT}.plumbing.ConcatenateTexts")
def _joined(writer: GraphWriter, step: Step, table: Table) -> Table:
    name = writer.node("Concat", *(part.name for part in table.parts), axis=1)
    return Table((Part(name, table.width, table.parts[0].kind),))


@emitter(TRANSFORMERS, f"{_AT}.plumbing.Convert")
def _converted(writer: GraphWriter, step: Step, table: Table) -> Table:
    kind = element(ColumnType(step.operator.kind))
    (part,) = table.parts
    return Table((Part(writer.cast(part.name, kind, part.kind), part.width, kind),))


@emitter(ENCODERS, _PARSE)
@emitter(TRANSFORMERS, _PARSE)
def _nowhere(writer: GraphWriter, step: Step, table: Table) -> Table:
    raise NotImplementedError(f"{step.kind} was not refused")


LIMITS[_PARSE] = lambda operator: "it parses text, and a file fails for text that is no number"


@emitter(ENCODERS, f"{_AT}.linear.Constant")
def _nothing(writer: GraphWriter, step: Step, table: Table) -> Table:
    return Table((writer.zeros(table),))
