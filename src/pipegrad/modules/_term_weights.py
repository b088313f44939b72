"""Weights of terms in counted documents."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Module, parameter
from ._scaling import NormalizeRows
from ._sparse import Block, SparseRows


class TermWeights(Module):
    """Counts times a weight for each column, with rows of unit norm; the result is sparse.

    Parameters
    ----------
    weights : Tensor, shape (terms,), optional
        Weight of each column; none by default. Weights that are infinite do not train.
    norm : {"l1", "l2"}, optional
        Norm that each row gets; none by default.
    sublinear : bool
        Whether to replace each count by one plus its logarithm first.
    """

    infinite: Tensor

    def __init__(
        self, weights: Tensor | None = None, norm: str | None = None, sublinear: bool = False
    ) -> None:
        super().__init__()
        self.weights = None
        if weights is not None:
            finite = torch.isfinite(weights)
            self.weights = parameter(weights.where(finite, torch.ones_like(weights)))
            self.register_buffer("infinite", ~finite)
        self.norm = None if norm is None else NormalizeRows(norm)
        self.sublinear = sublinear
        self.sparse = True
        """Whether dense rows become sparse ones."""

    def forward(self, x: Block) -> Block:
        """Same shape out as in; dense rows become sparse ones with an entry for every column."""
        rows = self._damped(x)
        if self.weights is not None:
            weights = self.present_weights()
            rows = rows.scale(weights) if isinstance(rows, SparseRows) else rows * weights
        return rows if self.norm is None else self.norm(rows)

    def present_weights(self) -> Tensor:
        """The weights, shape (terms,)."""
        assert self.weights is not None
        return self.weights.masked_fill(self.infinite, torch.inf)

    def _damped(self, x: Block) -> Block:
        if isinstance(x, SparseRows):
            return x.with_values(torch.log(x.values) + 1.0) if self.sublinear else x
        if self.sublinear:
            # Dense zeros are no entries; their logarithm has no gradient either.
            none = x == 0
            x = (torch.log(x.masked_fill(none, 1.0)) + 1.0).masked_fill(none, 0.0)
        return SparseRows.from_dense(x) if self.sparse else x

    def reset_parameters(self) -> None:
        """Set all weights to one."""
        if self.weights is not None:
            with torch.no_grad():
                self.weights.fill_(1.0)
