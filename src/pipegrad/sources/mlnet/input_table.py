"""Converts the user's tables to ML.NET's raw columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ArgumentError
from ..named.cells import cells_of
from ..named.model import column_names, has_column
from .types import NUMBERS, ColumnType


def raw_column(table: Any, name: str, kind: ColumnType) -> NDArray[Any]:
    """Convert a column of a table to its ML.NET type: (n,) or (n, size).

    Raises
    ------
    ArgumentError
        If the column is missing or its values have another type.
    """
    if not has_column(table, name):
        known = ", ".join(map(repr, list(column_names(table))[:8]))
        raise ArgumentError(f"The table has no column {name!r}; it has {known}.")
    values = cells_of(table[name])
    if kind.size is not None:
        values = _rows(values, name, kind.size)
    elif values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return _typed(values, name, kind)


def _rows(values: NDArray[Any], name: str, size: int) -> NDArray[Any]:
    """Stack cells that hold vectors into a two-dimensional array."""
    if values.ndim == 1:
        try:
            values = np.stack([np.asarray(cell) for cell in values]) if len(values) else values
        except ValueError as error:
            raise ArgumentError(f"Column {name!r}: {error}.") from error
    size = size or (values.shape[1] if values.ndim == 2 else 0)
    if not len(values):
        return values.reshape(0, size)
    if values.ndim != 2 or values.shape[1] != size:
        raise ArgumentError(
            f"Column {name!r} has cells of shape {values.shape[1:]}, but needs {size} "
            "values in each."
        )
    return values


def _typed(values: NDArray[Any], name: str, kind: ColumnType) -> NDArray[Any]:
    if not kind.text and kind.kind not in (*NUMBERS, "Boolean", "Key"):
        raise ArgumentError(f"Column {name!r} holds {kind.kind}, which is not supported.")
    try:
        if kind.text:
            flat = [_text(value) for value in values.ravel().tolist()]
            return np.array(flat, dtype=object).reshape(values.shape)
        if kind.kind == "Boolean":
            return _truth(values)
        if kind.kind == "Key":
            return values.astype(np.uint32)
        numbers = values.astype(np.float64) if values.dtype == object else values
        with np.errstate(over="ignore"):
            return numbers.astype(NUMBERS[kind.kind])
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"Column {name!r} must hold {kind.kind}: {error}.") from error


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def _truth(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype == object or values.dtype.kind in "US":
        known = {"true": True, "1": True, "false": False, "0": False, "": False}
        texts = [_text(v).strip().lower() for v in values.ravel().tolist()]
        if not known.keys() >= set(texts):
            raise ValueError(f"{min(set(texts) - known.keys())!r} is neither true nor false")
        return np.array([known[t] for t in texts], dtype=bool).reshape(values.shape)
    return values.astype(bool)
