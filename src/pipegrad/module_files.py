"""The file format of saved modules: one safetensors file, or a folder.

Both hold the tensors, the bytes of the source object, and JSON that says what they are, with a
SHA-256 digest of each. In the single file, the source is a tensor of bytes and the JSON stands in
the metadata. Nothing here interprets the source or the JSON beyond that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import source_catalog
from .errors import ArgumentError, ModelFileError
from .file_writing import (
    check_folder_target,
    check_target,
    files_library,
    folder_replacement,
    write_checked,
)
from .file_writing import write_file as write_whole
from .sources.document import Place, read_json
from .sources.files import LARGEST_FILE, ModelFile

SUFFIX = ".safetensors"
SKOPS = ".skops"
FORMAT, VERSION = "pipegrad-module", 1

_SOURCE = "source"
_PARAMETERS, _MODEL = "parameters.safetensors", "model.json"
_METADATA, _ENTRY = "__metadata__", "pipegrad"


@dataclass(frozen=True)
class SavedModule:
    """What a file or folder of a module holds.

    Parameters
    ----------
    about : dict
        JSON: what the module is. Its ``"source_suffix"`` is the kind of the source's bytes.
    tensors : mapping of str to Tensor
        Parameters and buffers by name.
    source : bytes
        The source object, in the file format of its library or of skops.
    """

    about: dict[str, Any]
    tensors: Mapping[str, Tensor]
    source: bytes


def check_module_target(path: Any) -> Path:
    """The path, if a module can be saved there.

    Raises
    ------
    ArgumentError
        If it is neither a file's name that ends in ``.safetensors`` nor that of a folder, or must
        not be replaced.
    """
    kind = Path(path).suffix if isinstance(path, str | os.PathLike) else SUFFIX
    if kind.lower() == SUFFIX:
        return check_target(path, "a module", (SUFFIX,))
    if kind:
        raise ArgumentError(
            f"path must end in {SUFFIX}, or name a folder, without a suffix, got {str(path)!r}."
        )
    return check_folder_target(path, "a saved module", _is_module_folder)


def _is_module_folder(folder: Path) -> bool:
    try:
        content = ModelFile.read(folder / _MODEL).content
        return bool(read_json(content, _MODEL)["format"].value == FORMAT)
    except (OSError, ModelFileError):
        return False


def is_module_path(path: Any) -> bool:
    """Whether the name or the folder is that of a saved module."""
    return Path(path).suffix.lower() == SUFFIX or _is_module_folder(Path(path))


# -- writing -------------------------------------------------------------------------------------


def write_module(target: Path, saved: SavedModule) -> None:
    """Write a module as a whole or not at all.

    Raises
    ------
    ArgumentError
        If it is larger than what is read again.
    OSError
        If it was not written; what was there before is unchanged then.
    """
    tensors = {name: _own(tensor) for name, tensor in saved.tensors.items()}
    if target.suffix.lower() == SUFFIX:
        tensors[_SOURCE] = torch.frombuffer(bytearray(saved.source), dtype=torch.uint8)
        content = _packed(tensors, {_ENTRY: json.dumps(_envelope(saved))})
        _check_sizes(target, content)
        write_whole(target, content)
        return
    parts = {
        _PARAMETERS: _packed(tensors),
        _SOURCE + saved.about["source_suffix"]: saved.source,
        _MODEL: json.dumps(_envelope(saved), indent=1).encode(),
    }
    _check_sizes(target, *parts.values())
    with folder_replacement(target) as folder:
        for name, part in parts.items():
            write_checked(folder / name, part)


def _own(tensor: Tensor) -> Tensor:
    """A tensor that shares its memory with no other."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _packed(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    library = files_library("safetensors.torch", "A saved module")
    return bytes(library.save(tensors, metadata))


def _envelope(saved: SavedModule) -> dict[str, Any]:
    digests = _digests(saved)
    return {"format": FORMAT, "version": VERSION, "sha256": digests, "about": saved.about}


def _digests(saved: SavedModule) -> dict[str, str]:
    about = json.dumps(saved.about, sort_keys=True, allow_nan=False).encode()
    parameters = sha256()
    for name in sorted(saved.tensors):
        tensor = saved.tensors[name]
        parameters.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        parameters.update(flat.view(torch.uint8).numpy().data)
    return {
        "about": sha256(about).hexdigest(),
        "parameters": parameters.hexdigest(),
        "source": sha256(saved.source).hexdigest(),
    }


def _check_sizes(target: Path, *parts: bytes) -> None:
    largest = max(map(len, parts))
    if largest > LARGEST_FILE:
        raise ArgumentError(f"{target}: {largest} bytes are more than {LARGEST_FILE}.")


# -- reading -------------------------------------------------------------------------------------


def read_module(path: Any) -> SavedModule:
    """What a file or a folder holds, after its digests were compared.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ModelFileError
        If it is damaged, of another kind, or of a newer version of the format.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"path must be the name of a file or folder, got {path!r:.80}.")
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"{place}: there is no such file or folder.")
    saved, stated = _of_folder(place) if place.is_dir() else _of_file(place)
    for part, digest in _digests(saved).items():
        if stated[part].text() != digest:
            stated[part].fail("the content is not what was saved; the file is damaged.")
    return saved


def _of_file(place: Path) -> tuple[SavedModule, Place]:
    content = ModelFile.read(place).content
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= len(content) - 8:
        raise ModelFileError(f"{place} is no safetensors file, or is cut.")
    header = read_json(content[8 : 8 + size], str(place))
    metadata = header.object().get(_METADATA)
    if not isinstance(metadata, dict) or _ENTRY not in metadata:
        raise ModelFileError(f"{place} holds no module that net.save wrote.")
    entry = header[_METADATA][_ENTRY]
    about, stated = _checked_envelope(entry.parsed(entry.text()))
    tensors = _unpacked(content, place)
    source = tensors.pop(_SOURCE, None)
    if source is None or source.dtype != torch.uint8 or source.ndim != 1:
        raise ModelFileError(f"{place} lacks the source object.")
    return SavedModule(about, tensors, source.numpy().tobytes()), stated


def _of_folder(place: Path) -> tuple[SavedModule, Place]:
    document = read_json(_part(place, _MODEL), str(place / _MODEL))
    about, stated = _checked_envelope(document)
    tensors = _unpacked(_part(place, _PARAMETERS), place / _PARAMETERS)
    return SavedModule(about, tensors, _part(place, _SOURCE + about["source_suffix"])), stated


def _part(folder: Path, name: str) -> bytes:
    try:
        return ModelFile.read(folder / name).content
    except FileNotFoundError as error:
        raise ModelFileError(f"{folder} lacks the file {name}.") from error


def _checked_envelope(document: Place) -> tuple[dict[str, Any], Place]:
    """What the module is, and the digests that the file states."""
    if document["format"].text() != FORMAT:
        document["format"].fail(f"is not that of a saved module, {FORMAT}.")
    version = document["version"].integer(1, 1 << 31)
    if version > VERSION:
        document["version"].fail(
            f"{version} is newer than {VERSION}, which this version of pipegrad reads.\n"
            "Hint: pip install --upgrade pipegrad"
        )
    about = document["about"]
    about["source_suffix"].one_of((SKOPS, *source_catalog.file_suffixes()))
    return about.object(), document["sha256"]


def _unpacked(content: bytes, place: Path) -> dict[str, Tensor]:
    library = files_library("safetensors.torch", str(place))
    try:
        return dict(library.load(content))
    except Exception as error:  # Damaged files end in errors of many kinds.
        raise ModelFileError(f"{place}: {type(error).__name__}: {error!s:.200}") from error
