"""Steps that read raw values, on operators of ONNX: one function for each class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import glue
from ..graph import Step
from .table import GraphWriter, Part, Table

Emitter = Callable[[GraphWriter, Any, Table], Table]

ENCODERS: dict[str, Emitter] = {}
"""By the name of a class, what `Translation.encode` computes."""


def encoder(*names: str) -> Callable[[Emitter], Emitter]:
    """Add a function to `ENCODERS`."""

    def add(function: Emitter) -> Emitter:
        ENCODERS.update(dict.fromkeys(names, function))
        return function

    return add


def reads(step: Step, width: int) -> list[str | None]:
    """The type of each column that a step was fitted on; None if unknown."""
    categories = getattr(step.operator, "categories_", None)
    if isinstance(categories, list) and len(categories) == width:
        return [_kind_of(values) for values in categories]
    return [None] * width


def _kind_of(values: Any) -> str:
    from .table import column_kind

    array = np.asarray(values)
    if array.dtype.kind == "O":
        present = [v for v in array.tolist() if v is not None and v == v]
        return "string" if any(isinstance(v, str) for v in present) else "float64"
    return column_kind(array)


def why_not(step: Step) -> str | None:
    """Why ONNX cannot express how a step reads raw values, or None."""
    row = step.translation
    if isinstance(step.operator, glue.Columns) or (step.kind in ENCODERS):
        return None
    if row is None:
        return "it has no translation, and only its own library computes it"
    if not row.reads_raw_numbers(step.operator):
        return f"it reads raw values: {row.on_host or 'only its own library does'}"
    return None


def encoded(writer: GraphWriter, step: Step, table: Table) -> Part:
    """What the module of a step takes for a raw table."""
    emit = ENCODERS.get(step.kind)
    return writer.numbers(table if emit is None else emit(writer, step.operator, table))
