"""Features derived from a tree ensemble, and columns that trees need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from .._base import Module
from .._sparse import Block, dense
from .ensemble import TreeEnsemble
from .relaxation import LeafIndices


class AnyPositive(Module):
    """The columns, followed by an indicator for each group: 1 if any of its columns is positive.

    Parameters
    ----------
    groups : sequence of sequence of int
        Indices of the columns in each group.
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
    """Features of a tree ensemble.

    Parameters
    ----------
    ensemble : TreeEnsemble
        The trees.
    what : {"values", "leaves", "paths"}
        "values": the output of each tree. "leaves": indicators of the leaves that a row reaches.
        "paths": indicators of the nodes that it passes.
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
        """Indicators of the nodes on the path to each leaf, (leaves, nodes)."""
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
        leaves = table.new_zeros(ends.shape[0], table.shape[0]).scatter(1, ends, 1.0)
        return leaves if self.what == "leaves" else leaves @ self.passed.to(table.dtype)

    @property
    def route(self) -> Callable[[Block], LeafIndices] | None:
        """The function that computes the leaves of rows in advance, if leaf values train."""
        return self.ensemble.route if self.what == "values" else None

    def reset_parameters(self) -> None:
        """Re-initialize the leaf values."""
        self.ensemble.reset_parameters()


class LeafNumbers(Module):
    """The number of the leaf that a row reaches in each tree.

    Parameters
    ----------
    ensemble : TreeEnsemble
        The trees; nothing of them trains.
    first : Tensor of int64, shape (trees,), optional
        The first leaf of each tree, from which its leaves are counted; the leaves of all trees are
        counted together by default.
    """

    first: Tensor | None

    def __init__(self, ensemble: TreeEnsemble, first: Tensor | None = None) -> None:
        super().__init__()
        self.ensemble = ensemble.requires_grad_(False)
        self.register_buffer("first", first)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, trees)."""
        rows = dense(x)
        leaves = self.ensemble.leaves(rows)
        return (leaves if self.first is None else leaves - self.first).to(rows.dtype)
