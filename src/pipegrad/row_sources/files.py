"""Files of Parquet, Arrow and CSV in pieces: row groups, record batches, or whole files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..remote_files import is_remote
from .pieces import Piece, Reader, RowSource, common_schema

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of a column that are read from a file at once.
_BUFFER = 1 << 20


def resolved(path: str) -> tuple[Any, str]:
    """The file system of a path, or None for files of this machine, and the path there."""
    if not is_remote(path):
        return None, path
    from pyarrow import fs

    try:
        files, place = fs.FileSystem.from_uri(path)
        return files, place
    except (ValueError, OSError, NotImplementedError):
        pass  # The protocols of fsspec are many more.
    try:
        import fsspec

        own, place = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise ArgumentError(f"{path} cannot be opened: {error}.") from error
    return fs.PyFileSystem(fs.FSSpecHandler(own)), place


def opened_dataset(place: str | list[str], files: Any, kind: str) -> Any:
    """The files at a path, or at several, as a data set of Arrow."""
    from pyarrow import csv, dataset

    form: Any = kind
    if kind == "csv":
        convert = csv.ConvertOptions(null_values=["", "NaN", "nan"], strings_can_be_null=True)
        form = dataset.CsvFileFormat(convert_options=convert)
    return dataset.dataset(place, filesystem=files, format=form, partitioning="hive")


def dataset_rows(dataset: Any, name: str) -> RowSource:
    """The pieces of a data set of Arrow."""
    pieces = [piece for fragment in dataset.get_fragments() for piece in _pieces(dataset, fragment)]
    schema = common_schema([dataset.schema, *(piece.schema for piece in pieces)])
    return RowSource(name, schema, pieces)


def _pieces(dataset: Any, fragment: Any) -> Iterator[Piece]:
    path = getattr(fragment, "path", "")
    place = path or f"a part of {type(dataset).__name__}"
    keys = _partition_keys(fragment)
    kind = type(fragment).__name__
    if not path or (dataset.schema.metadata is None and kind == "InMemoryFragment"):
        yield Piece(place, dataset.schema, _fragment_reader(dataset, fragment), _count(fragment))
        return
    local = _is_local(fragment)
    identity = _identity(path) if local else path
    if kind == "ParquetFileFragment":
        yield from _row_groups(fragment, place, keys, identity, local)
        return
    own = _with_keys(_physical_schema(fragment, place), keys)
    yield Piece(place, own, _fragment_reader(dataset, fragment, keys), None, identity)


def _row_groups(
    fragment: Any, place: str, keys: dict[str, Any], identity: str, local: bool
) -> Iterator[Piece]:
    try:
        schema = _with_keys(fragment.physical_schema, keys)
        groups = fragment.row_groups
    except Exception as error:  # Errors of Arrow differ by file system.
        raise ArgumentError(
            f"{place} is not read as Parquet: {str(error).splitlines()[0]}.\n"
            "Hint: write this file again, or leave it out."
        ) from error
    for group in groups:
        yield Piece(
            f"{place}, row group {group.id}" if len(groups) > 1 else place,
            schema,
            _row_group_reader(fragment, group.id, keys, local),
            group.num_rows,
            f"{identity}#{group.id}",
        )


def _row_group_reader(fragment: Any, group: int, keys: dict[str, Any], local: bool) -> Reader:
    def read(columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        from pyarrow import parquet

        own = [name for name in columns if name not in keys]
        # Column by column in small parts, so that the size of a row group does not matter.
        opened: Any = fragment.path
        if not local:
            opened = fragment.filesystem.open_input_file(fragment.path)
        file = parquet.ParquetFile(
            opened, memory_map=local, pre_buffer=False, buffer_size=0 if local else _BUFFER
        )
        with closing(file):
            for batch in file.iter_batches(rows, [group], own, use_threads=False):
                yield _append(batch, keys, columns)

    return read


def _fragment_reader(dataset: Any, fragment: Any, keys: dict[str, Any] | None = None) -> Reader:
    def read(columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        own = [name for name in columns if name not in (keys or {})]
        batches = fragment.to_batches(
            schema=dataset.schema,
            columns=own,
            batch_size=rows,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=False,
        )
        for batch in batches:
            for start in range(0, batch.num_rows, rows):
                yield _append(batch.slice(start, rows), keys or {}, columns)

    return read


def _append(batch: pa.RecordBatch, keys: dict[str, Any], columns: Sequence[str]) -> pa.RecordBatch:
    """The columns that the path of a file has in its name, after its own."""
    import pyarrow as pa

    for name in columns:
        if name in keys:
            value = pa.repeat(keys[name], batch.num_rows)
            batch = batch.append_column(name, value)
    return batch


def _partition_keys(fragment: Any) -> dict[str, Any]:
    from pyarrow import dataset, scalar

    found = dataset.get_partition_keys(fragment.partition_expression)
    return {name: scalar(value) for name, value in found.items()}


def _with_keys(schema: pa.Schema, keys: dict[str, Any]) -> pa.Schema:
    import pyarrow as pa

    for name, value in keys.items():
        if name not in schema.names:
            schema = schema.append(pa.field(name, value.type))
    return schema


def _physical_schema(fragment: Any, place: str) -> pa.Schema:
    try:
        return fragment.physical_schema
    except Exception as error:
        raise ArgumentError(
            f"{place} cannot be read: {str(error).splitlines()[0]}.\n"
            "Hint: write this file again, or leave it out."
        ) from error


def _is_local(fragment: Any) -> bool:
    from pyarrow import fs

    return isinstance(fragment.filesystem, fs.LocalFileSystem)


def _identity(path: str) -> str:
    real = os.path.realpath(path)
    status = os.stat(real)
    return f"{real}:{status.st_size}:{status.st_mtime_ns}"


def _count(fragment: Any) -> int | None:
    try:
        return int(fragment.count_rows())
    except Exception:  # Not all kinds know it.
        return None
