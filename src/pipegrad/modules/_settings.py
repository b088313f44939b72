"""torch's settings of a thread, which a caller may have changed, and those of a forked process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")
_forked = False


def standard_settings(function: F) -> F:
    """Decorate a function so that it runs with torch's usual settings, whatever the caller set.

    New tensors are made on the CPU, there is no autocast and no inference mode, and gradients are
    recorded. The settings belong to the thread, so that no other thread notices. The default dtype
    belongs to the process and does not change.
    """

    @wraps(function)
    def with_standard_settings(*arguments: Any, **options: Any) -> Any:
        settle_after_fork()
        cast = [kind for kind in _AUTOCAST if torch.is_autocast_enabled(kind)]
        recorded = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        if recorded and not cast and _makes_tensors_on_cpu():
            return function(*arguments, **options)
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            for kind in cast:
                stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(tensors_on_cpu())
            return function(*arguments, **options)

    return with_standard_settings  # type: ignore[return-value]


@contextmanager
def tensors_on_cpu() -> Iterator[None]:
    """Context in which new tensors are made on the CPU, whatever the default device."""
    if _makes_tensors_on_cpu():
        yield
    else:
        with torch.device("cpu"):
            yield


def settle_after_fork() -> None:
    """Let torch use a single thread in a process that was forked, as its own data loaders do.

    A fork has none of the threads of its parent, and OpenMP would wait for them forever.
    """
    global _forked
    if _forked:
        torch.set_num_threads(1)
        _forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _makes_tensors_on_cpu() -> bool:
    return torch.compiler.is_compiling() or torch.empty(0).device.type == "cpu"
