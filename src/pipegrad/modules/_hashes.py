"""Hashes of vectors that are the same for vectors near each other."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Module
from ._sparse import Block, SparseRows

_PRIME = 2038074743


class ProjectionHashes(Module):
    """The number of the bucket on each of several lines that a vector falls into.

    Gradients do not pass; see Datar et al., *Locality-sensitive hashing scheme based on p-stable
    distributions*, 2004.

    Parameters
    ----------
    directions : Tensor, shape (lines, entries)
        Unit vectors along the lines.
    length : float
        Length of a bucket.
    """

    directions: Tensor

    def __init__(self, directions: Tensor, length: float) -> None:
        super().__init__()
        self.register_buffer("directions", directions.clone())
        self.length = length

    def forward(self, x: Block) -> Tensor:
        """(n, entries) to (n, lines)."""
        weight = self.directions.T
        along = x.matmul(weight) if isinstance(x, SparseRows) else x @ weight
        return torch.floor(along * (1.0 / self.length))


class MinHashes(Module):
    """The smallest hash of the places of a vector that are not zero, by several functions.

    The functions are ``((1 + place) * a + b) % 2038074743``; gradients do not pass. A vector of
    zeros gives NaN. See Broder, *On the resemblance and containment of documents*, 1997.

    Parameters
    ----------
    coefficients : Tensor of int64, shape (functions, 2)
        ``a`` and ``b`` of each function.
    """

    coefficients: Tensor

    def __init__(self, coefficients: Tensor) -> None:
        super().__init__()
        self.register_buffer("coefficients", coefficients.clone())

    def forward(self, x: Block) -> Tensor:
        """(n, entries) to (n, functions)."""
        if isinstance(x, SparseRows):
            hashes = self._hashes(x.columns).to(x.dtype)
            hashes = hashes.masked_fill((x.values == 0)[:, None], torch.inf)
            least = hashes.new_full((x.shape[0], hashes.shape[1]), torch.inf)
            rows = x.rows()[:, None].expand_as(hashes)
            least = least.scatter_reduce(0, rows, hashes, "amin")
        else:
            hashes = self._hashes(torch.arange(x.shape[1], device=x.device)).to(x.dtype)
            used = x != 0
            # One function at a time needs no more memory than the vectors.
            least = torch.stack(
                [torch.where(used, one, torch.inf).amin(1) for one in hashes.unbind(1)], 1
            )
        return least.masked_fill(torch.isinf(least), torch.nan)

    def _hashes(self, places: Tensor) -> Tensor:
        """Hashes (places, functions)."""
        factors, shifts = self.coefficients.unbind(1)
        return ((1 + places.to(torch.int64))[:, None] * factors + shifts) % _PRIME
