"""Translations of steps without learned numbers that compute or move columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from ....modules import (
    Affine,
    ChosenColumns,
    Concatenate,
    CosineTransform,
    ExpandedProducts,
    ExpressionProgram,
    OrdinalEncode,
    OuterProducts,
    Threshold,
    UnitRows,
)
from ....registry import register
from ...named.translations import NamedTranslation, index, numbers_of
from ..operators import columns, sql
from ..operators.categories import refuse_rows

_AT = "pipegrad.sources.spark.operators"


@register(f"{_AT}.columns.Assemble")
class Assemble(NamedTranslation):
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
class SelectEntries(NamedTranslation):
    """Selects entries by position."""

    def to_torch(self, operator: columns.SelectEntries) -> nn.Module:
        return ChosenColumns(index(operator.places))


@register(f"{_AT}.columns.CheckSize")
class CheckSize(NamedTranslation):
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
class Binarize(NamedTranslation):
    """Tests whether entries exceed a threshold."""

    differentiable = False

    def to_torch(self, operator: columns.Binarize) -> nn.Module:
        return Threshold(operator.threshold)

    def encode(self, operator: columns.Binarize, X: Any) -> Any:
        found = super().encode(operator, X)
        dense = operator.threshold < 0 and not isinstance(found, np.ndarray)
        return found.toarray() if dense else found


@register(f"{_AT}.columns.UnitNorm")
class UnitNorm(NamedTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: columns.UnitNorm) -> nn.Module:
        return UnitRows(operator.p)


@register(f"{_AT}.columns.Products")
class Products(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: columns.Products) -> nn.Module:
        return ExpandedProducts(operator.degree)


@register(f"{_AT}.columns.Cosines")
class Cosines(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: columns.Cosines) -> nn.Module:
        return CosineTransform(operator.inverse)


@register(f"{_AT}.columns.Multiply")
class Multiply(NamedTranslation):
    """The factors are settings, and stay fixed."""

    def to_torch(self, operator: columns.Multiply) -> nn.Module:
        return Affine(numbers_of(operator.factors)).requires_grad_(False)

    def trainable(self, operator: columns.Multiply) -> bool:
        return False


@register(f"{_AT}.columns.OuterProducts")
class OuterProductsRow(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: columns.OuterProducts) -> nn.Module:
        return OuterProducts()


@register(f"{_AT}.sql.Formula")
class Formula(NamedTranslation):
    """An expression of columns; comparisons have no gradient."""

    sparse = False

    def to_torch(self, operator: sql.Formula) -> nn.Module:
        return ExpressionProgram(operator.numbers_)


@register(f"{_AT}.sql.ColumnOnHost")
class ColumnOnHost(NamedTranslation):
    """An expression of columns of the table, some of which may be texts."""

    def to_torch(self, operator: sql.ColumnOnHost) -> nn.Module:
        return OrdinalEncode()

    def refuse(self, operator: sql.ColumnOnHost) -> str | None:
        return "computes with columns of the table as Spark does; it runs on the host"
