"""Checks of the form of array arguments: rows, targets and weights, before any work is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..errors import ArgumentError


def check_rows(X: Any) -> None:
    """Reject what can be no rows: nothing, a number, a text, a type or a function."""
    single = X is None or isinstance(X, Number | str | bytes | type)
    if single or getattr(X, "shape", None) == () or _is_no_sequence(X):
        raise ArgumentError(
            f"X must be an array, a DataFrame, a sparse matrix or a list of rows, got {X!r:.60}."
        )


def dense_targets(y: Any) -> Any:
    """The targets, where a sparse indicator of labels is an array."""
    return y.toarray() if sparse.issparse(y) else y


def check_targets_form(y: Any, dimensions: int = 2) -> None:
    """Reject what can be no targets: a single value, a text, a mapping, too many dimensions.

    Parameters
    ----------
    y : object
        The targets; None is accepted.
    dimensions : int
        The largest number of dimensions.
    """
    if y is None:
        return
    shapes = "(n,)" if dimensions == 1 else "(n,) or (n, k)"
    wrong = isinstance(y, Number | str | bytes | type | Mapping) or _is_no_sequence(y)
    shape = () if wrong else _shape(y)
    if not shape:
        raise ArgumentError(f"y must be an array of shape {shapes}, got {y!r:.60}.")
    # A column of labels stands for the labels themselves.
    if len(shape) > 2 or (len(shape) == 2 and dimensions == 1 and shape[1] != 1):
        raise ArgumentError(f"y must be an array of shape {shapes}, got shape {shape}.")


def _shape(values: Any) -> tuple[int, ...]:
    try:
        return tuple(np.asarray(values).shape)
    except ValueError:  # rows of different lengths, which later checks name
        return (len(values),)


def _is_no_sequence(values: Any) -> bool:
    return isinstance(values, Iterator | set | frozenset) or (
        callable(values) and not hasattr(values, "shape")
    )


def number_targets(y: Any) -> NDArray[Any]:
    """Targets of a regression as float64.

    Raises
    ------
    ArgumentError
        If they hold anything but numbers.
    """
    check_targets_form(y)
    hint = (
        "Hint: the pipeline predicts numbers; to predict classes, end it with a classifier, and "
        "for numbers in text, pass y.astype(float)."
    )
    return as_numbers("y", y, hint)


def as_numbers(name: str, values: Any, hint: str = "") -> NDArray[Any]:
    """The values of an argument as float64; complex numbers and other objects are rejected.

    Parameters
    ----------
    name : str
        Name of the argument.
    values : array
        The values.
    hint : str
        How to go on, for the error.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind != "c":
            return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        got = _first_without_number(values)
        raise ArgumentError(f"{name} must hold numbers, got {got}.\n{hint}".rstrip()) from None
    raise ArgumentError(f"Complex data not supported: {name} must hold real numbers.")


def _first_without_number(values: Any) -> str:
    try:
        flat = np.asarray(values, dtype=object).ravel().tolist()
    except ValueError:
        return "rows of different lengths"
    for value in flat:
        try:
            float(value)
        except (TypeError, ValueError, OverflowError):
            return f"{value!r:.60}"
    return f"{values!r:.60}"
