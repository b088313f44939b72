"""Tables of any kind as pieces: files, folders, data sets of Arrow, and iterables of batches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..remote_files import is_remote
from .iterables import IterableRows, is_iterable_of_batches
from .pieces import RowSource

# Endings of files, and the names of their formats in pyarrow.
_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
    ".csv": "csv",
    ".csv.gz": "csv",
}
FORMATS = ", ".join(_FORMATS)


def is_row_source(value: Any) -> bool:
    """Whether a value is a table that is read in pieces, and not one in memory.

    These are paths of files and folders, lists of paths that end as files of tables do, objects
    that give a data set of Arrow (also those of deltalake), readers and iterables of record
    batches, data sets of Hugging Face, and torch's `DataLoader`.
    """
    if isinstance(value, os.PathLike):
        return True
    if isinstance(value, str):
        # Any other word is no path that someone means.
        named = bool(_format(value)) or is_remote(value) or os.path.dirname(value) != ""
        return named or os.path.exists(value)
    if isinstance(value, list) and value and all(isinstance(v, str | os.PathLike) for v in value):
        return all(_format(os.fspath(path)) for path in value)
    return _is_dataset(value) or is_iterable_of_batches(value)


def open_rows(value: Any) -> RowSource:
    """The pieces of a table.

    Parameters
    ----------
    value : path, list of paths, pyarrow.dataset.Dataset, DeltaTable, DataLoader or iterable
        See `is_row_source`. Folders are read with all files of one format in them; parts of their
        names such as ``year=2024`` are columns. Paths such as ``s3://bucket/folder`` are opened by
        pyarrow or by fsspec.

    Raises
    ------
    ArgumentError
        If there are no rows, or the format is not known.
    FileNotFoundError
        If there is nothing at the path.
    """
    _require_pyarrow()
    if isinstance(value, RowSource):
        return value
    if isinstance(value, str | os.PathLike):
        return _opened_path(os.fspath(value))
    if isinstance(value, list) and value and isinstance(value[0], str | os.PathLike):
        return _opened_files([os.fspath(path) for path in value])
    if _is_dataset(value):
        from .files import dataset_rows

        own = value if hasattr(value, "get_fragments") else value.to_pyarrow_dataset()
        return dataset_rows(own, type(value).__name__)
    if is_iterable_of_batches(value):
        return IterableRows(value)
    raise ArgumentError(
        f"The rows must be a path, a data set or an iterable of record batches, got "
        f"{type(value).__name__}."
    )


def _is_dataset(value: Any) -> bool:
    return hasattr(value, "to_pyarrow_dataset") or (
        hasattr(value, "get_fragments") and hasattr(value, "schema")
    )


def _opened_path(path: str) -> RowSource:
    from .files import dataset_rows, opened_dataset, resolved

    files, place = resolved(path)
    if files is None and not os.path.exists(place):
        raise FileNotFoundError(f"{path}: there is no such file or folder.")
    if files is None and os.path.isdir(os.path.join(place, "_delta_log")):
        return open_rows(_delta_table(path))
    kind = _format(path)
    if kind is None:
        kind = _format_of_folder(path, files, place)
    return dataset_rows(opened_dataset(place, files, kind), path)


def _opened_files(paths: list[str]) -> RowSource:
    from .files import dataset_rows, opened_dataset, resolved

    kinds = sorted({str(_format(path)) for path in paths})
    if len(kinds) > 1:
        raise ArgumentError(f"The files must be of one format, got {' and '.join(kinds)}.")
    absent = [path for path in paths if resolved(path)[0] is None and not os.path.isfile(path)]
    if absent:
        raise FileNotFoundError(f"{absent[0]}: there is no such file.")
    files = resolved(paths[0])[0]
    places = [resolved(path)[1] for path in paths]
    return dataset_rows(opened_dataset(places, files, kinds[0]), f"{paths[0]} and others")


def _format(path: str) -> str | None:
    lower = path.lower()
    return next((kind for end, kind in _FORMATS.items() if lower.endswith(end)), None)


def _format_of_folder(path: str, files: Any, place: str) -> str:
    """The format of the files in a folder.

    Raises
    ------
    ArgumentError
        If there is none, or more than one.
    """
    found = {kind for name in _names(files, place) if (kind := _format(name))}
    if len(found) == 1:
        return found.pop()
    if found:
        raise ArgumentError(
            f"{path} has files of several formats: {', '.join(sorted(found))}.\n"
            "Hint: give a list of the files, or a pyarrow.dataset."
        )
    what = "is not a table" if files is None and Path(place).is_file() else "has no table in it"
    raise ArgumentError(f"{path} {what}.\nHint: the names of tables end in {FORMATS}.")


def _names(files: Any, place: str) -> Iterator[str]:
    if files is None:
        if os.path.isfile(place):
            yield place
        for _, folders, names in os.walk(place, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(("_", "."))]
            yield from (name for name in names if not name.startswith(("_", ".")))
        return
    from pyarrow import fs

    yield from (
        info.base_name for info in files.get_file_info(fs.FileSelector(place, recursive=True))
    )


def _delta_table(path: str) -> Any:
    try:
        from deltalake import DeltaTable
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"{path} is a Delta table, which requires deltalake.\nHint: pip install deltalake."
        ) from error
    return DeltaTable(path)


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise ArgumentError(
            "Tables in files require pyarrow.\nHint: pip install 'pipegrad[pandas]'."
        ) from error
