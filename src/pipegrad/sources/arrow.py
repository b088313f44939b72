"""Rows of Arrow in the form in which a source takes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

_NAMED = 8


def columns_of_source(source: Any, names: list[str]) -> list[str]:
    """The columns of a table that a fitted estimator takes, in its order.

    Parameters
    ----------
    source : estimator
        The fitted estimator.
    names : list of str
        The columns of the table, without targets and weights.

    Raises
    ------
    ArgumentError
        If columns are missing, or, of an estimator without names, more or fewer than it takes.
    """
    own = getattr(source, "feature_names_in_", None)
    if own is not None:
        missing = [str(name) for name in own if name not in names]
        if missing:
            raise ArgumentError(
                f"The table lacks {_some(missing)}, which the pipeline takes.\n"
                f"Hint: its columns are {_some(names)}."
            )
        return list(own)
    # Tables of pandas keep their index in a column of this name.
    found = [name for name in names if not re.fullmatch(r"__index_level_\d+__", name)]
    count = getattr(source, "n_features_in_", None)
    if count is not None and count != len(found):
        raise ArgumentError(
            f"The table must have the {count} columns that the pipeline was fitted to, got "
            f"{len(found)}: {_some(found)}.\n"
            "Hint: leave out the others, or fit the pipeline on a DataFrame, whose columns it "
            "knows by name."
        )
    return found


def rows_of_source(source: Any, batch: pa.RecordBatch) -> Any:
    """Some rows: a DataFrame where the estimator knows names, otherwise an array.

    A single column of texts is the array of these texts for an estimator that does not count
    columns, such as one that begins with a vectorizer.
    """
    if hasattr(source, "feature_names_in_"):
        return batch.to_pandas()
    columns = [column_array(column) for column in batch.columns]
    if len(columns) == 1 and not hasattr(source, "n_features_in_"):
        return columns[0]
    kinds = {column.dtype.kind for column in columns}
    if kinds <= set("biuf"):
        return _matrix(columns)
    return np.column_stack([column.astype(object) for column in columns])


def numeric_matrix(batch: pa.RecordBatch) -> NDArray[np.float64] | None:
    """The columns of some rows as float64, shape (n, k); None if any holds no numbers."""
    import pyarrow.types as types

    if not all(types.is_integer(kind) or types.is_floating(kind) for kind in batch.schema.types):
        return None
    out = np.empty((batch.num_rows, batch.num_columns))
    for place, column in enumerate(batch.columns):
        out[:, place] = column.to_numpy(zero_copy_only=False)
    return out


def target_arrays(batch: pa.RecordBatch, several: bool) -> NDArray[Any]:
    """The columns of targets as an array (n,), or (n, k) if there are several."""
    columns = [column_array(column) for column in batch.columns]
    return np.column_stack(columns) if several else columns[0]


def column_array(column: pa.Array) -> NDArray[Any]:
    """A column as an array; texts are objects, and missing values NaN or None."""
    import pyarrow.types as types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values = np.asarray(column.to_numpy(zero_copy_only=False))
    # Arrow's memory is read-only, which torch warns of.
    return values if values.flags.writeable else values.copy()


def _matrix(columns: list[NDArray[Any]]) -> NDArray[Any]:
    out = np.empty((len(columns[0]), len(columns)), dtype=np.result_type(*columns))
    for place, column in enumerate(columns):
        out[:, place] = column
    return out


def _some(names: list[Any]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED]))
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
