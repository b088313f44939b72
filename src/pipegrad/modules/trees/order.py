"""Tables of leaf values that stay monotone: a partial order of leaves, kept while they train."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._base import Module
from .routing import _captured


class LeafOrder(Module):
    """Leaf values that respect a partial order, close to those given.

    A leaf becomes the mean of the highest value among the leaves that must not exceed it and the
    lowest value among those that it must not exceed, with its own in both. The result respects the
    order exactly, also in floating point, and values that respect it already do not change.

    Parameters
    ----------
    lower, upper : Tensor of int64, shape (pairs,)
        Pairs of leaves: the value of the first must not exceed that of the second. They form no
        cycles, and need not include the pairs that they imply.
    leaves : int
        Number of leaves.
    direction : Tensor, shape (k,), optional
        1 for the columns of the table that increase in this order, -1 for those that decrease; all
        increase by default.
    """

    lower: Tensor
    upper: Tensor
    direction: Tensor | None

    def __init__(
        self, lower: Tensor, upper: Tensor, leaves: int, direction: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("upper", upper, persistent=False)
        if direction is None:
            self.direction = None
        else:
            self.register_buffer("direction", direction, persistent=False)
        self.longest = _longest_chain(lower, upper, leaves)

    def forward(self, table: Tensor) -> Tensor:
        """Same shape out as in: (leaves, k)."""
        if self.direction is None:
            return _ordered(table, self)
        return _ordered(table * self.direction, self) * self.direction


def _longest_chain(lower: Tensor, upper: Tensor, leaves: int) -> int:
    """Number of pairs in the longest chain."""
    place = lower.new_zeros(leaves)
    for length in range(leaves):
        after = place.scatter_reduce(0, upper, place[lower] + 1, "amax")
        if torch.equal(after, place):
            return length
        place = after
    return leaves


def _ordered(table: Tensor, order: LeafOrder) -> Tensor:
    result: Tensor = _Ordered.apply(table, order.lower, order.upper, order.longest)[0]
    return result


class _Ordered(torch.autograd.Function):
    """The ordered table, and the leaves from which each value comes.

    In the backward pass, a leaf that had to move receives the gradient of the result or its own,
    whichever brings it back sooner: otherwise leaves that once were out of order would move
    together for good.
    """

    @staticmethod
    def forward(
        table: Tensor, lower: Tensor, upper: Tensor, longest: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        lower, upper = _entries(lower, table.shape[1]), _entries(upper, table.shape[1])
        values = table.flatten()
        if not _captured() and not bool(
            (values.index_select(0, lower) > values.index_select(0, upper)).any()
        ):
            none = lower.new_empty(0, table.shape[1])
            return table.clone(), none, none
        by_value = table.argsort(dim=0, stable=True)
        rank = by_value.argsort(0)
        first = by_value.gather(0, _reach(rank, lower, upper, longest, "amax"))
        last = by_value.gather(0, _reach(rank, upper, lower, longest, "amin"))
        # Among equal values, a leaf takes its own.
        own = torch.arange(table.shape[0], device=table.device)[:, None]
        first = torch.where(table.gather(0, first) == table, own, first)
        last = torch.where(table.gather(0, last) == table, own, last)
        high, low = table.gather(0, first), table.gather(0, last)
        return torch.where(high == low, table, 0.5 * high + 0.5 * low), first, last

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        result, first, last = output
        ctx.mark_non_differentiable(first, last)
        ctx.save_for_backward(inputs[0], result, first, last)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        table, result, first, last = ctx.saved_tensors
        if not first.shape[0]:
            return grad, None, None, None
        nothing = torch.zeros_like(grad)
        joint = nothing.scatter_add(0, first, 0.5 * grad).scatter_add(0, last, 0.5 * grad)
        joint = torch.where(table > result, torch.maximum(joint, grad), joint)
        joint = torch.where(table < result, torch.minimum(joint, grad), joint)
        return joint, None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], table: Tensor, *order: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Candidates side by side are further columns of the table."""
        assert in_dims[0] is not None
        wide = table.movedim(in_dims[0], 1)
        found = _Ordered.apply(wide.flatten(1), *order)
        return tuple(part.unflatten(1, wide.shape[1:]) for part in found), (1, 1, 1)


def _entries(leaves: Tensor, columns: int) -> Tensor:
    """The entries of these leaves in a flat table; indices of one dimension are much faster."""
    if columns == 1:
        return leaves
    return (leaves[:, None] * columns + torch.arange(columns, device=leaves.device)).flatten()


def _reach(rank: Tensor, before: Tensor, after: Tensor, longest: int, extreme: str) -> Tensor:
    """The extreme rank among each leaf and those before it, shape (leaves, k)."""
    flat = rank.flatten()
    for _ in range(longest):
        reached = flat.scatter_reduce(0, after, flat.index_select(0, before), extreme)
        if not _captured() and torch.equal(reached, flat):
            break
        flat = reached
    return flat.view(rank.shape)
