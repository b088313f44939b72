"""Converts the columns of the user's table to numbers, vectors and texts."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...errors import ArgumentError
from ..named.cells import cells_of, is_number
from ..named.model import has_column

# Vectors of more entries stay sparse if most of them are zero.
_DENSE = 256


def raw_column(table: Any, name: str) -> Any:
    """A column of a table.

    Returns
    -------
    array or CSR matrix
        Numbers (n,) in their own type, or objects with None if some are missing; texts (n,) of
        objects with None for missing ones; or vectors (n, k).
    """
    if not has_column(table, name):
        raise ArgumentError(f"The table has no column {name!r}.")
    column = table[name]
    if sparse.issparse(column):
        return column.tocsr().astype(np.float64)
    values = cells_of(column)
    if values.dtype.kind in "fiub":
        return values
    if values.dtype.kind in "US":
        return values.astype(object)
    if values.dtype.kind in "Mm":
        raise _times(name)
    return _objects(values, name)


def _objects(values: NDArray[Any], name: str) -> Any:
    cells = [None if _is_missing(cell) else cell for cell in values.ravel().tolist()]
    known = [cell for cell in cells if cell is not None]
    if all(map(is_number, known)):
        return _numbers(cells, known)
    # Texts are missing as None, or as NaN.
    cells = [None if isinstance(cell, float) and cell != cell else cell for cell in cells]
    known = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, str) for cell in known):
        return _array_of(cells)
    if all(_is_list_of_texts(cell) for cell in known):
        return _array_of([None if c is None else [str(t) for t in c] for c in cells])
    if any(isinstance(cell, datetime.date | datetime.time | datetime.timedelta) for cell in known):
        raise _times(name)
    if not any(isinstance(cell, str) for cell in known):
        return vectors(cells, name)
    raise ArgumentError(f"Column {name!r} must hold values of one kind, got {known[0]!r:.60}.")


def _numbers(cells: list[Any], known: list[Any]) -> NDArray[Any]:
    """Numbers in their own type; objects if there are decimals, or None for missing ones."""
    fixed = any(isinstance(cell, decimal.Decimal) for cell in known)
    if len(known) < len(cells) or fixed or not known:
        return _array_of(cells)
    if all(isinstance(cell, bool | np.bool_) for cell in known):
        return np.array(cells, dtype=bool)
    whole = all(isinstance(cell, int | np.integer) for cell in known)
    return np.array(cells, dtype=np.int64 if whole else np.float64)


def _times(name: str) -> ArgumentError:
    return ArgumentError(
        f"Column {name!r} must hold numbers, texts or vectors, got dates or times, which no stage "
        "of Spark takes.\nHint: give it the numbers or texts that Spark had."
    )


def _array_of(cells: list[Any]) -> NDArray[Any]:
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return out


def _is_missing(cell: Any) -> bool:
    if cell is None:
        return True
    return type(cell).__name__ == "NAType"


def _is_list_of_texts(cell: Any) -> bool:
    shaped = isinstance(cell, list | tuple | np.ndarray) and not isinstance(cell, str)
    return shaped and all(isinstance(term, str) for term in cell)


def vectors(cells: list[Any], name: str) -> Any:
    """Vectors (n, k) from Spark's structs, or from lists of numbers; sparse ones if that is less.

    A missing vector becomes a row of NaN.
    """
    try:
        rows = [None if cell is None else _vector(cell) for cell in cells]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ArgumentError(f"Column {name!r} holds something else than vectors.") from error
    widths = {row[0] for row in rows if row is not None}
    if len(widths) != 1:
        raise ArgumentError(
            f"Column {name!r} must hold vectors of one size, got sizes {sorted(widths)[:4]}."
        )
    width = widths.pop()
    if width > _DENSE and all(row is not None and row[1] is not None for row in rows):
        lengths = [len(row[1]) for row in rows]  # type: ignore[index]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.concatenate([row[1] for row in rows])  # type: ignore[index]
        numbers = np.concatenate([row[2] for row in rows])  # type: ignore[index]
        return sparse.csr_matrix((numbers, places, starts), shape=(len(rows), width))
    out = np.full((len(rows), width), np.nan)
    for target, row in zip(out, rows, strict=True):
        if row is not None and row[1] is None:
            target[:] = row[2]
        elif row is not None:
            target[:] = 0.0
            target[row[1]] = row[2]
    return out


def _vector(cell: Any) -> tuple[int, Any, Any]:
    """Size, places and numbers of a vector; no places if it is dense."""
    if _is_list_of_structs(cell):  # hashes, each in a vector of its own
        cell = [entry for one in cell for entry in _dense_vector(one)]
    if isinstance(cell, dict):
        numbers = np.asarray(cell["values"], dtype=np.float64)
        if cell["type"] == 1:
            return len(numbers), None, numbers
        return int(cell["size"]), np.asarray(cell["indices"], dtype=np.int64), numbers
    if hasattr(cell, "toArray"):  # a vector of pyspark
        if hasattr(cell, "indices"):
            return int(cell.size), np.asarray(cell.indices, dtype=np.int64), np.asarray(cell.values)
        cell = cell.toArray()
    numbers = np.asarray(cell, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError
    return len(numbers), None, numbers


def _is_list_of_structs(cell: Any) -> bool:
    known = isinstance(cell, list | tuple | np.ndarray) and len(cell) > 0
    return known and all(isinstance(one, dict) or hasattr(one, "toArray") for one in cell)


def _dense_vector(cell: Any) -> list[float]:
    size, places, numbers = _vector(cell)
    if places is not None or size != 1:
        raise ValueError
    return list(numbers)


def as_texts(values: NDArray[Any]) -> list[str | None]:
    """Values as Spark casts them to texts, with None for missing ones."""
    if values.dtype == object:
        return [None if value is None else _as_text(value) for value in values.tolist()]
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    if values.dtype.kind in "iu":
        return [str(value) for value in values.tolist()]
    shown = values if values.dtype == np.float32 else values.astype(np.float64)
    return [number_as_text(value) for value in shown]


def _as_text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return number_as_text(value)
    # Decimals keep the zeros of their type.
    return f"{value:f}" if isinstance(value, decimal.Decimal) else str(value)


def number_as_text(value: Any) -> str:
    """A floating point number as Java writes it."""
    number = float(value)
    if number != number:
        return "NaN"
    if np.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    digits = np.format_float_scientific(value, unique=True, trim="-")
    mantissa, _, power = digits.partition("e")
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        plain = np.format_float_positional(value, unique=True, trim="-")
        return plain if "." in plain else f"{plain}.0"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(power)}"
