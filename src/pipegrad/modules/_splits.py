"""How the splits of trees train, and rows whose leaves are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Way = Literal["leaves", "soft", "straight-through"]


@dataclass(frozen=True)
class Splits:
    """How trees train.

    Parameters
    ----------
    way : {"leaves", "soft", "straight-through"}
        Leaf values alone; a sigmoid at each split; or hard splits whose gradients are those of
        sigmoids.
    temperature : float
        Width of the sigmoids, as a share of the spread of their feature.
    """

    way: Way = "leaves"
    temperature: float = 0.005

    @property
    def soft(self) -> bool:
        """Whether thresholds train, and gradients pass through."""
        return self.way != "leaves"


class Routed:
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

    def __getitem__(self, index: slice) -> Routed:
        return Routed(self.leaves[index], None if self.rest is None else self.rest[index])

    def index_select(self, dim: int, index: Tensor) -> Routed:
        """Some of the rows, as `Tensor.index_select`."""
        rest = self.rest
        if rest is not None:
            rest = rest.index_select(0, index) if isinstance(rest, Tensor) else rest.take(index)
        return Routed(self.leaves.index_select(0, index), rest)

    def to(self, *args: Any, **kwargs: Any) -> Routed:
        """Moved or cast, as `Tensor.to`; leaves stay whole numbers."""
        like = torch.empty(0, device=self.device).to(*args, **kwargs)
        rest = None if self.rest is None else self.rest.to(*args, **kwargs)
        return Routed(self.leaves.to(like.device), rest)
