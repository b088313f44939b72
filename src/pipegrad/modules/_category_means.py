"""Categories to means of targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, parameter


class BlendedMeans(Module):
    """Each category to its means, drawn to the means of all categories.

    Parameters
    ----------
    means : Tensor, shape (categories, targets)
        Mean of each target in each category; the parameters.
    counts : Tensor, shape (categories, targets)
        Number of rows behind each mean.
    shares : Tensor, shape (categories, targets)
        Weight of the mean; the mean of all rows has the rest.
    rows : Tensor of int64, shape (codes,)
        The category of each code; -1 if it has none, which gives NaN.
    missing : int
        The category of NaN, which is the mean of all rows if it is -1, and NaN if it is -2.
    """

    counts: Tensor
    shares: Tensor
    rows: Tensor

    def __init__(
        self, means: Tensor, counts: Tensor, shares: Tensor, rows: Tensor, missing: int
    ) -> None:
        super().__init__()
        self.means = parameter(means)
        self.register_buffer("counts", counts)
        self.register_buffer("shares", shares)
        count = len(means)
        unknown = torch.where(rows < 0, count + 1, rows)
        last = {-1: count, -2: count + 1}.get(missing, missing)
        # The last entry is for NaN.
        self.register_buffer("rows", torch.cat([unknown, unknown.new_tensor([last])]))

    def forward(self, codes: Tensor) -> Tensor:
        """(n,) to (n, targets), or to (n,) if there is one."""
        every = (self.means * self.counts).sum(0) / self.counts.sum(0)
        blended = self.shares * self.means + (1 - self.shares) * every
        table = torch.cat([blended, every[None], torch.full_like(every[None], torch.nan)])
        last = len(self.rows) - 1
        known = (codes >= 0) & (codes < last)
        found = table[self.rows[torch.where(known, codes, float(last)).to(torch.int64)]]
        return found[:, 0] if found.shape[1] == 1 else found

    def reset_parameters(self) -> None:
        """Draw standard normal means."""
        nn.init.normal_(self.means)


class PlaceOfCombination(Module):
    """The place of a combination of categories in a list.

    Parameters
    ----------
    sizes : sequence of int
        Number of categories of each column; NaN counts as one more.
    combinations : Tensor of int64, shape (combinations,)
        Increasing numbers of combinations, of which the first column has the lowest digit.
    """

    combinations: Tensor
    sizes: Tensor
    factors: Tensor

    def __init__(self, sizes: list[int], combinations: Tensor) -> None:
        super().__init__()
        self.register_buffer("combinations", combinations)
        self.register_buffer("sizes", torch.tensor(sizes, dtype=torch.int64))
        self.register_buffer(
            "factors", torch.cumprod(torch.cat([self.sizes.new_ones(1), self.sizes[:-1] + 1]), 0)
        )

    def forward(self, codes: Tensor) -> Tensor:
        """(n, columns) to (n,); NaN if the combination is not in the list."""
        known = (codes >= 0) & (codes < self.sizes)
        digits = torch.where(known, codes, self.sizes.to(codes.dtype)).to(torch.int64)
        numbers = (digits * self.factors).sum(1)
        places = torch.searchsorted(self.combinations, numbers)
        places = places.clamp(max=len(self.combinations) - 1)
        found = self.combinations[places] == numbers
        return torch.where(found, places.to(codes.dtype), torch.nan)
