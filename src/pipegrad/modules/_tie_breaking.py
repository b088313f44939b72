"""Classes of the same probability, among which a source draws by the row."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Module

_MASK = (1 << 48) - 1
_FACTOR, _STEP = 0x5DEECE66D, 0xB
_NAN = 0x7FF8 << 48


class DrawnLargest(Module):
    """The index of the largest probability; among several, one is drawn by a hash of the row.

    It draws as H2O does: among the first class and all that equal the largest one before them, with
    the shares of classes in training.

    Parameters
    ----------
    priors : Tensor, shape (classes,)
        Shares of the classes.
    """

    priors: Tensor

    def __init__(self, priors: Tensor) -> None:
        super().__init__()
        self.register_buffer("priors", priors.clone())

    def forward(self, shares: Tensor, row: Tensor) -> Tensor:
        """Probabilities (n, classes) and features (n, d) to indices (n,)."""
        largest, tied = shares[:, 0], torch.zeros_like(shares[:, 0], dtype=torch.bool)
        listed = [torch.ones_like(tied)]
        for share in shares.unbind(1)[1:]:
            equal, above = share == largest, share > largest
            listed.append(equal)
            tied = ~above & (tied | equal)
            largest = torch.where(above, share, largest)
        weights = torch.stack(listed, 1) * self.priors
        sums = (weights / weights.sum(1, keepdim=True)).cumsum(1)
        reached = torch.stack(listed, 1) & (draw(row)[:, None] <= sums)
        drawn = reached.to(torch.uint8).argmax(1)
        return torch.where(tied, drawn, shares.argmax(1)).to(shares.dtype)


def draw(row: Tensor) -> Tensor:
    """Numbers (n,) between 0 and 1, the first that Java's generator draws for the bits of rows."""
    numbers = row.to(torch.float64).contiguous()
    bits = torch.where(torch.isnan(numbers), _NAN, numbers.view(torch.int64)) >> 6
    seed = bits.new_zeros(len(bits))
    for column in bits.unbind(1):
        seed = seed ^ column
    first = _after((seed ^ _FACTOR) & _MASK)
    second = _after(first)
    return (((first >> 22) << 27) + (second >> 21)).to(torch.float64) * 2.0**-53


def _after(seed: Tensor) -> Tensor:
    """The next state of the generator; products wrap around."""
    return (seed * _FACTOR + _STEP) & _MASK
