"""Learned numbers of a stage, and how Spark stores vectors and matrices in its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError
from ..named.operators import LearnedNumbers
from .folder import Stage

Kind = Literal["number", "list", "vector", "matrix", "vectors", "matrices"]
_MOST_NUMBERS = 1 << 27


@dataclass(eq=False)
class Numbers(LearnedNumbers):
    """Numbers in a table of a stage.

    Parameters
    ----------
    values : array
        The numbers: of one row of the table, or with the rows along the first axis.
    folder : str
        Path of the table in the saved folder.
    keys : tuple of str
        Column, and fields of structs below it.
    kind : {"number", "list", "vector", "matrix"}
        How a row stores them.
    rows : sequence of int, optional
        Rows of the table; the first alone by default.
    changed : bool
        Whether they are other numbers than those in the file.
    """

    values: NDArray[np.float64]
    folder: str
    keys: tuple[str, ...]
    kind: Kind
    rows: Sequence[int] | None = None
    changed: bool = False

    def put(self, new: Any) -> None:
        """Set all numbers."""
        found = np.asarray(new, dtype=np.float64).reshape(self.values.shape)
        same = (found == self.values) | (np.isnan(found) & np.isnan(self.values))
        if not same.all():
            self.values, self.changed = found, True

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write the numbers into the rows of the table."""
        if self.rows is None:
            self._write_one(rows[0], self.values)
            return
        for number, value in zip(self.rows, self.values, strict=True):
            self._write_one(rows[number], value)

    def _write_one(self, row: dict[str, Any], value: Any) -> None:
        *path, last = self.keys
        for key in path:
            row = row[key]
        row[last] = _encoded(value, self.kind, row[last])


def _encoded(value: Any, kind: Kind, before: Any) -> Any:
    if kind == "number":
        return float(value)
    if kind == "list":
        return np.asarray(value).tolist()
    if kind == "vector":
        return {"type": 1, "size": None, "indices": None, "values": np.asarray(value).tolist()}
    if kind in ("vectors", "matrices"):
        inner: Kind = "vector" if kind == "vectors" else "matrix"
        return [_encoded(one, inner, old) for one, old in zip(value, before, strict=True)]
    height, width = value.shape
    # Spark expects the numbers of some models by rows.
    across = bool(before["isTransposed"])
    return {
        "type": 1,
        "numRows": height,
        "numCols": width,
        "colPtrs": None,
        "rowIndices": None,
        "values": value.ravel(order="C" if across else "F").tolist(),
        "isTransposed": across,
    }


def find(
    stage: Stage, *keys: str, kind: Kind = "vector", rows: Any = None, sub: str = "data"
) -> Numbers:
    """The numbers in a table of a stage.

    Parameters
    ----------
    stage : Stage
        The stage.
    *keys : str
        Column, and fields of structs below it.
    kind : {"number", "list", "vector", "matrix"}
        How a row stores them.
    rows : list of dict, optional
        All rows of the table, of each of which they are; only the first by default.
    sub : str
        Folder of the table.
    """
    try:
        if rows is None:
            return Numbers(_decoded(_at(stage.row(sub), keys), kind), stage.at(sub), keys, kind)
        found = [_decoded(_at(row, keys), kind) for row in rows]
        return Numbers(np.stack(found), stage.at(sub), keys, kind, range(len(rows)))
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        stage.fail(f"its {'.'.join(keys)!r} does not hold a {kind}.")


def _at(row: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        row = row[key]
    return row


def _decoded(value: Any, kind: Kind) -> NDArray[np.float64]:
    if kind == "number":
        if not isinstance(value, int | float):
            raise ValueError
        return np.float64(value)  # type: ignore[return-value]
    if kind == "list":
        return np.array(value, dtype=np.float64).reshape(-1)
    return vector(value) if kind == "vector" else matrix(value)


def vector(value: Any) -> NDArray[np.float64]:
    """A dense array from Spark's struct of a vector."""
    if value["type"] == 1:
        return np.array(value["values"], dtype=np.float64).reshape(-1)
    size = int(value["size"])
    places = np.array(value["indices"], dtype=np.int64)
    if not 0 <= size <= _MOST_NUMBERS or (places < 0).any():
        raise ValueError
    out = np.zeros(size)
    out[places] = np.array(value["values"], dtype=np.float64)
    return out


def matrix(value: Any) -> NDArray[np.float64]:
    """A dense array from Spark's struct of a matrix."""
    height, width = int(value["numRows"]), int(value["numCols"])
    if min(height, width) < 0 or height * width > _MOST_NUMBERS:
        raise ValueError
    numbers = np.array(value["values"], dtype=np.float64)
    across = bool(value["isTransposed"])
    if value["type"] == 1:
        return numbers.reshape((height, width), order="C" if across else "F")
    starts = np.array(value["colPtrs"], dtype=np.int64)
    inner = np.array(value["rowIndices"], dtype=np.int64)
    lengths = np.diff(starts)
    if (lengths < 0).any() or (inner < 0).any() or lengths.sum() != len(inner):
        raise ValueError
    outer = np.repeat(np.arange(len(lengths)), lengths)
    out = np.zeros((height, width))
    rows, columns = (outer, inner) if across else (inner, outer)
    out[rows, columns] = numbers
    return out
