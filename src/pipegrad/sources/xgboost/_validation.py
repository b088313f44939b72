"""Converts the inputs that XGBoost accepts to the numbers that its trees compare."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy import sparse

from ...warning_filters import ignored_warnings
from ._model_json import Content


def first_row(X: Any) -> Any:
    """A small part of the input that suffices for checking names and types."""
    if isinstance(X, xgboost.DMatrix):
        return X.slice([0]) if X.num_row() else X
    if hasattr(X, "iloc"):
        return X.iloc[:1]
    return X.tocsr()[:1] if sparse.issparse(X) else X[:1]


def ask(answer: Any, X: Any) -> None:
    """Let XGBoost check its input."""
    with ignored_warnings("[\\s\\S]*Empty dataset"):
        answer(first_row(X))


def numbers(booster: Any, X: Any) -> Any:
    """Dense or CSR numbers; the categories of a table become codes."""
    if isinstance(X, xgboost.DMatrix):
        return _widened(X.get_data(), booster.num_features())
    if sparse.issparse(X):
        return _widened(_floats(X.tocsr()), booster.num_features())
    if not hasattr(X, "iloc") and hasattr(X, "to_pandas"):
        X = X.to_pandas()
    if hasattr(X, "iloc"):
        return _from_table(booster, X.to_frame() if X.ndim == 1 else X)
    array = _floats(np.asarray(X))
    array = array[:, None] if array.ndim == 1 else array
    short = booster.num_features() - array.shape[1]
    return np.pad(array, ((0, 0), (0, short)), constant_values=np.nan) if short else array


def check_finite(X: Any, missing: float | None) -> None:
    """Reject what a `DMatrix` rejects."""
    values = X.data if sparse.issparse(X) else X
    with np.errstate(over="ignore"):
        infinite = np.isinf(values.astype(np.float32))
    if infinite.any() and not (missing is not None and np.isinf(missing)):
        raise ValueError(
            "Input data contains `inf` or a value too large, while `missing` is not set to `inf`"
        )


def _floats(X: Any) -> Any:
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def _widened(X: Any, width: int) -> Any:
    # Empty trailing columns may be missing from the column count.
    return sparse.csr_matrix((X.data, X.indices, X.indptr), shape=(X.shape[0], width))


def _from_table(booster: Any, table: Any) -> NDArray[np.float64]:
    import pandas as pd

    chosen = [isinstance(dtype, pd.CategoricalDtype) for dtype in table.dtypes]
    known = Content(booster).categories() if any(chosen) else []
    known += [None] * (table.shape[1] - len(known))
    columns = []
    for i, categories in enumerate(known):
        column = table.iloc[:, i]
        if chosen[i]:
            columns.append(_codes(column, categories))
        else:
            columns.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.column_stack(columns) if columns else np.zeros(table.shape)


def _codes(column: Any, categories: list[Any] | None) -> NDArray[np.float64]:
    """Indices into the categories of the model; NaN for unknown categories."""
    codes = column.cat.codes.to_numpy()
    if categories is None:
        return np.where(codes < 0, np.nan, codes)
    place = {category: i for i, category in reversed(list(enumerate(categories)))}
    names = list(column.cat.categories)
    keys = _cut(names) if categories and isinstance(categories[0], bytes) else names
    own = [float(place.get(key, np.nan)) for key in keys]
    return np.array([*own, np.nan])[codes]


def _cut(names: list[Any]) -> list[bytes]:
    """The pieces of UTF-8 text by which XGBoost knows the categories of these names."""
    texts = [str(name) for name in names]
    octets = "".join(texts).encode()
    ends = np.cumsum([0, *map(len, texts)])
    return [octets[a:b] for a, b in itertools.pairwise(ends)]
