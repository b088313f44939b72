"""Arrays cached on disk: checked when read, private to their user, never unpickled.

Each entry is one file in safetensors format, named by its key. An entry that is cut, damaged, of
another key or of another user is dropped and computed anew. Where nothing can be written, the work
goes on without the cache, with one warning.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .errors import ArgumentError, warn
from .file_writing import files_library, write_file

Arrays: TypeAlias = Mapping[str, Any]
"""Dense (n, k) or CSR arrays of numbers, by name; all have the same rows."""

_ABOUT = "about"
_CSR = ("data", "indices", "indptr")
_STORABLE = "biuf"

_warned: set[str] = set()


class UnusableEntryError(Exception):
    """An entry of the cache is not what was written for its key."""


def check_cache(cache: Any) -> None:
    """Refuse what names no folder.

    Raises
    ------
    ArgumentError
        If ``cache`` is neither None nor the path of a folder, existing or new, or safetensors is
        not installed.
    """
    if cache is None:
        return
    if not isinstance(cache, str | os.PathLike) or not str(cache).strip() or "\0" in str(cache):
        raise ArgumentError(f"cache must be the path of a folder, got {cache!r:.80}.")
    if os.path.lexists(cache) and not os.path.isdir(cache):
        raise ArgumentError(f"cache must be the path of a folder; {str(cache)!r} is a file.")
    files_library("safetensors.numpy", "cache=")


def cached_arrays(folder: Any, key: str, rows: int | None, compute: Callable[[], Arrays]) -> Arrays:
    """Arrays from the cache, or computed and then kept there.

    Parameters
    ----------
    folder : str or path
        Folder of the cache; it is made if it does not exist.
    key : str
        Hexadecimal digest of everything that the arrays depend on.
    rows : int, optional
        Number of rows that the arrays must have.
    compute : callable
        Computes the arrays.
    """
    path = Path(folder, f"{key}.safetensors")
    try:
        return read_arrays(path, key, rows)
    except FileNotFoundError:
        pass
    except (UnusableEntryError, OSError):
        with suppress(OSError):
            path.unlink()
    arrays = compute()
    content = _content(arrays, key)
    if content is not None:
        _keep(path, content)
    return arrays


def write_arrays(path: Path, key: str, arrays: Arrays) -> None:
    """Write an entry, as a whole or not at all.

    Raises
    ------
    ArgumentError
        If an array holds no numbers.
    OSError
        If it cannot be written.
    """
    content = _content(arrays, key)
    if content is None:
        raise ArgumentError("The output of the host part must be numbers, to be cached.")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(path, content, private=True)


def _keep(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, content, private=True)
    except OSError as error:
        folder = os.path.abspath(path.parent)
        if folder not in _warned:
            _warned.add(folder)
            warn(f"cache={str(path.parent)!r} cannot be written, so nothing is cached: {error}.")


def _content(arrays: Arrays, key: str) -> bytes | None:
    """The content of an entry; None if some array holds no numbers."""
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    blocks = []
    for number, (name, array) in enumerate(arrays.items()):
        if sparse.issparse(array):
            parts = {part: getattr(array, part) for part in _CSR}
        else:
            parts = {"dense": np.asarray(array)}
        blocks.append({"name": name, "shape": list(array.shape), "parts": list(parts)})
        for part, values in parts.items():
            if values.dtype.kind not in _STORABLE or values.dtype.itemsize > 8:
                return None
            native = values.astype(values.dtype.newbyteorder("="), copy=False)
            tensors[f"{number}.{part}"] = np.ascontiguousarray(native)
    about = {"key": key, "blocks": blocks, "checksum": _checksum(key, blocks, tensors)}
    tensors[_ABOUT] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    return save(tensors)


def read_arrays(path: Path, key: str, rows: int | None) -> Arrays:
    """The arrays of an entry.

    Raises
    ------
    UnusableEntryError
        If the entry does not hold what was written for this key.
    """
    from safetensors.numpy import load

    content = _own_bytes(path)
    try:
        tensors = load(content)
        about = json.loads(tensors.pop(_ABOUT).tobytes())
        if about["checksum"] != _checksum(key, about["blocks"], tensors):
            raise UnusableEntryError
        arrays = {
            block["name"]: _array(tensors, number, block)
            for number, block in enumerate(about["blocks"])
        }
    except Exception as error:  # Whatever a damaged file leads to, the arrays are computed anew.
        raise UnusableEntryError(str(error)) from error
    if rows is not None and any(array.shape[0] != rows for array in arrays.values()):
        raise UnusableEntryError
    return arrays


def _own_bytes(path: Path) -> bytes:
    """The content of a regular file that nobody but its owner, this user, could have written."""
    place = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(place, "rb") as file:
        status = os.fstat(place)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableEntryError
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            raise UnusableEntryError
        return file.read()


def _array(tensors: Mapping[str, NDArray[Any]], number: int, block: Mapping[str, Any]) -> Any:
    if block["parts"] == ["dense"]:
        return tensors[f"{number}.dense"].reshape(block["shape"])
    parts = tuple(tensors[f"{number}.{part}"] for part in _CSR)
    rows = sparse.csr_matrix(parts, shape=tuple(block["shape"]))
    rows.check_format(full_check=True)
    return rows


def _checksum(key: str, blocks: Any, tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = sha256(json.dumps([key, blocks]).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
