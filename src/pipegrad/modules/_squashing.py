"""Soft clipping of scaled columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._base import Module
from ._scaling import Standardize


class SquashedColumns(Module):
    """Columns that are centered, scaled and softly clipped to a range around zero.

    Infinite entries become the ends of the range, missing entries stay missing, and all others of
    constant columns become zero.

    Parameters
    ----------
    shift, scale : Tensor, shape (kept,)
        Center and positive width of the columns that are not constant.
    kept : sequence of int
        These columns.
    bound : float
        Largest absolute value.
    """

    kept: Tensor

    def __init__(self, shift: Tensor, scale: Tensor, kept: Sequence[int], bound: float) -> None:
        super().__init__()
        self.standardize = Standardize(shift, scale)
        self.register_buffer("kept", torch.tensor(list(kept), dtype=torch.int64))
        self.bound = bound

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        infinite = x.isinf()
        finite = torch.where(infinite, 0, x)
        constant = torch.where(x.isnan(), x, 0)
        out = constant.index_copy(1, self.kept, self.standardize(finite.index_select(1, self.kept)))
        out = out / torch.sqrt(1 + (out / self.bound).square())
        return torch.where(infinite, x.sign() * self.bound, out)
