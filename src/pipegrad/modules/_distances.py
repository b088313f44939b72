"""Distances between rows and points."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._sparse import Block, SparseRows


class Distances(Module):
    """Euclidean distance of each row to each center.

    Parameters
    ----------
    centers : Tensor, shape (centers, features)
        Coordinates of the centers.
    squared : bool
        Whether to return squared distances.
    """

    def __init__(self, centers: Tensor, squared: bool = False) -> None:
        super().__init__()
        self.centers = parameter(centers)
        self.squared = squared

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, centers)."""
        squares = squared_distances(x, self.centers)
        return squares if self.squared else safe_sqrt(squares)

    def reset_parameters(self) -> None:
        """Draw standard normal centers."""
        nn.init.normal_(self.centers)


def squared_distances(x: Block, points: Tensor) -> Tensor:
    """Squared Euclidean distances (n, points), never negative.

    Expanding the square cancels digits for nearby points, so it is computed in double precision.
    """
    wide, centers = x.to(torch.float64), points.to(torch.float64)
    # In place, because these passes over memory cost as much as the product.
    out = product(wide, -2 * centers)
    out += squares(wide)[:, None]
    out += squares(centers)
    return out.to(x.dtype).clamp_(min=0)


def city_block_distances(x: Block, points: Tensor) -> Tensor:
    """Sums of absolute differences (n, points), in double precision."""
    points = points.to(torch.float64)
    if not isinstance(x, SparseRows):
        return torch.cdist(x.to(torch.float64), points, p=1)
    x = x.to(torch.float64)
    # The distance of the origin to each point, corrected for the stored entries of a row.
    there = points.T[x.columns]
    change = (x.values[:, None] - there).abs() - there.abs()
    start = points.abs().sum(1).expand(x.shape[0], -1)
    return start.index_add(0, x.rows(), change)


def product(x: Block, points: Tensor) -> Tensor:
    """Inner products (n, points)."""
    return x.matmul(points.T.contiguous() if isinstance(x, SparseRows) else points.T)


def squares(x: Block) -> Tensor:
    """Squared length of each row, shape (n,)."""
    return x.row_sums(x.values * x.values) if isinstance(x, SparseRows) else (x * x).sum(1)


def safe_sqrt(values: Tensor) -> Tensor:
    """Square root with a zero gradient at zero."""
    zero = values == 0
    return torch.where(zero, values, torch.sqrt(torch.where(zero, 1.0, values)))
