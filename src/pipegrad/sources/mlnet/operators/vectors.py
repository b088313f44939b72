"""Numbers that can be stored sparsely, and are rewritten if training makes zeros nonzero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import WriteBackError
from ..binary import Numbers, Place, Reader
from ._base import Operator, width_mismatch


@dataclass(eq=False, kw_only=True)
class Weights(Operator):
    """Numbers that the file can store sparsely.

    Parameters
    ----------
    stored : Numbers
        The stored numbers.
    places : array, optional
        Flat row-major indices of the stored numbers; None if all numbers are stored.
    shape : tuple of int
        Shape of the dense array.
    span : Place
        The bytes of counts, indices and numbers.
    counts : tuple of int
        The counts that precede the numbers in dense storage.
    """

    stored: Numbers
    places: NDArray[np.int64] | None
    shape: tuple[int, ...]
    span: Place
    counts: tuple[int, ...]
    filled: NDArray[np.float32] | None = None

    def array(self) -> NDArray[np.float32]:
        """The dense array, with zeros for numbers that are not stored."""
        if self.filled is not None:
            return self.filled
        if self.places is None:
            return self.stored.values.reshape(self.shape)
        out = np.zeros(int(np.prod(self.shape)), dtype=np.float32)
        out[self.places] = self.stored.values
        return out.reshape(self.shape)

    def put(self, new: Any) -> None:
        """Set all numbers; if they do not fit in place, the block is rewritten on saving."""
        flat = np.asarray(new).astype(np.float32).ravel()
        if self.places is None:
            self.stored.put(flat)
            return
        others = np.ones(len(flat), dtype=bool)
        others[self.places] = False
        if not flat[others].any():
            self.stored.put(flat[self.places])
            return
        if not np.isfinite(flat).all():
            raise WriteBackError(f"Learned parameters of {self.span.entry!r} would not be finite.")
        self.filled = flat.reshape(self.shape)

    def patches(self) -> Iterator[tuple[Any, bytes]]:
        """Patches for the stored numbers, or a dense replacement for the whole span."""
        if self.filled is None:
            yield from super().patches()
            return
        counts = np.array(self.counts, dtype="<i4").tobytes()
        yield self.span, counts + self.filled.astype("<f4").tobytes()


def increasing(reader: Reader, places: NDArray[Any], width: int) -> NDArray[np.int64]:
    """Validate the indices of a sparse vector."""
    places = places.astype(np.int64)
    if len(places) and (places[0] < 0 or places[-1] >= width or (np.diff(places) <= 0).any()):
        raise reader.fail("has indices that are not increasing, or out of range")
    return places


def read_vector(reader: Reader, features: int) -> Weights:
    """Read a vector: its size, the indices of stored values, and the values."""
    size = reader.i4()
    if width_mismatch(size, features) or not 0 <= size <= 1 << 24:
        raise reader.fail(f"takes {size} numbers of {features}")
    start = reader.place
    indices, stored = reader.counted(), reader.counted_numbers()
    places = None
    if len(stored.values) != size or len(indices):
        if len(stored.values) != len(indices):
            raise reader.fail("has as many weights as it has no indices")
        places = increasing(reader, indices, size)
        reader.block.archive.fill(size, f"{reader.block.entry!r}")
    span = Place(reader.block.entry, start, reader.place)
    return Weights(stored=stored, places=places, shape=(size,), span=span, counts=(0, size))


def read_point(reader: Reader, width: int) -> Weights:
    """Read a point: the number of stored values, their indices if sparse, and the values."""
    start, count = reader.place, reader.i4()
    if not 0 <= count <= width:
        raise reader.fail("has a point with more entries than slots")
    places = None
    if count < width:
        places = increasing(reader, reader.array(count), width)
        reader.block.archive.fill(width, f"{reader.block.entry!r}")
    stored = reader.numbers(count)
    span = Place(reader.block.entry, start, reader.place)
    return Weights(stored=stored, places=places, shape=(width,), span=span, counts=(width,))


def read_matrix(reader: Reader, rows: int, width: int) -> Weights:
    """Read a matrix: row starts and column indices if sparse, then the entries."""
    start = reader.place
    starts, columns, stored = reader.counted(), reader.counted(), reader.counted_numbers()
    span = Place(reader.block.entry, start, reader.place)
    count, places = len(stored.values), None
    if not len(starts):
        if count != rows * width or len(columns):
            raise reader.fail("has weights for other slots")
    else:
        steps = starts[1:].astype(np.int64) - starts[:-1]
        if len(starts) != rows + 1 or starts[0] or starts[-1] != count or (steps < 0).any():
            raise reader.fail("has rows of weights that are not contiguous")
        if len(columns) != count or not ((columns >= 0) & (columns < width)).all():
            raise reader.fail("has indices out of range")
        reader.block.archive.fill(rows * width, f"{reader.block.entry!r}")
        flat = np.repeat(np.arange(rows), steps) * width + columns
        places = increasing(reader, flat, rows * width)
    counts = (0, 0, rows * width)
    return Weights(stored=stored, places=places, shape=(rows, width), span=span, counts=counts)
