"""Keys: categories numbered from 1, with 0 for a missing one; and keys of the best column."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Module
from ._encoding import OneHot
from ._sparse import Block, SparseRows


class KeyIndicator(Module):
    """One-hot encoding of keys.

    Parameters
    ----------
    count : int
        Number of categories.
    keys : int
        Number of keys in each row.
    add : bool
        Whether the encodings of several keys are summed instead of concatenated.
    sparse : bool
        Whether to return `SparseRows`.
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
    """The binary digits of ``key - 1``, most significant first; a missing key gives ones.

    Parameters
    ----------
    width : int
        Number of binary digits.
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
    """A look-up table from keys to fixed numbers.

    Parameters
    ----------
    values : Tensor, shape (categories,)
        Number of each category.
    otherwise : float
        Number of a missing key.
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
    """The key of the column with the largest or smallest number; the first of equal ones.

    NaN is ignored, and a row of NaN only has key 0.

    Parameters
    ----------
    smallest : bool
        Whether to take the smallest number instead of the largest.
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
    """The key 2 if a number exceeds the threshold, otherwise 1; 0 for NaN.

    Parameters
    ----------
    threshold : float
        Threshold that a score has to exceed.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, scores: Tensor) -> Tensor:
        """Scores (n,) to keys (n,)."""
        keys = (scores > self.threshold).to(scores.dtype) + 1
        return keys.masked_fill(torch.isnan(scores), 0.0)
