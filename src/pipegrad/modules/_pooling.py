"""Groups of columns as single ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ._base import Module
from ._sparse import Block, dense

Pooling = Literal["mean", "sum", "amax", "amin", "prod", "median", "var", "std"]


class PooledColumns(Module):
    """The mean, the sum or another summary of each group of columns.

    Parameters
    ----------
    groups : Tensor of int64, shape (features,)
        Group of each column, counted from zero.
    pooling : {"mean", "sum", "amax", "amin", "prod", "median", "var", "std"}
        What is computed.
    """

    groups: Tensor
    sizes: Tensor

    def __init__(self, groups: Tensor, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling
        self.register_buffer("groups", groups.clone())
        self.register_buffer("sizes", torch.bincount(groups))

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, groups)."""
        x = dense(x)
        out = x.new_zeros(x.shape[0], self.sizes.shape[0])
        if self.pooling in ("mean", "sum"):
            total = out.index_add(1, self.groups, x)
            return total / self.sizes if self.pooling == "mean" else total
        if self.pooling in _OTHERS:
            parts = [x[:, self.groups == group] for group in range(self.sizes.shape[0])]
            return torch.stack([_OTHERS[self.pooling](part) for part in parts], 1)
        place = self.groups.expand(x.shape)
        return out.scatter_reduce(1, place, x, self.pooling, include_self=False)


def _median(x: Tensor) -> Tensor:
    """The middle number of each row, or the mean of both in the middle."""
    ordered, width = x.sort(1)[0], x.shape[1]
    return (ordered[:, (width - 1) // 2] + ordered[:, width // 2]) / 2


def _variance(x: Tensor) -> Tensor:
    return x.var(1, correction=0)


def _deviation(x: Tensor) -> Tensor:
    """The root of the variance, whose slope at zero counts as zero."""
    variance = _variance(x)
    none = variance == 0
    return torch.where(none, 0.0, torch.where(none, 1.0, variance).sqrt())


_OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "prod": lambda x: x.prod(1),
    "median": _median,
    "var": _variance,
    "std": _deviation,
}
