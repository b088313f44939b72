"""Scores that do not depend on the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from .trees.simplex import Simplex


class Constant(Module):
    """The same numbers for each row.

    Parameters
    ----------
    values : Tensor, shape (outputs,)
        The numbers.
    squeeze : bool
        Whether to return (n,) instead of (n, 1).
    """

    def __init__(self, values: Tensor, squeeze: bool = False) -> None:
        super().__init__()
        self.values = parameter(values)
        self.squeeze = squeeze

    def forward(self, x: Any) -> Tensor:
        """Map n rows of any width to (n, outputs), or to (n,)."""
        out = self.values.repeat(x.shape[0], 1)
        return out.squeeze(1) if self.squeeze else out

    def reset_parameters(self) -> None:
        """Draw standard normal numbers."""
        nn.init.normal_(self.values)


class ConstantProbabilities(Module):
    """The same probabilities for each row.

    Parameters
    ----------
    initial : Tensor, shape (outcomes,)
        Initial probabilities.
    groups : tuple of int
        Numbers of outcomes of several distributions side by side.
    """

    def __init__(self, initial: Tensor, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.probabilities = Simplex(initial[None], groups)

    def forward(self, x: Any) -> Tensor:
        """Map n rows of any width to (n, outcomes)."""
        return self.probabilities().repeat(x.shape[0], 1)

    def parts(self) -> list[Tensor]:
        """The probabilities as one tensor for each distribution."""
        return list(torch.squeeze(self.probabilities(), 0).split(self.probabilities.groups))
