"""Ranks among quantiles."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Module
from ._sparse import Block, SparseRows

_NEAR = 1e-7
"""Distance from the outermost quantiles within which the rank is that of the quantile."""


class _RankedQuantiles(Module):
    """The quantiles of columns, stored by column, and their ranks."""

    quantiles: Tensor
    ranks: Tensor

    def __init__(self, quantiles: Tensor, ranks: Tensor, normal: bool) -> None:
        super().__init__()
        self.register_buffer("quantiles", quantiles.T.contiguous())
        self.register_buffer("ranks", ranks.clone())
        self.normal = normal


class QuantileRanks(_RankedQuantiles):
    """The rank of each entry among the quantiles of its column, or its normal score.

    Between quantiles ranks are interpolated; equal quantiles give the mean of their ranks. Missing
    entries stay missing.

    Parameters
    ----------
    quantiles : Tensor, shape (quantiles, features)
        Non-decreasing quantiles of each column, which do not train.
    ranks : Tensor, shape (quantiles,)
        Rank of each quantile, increasing from 0 to 1.
    normal : bool
        Whether to return quantiles of the standard normal distribution instead of ranks.
    """

    def forward(self, x: Block) -> Block:
        """Same shape out as in; entries that sparse rows do not store stay zero."""
        if isinstance(x, SparseRows):
            return x.with_values(self._of_entries(x.values, x.columns))
        columns = torch.arange(x.shape[1], device=x.device).expand(x.shape)
        return self._of_entries(x.reshape(-1), columns.reshape(-1)).reshape(x.shape)

    def _of_entries(self, x: Tensor, columns: Tensor) -> Tensor:
        """The results (entries,) of entries of these columns."""
        kind, x = x.dtype, x.to(torch.float64)
        missing = torch.isnan(x)
        quantiles = self.quantiles.to(torch.float64)
        low, high = quantiles[:, 0][columns], quantiles[:, -1][columns]
        x = torch.where(missing, low, x)
        upper = self._rank(x, quantiles, columns, True)
        ranks = (upper + self._rank(x, quantiles, columns, False)) / 2
        near = _NEAR if self.normal else 0.0
        lowest = x - near < low if self.normal else x == low
        highest = x + near > high if self.normal else x == high
        ranks = ranks.masked_fill(highest, 1.0).masked_fill(lowest, 0.0)
        if self.normal:
            ends = _NEAR - torch.finfo(torch.float64).eps
            ranks = torch.special.ndtri(ranks.clamp(ends, 1 - ends))
        return ranks.masked_fill(missing, torch.nan).to(kind)

    def _rank(self, x: Tensor, quantiles: Tensor, columns: Tensor, right: bool) -> Tensor:
        """Interpolated ranks; at equal quantiles the last one's if ``right``, else the first's."""
        last, ranks = quantiles.shape[1] - 1, self.ranks.to(torch.float64)
        place = _place(x.detach(), quantiles, columns, right)
        base = (place - 1 if right else place).clamp(0, last)
        other = (base + 1 if right else base - 1).clamp(0, last)
        here, there = quantiles[columns, base], quantiles[columns, other]
        width = there - here
        flat = width == 0
        slope = (ranks[other] - ranks[base]) / torch.where(flat, 1.0, width)
        step = x - here
        # Beyond the outermost quantiles there is nothing to interpolate.
        inside = ~flat & ((step >= 0) == right) | (step == 0)
        return ranks[base] + torch.where(inside, slope * step, 0.0)


class QuantilesOfRanks(_RankedQuantiles):
    """The inverse of `QuantileRanks`: the quantile of each rank, or of each normal score.

    Parameters
    ----------
    quantiles : Tensor, shape (quantiles, features)
        Non-decreasing quantiles of each column, which do not train.
    ranks : Tensor, shape (quantiles,)
        Rank of each quantile, increasing from 0 to 1.
    normal : bool
        Whether the entries are quantiles of the standard normal distribution instead of ranks.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        ranks = torch.special.ndtr(x) if self.normal else x
        if self.normal:
            ranks = torch.where(ranks - _NEAR < 0, 0.0, ranks)
            ranks = torch.where(ranks + _NEAR > 1, 1.0, ranks)
        last = self.ranks.shape[0] - 1
        ranks = ranks.clamp(0, 1)
        if not last:
            return self.quantiles[:, 0].expand(x.shape)
        left = torch.searchsorted(self.ranks, ranks.detach().contiguous(), right=True) - 1
        left = left.clamp(0, last - 1)
        start, width = self.ranks[left], self.ranks[left + 1] - self.ranks[left]
        low = self.quantiles.T.gather(0, left)
        high = self.quantiles.T.gather(0, left + 1)
        slope = (high - low) / width
        # At the upper end its own quantile, without rounding.
        return torch.where(
            ranks == start + width,
            high + (ranks - ranks.detach()) * slope,
            slope * (ranks - start) + low,
        )


def _place(x: Tensor, quantiles: Tensor, columns: Tensor, right: bool) -> Tensor:
    """How many quantiles of its column are below each entry, or at most equal to it."""
    count = quantiles.shape[1]
    low, high = torch.zeros_like(columns), torch.full_like(columns, count)
    for _ in range(count.bit_length()):
        middle = (low + high) // 2
        found = quantiles[columns, middle.clamp(max=count - 1)]
        below = (found <= x if right else found < x) & (low < high)
        low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
    return low
