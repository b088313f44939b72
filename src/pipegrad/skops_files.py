"""Python objects in skops files: no type is loaded that is not known to be safe, or named."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from .errors import ArgumentError, ModelFileError
from .file_writing import files_library

# What a smaller file may unpack to, in bytes.
_MOST_UNPACKED = 1 << 30


def skops_content(thing: Any, what: str) -> bytes:
    """The content of a skops file.

    Parameters
    ----------
    thing : object
        The object to store.
    what : str
        What needs the file, for errors.

    Raises
    ------
    ArgumentError
        If skops is not installed, or cannot store the object.
    """
    io = files_library("skops.io", what)
    try:
        content = bytes(io.dumps(thing))
        # It writes what it cannot read again, such as functions without a name.
        io.loads(content, trusted=io.get_untrusted_types(data=content))
        return content
    except Exception as error:
        raise ArgumentError(
            f"{what}: skops cannot store a {type(thing).__name__}: {error!s:.300}"
        ) from error


def read_skops(
    content: bytes, name: str, trusted: Collection[str] = (), hint: str = "add {quoted}"
) -> Any:
    """The object in a skops file.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        Its path, for errors.
    trusted : collection of str
        Dotted names of types that may be loaded beside those that are known to be safe; "all" for
        every type.
    hint : str
        How users name types to trust, with ``{quoted}`` or ``{plain}`` where the names belong.

    Raises
    ------
    ArgumentError
        If it contains other types; nothing is loaded then.
    ModelFileError
        If it is damaged.
    """
    io = files_library("skops.io", name)
    try:
        _check_size(content, name)
        unknown = io.get_untrusted_types(data=content)
    except ModelFileError:
        raise
    except Exception as error:  # Damaged files end in errors of many kinds.
        raise _damaged(name, error) from error
    lacking = sorted(set(unknown) - set(trusted))
    if lacking and "all" not in trusted:
        told = hint.format(quoted=", ".join(map(repr, lacking)), plain=" ".join(lacking))
        raise ArgumentError(
            f"{name} contains types that are not known to be safe: {', '.join(lacking)}.\n"
            f"Hint: if you trust them, {told}"
        )
    try:
        with other_versions():
            return io.loads(content, trusted=unknown)
    except Exception as error:
        raise _damaged(name, error) from error


@contextmanager
def other_versions() -> Iterator[None]:
    """Context without warnings about objects that another version of scikit-learn stored.

    Translation checks them in its own way.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Trying to unpickle estimator")
        yield


def _check_size(content: bytes, name: str) -> None:
    """Reject small files that unpack to very large ones."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > max(_MOST_UNPACKED, 2 * len(content)):
        raise ModelFileError(f"{name}: it unpacks to {size} bytes, more than {_MOST_UNPACKED}.")


def _damaged(name: str, error: Exception) -> ModelFileError:
    return ModelFileError(f"{name} cannot be read: {type(error).__name__}: {error!s:.300}")
