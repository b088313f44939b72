"""How the splits of trees train, and rows whose leaves are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from torch import Tensor

from .._sparse import Block, SparseRows

SplitMode = Literal["leaves", "soft", "straight-through"]


@dataclass(frozen=True)
class SplitRelaxation:
    """How trees train.

    Parameters
    ----------
    way : {"leaves", "soft", "straight-through"}
        Leaf values alone; a sigmoid at each split; or hard splits whose gradients are those of
        sigmoids.
    temperature : float
        Width of the sigmoids, as a share of the spread of their feature.
    """

    way: SplitMode = "leaves"
    temperature: float = 0.005

    @property
    def soft(self) -> bool:
        """Whether thresholds train, and gradients pass through."""
        return self.way != "leaves"


class LeafIndices:
    """Rows of which it is known where they end in each tree; a module takes them as its input.

    Parameters
    ----------
    leaves : Tensor of int32 or int64, shape (n, trees)
        The leaf of each row in each tree.
    rest : Tensor or SparseRows, optional
        The rows themselves, where the module looks at them for something else too.
    """

    def __init__(self, leaves: Tensor, rest: Any = None) -> None:
        self.leaves, self.rest = leaves, rest

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and trees."""
        return int(self.leaves.shape[0]), int(self.leaves.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the leaves lie."""
        return self.leaves.device

    def take(self, index: Tensor | slice) -> LeafIndices:
        """Some of the rows, in the order of ``index``."""
        rest = None if self.rest is None else take(self.rest, index)
        return LeafIndices(take(self.leaves, index), rest)

    def to(self, *args: Any, **kwargs: Any) -> LeafIndices:
        """Moved or cast, as `Tensor.to`; leaves stay whole numbers."""
        like = torch.empty(0, device=self.device).to(*args, **kwargs)
        rest = None if self.rest is None else self.rest.to(*args, **kwargs)
        return LeafIndices(self.leaves.to(like.device), rest)


@overload
def take(block: Tensor, index: Tensor | slice) -> Tensor: ...
@overload
def take(block: Block | LeafIndices, index: Tensor | slice) -> Block | LeafIndices: ...
def take(block: Block | LeafIndices, index: Tensor | slice) -> Block | LeafIndices:
    """Some rows of a block, in the order of ``index``."""
    if isinstance(block, SparseRows | LeafIndices):
        return block.take(index)
    return block[index] if isinstance(index, slice) else block.index_select(0, index)
