"""Converts the inputs that LightGBM accepts to the numbers that its trees compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightgbm import basic
from numpy.typing import NDArray
from scipy import sparse

from ..arrays import entry_places, stores_entries_twice


def numbers(booster: Any, X: Any) -> Any:
    """Dense or CSR rows as LightGBM reads them; the categories of a table become codes.

    Raises
    ------
    ValueError
        If the number of columns differs from the booster's.
    TypeError
        If the input is not numeric.
    """
    if not hasattr(X, "iloc") and hasattr(X, "to_pandas"):
        X = X.to_pandas()
    if hasattr(X, "iloc"):
        X = _coded(booster, X)
    out = _sparse(X) if sparse.issparse(X) else _dense(X)
    width = booster.num_feature()
    if out.shape[1] != width:
        raise ValueError(f"X has {out.shape[1]} features, but the booster expects {width}.")
    return out


def _coded(booster: Any, table: Any) -> NDArray[Any]:
    # LightGBM's own encoding matches whichever version is installed.
    return basic._data_from_pandas(
        data=table.to_frame() if table.ndim == 1 else table,
        feature_name="auto",
        categorical_feature="auto",
        pandas_categorical=booster.pandas_categorical,
    )[0]


def _dense(X: Any) -> NDArray[Any]:
    if isinstance(X, str | bytes):
        raise TypeError("Data files are not supported; pass an array or a table.")
    array = np.asarray(X)
    if array.ndim != 2:
        raise ValueError(f"X is {array.ndim}-dimensional; it must have rows and columns.")
    # Everything except floating point is converted to float32, including integers.
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _sparse(X: Any) -> sparse.csr_matrix:
    if X.dtype not in (np.float32, np.float64):
        raise TypeError(f"A sparse matrix must have dtype float32 or float64, not {X.dtype}.")
    rows = sparse.csr_matrix(X)
    if not stores_entries_twice(rows):
        return rows
    if isinstance(X, sparse.csr_matrix):
        return _last_entries(rows)
    # LightGBM's answer depends on the format then, and on the version of SciPy.
    raise ValueError(
        f"X stores some entries twice ({type(X).__name__}).\nHint: call X.sum_duplicates() first."
    )


def _last_entries(X: sparse.csr_matrix) -> sparse.csr_matrix:
    """The rows with the last one of entries that are stored twice, which LightGBM reads."""
    place = entry_places(X)
    _, from_the_end = np.unique(place[::-1], return_index=True)
    kept = len(place) - 1 - from_the_end
    cells = np.divmod(place[kept], X.shape[1])
    return sparse.csr_matrix((X.data[kept], cells), shape=X.shape)
