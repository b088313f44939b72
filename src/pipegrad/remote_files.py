"""Files and folders on other machines, through fsspec: s3://, gs://, hdfs:// and others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import ArgumentError, ModelFileError

_MOST_FILES = 20_000
_LARGEST = 1 << 30


def is_remote(path: Any) -> bool:
    """Whether a path names a file system, such as ``s3://bucket/model``."""
    return isinstance(path, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path) is not None


def fetch(path: str, folder: Path) -> Path:
    """Copy a file or folder into a folder of this machine; return the copy, of the same name.

    Raises
    ------
    ArgumentError
        If the package for this file system is not installed.
    FileNotFoundError
        If there is nothing at the path.
    ModelFileError
        If it is too large to be a model.
    """
    files, place = _opened(path)
    if not files.exists(place):
        raise FileNotFoundError(f"{path}: there is no such file.")
    target = folder / place.rstrip("/").rpartition("/")[2]
    if not files.isdir(place):
        _check(path, [files.info(place)])
        files.get_file(place, str(target))
        return target
    found = files.find(place, detail=True)
    _check(path, list(found.values()))
    root = f"{files._strip_protocol(place)}".rstrip("/")
    for name in found:
        inside = name[len(root) :].lstrip("/")
        if not name.startswith(f"{root}/") or ".." in inside.split("/"):
            raise ModelFileError(f"{path}: the names of its files lead elsewhere.")
        copy = target / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(name, str(copy))
    return target


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """A remote file, open for reading."""
    files, place = _opened(path)
    with files.open(place, "rb") as file:
        yield file


def refuse_remote(path: Any) -> None:
    """Reject a remote path as a target, since nothing there is written as a whole or not at all."""
    if is_remote(path):
        protocol = path.partition("://")[0]
        raise ArgumentError(
            f"path must be on this machine, got {path!r:.80}.\nHint: write to a folder here, then "
            f"fsspec.filesystem({protocol!r}).put(folder, path, recursive=True)."
        )


def _opened(path: str) -> tuple[Any, str]:
    import fsspec

    try:
        files, place = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise ArgumentError(f"{path} cannot be opened: {error}.") from error
    return files, os.fspath(place)


def _check(path: str, entries: list[Any]) -> None:
    size = sum(int(entry.get("size") or 0) for entry in entries)
    if len(entries) > _MOST_FILES or size > _LARGEST:
        raise ModelFileError(f"{path}: {len(entries)} files of {size} bytes are too much.")
