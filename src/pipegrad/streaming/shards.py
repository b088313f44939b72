"""Virtual shards: the rows in a fixed number of streams, however many processes read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .chunks import Chunk
from .units import Unit


class Cursor(NamedTuple):
    """How far a shard has been read: the unit in its order, the slice in it, the row in that."""

    unit: int = 0
    slice: int = 0
    row: int = 0


def deal(rows: Sequence[int | None], shards: int, seed: int, epoch: int) -> list[list[int]]:
    """The units of each shard, in the order in which it reads them in an epoch.

    Units go in random order to the shard that has the fewest rows so far, so that shards are nearly
    of the same size.

    Parameters
    ----------
    rows : sequence of int
        Number of rows of each unit; None counts as one.
    shards : int
        Number of shards.
    seed, epoch : int
        They determine the order.
    """
    found: list[list[int]] = [[] for _ in range(shards)]
    sums = np.zeros(shards)
    for number in np.random.default_rng((seed, epoch)).permutation(len(rows)):
        shard = int(sums.argmin())
        found[shard].append(int(number))
        count = rows[number]
        sums[shard] += 1 if count is None else count
    return found


class ShardReader:
    """Reads the rows of a shard in an epoch, shuffled within slices.

    Parameters
    ----------
    units : sequence of Unit
        All units of the table.
    order : sequence of int
        The units of this shard, in the order to read them.
    keep : callable
        ``keep(hashes)`` tells the training rows among some rows.
    seed : tuple of int, optional
        Seed of the shuffling; None keeps the order of the rows.
    start : Cursor
        Where to begin.

    Attributes
    ----------
    cursor : Cursor
        Where the next row is.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        order: Sequence[int],
        keep: Callable[[NDArray[np.uint64]], NDArray[np.bool_]],
        seed: tuple[int, ...] | None,
        start: Cursor = Cursor(),  # noqa: B008 (immutable)
    ) -> None:
        self._units = units
        self._order = order
        self._keep = keep
        self._seed = seed
        self.cursor = start
        self._slices = self._read(start)
        self._chunk: Chunk | None = None

    def take(self, rows: int) -> list[Chunk]:
        """The next rows, in parts: as many as wanted, or fewer at the end of the epoch."""
        parts = []
        while rows:
            if self._chunk is None and not self._next():
                break
            assert self._chunk is not None
            first = self.cursor.row
            part = self._chunk.take(slice(first, first + rows))
            rows -= len(part)
            parts.append(part)
            self.cursor = self.cursor._replace(row=first + len(part))
            if self.cursor.row == len(self._chunk):
                unit, number, _ = self.cursor
                self.cursor, self._chunk = Cursor(unit, number + 1, 0), None
        return parts

    def chunks(self) -> Iterator[Chunk]:
        """All rows from the cursor on, slice by slice."""
        while self._chunk is not None or self._next():
            assert self._chunk is not None
            yield from self.take(len(self._chunk) - self.cursor.row)

    def _next(self) -> bool:
        """Go to the next slice that has training rows; False at the end."""
        for unit, number, chunk in self._slices:
            row = self.cursor.row if (unit, number) == self.cursor[:2] else 0
            self.cursor = Cursor(unit, number, row)
            if row < len(chunk):
                self._chunk = chunk
                return True
        self.cursor = Cursor(len(self._order), 0, 0)
        return False

    def _read(self, start: Cursor) -> Iterator[tuple[int, int, Chunk]]:
        for place in range(start.unit, len(self._order)):
            number = self._order[place]
            first = start.slice if place == start.unit else 0
            for part, chunk in enumerate(self._units[number].chunks(first), first):
                index = np.flatnonzero(self._keep(chunk.hashes))
                if self._seed is not None:
                    generator = np.random.default_rng((*self._seed, number, part))
                    index = generator.permutation(index)
                yield place, part, chunk.take(index)
