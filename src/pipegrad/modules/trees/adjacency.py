"""Leaves that lie next to each other along a feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

# Number of interval bounds that are held at once.
_CELLS = 1 << 22


@dataclass(frozen=True)
class Splits:
    """The splits of many trees, in the codes of `TreeEnsemble`.

    Parameters
    ----------
    roots : Tensor of int64, shape (trees,)
        Code of the root of each tree.
    left, right : Tensor of int64, shape (nodes,)
        Codes of the children.
    tree : Tensor of int64, shape (nodes,)
        Tree of each node.
    column : Tensor of int64, shape (nodes,)
        Column that a node tests. Categorical nodes with the same set of categories share a column
        of their own, with the threshold 0.
    threshold : Tensor, shape (nodes,)
        Threshold of each node.
    default_left : Tensor of bool, shape (nodes,)
        Whether values that are not compared with the threshold go left.
    direction : Tensor, shape (nodes,)
        1 if the value must not decrease from the left of a node to the right, -1 if it must not
        increase, 0 if it is free.
    """

    roots: Tensor
    left: Tensor
    right: Tensor
    tree: Tensor
    column: Tensor
    threshold: Tensor
    default_left: Tensor
    direction: Tensor


def adjacent_leaves(splits: Splits) -> tuple[Tensor, Tensor]:
    """The pairs of adjacent leaves that the constraints order.

    Two leaves are adjacent if a constrained node separates them, both reach up to its threshold,
    and a row can move from one to the other by a change of that feature alone. These pairs imply
    all others.

    Parameters
    ----------
    splits : Splits
        The splits.

    Returns
    -------
    tuple of Tensor of int64, each of shape (pairs,)
        The leaves that must not have the higher value, and those that must not have the lower one.
    """
    local, width = _local_columns(splits)
    found = [
        _descend(_boxes(splits, trees, local, int(width[trees].max())), splits, local)
        for trees in _portions(splits, width)
    ]
    none = splits.roots.new_empty(0)
    return torch.cat([none, *(a for a, _ in found)]), torch.cat([none, *(b for _, b in found)])


def _local_columns(splits: Splits) -> tuple[Tensor, Tensor]:
    """The columns of each tree numbered from zero, (nodes,), and their number, (trees,)."""
    if not splits.column.numel():
        return splits.column, torch.zeros_like(splits.roots)
    span = int(splits.column.max()) + 1
    keys, place = torch.unique(splits.tree * span + splits.column, return_inverse=True)
    width = torch.bincount(keys // span, minlength=len(splits.roots))
    return place - (width.cumsum(0) - width)[splits.tree], width


def _portions(splits: Splits, width: Tensor) -> Iterator[Tensor]:
    """The trees with constrained nodes, a few at a time."""
    constrained = torch.bincount(splits.tree[splits.direction != 0], minlength=len(width)) > 0
    places = 2 * torch.bincount(splits.tree, minlength=len(width)) + 1
    trees = torch.nonzero(constrained)[:, 0]
    trees = trees[width[trees].argsort()]
    portion: list[int] = []
    total = 0
    for tree, count, columns in zip(
        trees.tolist(), places[trees].tolist(), width[trees].tolist(), strict=True
    ):
        if portion and (total + count) * columns > _CELLS:
            yield torch.tensor(portion, device=trees.device)
            portion, total = [], 0
        portion.append(tree)
        total += count
    if portion:
        yield torch.tensor(portion, device=trees.device)


@dataclass(frozen=True)
class _Boxes:
    """The nodes and leaves of some trees, and the values of each column that reach them.

    Parameters
    ----------
    code : Tensor of int64, shape (places,)
        Code of each place.
    left : Tensor of int64, shape (places,)
        Place of the left child of a node, the one after which has its right sibling.
    low, high : Tensor, shape (places, columns)
        Interval of the numbers.
    apart : Tensor of bool, shape (places, columns)
        Whether values that are not compared arrive.
    """

    code: Tensor
    left: Tensor
    low: Tensor
    high: Tensor
    apart: Tensor

    def meet(self, a: Tensor, b: Tensor, column: Tensor) -> Tensor:
        """Whether two places can receive the same value of a column."""
        low = torch.maximum(self.low[a, column], self.low[b, column])
        high = torch.minimum(self.high[a, column], self.high[b, column])
        return (low < high) | (self.apart[a, column] & self.apart[b, column])

    def reached(self) -> Tensor:
        """Whether any row can arrive at each place."""
        return ((self.low < self.high) | self.apart).all(1)


def _boxes(splits: Splits, trees: Tensor, local: Tensor, width: int) -> _Boxes:
    at = splits.roots[trees]
    low = splits.threshold.new_full((len(trees), width), -torch.inf)
    high = torch.full_like(low, torch.inf)
    apart = torch.ones_like(low, dtype=torch.bool)
    levels, first = [], 0
    while at.numel():
        inner = torch.nonzero(at >= 0)[:, 0]
        node = at[inner]
        first += len(at)
        left = torch.zeros_like(at)
        left[inner] = first + 2 * torch.arange(len(node), device=at.device)
        levels.append((at, left, low, high, apart))
        column, bound = local[node], splits.threshold[node]
        # The children of a node stand side by side, the left one first.
        low, high, apart = (box[inner].repeat_interleave(2, 0) for box in (low, high, apart))
        place = 2 * torch.arange(len(node), device=at.device)
        high[place, column] = torch.minimum(high[place, column], bound)
        low[place + 1, column] = torch.maximum(low[place + 1, column], bound)
        apart[place, column] &= splits.default_left[node]
        apart[place + 1, column] &= ~splits.default_left[node]
        at = torch.stack([splits.left[node], splits.right[node]], 1).flatten()
    return _Boxes(*(torch.cat(parts) for parts in zip(*levels, strict=True)))


@dataclass(frozen=True)
class _Pairs:
    """Places on both sides of constrained nodes, with column, threshold and direction of these."""

    below: Tensor
    above: Tensor
    column: Tensor
    bound: Tensor
    direction: Tensor

    def take(self, index: Tensor) -> _Pairs:
        return _Pairs(*(part[index] for part in self.parts()))

    def parts(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]

    def ends(self, boxes: _Boxes) -> tuple[Tensor, Tensor]:
        """The leaves that must not have the higher value, and the others."""
        below, above = ~boxes.code[self.below], ~boxes.code[self.above]
        rising = self.direction > 0
        return torch.where(rising, below, above), torch.where(rising, above, below)


def _descend(boxes: _Boxes, splits: Splits, local: Tensor) -> tuple[Tensor, Tensor]:
    """The adjacent leaves of some trees, as `adjacent_leaves` returns them."""
    node = boxes.code.clamp(min=0)
    constrained = (boxes.code >= 0) & (splits.direction[node] != 0) & boxes.reached()
    start = torch.nonzero(constrained)[:, 0]
    node = node[start]
    left, column, bound = boxes.left[start], local[node], splits.threshold[node]
    # Numbers next to the threshold arrive on both sides.
    inside = (boxes.low[start, column] < bound) & (bound < boxes.high[start, column])
    pairs = _Pairs(left, left + 1, column, bound, splits.direction[node]).take(inside)
    lower, upper = [], []
    while len(pairs.below):
        below, above = boxes.code[pairs.below] >= 0, boxes.code[pairs.above] >= 0
        ends = pairs.take(~below & ~above).ends(boxes)
        lower.append(ends[0])
        upper.append(ends[1])
        parts = [
            _children(pairs.take(below), "below", boxes, local),
            _children(pairs.take(~below & above), "above", boxes, local),
        ]
        both = zip(*(part.parts() for part in parts), strict=True)
        pairs = _Pairs(*(torch.cat(ends) for ends in both))
    none = splits.roots.new_empty(0)
    return torch.cat([none, *lower]), torch.cat([none, *upper])


def _children(pairs: _Pairs, side: str, boxes: _Boxes, local: Tensor) -> _Pairs:
    """The adjacent pairs in which a child stands for the node on one side."""
    parent = getattr(pairs, side)
    left = boxes.left[parent]
    tested = local[boxes.code[parent]].repeat(2)
    pairs = pairs.take(torch.arange(len(parent), device=parent.device).repeat(2))
    pairs = replace(pairs, **{side: torch.cat([left, left + 1])})
    low = boxes.low[pairs.below, pairs.column], boxes.low[pairs.above, pairs.column]
    high = boxes.high[pairs.below, pairs.column], boxes.high[pairs.above, pairs.column]
    touch = (low[0] < pairs.bound) & (high[0] == pairs.bound)
    touch &= (low[1] == pairs.bound) & (pairs.bound < high[1])
    meet = (tested == pairs.column) | boxes.meet(pairs.below, pairs.above, tested)
    return pairs.take(touch & meet)
