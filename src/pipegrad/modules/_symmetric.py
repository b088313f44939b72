"""Symmetric (oblivious) decision trees: one question for all nodes of a level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._trees import TreeEnsemble, _captured


class SymmetricTrees(TreeEnsemble):
    """A `TreeEnsemble` whose trees ask one question on each level.

    The answers are the bits of a leaf's number, so that a row costs a comparison for each level
    instead of one for each node. Thresholds that trained may differ within a level; the trees are
    then walked as any others.

    Parameters
    ----------
    roots, *args, **options
        See `TreeEnsemble`. The nodes of a tree follow its root level by level from the left, and
        its leaves stand from the left. A node with categories knows zero and one; one goes right.
    depths : Tensor of int64, shape (trees,)
        Number of levels of each tree.
    """

    _level: Tensor
    _weight: Tensor
    _first: Tensor
    _last: Tensor

    def __init__(self, roots: Tensor, *args: Any, depths: Tensor, **options: Any) -> None:
        self._depths = depths
        self._even = False
        super().__init__(roots, *args, **options)

    def _plan(self) -> None:
        super()._plan()
        depths, most = self._depths, int(self._depths.max())
        level = torch.arange(most)[:, None]
        there = level < depths
        node = torch.where(there, self.roots + 2**level - 1, 0)
        # A level that a tree does not have weighs nothing.
        weight = torch.where(there, 2 ** (depths - 1 - level).clamp(min=0), 0)
        first = torch.arange(self.feature.shape[0])
        for at, row in enumerate(node):
            roots = row[there[at]]
            first[roots[:, None] + torch.arange(2**at)] = roots[:, None]
        sizes = 2**depths
        self._buffer("_level", self._number[node] if self.feature.numel() else node)
        self._buffer("_weight", weight)
        self._buffer("_first", self._number[first])
        self._buffer("_last", sizes.cumsum(0) - 1)

    def _rounded(self, low: torch.dtype) -> Tensor:
        bounds = super()._rounded(low)
        if not _captured():
            nodes = self._number[: self.feature.shape[0]]
            self._even = bool((bounds[nodes] == bounds[self._first]).all())
        return bounds

    def _route(self, x: Tensor, bounds: Tensor) -> Tensor:
        if _captured() or not self._even:
            return super()._route(x, bounds)
        with torch.no_grad():
            return self._descend(self._columns(x.detach(), bounds.dtype), bounds)

    def _descend(self, x: Tensor, bounds: Tensor) -> Tensor:
        """From the last leaf of each tree, as far to the left as the answers say."""
        lines = x.T.contiguous()
        shape = (self.roots.shape[0], x.shape[0])
        leaf = self._last[:, None].expand(shape).to(torch.int32, copy=True)
        seen = torch.empty(shape, dtype=x.dtype, device=x.device)
        holds = torch.empty(shape, dtype=torch.int32, device=x.device)
        for level, weight in zip(self._level, self._weight.to(torch.int32), strict=True):
            torch.index_select(lines, 0, self._column[level], out=seen)
            torch.le(seen, bounds[level][:, None], out=holds)
            leaf.sub_(holds.mul_(weight[:, None]))
        return leaf.T.to(torch.int64)
