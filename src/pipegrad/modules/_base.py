"""What all modules share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Module(nn.Module):
    """A piece of mathematics: parameters, a forward pass, and sensible random weights.

    A subclass holds what trains as parameters and what is given as buffers, takes dense tensors
    of shape (n, d) (and `SparseRows` where it says so), and knows nothing of any source library.
    """

    def reset_parameters(self) -> None:
        """Forget what was learned: random or neutral values in every parameter."""
        for child in self.children():
            reset = getattr(child, "reset_parameters", None)
            if reset is not None:
                reset()


class Positive(Module):
    """A tensor that stays positive while it trains: ``initial * exp(log_ratio)``.

    At the start the value is ``initial`` to the last bit, and one step of an optimizer changes it
    by a share of itself, whatever its unit.

    Parameters
    ----------
    initial : Tensor
        Positive values, any shape.
    """

    initial: Tensor

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.register_buffer("initial", initial.clone())
        self.log_ratio = nn.Parameter(torch.zeros_like(initial))

    def forward(self) -> Tensor:
        """The present value, with the shape of ``initial``."""
        return self.initial * torch.exp(self.log_ratio)

    def reset_parameters(self) -> None:
        """Start again from ones."""
        with torch.no_grad():
            self.initial.fill_(1.0)
            self.log_ratio.zero_()


def parameter(values: Tensor) -> nn.Parameter:
    """A parameter with memory of its own."""
    return nn.Parameter(values.detach().clone(memory_format=torch.contiguous_format))
