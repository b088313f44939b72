"""Trained parameters in a copy of the source."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .errors import WriteBackError
from .graph import Step, copy_source
from .modules import unwrap_head
from .network import PipelineNetwork, fresh_module, required_translation


def written_back(net: PipelineNetwork) -> Any:
    """A new copy of the source with the present parameters of a network.

    Parameters
    ----------
    net : PipelineNetwork
        Network whose parameters are written; it does not change.

    Returns
    -------
    object
        An object of the source's type. Steps whose parameters did not change are bit-identical
        copies.

    Raises
    ------
    WriteBackError
        When a parameter is not finite, or when the network is quantized.
    """
    if net.quantized:
        raise WriteBackError(
            "A quantized module has no parameters for a pipeline.\n"
            "Hint: use the module that quantize() was called on."
        )
    changes = list(_changes(net))
    memo: dict[int, Any] = {}
    result = copy_source(net.source, memo)
    for step, module in changes:
        required_translation(step).write_back(module, memo[id(step.holder)])
    return result


# Beside the networks and not in them, so that asking a network does not change it, and so that
# neither copies nor pickles of it carry a second copy of the source.
_LATEST: WeakKeyDictionary[PipelineNetwork, tuple[bytes, Any]] = WeakKeyDictionary()
_LOCK = Lock()


def latest_source(net: PipelineNetwork) -> Any:
    """The copy of `written_back`, made again only after parameters have changed.

    Callers share it and must not change it.

    Parameters
    ----------
    net : PipelineNetwork
        Network whose parameters are written; it does not change.

    Returns
    -------
    object
        An object of the source's type.
    """
    digest = _digest(net)
    with _LOCK:  # Threads that ask at once wait for one copy.
        known = _LATEST.get(net)
        if known is None or known[0] != digest:
            known = _LATEST[net] = digest, written_back(net)
        return known[1]


def _forget_lock() -> None:
    """Make a new lock in a forked process: a thread of the parent may have held the old one."""
    global _LOCK
    _LOCK = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


def _digest(net: PipelineNetwork) -> bytes:
    # Of the values: the version counters of tensors miss what fused optimizers write.
    digest = hashlib.blake2b()
    for name, value in net.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        # A new tensor, because a view as bytes requires plain strides, even of a single number.
        flat = value.detach().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.digest()


def _changes(net: PipelineNetwork) -> Iterator[tuple[Step, nn.Module]]:
    """The steps whose parameters differ from those of their operators, each module once."""
    seen: set[tuple[int, bool]] = set()
    for step in net.neural_steps():
        if (id(step.holder), step.projects) in seen:
            continue
        seen.add((id(step.holder), step.projects))
        module = unwrap_head(net.step_module(step.name))
        then = fresh_module(net, step).state_dict()
        now = {name: value.cpu() for name, value in module.state_dict().items()}
        if not all(_same(now[name], then[name].to(now[name].dtype)) for name in now):
            _check_finite(step, now, then)
            yield step, module


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def _check_finite(step: Step, now: dict[str, Tensor], then: dict[str, Tensor]) -> None:
    for name, value in now.items():
        # A value that was not finite in the source may stay so.
        before = then[name] if then[name].shape == value.shape else torch.zeros_like(value)
        if (~torch.isfinite(value) & torch.isfinite(before)).any():
            raise WriteBackError(
                f"Training left values that are not finite in {step.name!r} ({name}); nothing was "
                "written. Train again from the start, with a smaller learning rate."
            )
