"""Stored rows with a distribution over classes each, of which new rows are given a mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, clamp_at_zero, parameter
from ._kernels import Kernel
from ._projection import SparseParameter
from ._sparse import Block


class Distributions(Module):
    """Rows of shares that are not negative and add to one while they train.

    Parameters
    ----------
    shares : Tensor, shape (rows, classes)
        Initial shares. A row of zeros stays as it is.
    """

    known: Tensor

    def __init__(self, shares: Tensor) -> None:
        super().__init__()
        self.weight = parameter(shares)
        self.register_buffer("known", (shares.sum(1, keepdim=True) > 0).to(shares.dtype))

    def forward(self) -> Tensor:
        """The current shares, (rows, classes)."""
        shares = clamp_at_zero(self.weight)
        total = shares.sum(1, keepdim=True)
        # As for one small share, so that no row that had a share loses it.
        none = torch.nn.functional.one_hot(self.weight.argmax(1), shares.shape[1])
        shares = torch.where(total > 0, shares / torch.where(total > 0, total, 1.0), none)
        return shares * self.known

    def reset_parameters(self) -> None:
        """Draw uniform numbers."""
        nn.init.uniform_(self.weight)


class KernelDistributions(Module):
    """The mean of the distributions of stored rows, weighted by a kernel.

    Parameters
    ----------
    points : Tensor or SparseParameter, shape (stored, features)
        Stored rows, which train.
    distributions : Distributions
        Shares of the classes in each stored row.
    kernel : Kernel
        The kernel.
    """

    def __init__(
        self, points: Tensor | SparseParameter, distributions: Distributions, kernel: Kernel
    ) -> None:
        super().__init__()
        self.points: nn.Parameter | SparseParameter
        self.points = points if isinstance(points, SparseParameter) else parameter(points)
        self.distributions, self.kernel = distributions, kernel

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, classes); rows far from all stored rows become NaN."""
        shares = self.distributions()
        return in_shares(self.kernel(x, self.vectors()).to(shares.dtype) @ shares)

    def vectors(self) -> Tensor:
        """The stored rows, shape (stored, features)."""
        return self.points if isinstance(self.points, Tensor) else self.points()

    def reset_parameters(self) -> None:
        """Draw random rows and shares."""
        super().reset_parameters()
        if isinstance(self.points, Tensor):
            nn.init.normal_(self.points)


def in_shares(weights: Tensor) -> Tensor:
    """Rows (n, classes) divided by their sums."""
    return weights / weights.sum(1, keepdim=True)
