"""Converts the inputs that LightGBM accepts to the numbers that its trees compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightgbm import basic
from numpy.typing import NDArray
from scipy import sparse


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
    return sparse.csr_matrix(X)
