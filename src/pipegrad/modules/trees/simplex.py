"""Probabilities that train."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._base import Module, parameter


class Simplex(Module):
    """Rows of probabilities, which stay probabilities while they train.

    Weights below zero count as zero, and each row is divided by its sum. A weight at zero still
    feels a pull upwards, so that an outcome that never occurred can become possible.

    Parameters
    ----------
    initial : Tensor, shape (rows, outcomes)
        Probabilities.
    groups : tuple of int, optional
        Numbers of outcomes of several distributions side by side; one by default.
    """

    def __init__(self, initial: Tensor, groups: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.groups = groups or (initial.shape[1],)
        self.weight = parameter(initial)

    def forward(self) -> Tensor:
        """The present probabilities, with the shape of ``initial``."""
        parts = _ClampAtZero.apply(self.weight).split(self.groups, 1)
        return torch.cat([_normalised(part) for part in parts], 1)

    def reset_parameters(self) -> None:
        """Almost the same for each outcome."""
        with torch.no_grad():
            self.weight.uniform_(0.9, 1.1)
            self.weight.copy_(self())


def _normalised(part: Tensor) -> Tensor:
    total = part.sum(1, keepdim=True)
    # What sums to one but for rounding stays as it is, to the last bit.
    near = (total - 1).abs() < 8 * torch.finfo(part.dtype).eps
    total = total + torch.where(near, 1 - total, 0.0).detach()
    empty = total == 0
    part = torch.where(empty, torch.ones_like(part), part)
    return part / torch.where(empty, float(part.shape[1]), total)


class _ClampAtZero(torch.autograd.Function):
    """max(x, 0) whose gradient passes below zero where a descent would lead upwards."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) | (grad < 0), grad, torch.zeros_like(grad))
