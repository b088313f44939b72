"""Relaxation of tree splits for training, and rows with precomputed leaves."""

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
        "leaves": only leaf values train. "soft": each split is a sigmoid. "straight-through": hard
        splits with the gradients of sigmoids.
    temperature : float
        Width of the sigmoids, as a share of the spread of their feature.
    """

    way: SplitMode = "leaves"
    temperature: float = 0.005

    @property
    def soft(self) -> bool:
        """Whether thresholds train and gradients pass through."""
        return self.way != "leaves"


class LeafIndices:
    """Rows with precomputed leaves, which tree modules accept as input.

    Parameters
    ----------
    leaves : Tensor of int32 or int64, shape (n, trees)
        Leaf of each row in each tree.
    rest : Tensor or SparseRows, optional
        The rows themselves, if the module needs them for more than routing.
    """

    def __init__(self, leaves: Tensor, rest: Any = None) -> None:
        self.leaves, self.rest = leaves, rest

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and of trees."""
        return int(self.leaves.shape[0]), int(self.leaves.shape[1])

    @property
    def device(self) -> torch.device:
        """The device of the leaves."""
        return self.leaves.device

    def take(self, index: Tensor | slice) -> LeafIndices:
        """Some of the rows, in the order of ``index``."""
        rest = None if self.rest is None else take(self.rest, index)
        return LeafIndices(take(self.leaves, index), rest)

    def to(self, *args: Any, **kwargs: Any) -> LeafIndices:
        """Move or cast, as `Tensor.to` does; leaves stay integers."""
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
