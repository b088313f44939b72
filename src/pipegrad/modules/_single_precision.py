"""Trainable numbers that a source keeps in single precision, whatever the module computes in."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._linear import Linear


def in_single(values: Tensor) -> Tensor:
    """The values rounded to single precision; the gradient passes through unrounded."""
    return _shown_as(values, values.to(torch.float32))


def _shown_as(values: Tensor, rounded: Tensor) -> Tensor:
    """The rounded values with the gradient of the others."""
    return values + (rounded.to(values.dtype) - values).detach()


def _sum_in_single(terms: Tensor) -> Tensor:
    """Sums of the rows of float32 terms (n, k), added one by one as a loop in float32 does."""
    first, *others = terms.unbind(1)
    for term in others:
        first = first + term
    return first


class SinglePrecisionLinear(Linear):
    """A linear map whose weights are rounded to single precision before a product in double."""

    def effective_weight(self) -> Tensor:
        """The rounded weight."""
        return in_single(super().effective_weight())


class FactorProducts(Module):
    """Inner products of the factors of two indices: users and items of a recommender.

    Products and sums are those of a loop in single precision, in which the factors are; steps that
    read them see what the source computes.

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
        left, right = (part.detach().to(torch.float32) for part in rows)
        products = _shown_as((rows[0] * rows[1]).sum(1), _sum_in_single(left * right))
        return torch.where(known, products, torch.full_like(products, math.nan))

    def reset_parameters(self) -> None:
        """Draw normal numbers, so that products have about unit variance."""
        for factors in (self.first, self.second):
            nn.init.normal_(factors, std=max(1, factors.shape[1]) ** -0.25)
