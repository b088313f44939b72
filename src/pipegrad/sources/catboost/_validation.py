"""Converts the inputs that CatBoost accepts to the numbers that its trees compare."""

from __future__ import annotations

from typing import Any

import catboost
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ._model_json import Content


def first_row(X: Any) -> Any:
    """A small part of the input that suffices for checking names and types."""
    if isinstance(X, catboost.Pool):
        return X.slice([0]) if X.num_row() else X
    if hasattr(X, "iloc"):
        return X.iloc[:1]
    return X.tocsr()[:1] if sparse.issparse(X) else X[:1]


def ask(operator: Any, X: Any) -> None:
    """Let CatBoost check its input."""
    if not isinstance(X, catboost.Pool) and not sparse.issparse(X) and np.ndim(X) == 1:
        raise ValueError("Input X is a single row or column; give rows as a table (n, columns).")
    try:
        operator.predict(first_row(X))
    except catboost.CatBoostError as error:
        raise ValueError(str(error)) from error


def numbers(operator: Any, X: Any) -> Any:
    """Dense or CSR numbers, with the splits that CatBoost itself evaluates as extra columns."""
    names = list(operator.feature_names_)
    if not operator.get_cat_feature_indices():
        return _plain(X, names)
    content = Content(operator)
    if isinstance(X, catboost.Pool):
        raise ValueError("Give the table itself; a Pool does not expose the types of its columns.")
    table = _table(X, names)
    columns = [_number(table, i) for i in content.float_columns()]
    count = X.shape[0] if hasattr(X, "shape") else len(X)
    asker = content.asker()
    if content.questions:
        answers = np.zeros((count, len(content.questions)))
        if count:
            answers = np.asarray(asker.calc_leaf_indexes(X), dtype=np.float64)
        columns.append(answers.reshape(count, len(content.questions)))
    return np.column_stack(columns) if columns else np.zeros((count, 0))


def _plain(X: Any, names: list[str]) -> Any:
    if isinstance(X, catboost.Pool):
        return np.asarray(X.get_features(), dtype=np.float32)
    if sparse.issparse(X):
        X = X.tocsr()
        X = X if X.dtype.kind == "f" else X.astype(np.float64)
        return sparse.csr_matrix((X.data, X.indices, X.indptr), shape=(X.shape[0], len(names)))
    table = _table(X, names)
    if isinstance(table, np.ndarray):
        kept = table.dtype in (np.float32, np.float64)
        return _fitted(table if kept else table.astype(np.float64), len(names))
    columns = [_number(table, i) for i in range(table.shape[1])]
    return _fitted(np.column_stack(columns), len(names))


def _fitted(X: NDArray[Any], width: int) -> NDArray[Any]:
    # Trailing columns that no tree uses can be missing.
    short = max(0, width - X.shape[1])
    return np.pad(X, ((0, 0), (0, short))) if short else X[:, :width]


def _table(X: Any, names: list[str]) -> Any:
    """An array, or a table with its columns in the order of the fit."""
    if not hasattr(X, "iloc") and hasattr(X, "to_pandas"):
        X = X.to_pandas()
    if not hasattr(X, "iloc"):
        return X.toarray() if sparse.issparse(X) else np.asarray(X)
    place = {str(name): i for i, name in enumerate(X.columns)}
    if not any(name in place for name in names):
        return X
    return _reordered(X, [place.get(name) for name in names])


def _reordered(table: Any, places: list[int | None]) -> Any:
    import pandas as pd

    empty = pd.Series(np.zeros(len(table)), index=table.index)
    columns = [empty if place is None else table.iloc[:, place] for place in places]
    return pd.concat(columns, axis=1)


def _number(table: Any, i: int) -> NDArray[np.float64]:
    if isinstance(table, np.ndarray):
        return table[:, i].astype(np.float64)
    return table.iloc[:, i].to_numpy(dtype=np.float64, na_value=np.nan)
