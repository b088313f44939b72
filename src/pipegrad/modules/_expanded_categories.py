"""Categories as indicators beside numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._base import Module, parameter
from ._encoding import OneHot
from ._sparse import Block, SparseRows


class ExpandedCategories(Module):
    """Columns of category codes to indicators, followed by the other columns.

    Parameters
    ----------
    sizes : sequence of int
        Number of indicators of each column of codes; these columns come first.
    first : int
        The code that the first indicator stands for. Codes without an indicator give zeros.
    modes : Tensor of int64, shape (columns of codes,), optional
        The code that replaces NaN; without it, NaN gives zeros.
    means : Tensor, shape (other columns,), optional
        What replaces NaN in the other columns.
    fill : float, optional
        What replaces it without means; NaN passes without either.
    sparse : bool
        Whether to return `SparseRows`.
    """

    modes: Tensor | None

    def __init__(
        self,
        sizes: Sequence[int],
        first: int = 0,
        modes: Tensor | None = None,
        means: Tensor | None = None,
        sparse: bool = False,
        fill: float | None = None,
    ) -> None:
        super().__init__()
        self.first, self.fill = first, fill
        self.inner = OneHot(sizes, sparse=sparse)
        self.register_buffer("modes", modes)
        self.register_buffer("limits", torch.tensor(list(sizes), dtype=torch.int64))
        self.means = None if means is None else parameter(means)

    limits: Tensor

    def forward(self, x: Tensor) -> Block:
        """(n, columns) to (n, indicators + other columns)."""
        count = len(self.limits)
        codes, numbers = x[:, :count], x[:, count:]
        missing = torch.isnan(codes)
        if self.modes is not None:
            codes = torch.where(missing, self.modes.to(x.dtype), codes)
        else:
            codes = torch.where(missing, -1.0, codes)
        codes = codes - self.first
        known = (codes >= 0) & (codes < self.limits)
        indicators = self.inner(torch.where(known, codes, -1.0))
        if self.means is not None:
            numbers = torch.where(torch.isnan(numbers), self.means, numbers)
        elif self.fill is not None:
            numbers = numbers.masked_fill(torch.isnan(numbers), self.fill)
        if isinstance(indicators, SparseRows):
            return SparseRows.concatenate([indicators, SparseRows.from_dense(numbers)])
        return torch.cat([indicators, numbers], 1)
