"""Which networks have answers that mean something with numbers of 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

from .errors import ArgumentError
from .modules import Positive, TreeEnsemble, converted_modules

_HINT = "Hint: net.float() computes in float32."


def check_half_precision(
    steps: dict[str, nn.Module], like: Tensor, fn: Callable[[Tensor], Tensor]
) -> None:
    """Reject a change of all tensors to 16 bits after which answers would mean nothing.

    Parameters
    ----------
    steps : dict of str to Module
        The modules of a network by step.
    like : Tensor
        A number of the network.
    fn : callable
        What will change each of its tensors.

    Raises
    ------
    ArgumentError
        When a step has trees, or numbers beyond the range of the new type.
    """
    dtype = fn(torch.zeros(1, dtype=like.dtype, device=like.device)).dtype
    if not dtype.is_floating_point or dtype.itemsize > 2 or dtype == like.dtype:
        return
    for name, module in steps.items():
        _check_trees(name, module, dtype)
        _check_range(name, module, dtype)


def _check_trees(name: str, module: nn.Module, dtype: torch.dtype) -> None:
    if any(isinstance(part, TreeEnsemble) and len(part.levels) for part in module.modules()):
        raise ArgumentError(
            f"{dtype} is too coarse for the trees of step {name!r}: rows near a threshold would "
            f"reach other leaves.\n{_HINT}"
        )


def _check_range(name: str, module: nn.Module, dtype: torch.dtype) -> None:
    for part in converted_modules(module):
        tensors = chain(part.named_parameters(recurse=False), part.named_buffers(recurse=False))
        for key, value in tensors:
            if not value.is_floating_point() or value.is_meta:
                continue
            there = value.detach().to(dtype)
            lost = torch.isfinite(value) & ~torch.isfinite(there)
            if isinstance(part, Positive) and key == "initial":
                lost |= (value > 0) & (there == 0)
            if bool(lost.any()):
                raise ArgumentError(
                    f"{dtype} has no number near {value[lost][0]:.3g}, a parameter of step "
                    f"{name!r} ({key}).\n{_HINT}"
                )
