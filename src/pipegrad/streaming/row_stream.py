"""The training rows of a table as batches, of which each process reads its part."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from queue import Empty, Full, Queue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..training.dataset import Batch
from .chunks import Chunk, joined
from .shards import Cursor, ShardReader, deal
from .units import Unit
from .workers import Workers

# Batches that are ready before they are needed.
_READY = 4
_WAIT = 0.2


class StreamedBatch(Batch):
    """A batch of rows of a stream, which knows how far the stream has been read with it.

    ``more`` tells whether this process has further rows in the epoch.
    """

    cursors: dict[int, Cursor]
    more: bool = True


class RowStream:
    """Batches of the training rows.

    A batch has rows of all shards, and each process the rows of its own shards. So the rows of a
    batch do not depend on the number of processes.

    Parameters
    ----------
    units : sequence of Unit
        The table.
    keep : callable
        ``keep(hashes)`` tells the training rows among some rows.
    weigh : callable
        ``weigh(target, weight)`` gives the weights of rows in the loss, or None.
    shards : int
        Number of virtual shards.
    seed : int
        Seed of the order.
    workers : Workers
        The processes.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        keep: Callable[[NDArray[np.uint64]], NDArray[np.bool_]],
        weigh: Callable[[Tensor | None, Tensor | None], Tensor | None],
        shards: int,
        seed: int,
        workers: Workers,
    ) -> None:
        self.units = units
        self.shards = shards
        self.seed = seed
        self.workers = workers
        self._keep = keep
        self._weigh = weigh

    @property
    def own_shards(self) -> range:
        """The shards that this process reads."""
        return range(self.workers.rank, self.shards, self.workers.count)

    def shuffled(
        self, rows: int, epoch: int, cursors: dict[int, Cursor] | None = None
    ) -> Iterator[StreamedBatch]:
        """The rows of this process in an epoch, as its parts of batches.

        Parameters
        ----------
        rows : int
            Number of rows of a batch of all processes together.
        epoch : int
            Number of the epoch, which determines the order.
        cursors : dict of int to Cursor, optional
            Where each shard begins.
        """
        return prefetched(self._shuffled(rows, epoch, cursors or {}))

    def _shuffled(
        self, rows: int, epoch: int, cursors: dict[int, Cursor]
    ) -> Iterator[StreamedBatch]:
        order = deal([unit.rows for unit in self.units], self.shards, self.seed, epoch)
        readers = {
            shard: ShardReader(
                self.units,
                order[shard],
                self._keep,
                (self.seed, epoch),
                cursors.get(shard, Cursor()),
            )
            for shard in self.own_shards
        }
        parts_of = self._rows_by_shard(order, rows)
        while True:
            parts = []
            for shard, reader in readers.items():
                parts += reader.take(parts_of[shard])
            if not parts:
                return
            batch = self._batch(joined(parts))
            batch.cursors = {shard: reader.cursor for shard, reader in readers.items()}
            yield batch

    def _rows_by_shard(self, order: list[list[int]], rows: int) -> list[int]:
        """How many rows of a batch are of each shard, so that all end at about the same time."""
        sizes = [sum(self.units[u].rows or 1 for u in units) for units in order]
        ends = np.cumsum([0, *sizes]) / max(sum(sizes), 1) * rows
        return [max(int(b) - int(a), 1) for a, b in pairwise(np.round(ends))]

    def ordered(self) -> Iterator[Batch]:
        """All rows of this process, slice by slice, always in the same order."""
        return prefetched(self._ordered())

    def _ordered(self) -> Iterator[Batch]:
        order = deal([unit.rows for unit in self.units], self.shards, self.seed, 0)
        for shard in self.own_shards:
            for chunk in ShardReader(self.units, order[shard], self._keep, None).chunks():
                yield self._batch(chunk)

    def _batch(self, chunk: Chunk) -> StreamedBatch:
        weight = self._weigh(chunk.target, chunk.weight)
        return StreamedBatch(chunk.encoded, chunk.target, weight)


def prefetched(batches: Iterator[Any]) -> Iterator[Any]:
    """The items of an iterator, which a thread makes ahead; its errors are raised here.

    The attribute ``more`` of an item tells whether another one follows.
    """
    ready: Queue[Any] = Queue(_READY)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=_WAIT)
                return True
            except Full:
                continue
        return False

    def run() -> None:
        try:
            with torch.no_grad():
                before: Any = None
                for item in batches:
                    if before is not None and not put(before):
                        return
                    before = item
                if before is not None:
                    before.more = False
                    put(before)
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=run, name="pipegrad-reader", daemon=True)
    thread.start()
    try:
        while True:
            item = _next(ready, thread)
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _next(ready: Queue[Any], thread: threading.Thread) -> Any:
    while True:
        try:
            return ready.get(timeout=1.0)
        except Empty:
            if not thread.is_alive() and ready.empty():
                return None
