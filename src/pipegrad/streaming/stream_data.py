"""What training on a table needs before it begins: units, held-out rows, a sample, weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ArgumentError
from ..file_writing import scratch_folder
from ..registry import Objective
from ..row_sources import RowSource
from ..training.criterion import class_weights
from .chunks import Chunk, RowEncoder, joined
from .column_roles import ColumnRoles
from .row_hashes import is_below
from .row_stream import RowStream
from .shards import deal
from .units import Unit, cached_units, table_units
from .workers import Workers

if TYPE_CHECKING:
    from ..network import PipelineNetwork

# Most validation rows, and most rows of the sample on which the training loss is measured.
HELD_ROWS = 100_000
# Virtual shards: as many for all tables below so many rows, and as many above. Each holds a page of
# each column, usually of a megabyte, so that wide tables have fewer.
_SHARDS, _LARGE, _MORE_SHARDS, _PAGES = 8, 500_000_000, 256, 400
# Bytes of the slices that all shards of a process hold at a time, and numbers of rows of a slice.
_BUFFER, _FEWEST, _MOST = 16 << 20, 1024, 1 << 16


@dataclass(frozen=True)
class HeldRows:
    """Rows that are held in memory.

    Parameters
    ----------
    valid : Chunk, optional
        Validation rows.
    sample : Chunk
        Some of the training rows.
    """

    valid: Chunk | None
    sample: Chunk


class StreamData:
    """A table, ready for training.

    Parameters
    ----------
    net : PipelineNetwork
        The network to train.
    source : RowSource
        The table.
    roles : ColumnRoles
        Its columns.
    share : float
        Share of the rows to hold out.
    seed : int
        Seed of the split and of the order.
    workers : Workers
        The processes.
    cache : str or path, optional
        Folder for the encoded rows. Without it, rows that have to be encoded by other libraries,
        or that cannot be read in pieces, are kept in a temporary folder.
    """

    def __init__(
        self,
        net: PipelineNetwork,
        source: RowSource,
        roles: ColumnRoles,
        share: float,
        seed: int,
        workers: Workers,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.net = net
        self.source = source
        self.roles = roles
        self.share = share
        self.seed = seed
        self.workers = workers
        self.encoder = RowEncoder(net, roles, seed)
        self._open = ExitStack()
        self.units: list[Any] = self._make_units(cache)
        self.shards = _shards(self.units, source.rows, len(roles.names))
        if workers.count > self.shards:
            raise ArgumentError(
                f"{workers.count} processes need as many parts of the table, but {source.name} has "
                f"{self.shards} that can be read by themselves.\n"
                "Hint: write it with smaller row groups (row_group_size=100_000), or give cache=."
            )

    def close(self) -> None:
        """Remove temporary files."""
        self._open.close()

    def __enter__(self) -> StreamData:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _make_units(self, cache: str | os.PathLike[str] | None) -> list[Any]:
        rows = _slice_rows(len(self.roles.names), len(self.source.pieces))
        if cache is None and not self._needs_cache():
            return list(table_units(self.source, self.encoder, rows))
        folder = self._scratch() if cache is None else Path(cache)
        return list(cached_units(self.source, self.encoder, rows, folder, self.workers))

    def _scratch(self) -> Path:
        """A temporary folder that all processes see, which the first one makes and removes."""
        made = self.workers.first_does(lambda: self._open.enter_context(scratch_folder()))
        with self.workers.together():
            if not made.is_dir():
                raise ArgumentError(
                    f"Worker {self.workers.rank} does not see the temporary folder of worker 0.\n"
                    "Hint: cache= is a folder that all machines share."
                )
        return made

    def _needs_cache(self) -> bool:
        readable = all(piece.rows is not None and piece.identity for piece in self.source.pieces)
        return bool(self.net.host_part.host) or not readable

    def keeps(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether rows are for training."""
        return ~is_below(hashes, self.share)

    def held_rows(self) -> HeldRows:
        """Validation rows, and training rows to measure the loss on.

        They come from the first units in an order that the seed determines, as many as it takes.

        Raises
        ------
        ArgumentError
            If there are none.
        """
        found: dict[str, list[Chunk]] = {"valid": [], "sample": []}
        counts = dict.fromkeys(found, 0)
        for chunk in self._any_order():
            train = self.keeps(chunk.hashes)
            for name, chosen in (("valid", ~train), ("sample", train)):
                index = np.flatnonzero(chosen)[: HELD_ROWS - counts[name]]
                if len(index):
                    found[name].append(chunk.take(index))
                    counts[name] += len(index)
            if counts["sample"] >= HELD_ROWS and (counts["valid"] >= HELD_ROWS or not self.share):
                break
        if not counts["sample"] or (self.share and not counts["valid"]):
            raise ArgumentError(
                f"{self.source.name} has too few rows to hold any out for validation.\n"
                "Hint: validation=None trains on all rows."
            )
        valid = joined(found["valid"]) if found["valid"] else None
        return HeldRows(valid, joined(found["sample"]))

    def _any_order(self) -> Iterator[Chunk]:
        (order,) = deal([unit.rows for unit in self.units], 1, self.seed, 2**31)
        for number in order:
            yield from self.units[number].chunks()

    def stream(self, weigh: Callable[[Tensor | None, Tensor | None], Tensor | None]) -> RowStream:
        """The training rows."""
        return RowStream(self.units, self.keeps, weigh, self.shards, self.seed, self.workers)


@dataclass
class RowWeights:
    """The weights of rows in the loss: sample weights times class weights, with mean one.

    Parameters
    ----------
    objective : Objective
        With the class weights.
    sample : Chunk
        Training rows, by which "balanced" classes are counted, and the mean weight is.
    labels : array, optional
        The class labels.
    task : str, optional
        Task of the head.
    """

    objective: Objective
    sample: Chunk
    labels: Any
    task: str | None

    def __post_init__(self) -> None:
        target = self.sample.target
        self._by_rows = False
        if target is not None and self.objective.class_weight is not None:
            self._by_rows = self._class_weights(target) is not None
        own = self._weights(target, self.sample.weight)
        self._mean = 1.0 if own is None else float(own.mean())
        if not self._mean > 0:
            raise ArgumentError("The weights of the rows must not all be zero.")

    def _class_weights(self, target: Tensor) -> Tensor | None:
        assert self.sample.target is not None
        count = len(self.sample.target)
        both = torch.cat([self.sample.target, target])
        rows, _ = class_weights(self.objective, both, np.arange(count), self.labels, self.task)
        return None if rows is None else rows[count:]

    def _weights(self, target: Tensor | None, weight: Tensor | None) -> Tensor | None:
        if not self._by_rows or target is None:
            return weight
        own = self._class_weights(target)
        assert own is not None
        return own if weight is None else own.to(weight) * weight

    def __call__(self, target: Tensor | None, weight: Tensor | None) -> Tensor | None:
        """The weights of some rows; None if all are one."""
        found = self._weights(target, weight)
        return None if found is None else found / self._mean


def _slice_rows(columns: int, pieces: int) -> int:
    open_at_once = min(pieces, _SHARDS)
    rows = _BUFFER // (8 * max(columns, 1) * open_at_once)
    return int(min(max(rows, _FEWEST), _MOST))


def _shards(units: list[Unit], rows: int | None, columns: int) -> int:
    wanted = _MORE_SHARDS if rows is not None and rows > _LARGE else _SHARDS
    return max(1, min(wanted, len(units), max(_PAGES // max(columns, 1), 2)))
