"""The file of a checkpoint: safetensors with a JSON text among the tensors, and a checksum."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError
from ..file_writing import files_library, write_file

_VERSION = 2
_ABOUT, _CHECKSUM = "about", "checksum"
_ANEW = "Hint: remove it, or begin anew with resume=False."


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a checkpoint as a whole; its folder is made.

    Parameters
    ----------
    path : Path
        The file.
    content : mapping
        Dicts, lists, tuples, numbers, texts and tensors.

    Raises
    ------
    OSError
        If it was not written; the old file is unchanged then.
    ArgumentError
        If a value is of another type.
    """
    save = files_library("safetensors.torch", "checkpoint=").save
    tensors: dict[str, Tensor] = {}
    about = {"version": _VERSION, "content": packed(content, tensors)}
    text = json.dumps(about).encode()
    tensors[_ABOUT] = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())
    tensors[_CHECKSUM] = torch.tensor(list(_checksum(tensors)), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(tensors), private=True)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote; None if there is no file.

    Raises
    ------
    ArgumentError
        If it cannot be read, is damaged, or is of another version.
    """
    load = files_library("safetensors.torch", "checkpoint=").load
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror}.\n{_ANEW}") from error
    try:
        tensors = load(content)
        whole = bytes(tensors.pop(_CHECKSUM).tolist()) == _checksum(tensors)
        about = json.loads(tensors[_ABOUT].numpy().tobytes())
    except Exception as error:  # Whatever a damaged file leads to.
        raise ArgumentError(f"{path} is damaged, or is no checkpoint.\n{_ANEW}") from error
    if not whole:
        raise ArgumentError(f"{path} is damaged.\n{_ANEW}")
    if about["version"] != _VERSION:
        raise ArgumentError(
            f"{path} is a checkpoint of another version of pipegrad.\n"
            "Hint: go on with that version, or begin anew with resume=False."
        )
    found: dict[str, Any] = _unpacked(about["content"], tensors)
    return found


def packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON; its tensors get numbers, and go to ``tensors``.

    Raises
    ------
    ArgumentError
        If there is something else in it.
    """
    if isinstance(value, Tensor):
        number = str(len(tensors))
        tensors[number] = value.detach().cpu().clone().contiguous()
        return {"tensor": number}
    if isinstance(value, Mapping):
        return {"mapping": [[packed(k, tensors), packed(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [packed(one, tensors) for one in value]}
    if isinstance(value, list | deque):
        return [packed(one, tensors) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ArgumentError(
        f"checkpoint= cannot store a {type(value).__name__}, which the optimizer keeps.\n"
        "Hint: take an optimizer of torch.optim, or train without checkpoint=."
    )


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpacked(one, tensors) for one in content)
    return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in content}


def _checksum(tensors: Mapping[str, Tensor]) -> bytes:
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()
