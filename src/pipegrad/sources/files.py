"""Model files of other libraries: read once, checked, tried in a child process, then loaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from .trial_load import try_loading

LARGEST_FILE = 1 << 30
"""Maximal size of a model file in bytes; larger files are rejected unread."""


@dataclass(frozen=True)
class ModelFile:
    """The bytes of a model file, read once, so that what was checked is what is loaded.

    Parameters
    ----------
    name : str
        The path, for errors.
    content : bytes
        The whole file.
    suffix : str
        The ending of the name in lower case, such as ".json".
    """

    name: str
    content: bytes
    suffix: str

    @classmethod
    def read(cls, path: Any) -> ModelFile:
        """The file at a path; a `ModelFile` is returned as it is.

        Raises
        ------
        ModelFileError
            If it is a folder or a device, empty, or larger than `LARGEST_FILE`.
        """
        if isinstance(path, ModelFile):
            return path
        place = Path(path)
        with open_regular(place) as file:
            content = file.read(LARGEST_FILE + 1)
        if not content:
            raise ModelFileError(f"{place}: the file is empty.")
        return cls(str(place), content, place.suffix.lower())


@contextmanager
def open_regular(place: Path) -> Iterator[Any]:
    """Open a file for reading; refuse what may never end: folders, pipes, devices, large files."""
    if place.exists() and not stat.S_ISREG(place.stat().st_mode):
        kind = "a folder" if place.is_dir() else "no regular file"
        raise ModelFileError(f"{place} is {kind}.\nHint: give the path of a model file.")
    with place.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_FILE:
            raise ModelFileError(f"{place}: {size} bytes are more than {LARGEST_FILE}.")
        yield file


def load_checked(
    file: ModelFile,
    library: str,
    check: Callable[[bytes, str, str], None],
    load: Callable[[ModelFile], Any],
    trial: Path,
    trusted: bool,
) -> Any:
    """Load a file with a library that would not survive a malformed one.

    Parameters
    ----------
    file : ModelFile
        The file.
    library : str
        Name of the library.
    check : callable
        ``check(content, suffix, name)`` raises `ModelFileError` if the structure is malformed.
    load : callable
        Loads the file with the library.
    trial : Path
        Script whose ``load(content, suffix)`` does so in a child process; see `try_loading`.
    trusted : bool
        Whether to skip the child process.

    Raises
    ------
    ModelFileError
        If the file is malformed, or the library refuses it.
    """
    check(file.content, file.suffix, file.name)
    if not trusted:
        try_loading(file.content, file.suffix, file.name, library, trial)
    try:
        return load(file)
    except (MemoryError, RecursionError, OSError):
        raise
    except Exception as error:
        raise ModelFileError(f"{file.name}: {library} refuses it: {error!s:.300}") from error
