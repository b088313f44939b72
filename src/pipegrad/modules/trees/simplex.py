"""Trainable probability distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from .._base import Module, clamp_at_zero, parameter


class Simplex(Module):
    """Rows of probabilities that stay on the probability simplex while they train.

    Negative weights count as zero, and each row is divided by its sum. A weight at zero still
    receives gradients that would increase it, so that an unseen outcome can become possible.

    Parameters
    ----------
    initial : Tensor, shape (rows, outcomes)
        Initial probabilities.
    groups : tuple of int, optional
        Numbers of outcomes of several distributions side by side; a single one by default.
    """

    def __init__(self, initial: Tensor, groups: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.groups = groups or (initial.shape[1],)
        self.weight = parameter(initial)

    def forward(self) -> Tensor:
        """The current probabilities, with the shape of ``initial``."""
        parts = clamp_at_zero(self.weight).split(self.groups, 1)
        return torch.cat([_normalised(part) for part in parts], 1)

    def reset_parameters(self) -> None:
        """Nearly uniform distributions."""
        with torch.no_grad():
            self.weight.uniform_(0.9, 1.1)
            self.weight.copy_(self())


def _normalised(part: Tensor) -> Tensor:
    total = part.sum(1, keepdim=True)
    # A row that sums to one up to rounding stays bit-identical.
    near = (total - 1).abs() < 8 * torch.finfo(part.dtype).eps
    total = total + torch.where(near, 1 - total, 0.0).detach()
    empty = total == 0
    part = torch.where(empty, torch.ones_like(part), part)
    return part / torch.where(empty, float(part.shape[1]), total)
