"""Translations of steps without learned numbers that compute or move columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ....modules import (
    Affine,
    ChosenColumns,
    Concatenate,
    CosineTransform,
    Elementwise,
    ExpandedProducts,
    Multiples,
    OrdinalEncode,
    OuterProducts,
    Product,
    ScaledLargest,
    Sequential,
    Threshold,
    UnitRows,
    place_of_largest,
    place_of_smallest,
    second_column,
    shares_with_floor,
    two_scores,
    two_shares,
)
from ....registry import register
from ..operators import answers, columns
from ..operators.categories import refuse_rows
from ._base import SparkTranslation, index, numbers_of

_AT = "pipegrad.sources.spark.operators"


@register(f"{_AT}.columns.Assemble")
class Assemble(SparkTranslation):
    """Columns side by side."""

    def to_torch(self, operator: columns.Assemble) -> nn.Module:
        return Concatenate()

    def encode(self, operator: columns.Assemble, X: Any) -> Any:
        found = super().encode(operator, X)
        if operator.invalid != "keep" and isinstance(found, np.ndarray):
            # Spark looks for NaN in columns of numbers, and for missing vectors.
            missing = np.isnan(found)
            invalid = missing.all(1) & bool(found.shape[1]) if found.ndim == 2 else missing
            refuse_rows(operator.kind, invalid, operator.invalid, "missing values")
        return found


@register(f"{_AT}.columns.SelectEntries")
class SelectEntries(SparkTranslation):
    """Selects entries by position."""

    def to_torch(self, operator: columns.SelectEntries) -> nn.Module:
        return ChosenColumns(index(operator.places))


@register(f"{_AT}.columns.CheckSize")
class CheckSize(SparkTranslation):
    """The identity; the host checks the size."""

    def to_torch(self, operator: columns.CheckSize) -> nn.Module:
        return OrdinalEncode()

    def encode(self, operator: columns.CheckSize, X: Any) -> Any:
        found = super().encode(operator, X)
        if operator.invalid != "optimistic":
            wrong = found.ndim != 2 or found.shape[1] != operator.size
            rows = np.full(found.shape[0], wrong)
            refuse_rows(operator.kind, rows, operator.invalid, "vectors of another size")
        return found


@register(f"{_AT}.columns.Binarize")
class Binarize(SparkTranslation):
    """Tests whether entries exceed a threshold."""

    differentiable = False

    def to_torch(self, operator: columns.Binarize) -> nn.Module:
        return Threshold(operator.threshold)

    def encode(self, operator: columns.Binarize, X: Any) -> Any:
        found = super().encode(operator, X)
        dense = operator.threshold < 0 and not isinstance(found, np.ndarray)
        return found.toarray() if dense else found


@register(f"{_AT}.columns.UnitNorm")
class UnitNorm(SparkTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: columns.UnitNorm) -> nn.Module:
        return UnitRows(operator.p)


@register(f"{_AT}.columns.Products")
class Products(SparkTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: columns.Products) -> nn.Module:
        return ExpandedProducts(operator.degree)


@register(f"{_AT}.columns.Cosines")
class Cosines(SparkTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: columns.Cosines) -> nn.Module:
        return CosineTransform(operator.inverse)


@register(f"{_AT}.columns.Multiply")
class Multiply(SparkTranslation):
    """The factors are settings, and stay fixed."""

    def to_torch(self, operator: columns.Multiply) -> nn.Module:
        return Affine(numbers_of(operator.factors)).requires_grad_(False)

    def trainable(self, operator: columns.Multiply) -> bool:
        return False


@register(f"{_AT}.columns.OuterProducts")
class OuterProductsRow(SparkTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: columns.OuterProducts) -> nn.Module:
        return OuterProducts()


_FUNCTIONS = {
    "two_scores": two_scores,
    "two_shares": two_shares,
    "second": second_column,
    "largest": place_of_largest,
    "smallest": place_of_smallest,
    "shares_with_floor": shares_with_floor,
    "sigmoid": torch.sigmoid,
}
_DECISIONS = ("largest", "smallest", "above", "scaled_largest")


@register(f"{_AT}.answers.Derive")
class Derive(SparkTranslation):
    """A function of a score; no gradient passes through decisions."""

    sparse = False

    def to_torch(self, operator: answers.Derive) -> nn.Module:
        what, numbers = operator.what, operator.numbers_
        if what in _FUNCTIONS:
            return Elementwise(_FUNCTIONS[what], elementwise=False)
        if what in ("softmax", "log_softmax"):
            return Elementwise(getattr(torch, what), {"dim": 1}, elementwise=False)
        if what == "twice_sigmoid":
            return Sequential(
                Multiples(numbers_of(2.0)), Elementwise(torch.sigmoid, elementwise=False)
            )
        if what == "above":
            return Threshold(numbers[0])
        if what == "scaled_largest":
            return ScaledLargest(numbers_of(numbers))
        if what == "times":
            return Product()
        return Multiples(numbers_of(numbers[0] if what == "multiple" else numbers))

    def is_differentiable(self, operator: answers.Derive) -> bool:
        return operator.what not in _DECISIONS
