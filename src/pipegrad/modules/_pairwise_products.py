"""Factorization machines of second order."""

from __future__ import annotations

from torch import Tensor, nn

from ._base import Module, parameter
from ._sparse import Block, SparseRows


class PairwiseProducts(Module):
    """Linear terms, and products of pairs of columns weighted by inner products of factors.

    See Rendle, *Factorization machines*, ICDM 2010.

    Parameters
    ----------
    factors : Tensor, shape (features, k)
        Factors of the columns.
    weight : Tensor, shape (features,), optional
        Weights of the columns; none by default.
    bias : Tensor, shape (), optional
        Bias; none by default.
    """

    def __init__(
        self, factors: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> None:
        super().__init__()
        self.factors = parameter(factors)
        self.weight = None if weight is None else parameter(weight)
        self.bias = None if bias is None else parameter(bias)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n,)."""
        squared = x.with_values(x.values.square()) if isinstance(x, SparseRows) else x * x
        sums = x.matmul(self.factors)
        out = 0.5 * (sums * sums - squared.matmul(self.factors * self.factors)).sum(1)
        if self.weight is not None:
            out = out + x.matmul(self.weight[:, None]).squeeze(1)
        return out if self.bias is None else out + self.bias

    def reset_parameters(self) -> None:
        """Small random factors; no weights and no bias."""
        nn.init.normal_(self.factors, 0, 0.01)
        for values in (self.weight, self.bias):
            if values is not None:
                nn.init.zeros_(values)
