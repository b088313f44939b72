"""Units of a table: what one shard reads at a time, from the table itself or from a cache."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..array_cache import UnusableEntryError, read_arrays, write_arrays
from ..errors import ArgumentError
from ..row_sources import Piece, RowSource
from .chunks import Chunk, RowEncoder
from .workers import Workers

# Names of the arrays of a cached chunk beside the blocks of the host part.
_TARGET, _WEIGHT, _HASHES = "#target", "#weight", "#hashes"


class Unit(Protocol):
    """A part of the rows, in slices."""

    place: str
    rows: int | None

    def chunks(self, first: int = 0) -> Iterator[Chunk]:
        """The slices of encoded rows in order, from the slice of this number on."""
        ...


class TableUnit:
    """A piece of a table, encoded as it is read.

    Parameters
    ----------
    source : RowSource
        The table.
    piece : Piece
        The piece.
    encoder : RowEncoder
        Encodes the slices.
    slice_rows : int
        Number of rows of a slice.
    """

    def __init__(
        self, source: RowSource, piece: Piece, encoder: RowEncoder, slice_rows: int
    ) -> None:
        self.source = source
        self.piece = piece
        self.encoder = encoder
        self.slice_rows = slice_rows
        self.place = piece.place
        self.rows = piece.rows

    def chunks(self, first: int = 0) -> Iterator[Chunk]:
        """The slices in order; those before the first one are decoded as well."""
        batches = self.encoder.batches(self.source, self.piece, self.slice_rows)
        for number, batch in enumerate(batches):
            if number >= first:
                yield self._chunk(batch, number)

    def _chunk(self, batch: Any, number: int) -> Chunk:
        try:
            return self.encoder.chunk(batch)
        except ArgumentError as error:
            start = number * self.slice_rows
            raise ArgumentError(f"{self.place}, rows from {start:,} on: {error}") from error


class CachedUnit:
    """A slice of a table whose encoded rows are in a cache.

    Parameters
    ----------
    path : Path
        The file of the slice.
    key : str
        What its content depends on.
    rows : int
        Number of rows.
    encoder : RowEncoder
        Makes a chunk of the arrays.
    """

    def __init__(self, path: Path, key: str, rows: int, encoder: RowEncoder) -> None:
        self.path = path
        self.key = key
        self.rows = rows
        self.encoder = encoder
        self.place = str(path)

    def chunks(self, first: int = 0) -> Iterator[Chunk]:
        """The slice, unless it lies before the first one."""
        if first:
            return
        try:
            arrays = dict(read_arrays(self.path, self.key, self.rows))
        except (UnusableEntryError, OSError) as error:
            raise ArgumentError(
                f"{self.path}: the cached rows are not what was written.\n"
                "Hint: delete the folder of the cache, and run the same command again."
            ) from error
        target, weight = arrays.pop(_TARGET, None), arrays.pop(_WEIGHT, None)
        hashes = arrays.pop(_HASHES).reshape(-1)
        own = None if target is None else torch.tensor(_without_width(target))
        like = self.encoder.net.reference_tensor()
        if own is not None:
            own = own.to(like) if own.is_floating_point() else own.to(like.device)
        weights = None if weight is None else weight.reshape(-1)
        yield self.encoder.encoded(arrays, own, weights, hashes)


def table_units(source: RowSource, encoder: RowEncoder, slice_rows: int) -> list[TableUnit]:
    """The pieces of a table as units."""
    return [TableUnit(source, piece, encoder, slice_rows) for piece in source.pieces]


def cached_units(
    source: RowSource, encoder: RowEncoder, slice_rows: int, folder: Path, workers: Workers
) -> list[CachedUnit]:
    """Encode all rows of a table into a cache, as far as they are not in it.

    Each process encodes its share of the pieces. A file that is in the table several times, by
    links, is cached once.

    Parameters
    ----------
    source : RowSource
        The table.
    encoder : RowEncoder
        Encodes the rows.
    slice_rows : int
        Number of rows of a file of the cache.
    folder : Path
        The folder of the cache, which all processes see.
    workers : Workers
        The processes.
    """
    common = _key_of_pipeline(encoder, slice_rows)
    names = (piece.identity or f"{source.name}#{n}" for n, piece in enumerate(source.pieces))
    # Of the first process: the times of files may differ between machines.
    keys = workers.of_first([_digest(common, name) for name in names])
    own: dict[str, list[int]] = {}
    with workers.together():
        for place, (key, piece) in enumerate(dict(zip(keys, source.pieces, strict=True)).items()):
            if place % workers.count == workers.rank:
                own[key] = _cached_piece(source, piece, encoder, slice_rows, folder, key)
    counts = {key: rows for found in workers.of_all(own) for key, rows in found.items()}
    units = [
        _unit(folder, key, n, rows, encoder) for key in keys for n, rows in enumerate(counts[key])
    ]
    with workers.together():
        _check_there(units)
    return units


def _check_there(units: Sequence[CachedUnit]) -> None:
    absent = next((unit.path for unit in units if not unit.path.is_file()), None)
    if absent is not None:
        raise ArgumentError(
            f"{absent}: another process wrote this file, which is not to be seen here.\n"
            "Hint: cache= is a folder that all machines share."
        )


def _cached_piece(
    source: RowSource, piece: Piece, encoder: RowEncoder, slice_rows: int, folder: Path, key: str
) -> list[int]:
    """The numbers of rows of the files of a piece, which are written if they are not there."""
    index = folder / f"{key}.safetensors"
    if piece.identity:
        try:
            counts: list[int] = read_arrays(index, key, None)["rows"].reshape(-1).tolist()
            units = [_unit(folder, key, n, rows, encoder) for n, rows in enumerate(counts)]
            if all(unit.path.is_file() for unit in units):
                return counts
        except (UnusableEntryError, OSError):
            pass
    counts = []
    table = TableUnit(source, piece, encoder, slice_rows)
    for number, batch in enumerate(encoder.batches(source, piece, slice_rows)):
        unit = _unit(folder, key, number, batch.num_rows, encoder)
        write_arrays(unit.path, unit.key, _arrays(table, batch, number))
        counts.append(batch.num_rows)
    array = np.array(counts, dtype=np.int64).reshape(-1, 1)
    write_arrays(index, key, {"rows": array})
    return counts


def _unit(folder: Path, key: str, number: int, rows: int, encoder: RowEncoder) -> CachedUnit:
    own = _digest(key, str(number))
    return CachedUnit(folder / f"{own}.safetensors", own, rows, encoder)


def _arrays(table: TableUnit, batch: Any, number: int) -> dict[str, Any]:
    """The encoded rows of a record batch as arrays."""
    encoder = table.encoder
    net, roles = encoder.net, encoder.roles
    try:
        found = {n: narrowed(a) for n, a in net.host_arrays(roles.input_of(net, batch)).items()}
        y = roles.targets_of(net, batch)
        if y is not None:
            target = net.encode_target(y).cpu().numpy()
            found[_TARGET] = target.reshape(len(target), -1)
        weight = roles.weights_of(batch)
    except ArgumentError as error:
        start = number * table.slice_rows
        raise ArgumentError(f"{table.place}, rows from {start:,} on: {error}") from error
    if weight is not None:
        found[_WEIGHT] = weight.reshape(-1, 1)
    found[_HASHES] = encoder.hashes(batch).reshape(-1, 1)
    return found


def narrowed(array: Any) -> Any:
    """An array in float32, where that changes no number."""
    values = array.data if hasattr(array, "indptr") else np.asarray(array)
    if values.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if not np.array_equal(narrow, values, equal_nan=True):
        return array
    return array.astype(np.float32) if hasattr(array, "indptr") else narrow


def _without_width(target: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return target[:, 0] if target.shape[1] == 1 else target


def _key_of_pipeline(encoder: RowEncoder, slice_rows: int) -> str:
    from joblib import hash as hash_of

    net = encoder.net
    runs = net.host_part.host | {step for step, _ in net.host_part.ports}
    operators = [step.operator for step in net.graph if step.name in runs]
    versions = {
        name: getattr(sys.modules.get(name), "__version__", "")
        for name in ("numpy", "scipy", "pandas", "pyarrow", "sklearn", "pipegrad")
    }
    classes = getattr(net.source, "classes_", None) if net.head is not None else None
    parts = (operators, net.graph.to_json(), encoder.roles, encoder.seed, slice_rows, versions)
    return _digest(hash_of((parts, classes)))


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()
