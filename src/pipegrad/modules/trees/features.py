"""What a tree ensemble says of a row besides its sum; columns that trees need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from .._base import Module
from .._sparse import Block, dense
from .ensemble import TreeEnsemble
from .relaxation import LeafIndices


class AnyPositive(Module):
    """The columns, and behind them one for each group: 1 if any column of it is positive.

    Parameters
    ----------
    groups : sequence of sequence of int
        Columns of each group.
    features : int
        Number of columns.
    """

    member: Tensor

    def __init__(self, groups: Sequence[Sequence[int]], features: int) -> None:
        super().__init__()
        rows = [i for i, group in enumerate(groups) for _ in group]
        columns = [column for group in groups for column in group]
        member = torch.zeros(features, len(groups))
        member[columns, rows] = 1.0
        self.register_buffer("member", member)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, features + groups)."""
        x = dense(x)
        table = x[:, None] if x.ndim == 1 else x
        count = (table > 0).to(self.member.dtype) @ self.member
        return torch.cat([table, (count > 0).to(table.dtype)], 1)


class TreeFeatures(Module):
    """Columns of a tree ensemble.

    Parameters
    ----------
    ensemble : TreeEnsemble
        The trees.
    what : {"values", "leaves", "paths"}
        The value of each tree; the leaf in which the row ends, and the nodes that it passes, as
        ones among zeros.
    """

    passed: Tensor

    def __init__(self, ensemble: TreeEnsemble, what: Literal["values", "leaves", "paths"]) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.what = what
        if what != "values":
            ensemble.requires_grad_(False)
        self.register_buffer("passed", self._passed(), persistent=False)

    def _passed(self) -> Tensor:
        """Which nodes lead to each leaf, (leaves, nodes)."""
        nodes, leaves = self.ensemble.feature.shape[0], self.ensemble.leaf_table().shape[0]
        out = torch.zeros(leaves, nodes if self.what == "paths" else 0)
        if self.what != "paths":
            return out
        above = torch.eye(nodes)
        for node in self.ensemble._order.tolist():
            for child in (int(self.ensemble.left[node]), int(self.ensemble.right[node])):
                if child < 0:
                    out[~child] = above[node]
                else:
                    above[child] += above[node]
        return out

    def forward(self, x: Block | LeafIndices) -> Tensor:
        """Map (n, features) to (n, trees), (n, leaves) or (n, nodes)."""
        x = x if isinstance(x, LeafIndices) else dense(x)
        ends = self.ensemble.leaves(x)
        if self.what == "values":
            return self.ensemble.leaf_table().squeeze(1)[ends]
        table = self.ensemble.leaf_table()
        leaves = functional.one_hot(ends, table.shape[0]).sum(1).to(table.dtype)
        return leaves if self.what == "leaves" else leaves @ self.passed.to(table.dtype)

    @property
    def route(self) -> Callable[[Block], LeafIndices] | None:
        """Finds the leaves of rows beforehand, where something about them trains."""
        return self.ensemble.route if self.what == "values" else None

    def reset_parameters(self) -> None:
        """Forget the values."""
        self.ensemble.reset_parameters()
