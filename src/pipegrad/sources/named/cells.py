"""Columns of the user's tables as arrays, whatever container they are in."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBERS = (bool, int, float, np.number, np.bool_, decimal.Decimal)


def cells_of(values: Any, plain: str = "fiub") -> NDArray[Any]:
    """A column as an array.

    Parameters
    ----------
    values : array or Series
        The column.
    plain : str
        Kinds of NumPy's types that stay as they are; others become objects.

    Returns
    -------
    array
        Nullable types of pandas give objects with None where a value is missing, or plain numbers
        where none is.
    """
    if not hasattr(values, "to_numpy"):
        return np.asarray(values)
    kind = getattr(values.dtype, "kind", "O")
    if isinstance(values.dtype, np.dtype):
        return np.asarray(values.to_numpy() if kind in plain else values.to_numpy(dtype=object))
    if kind in "fiub" and hasattr(values.dtype, "numpy_dtype") and not values.isna().any():
        return np.asarray(values.to_numpy(dtype=values.dtype.numpy_dtype))
    return np.asarray(values.to_numpy(dtype=object, na_value=None))


def is_number(cell: Any) -> bool:
    """Whether a cell holds a number or a truth value."""
    return isinstance(cell, _NUMBERS)


def is_null(values: Any) -> NDArray[np.bool_]:
    """Which cells of a column are None, (n,) or (n, k); NaN is another value."""
    shape = np.shape(values)
    if not isinstance(values, np.ndarray) or values.dtype != object:
        return np.zeros(shape, dtype=bool)
    return np.array([cell is None for cell in values.ravel().tolist()], dtype=bool).reshape(shape)


def doubles_of(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Numbers in double precision, NaN for None; None if a cell holds something else."""
    if values.dtype != object:
        return values.astype(np.float64) if values.dtype.kind in "fiub" else None
    flat = values.ravel().tolist()
    if not all(cell is None or is_number(cell) for cell in flat):
        return None
    return values.astype(np.float64)
