"""Trainable numbers that a source keeps in single precision, whatever the module computes in."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._linear import product
from ._sparse import Block


def in_single(values: Tensor) -> Tensor:
    """The values that single precision can hold; gradients pass."""
    return values.to(torch.float32).to(values.dtype)


class SingleMap(Module):
    """``x @ weight`` with weights in single precision.

    Parameters
    ----------
    weight : Tensor, shape (features, outputs)
        The weights.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = parameter(weight)

    def forward(self, x: Block) -> Tensor:
        """(n, features) to (n, outputs)."""
        return product(x, in_single(self.weight))

    def reset_parameters(self) -> None:
        """Draw uniform numbers as `torch.nn.Linear` does."""
        bound = 1 / math.sqrt(max(1, self.weight.shape[0]))
        nn.init.uniform_(self.weight, -bound, bound)


class FactorProducts(Module):
    """Inner products of the factors of two indices: users and items of a recommender.

    Parameters
    ----------
    first, second : Tensor, shape (indices, k)
        Factors of each index, in single precision.
    """

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__()
        self.first, self.second = parameter(first), parameter(second)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Indices (n,) and (n,) to products (n,); NaN where an index is below zero."""
        places = [index.to(torch.int64) for index in (first, second)]
        rows = [
            in_single(factors)[place.clamp(min=0)]
            for factors, place in zip((self.first, self.second), places, strict=True)
        ]
        known = (places[0] >= 0) & (places[1] >= 0)
        products = (rows[0] * rows[1]).sum(1)
        return torch.where(known, products, torch.full_like(products, math.nan))

    def reset_parameters(self) -> None:
        """Draw normal numbers, so that products have about unit variance."""
        for factors in (self.first, self.second):
            nn.init.normal_(factors, std=max(1, factors.shape[1]) ** -0.25)
