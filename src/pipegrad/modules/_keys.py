"""Keys: categories counted from 1, with 0 for none; and the choice of the best column."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Module
from ._encoding import OneHot
from ._sparse import Block, SparseRows


class KeyIndicator(Module):
    """A column for each category, one where the key says so.

    Parameters
    ----------
    count : int
        Number of categories.
    keys : int
        Number of keys in a row.
    add : bool
        Whether the columns of several keys are added up rather than put side by side.
    sparse : bool
        Give `SparseRows`.
    """

    def __init__(self, count: int, keys: int = 1, add: bool = False, sparse: bool = False) -> None:
        super().__init__()
        self.count, self.keys, self.add = count, keys, add
        self.inner = OneHot([count] * keys, sparse=sparse)

    def forward(self, keys: Tensor) -> Block:
        """Keys (n,) or (n, keys) to (n, count) or (n, count * keys)."""
        codes = (keys[:, None] if keys.ndim == 1 else keys) - 1
        out = self.inner(torch.where(codes < self.count, codes, -1.0))
        if not self.add:
            return out
        if isinstance(out, SparseRows):
            return SparseRows(out.starts, out.columns % self.count, out.values, self.count)
        return out.view(-1, self.keys, self.count).sum(1)


class KeyBits(Module):
    """The digits of ``key - 1`` in base two, the largest first; a missing key gives ones.

    Parameters
    ----------
    width : int
        Number of digits.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, keys: Tensor) -> Tensor:
        """Keys (n,) or (n, keys) to (n, width) or (n, keys * width)."""
        code = (keys - 1).long()
        shifts = torch.arange(self.width - 1, -1, -1, device=keys.device)
        return ((code[..., None] >> shifts) & 1).to(keys.dtype).flatten(1)


class KeyNumber(Module):
    """The number of each category.

    Parameters
    ----------
    values : Tensor, shape (categories,)
        The numbers.
    otherwise : float
        What a missing key gives.
    """

    values: Tensor

    def __init__(self, values: Tensor, otherwise: float = torch.nan) -> None:
        super().__init__()
        first = values.new_full((1,), otherwise)
        self.register_buffer("values", torch.cat([first, values]))

    def forward(self, keys: Tensor) -> Tensor:
        """Same shape out as in."""
        place = keys.long()
        known = (place >= 0) & (place < self.values.shape[0])
        return self.values[torch.where(known, place, 0)]


class BestColumn(Module):
    """The key of the column with the largest number, or with the smallest; the first of equal ones.

    NaN never wins, and a row of nothing else has key 0.

    Parameters
    ----------
    smallest : bool
        Whether the smallest wins.
    """

    def __init__(self, smallest: bool = False) -> None:
        super().__init__()
        self.smallest = smallest

    def forward(self, scores: Tensor) -> Tensor:
        """Scores (n, k) to keys (n,)."""
        values = -scores if self.smallest else scores
        values = torch.where(torch.isnan(values), -torch.inf, values)
        known = values.amax(1) > -torch.inf
        return torch.where(known, values.argmax(1) + 1, 0).to(scores.dtype)


class KeyAbove(Module):
    """The key 2 where a number is above the threshold, else 1; 0 for NaN.

    Parameters
    ----------
    threshold : float
        The threshold.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, scores: Tensor) -> Tensor:
        """Scores (n,) to keys (n,)."""
        keys = (scores > self.threshold).to(scores.dtype) + 1
        return keys.masked_fill(torch.isnan(scores), 0.0)
