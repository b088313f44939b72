"""Tree traversal by bit vectors: all splits of a tree in turn, without a walk from node to node.

The algorithm for small trees is QuickScorer: Lucchese, Nardini, Orlando, Perego, Tonellotto and
Venturini, *QuickScorer: a fast algorithm to rank documents with additive ensembles of regression
trees*, SIGIR 2015, here vectorized over rows and trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._base import Module
from .cache import Cache

_BITS = 64


@dataclass(frozen=True)
class Shape:
    """The structure of trees; leaves are numbered after the nodes.

    Parameters
    ----------
    roots : Tensor, shape (trees,)
        Root of each tree.
    left, right : Tensor, shape (nodes,)
        Children of each node.
    levels : sequence of Tensor
        Nodes of each level, from the top.
    """

    roots: Tensor
    left: Tensor
    right: Tensor
    levels: Sequence[Tensor]

    @property
    def size(self) -> int:
        """The number of nodes and leaves."""
        return 2 * self.left.shape[0] + self.roots.shape[0]

    def owner(self) -> Tensor:
        """The tree of each node and leaf."""
        tree = torch.zeros(self.size, dtype=torch.int64)
        tree[self.roots] = torch.arange(self.roots.shape[0])
        for level in self.levels:
            tree[self.left[level]] = tree[self.right[level]] = tree[level]
        return tree


@dataclass(frozen=True)
class Turns:
    """A plan of turns, each with one split of every tree; trees with most splits come first.

    Parameters
    ----------
    sizes : list of int
        Number of trees that have a split at each turn.
    node, mask : Tensor
        Splits, turn after turn, and the bits that each sets for rows that go left.
    code : Tensor
        Bits of each leaf.
    tree : Tensor, shape (trees,)
        Position of each tree in the plan.
    stands_for : Tensor, shape (nodes,), optional
        For oblivious trees, the node with the same split that represents each node; the bits are
        the index of the leaf. Otherwise the bits are the leaves that are ruled out.
    """

    sizes: list[int]
    node: Tensor
    mask: Tensor
    code: Tensor
    tree: Tensor
    stands_for: Tensor | None = None


def small_trees(shape: Shape) -> Turns | None:
    """The plan for trees with at most 64 leaves: the leaves that each node rules out.

    Parameters
    ----------
    shape : Shape
        Structure of the trees.

    Returns
    -------
    Turns or None
        None if a tree has more than 64 leaves, or all trees are single leaves.
    """
    count, tree = shape.left.shape[0], shape.owner()
    trees = shape.roots.shape[0]
    most = int(torch.bincount(tree[count:], minlength=1).max())
    if not 1 < most <= _BITS:
        return None
    ruled_out, code = _leaf_bits(shape)
    held = torch.bincount(tree[:count], minlength=trees)
    order = torch.argsort(held, descending=True, stable=True)
    rank = torch.argsort(order)
    held = held[order]
    by_tree = torch.argsort(rank[tree[:count]], stable=True)
    turn = torch.arange(count) - (held.cumsum(0) - held)[rank[tree[by_tree]]]
    node = by_tree[torch.argsort(turn, stable=True)]
    kind = torch.int32 if most <= 32 else torch.int64
    sizes = torch.bincount(turn).tolist()
    return Turns(sizes, node, ruled_out[node].to(kind), code[count:], rank)


def _leaf_bits(shape: Shape) -> tuple[Tensor, Tensor]:
    """Bits of the leaves in the right subtree of each node, and first bits of nodes and leaves."""
    size = torch.ones(shape.size, dtype=torch.int64)
    bit = torch.zeros(shape.size, dtype=torch.int64)
    for level in reversed(shape.levels):
        size[level] = size[shape.left[level]] + size[shape.right[level]]
    # Bits count leaves from the right.
    for level in shape.levels:
        right = shape.right[level]
        bit[right] = bit[level]
        bit[shape.left[level]] = bit[level] + size[right]
    return ((1 << size[shape.right]) - 1) << bit[: shape.left.shape[0]], bit


def even_trees(shape: Shape, column: Tensor, threshold: Tensor) -> Turns | None:
    """The plan for oblivious trees, in which all nodes of a level have the same split.

    Parameters
    ----------
    shape : Shape
        Structure of the trees.
    column, threshold : Tensor, shape (nodes,)
        Column and threshold of each node.

    Returns
    -------
    Turns or None
        None if a tree is not oblivious.
    """
    count, trees, tree = shape.left.shape[0], shape.roots.shape[0], shape.owner()
    code = torch.zeros(shape.size, dtype=torch.int64)
    stands_for = torch.zeros(count, dtype=torch.int64)
    depth = torch.zeros(trees, dtype=torch.int64)
    first = torch.zeros(trees, dtype=torch.int64)
    for number, level in enumerate(shape.levels):
        here = torch.bincount(tree[level], minlength=trees)
        first[tree[level]] = level
        same = stands_for[level] = first[tree[level]]
        asked = (column[level] == column[same]) & (threshold[level] == threshold[same])
        if not bool(((here == 0) | (here == 1 << number)).all() & asked.all()):
            return None
        depth += here > 0
        code[shape.right[level]] = code[level]
        code[shape.left[level]] = code[level] + (1 << number)
    if not shape.levels:
        return None
    order = torch.argsort(depth, descending=True, stable=True)
    rank = torch.argsort(order)
    nodes, sizes = [], []
    for level in shape.levels:
        asked = torch.unique(stands_for[level])
        nodes.append(asked[torch.argsort(rank[tree[asked]])])
        sizes.append(len(asked))
    mask = torch.repeat_interleave(1 << torch.arange(len(sizes)), torch.tensor(sizes))
    return Turns(sizes, torch.cat(nodes), mask.to(torch.int32), code[count:], rank, stands_for)


class Scan(Module):
    """Find the leaves by evaluating all splits, which is faster than scattered memory access.

    A node whose comparison holds rules out the leaves of its right subtree; the rightmost remaining
    leaf is the exit leaf. In oblivious trees, the results are the bits of the leaf index.

    Parameters
    ----------
    turns : Turns
        The plan.
    number, column : Tensor
        Position of each node's bound, and column of each bound.
    leaf_tree : Tensor, shape (leaves,)
        Tree of each leaf.
    """

    node: Tensor
    column: Tensor
    mask: Tensor
    start: Tensor
    leaf: Tensor
    tree: Tensor
    same: Tensor

    def __init__(self, turns: Turns, number: Tensor, column: Tensor, leaf_tree: Tensor) -> None:
        super().__init__()
        self.sizes, self.even = turns.sizes, turns.stands_for is not None
        self._checked = Cache()
        rank = turns.tree[leaf_tree]
        width = torch.full_like(turns.tree, _BITS)
        if self.even:
            width = torch.bincount(rank, minlength=len(turns.tree))
        start = width.cumsum(0) - width
        leaf = torch.zeros(int(width.sum()), dtype=torch.int32)
        leaf[start[rank] + turns.code] = torch.arange(len(leaf_tree), dtype=torch.int32)
        node = number[turns.node]
        known = {"node": node, "column": column[node], "mask": turns.mask, "leaf": leaf}
        known |= {"start": start.to(turns.mask.dtype), "tree": turns.tree}
        if turns.stands_for is not None:
            known["same"] = torch.stack([number[: len(turns.stands_for)], number[turns.stands_for]])
        for name, values in known.items():
            self.register_buffer(name, values, persistent=False)

    def fits(self, bounds: Tensor) -> bool:
        """Whether the nodes of each level still have equal thresholds; training may move them."""
        if not self.even:
            return True
        return self._checked.value(bounds, None, lambda: self._alike(bounds))

    def _alike(self, bounds: Tensor) -> bool:
        mine, other = bounds[self.same]
        return bool(((mine == other) | (mine.isnan() & other.isnan())).all())

    def forward(self, x: Tensor, bounds: Tensor) -> Tensor:
        """Map columns (n, columns) to leaves (n, trees)."""
        rows, trees = x.shape[0], self.tree.shape[0]
        lines = x.T.contiguous()
        bounds = bounds.index_select(0, self.node)[:, None]
        mask, kind = self.mask[:, None], self.mask.dtype
        bits = torch.zeros(trees, rows, dtype=kind, device=x.device)
        seen = torch.empty(trees, rows, dtype=x.dtype, device=x.device)
        held = torch.empty(trees, rows, dtype=kind, device=x.device)
        columns, bounds, masks = (t.split(self.sizes) for t in (self.column, bounds, mask))
        for size, column, bound, bit in zip(self.sizes, columns, bounds, masks, strict=True):
            line, holds = seen[:size], held[:size]
            torch.index_select(lines, 0, column, out=line)
            torch.le(line, bound, out=holds)
            bits[:size].bitwise_or_(holds.mul_(bit))
        if not self.even:
            left_over = bits.bitwise_not_()
            bits = _exponent(left_over & left_over.neg())
        bits += self.start[:, None]
        leaves = self.leaf.index_select(0, bits.view(-1)).view(trees, rows)
        return leaves.index_select(0, self.tree).T


def _exponent(powers: Tensor) -> Tensor:
    """The position of the single set bit of each number."""
    if powers.dtype == torch.int32:
        return ((powers.to(torch.float32).view(torch.int32) >> 23) & 255) - 127
    return ((powers.to(torch.float64).view(torch.int64) >> 52) & 2047) - 1023
