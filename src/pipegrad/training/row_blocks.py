"""Scores of many rows, computed in blocks of rows, so that memory is bounded by a block.

A module keeps several values for each input value until the backward pass is over, and large
arrays that come and go between small ones leave holes in the heap that nothing else fits into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..host import Encoded
from ..modules import Block, LeafIndices

# Input values (rows times features) computed at once, 4 MB of float64. More are computed in
# so many blocks, of at least the smallest size, below which the calls take longer than the numbers.
_AT_ONCE, _BLOCKS, _SMALLEST = 2**19, 16, 2**16


class SelectedRows(Encoded):
    """Rows of encoded data that are copied only when they are used.

    Parameters
    ----------
    encoded : Encoded
        All rows.
    index : Tensor of int64
        The numbers of the selected rows.
    """

    def __init__(self, encoded: Encoded, index: Tensor) -> None:
        self.encoded = encoded
        self.index = index

    @property
    def blocks(self) -> dict[str, Block | LeafIndices]:  # type: ignore[override]
        """A copy of the selected rows."""
        return self.encoded[self.index].blocks

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any) -> Encoded:
        return self.encoded[self.index[index]]


def select(encoded: Encoded, index: Tensor) -> Encoded:
    """Some rows, which are copied at once if they fit into a block."""
    chosen = SelectedRows(encoded, index)
    return encoded[index] if len(index) <= rows_of_block(chosen) else chosen


def rows_of_block(encoded: Encoded) -> int:
    """The number of rows of a block."""
    data = encoded.encoded if isinstance(encoded, SelectedRows) else encoded
    width = max(1.0, input_values(data) / max(1, len(data)))
    values = min(max(width * len(data) / _BLOCKS, _SMALLEST), _AT_ONCE)
    return max(1, int((_AT_ONCE if width * len(encoded) <= _AT_ONCE else values) / width))


def input_values(encoded: Encoded) -> int:
    """The number of values that enter the neural part."""
    return sum(_entries(block) for block in encoded.blocks.values())


def _entries(block: Block | LeafIndices) -> int:
    if isinstance(block, LeafIndices):
        return block.leaves.numel()
    return (block if isinstance(block, Tensor) else block.values).numel()


def score_of(module: nn.Module, encoded: Encoded) -> Tensor:
    """The score of all rows; more than a block of them is computed block by block.

    The backward pass computes each block again instead of keeping its intermediate values.

    Parameters
    ----------
    module : Module
        The network. Its score of a row does not depend on other rows.
    encoded : Encoded
        The rows.

    Returns
    -------
    Tensor
        Raw scores (n,) or (n, k), or columns (n, k).
    """
    size = rows_of_block(encoded)
    if len(encoded) <= size:
        return module(encoded)
    parameters = trained_tensors(module)
    if not torch.is_grad_enabled() or not parameters:
        return score_in_blocks(module, encoded)
    score: Tensor = _ScoreOfBlocks.apply(module, encoded, size, *parameters)
    return score


def trained_tensors(module: nn.Module) -> list[nn.Parameter]:
    """The tensors that gradients may reach."""
    if hasattr(module, "leaves"):
        return module.leaves()  # type: ignore[operator]
    return [p for p in module.parameters() if p.requires_grad]


def score_in_blocks(score: Callable[[Encoded], Tensor], encoded: Encoded) -> Tensor:
    """The results of a function of rows, computed block by block without gradients."""
    size = rows_of_block(encoded)
    with torch.no_grad():
        parts = [score(part) for part in _blocks(encoded, size)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _blocks(encoded: Encoded, size: int) -> Iterator[Encoded]:
    if len(encoded) <= size:
        yield encoded
        return
    for start in range(0, len(encoded), size):
        yield encoded[start : start + size]


class _ScoreOfBlocks(torch.autograd.Function):
    """The score as a function of the parameters."""

    @staticmethod
    def forward(ctx: Any, module: nn.Module, encoded: Encoded, size: int, *_: Tensor) -> Tensor:
        ctx.module, ctx.encoded, ctx.size = module, encoded, size
        return torch.cat([module(part) for part in _blocks(encoded, size)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
        parameters = trained_tensors(ctx.module)
        totals: list[Tensor | None] = [None] * len(parameters)
        slopes = slope.split(ctx.size)
        for part, own in zip(_blocks(ctx.encoded, ctx.size), slopes, strict=True):
            with torch.enable_grad():
                score = ctx.module(part)
            found = torch.autograd.grad(score, parameters, own, allow_unused=True)
            totals = [_sum(total, one) for total, one in zip(totals, found, strict=True)]
        return None, None, None, *totals


def _sum(total: Tensor | None, one: Tensor | None) -> Tensor | None:
    if total is None or one is None:
        return one if total is None else total
    return total + one
