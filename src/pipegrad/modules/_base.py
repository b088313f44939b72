"""Base classes of all modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Module(nn.Module):
    """Base class: parameters, a forward pass, and a random initialization.

    A subclass keeps trainable values as parameters and fixed ones as buffers, takes dense tensors
    of shape (n, d) (and `SparseRows` where documented), and is independent of any source library.
    """

    def reset_parameters(self) -> None:
        """Re-initialize every parameter with a random or neutral value."""
        for child in self.children():
            reset = getattr(child, "reset_parameters", None)
            if reset is not None:
                reset()


class Positive(Module):
    """A tensor that stays positive while it trains: ``initial * exp(log_ratio)``.

    Initially the value is bit-identical to ``initial``. An optimizer step changes it by a relative
    amount, whatever its unit.

    Parameters
    ----------
    initial : Tensor
        Positive values of any shape.
    """

    initial: Tensor

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.register_buffer("initial", initial.clone())
        self.log_ratio = nn.Parameter(torch.zeros_like(initial))

    def forward(self) -> Tensor:
        """The current value, with the shape of ``initial``."""
        return self.initial * torch.exp(self.log_ratio)

    def reset_parameters(self) -> None:
        """Set all values to one."""
        with torch.no_grad():
            self.initial.fill_(1.0)
            self.log_ratio.zero_()


def parameter(values: Tensor) -> nn.Parameter:
    """A parameter with a copy of the values."""
    return nn.Parameter(values.detach().clone(memory_format=torch.contiguous_format))
