"""What the user's containers say about their rows: dates in order, and columns that name groups."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from ...training.samples import Samples
from ...typing import Estimator, Features, Targets

Index = NDArray[np.int64]

# Fewer different dates say little about the order of the rows.
_FEWEST_DATES = 5
# A column may name groups if it has at least so many values, each in so many rows on average.
_FEWEST_GROUPS = 20
_FEWEST_ROWS = 2.0
_IDENTIFIER = re.compile(r"(?:^|[\W_])(?:u?id|ID|[ug]uid)$|[a-z](?:Id|ID)$", re.ASCII)
# Wider tables (pixels, spectra) are not searched for such a column.
_MOST_COLUMNS = 100
# Rows on which predictions are compared to see whether a pipeline uses a column.
_PROBED_ROWS = 200


@dataclass(frozen=True)
class TimeOrder:
    """A date that only rises, or only falls, from row to row."""

    name: str
    reverse: bool

    @property
    def direction(self) -> str:
        """The verb for the report."""
        return "falls from row to row" if self.reverse else "rises from row to row"


@dataclass(frozen=True)
class GroupColumn:
    """A column whose repeated values may name groups of rows.

    Attributes
    ----------
    name : str
        The name for the report.
    place : int
        Position of the column.
    codes : array of shape (n,)
        Number of the value in each row, in the order of the values.
    numeric : bool
        Whether the values are numbers.
    """

    name: str
    place: int
    codes: Index
    numeric: bool

    @property
    def is_identifier(self) -> bool:
        """Whether the name is one of an identifier, as ``patient_id`` or ``userId`` are."""
        return _IDENTIFIER.search(self.name) is not None

    def of(self, X: Features) -> NDArray[Any]:
        """Return the number of the value in each row of a whole table."""
        for place, _, column in _columns(X):
            if place == self.place:
                return np.unique(_labels(column), return_inverse=True)[1].reshape(-1)
        raise IndexError(self.place)


def time_order(X: Features, y: Targets, rows: Index) -> TimeOrder | None:
    """Return the first index or column of dates that is monotone over ``rows``, if there is one."""
    for name, values in _dates(X, y):
        if len(values) <= rows.max():
            continue
        values = values[rows]
        if (values != values).any() or len(np.unique(values)) < _FEWEST_DATES:
            continue
        steps = values[1:] >= values[:-1]
        if steps.all():
            return TimeOrder(name, reverse=False)
        if (values[1:] <= values[:-1]).all():
            return TimeOrder(name, reverse=True)
    return None


def _dates(X: Features, y: Targets) -> Iterator[tuple[str, NDArray[Any]]]:
    for part in (X, y):
        index = getattr(part, "index", None)
        if _holds_dates(getattr(index, "dtype", None)):
            yield "the index of dates", np.asarray(index)
    for _, name, column in _columns(X):
        if _holds_dates(_dtype(column)) or _all_dates(column):
            yield f"the dates of column {name!r}", np.asarray(column)


def _holds_dates(dtype: Any) -> bool:
    """Whether a type of pandas, Polars, Arrow or NumPy is one of dates or times."""
    name = str(dtype).lower()
    return name.startswith(("date", "timestamp", "period"))


def _dtype(column: Any) -> Any:
    return getattr(column, "dtype", getattr(column, "type", None))


def _all_dates(column: Any) -> bool:
    """Whether a column of objects holds dates of the standard library."""
    values = np.asarray(column)
    return values.dtype.kind == "O" and all(isinstance(v, datetime.date) for v in values)


def _columns(X: Features) -> Iterator[tuple[int, Any, Any]]:
    """Yield position, name and values of each column of a table or a dense array."""
    if isinstance(X, np.ndarray):
        if X.ndim == 2:
            yield from ((place, place, column) for place, column in enumerate(X.T))
    elif hasattr(X, "columns") and hasattr(X, "shape"):
        for place, name in enumerate(getattr(X, "column_names", X.columns)):
            column = X[name]
            if _dtype(column) is not None:  # pandas gives a table for a repeated name.
                yield place, name, column


def group_columns(X: Features) -> Iterator[GroupColumn]:
    """Yield the columns of validation rows whose values may name groups.

    Parameters
    ----------
    X : array or DataFrame
        Validation rows.

    Yields
    ------
    GroupColumn
        A column of whole numbers or labels with many values that repeat.
    """
    columns = list(_columns(X))
    for place, name, column in columns if len(columns) <= _MOST_COLUMNS else ():
        values = np.asarray(column)
        if values.dtype.kind in "fiu":
            if not np.isfinite(values).all() or (values != np.round(values)).any():
                continue
        elif values.dtype.kind not in "OUS" or _holds_dates(_dtype(column)):
            continue
        found, codes = np.unique(_labels(column), return_inverse=True)
        if _FEWEST_GROUPS <= len(found) <= len(values) / _FEWEST_ROWS:
            yield GroupColumn(str(name), place, codes.reshape(-1), values.dtype.kind in "fiu")


def _labels(column: Any) -> NDArray[Any]:
    values = np.asarray(column)
    return values if values.dtype.kind in "fiu" else values.astype(str)


def is_used(fitted: Estimator, samples: Samples, column: GroupColumn, seed: int) -> bool:
    """Whether the predictions of a fitted pipeline depend on a column.

    Parameters
    ----------
    fitted : estimator
        The fitted pipeline.
    samples : Samples
        Validation rows, a few of which get each other's values.
    column : GroupColumn
        The column.
    seed : int
        Seed for the exchange of values.

    Returns
    -------
    bool
        True also where the pipeline cannot tell.
    """
    rows = np.arange(min(_PROBED_ROWS, len(column.codes)))
    part = _safe_indexing(samples.X, rows)
    mixed = _safe_indexing(part, np.random.default_rng(seed).permutation(len(rows)))
    try:
        exchanged = _with_column(part, mixed, column)
        before, after = _answers(fitted, part), _answers(fitted, exchanged)
    except Exception:  # Not all containers can exchange a column, and not all pipelines predict.
        return True
    return not np.array_equal(before, after)


def _with_column(part: Any, mixed: Any, column: GroupColumn) -> Any:
    if isinstance(part, np.ndarray):
        out = part.copy()
        out[:, column.place] = mixed[:, column.place]
        return out
    name = list(part.columns)[column.place]
    if hasattr(part, "with_columns"):
        return part.with_columns(mixed[name])
    return part.assign(**{name: np.asarray(mixed[name])})


def _answers(fitted: Estimator, X: Features) -> NDArray[Any]:
    for name in ("predict_proba", "decision_function", "predict"):
        if hasattr(fitted, name):
            return np.asarray(getattr(fitted, name)(X))
    return np.asarray(fitted.transform(X))
