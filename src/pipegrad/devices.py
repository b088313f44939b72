"""Names of devices, and modules that compute on one for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import nn

from .errors import ArgumentError

NAMES = ("auto", "cpu", "cuda", "mps")
# Type of the ``device`` argument.
Device: TypeAlias = str | torch.device | None


def checked_device(name: Any) -> torch.device | None:
    """The device of a name; None for None.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "mps"}, torch.device or None
        "auto" is a GPU where there is one that has float64, and the CPU otherwise; "cuda:1" and
        the like name one of several.

    Raises
    ------
    ArgumentError
        If there is no such device.
    """
    if name is None:
        return None
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f"device must be one of {', '.join(NAMES)}, got {name!r}.") from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        raise ArgumentError(
            f"device={name!r} is not at hand: torch finds no such device here.\n"
            "Hint: device='auto' takes what is there."
        )
    return device


@contextmanager
def on_device(module: nn.Module, device: torch.device | None) -> Iterator[None]:
    """Context in which a module is on a device; afterwards, it is where it was.

    Raises
    ------
    ArgumentError
        If the device does not have the precision of the module.
    """
    before = next((p.device for p in module.parameters()), torch.device("cpu"))
    if device is None or device == before:
        yield
        return
    try:
        module.to(device)
    except TypeError as error:  # Of MPS, which has no float64.
        module.to(before)
        raise ArgumentError(
            f"device={str(device)!r} does not have the precision of the module: {error}.\n"
            "Hint: net.float(), or to_torch(pipeline, dtype=torch.float32)."
        ) from error
    try:
        yield
    finally:
        module.to(before)
