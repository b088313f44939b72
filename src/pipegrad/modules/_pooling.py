"""Groups of columns as single ones."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ._base import Module
from ._sparse import Block, dense

Pooling = Literal["mean", "sum", "amax", "amin"]


class PooledColumns(Module):
    """The mean, sum, maximum or minimum of each group of columns.

    Parameters
    ----------
    groups : Tensor of int64, shape (features,)
        Group of each column, counted from zero.
    pooling : {"mean", "sum", "amax", "amin"}
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
        place = self.groups.expand(x.shape)
        return out.scatter_reduce(1, place, x, self.pooling, include_self=False)
