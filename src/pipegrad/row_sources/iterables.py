"""Iterables of batches: record batches, DataFrames, tensors of a DataLoader, Hugging Face rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from .pieces import Piece, RowSource

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a batch of a Hugging Face data set.
_ROWS = 8192


def is_iterable_of_batches(value: Any) -> bool:
    """Whether a value gives record batches, tables or tensors one after the other."""
    if _is_loader(value) or _is_hugging_face(value):
        return True
    kind = type(value).__module__.partition(".")[0]
    if kind in ("pandas", "polars", "numpy", "scipy", "torch"):
        return False
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_batch(part) for part in value)
    if isinstance(value, str | bytes | Mapping) or hasattr(value, "shape"):
        return False
    return isinstance(value, Iterator) or (
        hasattr(value, "__iter__") and not hasattr(value, "__getitem__")
        and not hasattr(value, "__len__")
    )  # fmt: skip


def _is_loader(value: Any) -> bool:
    from torch.utils.data import DataLoader

    return isinstance(value, DataLoader)


def _is_hugging_face(value: Any) -> bool:
    own = type(value).__module__.partition(".")[0] == "datasets"
    return own and hasattr(value, "iter") and hasattr(value, "features")


def _is_batch(value: Any) -> bool:
    return hasattr(value, "num_rows") and hasattr(value, "schema")


class IterableRows(RowSource):
    """An iterable of batches as a single piece, which is read from the beginning each time.

    Parameters
    ----------
    batches : iterable
        Record batches or tables of Arrow, DataFrames, dicts of columns, or arrays and tensors
        ``X``, ``(X, y)`` or ``(X, y, weight)``. The columns of arrays are named "0", "1" and so
        forth, the targets "y" and the weights "weight".

    Attributes
    ----------
    repeatable : bool
        Whether it can be read more than once; an iterator cannot.
    unnamed : bool
        Whether it gives arrays, whose columns have no names of their own.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self._given = batches
        self.repeatable = not isinstance(batches, Iterator)
        self.unnamed = False
        iterator = self._iterate()
        first = next(iterator, None)
        if first is None:
            raise ArgumentError(f"{type(batches).__name__} holds no rows.")
        self._kept: tuple[Any, Iterator[Any]] | None = (first, iterator)
        schema = first.schema
        name = type(batches).__name__
        piece = Piece(f"the batches of {name}", schema, self._read, _length(batches))
        super().__init__(name, schema, [piece])

    def _iterate(self) -> Iterator[pa.RecordBatch]:
        given: Any = self._given
        if _is_hugging_face(given):
            given = given.with_format("arrow").iter(batch_size=_ROWS)
        for part in given:
            self.unnamed = isinstance(part, tuple | list) or _is_array(part)
            yield from _record_batches(part)

    def _read(self, columns: Any, rows: int) -> Iterator[pa.RecordBatch]:
        for batch in self._all():
            lacking = [name for name in columns if name not in batch.schema.names]
            if lacking:
                raise ArgumentError(f"A batch of {self.name} has no column {lacking[0]!r}.")
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows).select(list(columns))

    def _all(self) -> Iterator[pa.RecordBatch]:
        if self._kept is not None:
            (first, iterator), self._kept = self._kept, None
            yield first
            yield from iterator
            return
        if not self.repeatable:
            raise ArgumentError(
                f"{self.name} was read already, and cannot be read again.\n"
                "Hint: give a list, a DataLoader, or an object whose __iter__ begins anew."
            )
        yield from self._iterate()


def _is_array(part: Any) -> bool:
    return hasattr(part, "shape") and not hasattr(part, "columns")


def _length(value: Any) -> int | None:
    rows = getattr(value, "num_rows", None)
    if isinstance(rows, int):
        return rows
    if _is_loader(value):
        try:
            return None if value.drop_last else len(value.dataset)
        except TypeError:
            return None
    return None


def _record_batches(part: Any) -> Iterator[pa.RecordBatch]:
    """What one batch of an iterable holds, in Arrow."""
    import pyarrow as pa

    if isinstance(part, pa.RecordBatch):
        yield part
    elif isinstance(part, pa.Table):
        yield from part.to_batches()
    elif hasattr(part, "to_arrow"):  # polars
        yield from part.to_arrow().to_batches()
    elif hasattr(part, "iloc"):  # pandas
        yield from pa.Table.from_pandas(part, preserve_index=False).to_batches()
    elif isinstance(part, Mapping):
        yield pa.RecordBatch.from_pydict({str(n): _column(v) for n, v in part.items()})
    else:
        yield _of_arrays(part)


def _of_arrays(part: Any) -> pa.RecordBatch:
    import pyarrow as pa

    parts = part if isinstance(part, tuple | list) else (part,)
    if not 1 <= len(parts) <= 3 or not hasattr(parts[0], "shape"):
        raise ArgumentError(
            "A batch must be a record batch, a table, a dict of columns or arrays (X, y, weight), "
            f"got {type(part).__name__}."
        )
    matrix = _array(parts[0])
    matrix = matrix.reshape(len(matrix), -1)
    columns = {str(place): matrix[:, place] for place in range(matrix.shape[1])}
    for name, value in zip(("y", "weight"), parts[1:], strict=False):
        own = _array(value)
        if own.ndim == 1:
            columns[name] = own
        else:
            columns |= {
                f"{name}{i}": column for i, column in enumerate(own.reshape(len(own), -1).T)
            }
    return pa.RecordBatch.from_pydict({name: pa.array(value) for name, value in columns.items()})


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _column(value: Any) -> Any:
    import pyarrow as pa

    return pa.array(_array(value) if hasattr(value, "detach") else value)
