"""Rows that a model leaves out of its answer, such as those with unseen categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import ArgumentError

Result = TypeVar("Result")


class LeftOutRowsError(ArgumentError):
    """A step leaves rows out.

    Parameters
    ----------
    message : str
        What the step is, and which rows.
    rows : array of bool, shape (n,)
        Whether each row is left out.
    """

    def __init__(self, message: str, rows: NDArray[np.bool_]) -> None:
        super().__init__(message)
        self.rows = rows

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.args[0], self.rows)


def without_left_out(
    compute: Callable[[Any], Result], table: Any
) -> tuple[Result, NDArray[np.int64] | None]:
    """Compute something of the rows that no step leaves out.

    A row that an earlier step leaves out does not reach the later ones. So the computation begins
    anew without such rows, until no step objects.

    Parameters
    ----------
    compute : callable
        A function of a table.
    table : DataFrame or mapping of str to array
        All rows.

    Returns
    -------
    result
        What the function returns.
    kept : array of int64, optional
        The places of the rows that it was given; None if these are all.
    """
    kept: NDArray[np.int64] | None = None
    while True:
        try:
            return compute(table if kept is None else taken(table, kept)), kept
        except LeftOutRowsError as found:
            rows = np.flatnonzero(~found.rows)
            kept = rows if kept is None else kept[rows]


def taken(table: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows of a table."""
    if isinstance(table, Mapping):
        return {name: values[rows] for name, values in table.items()}
    return table.iloc[rows]
