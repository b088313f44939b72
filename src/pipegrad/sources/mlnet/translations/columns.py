"""Translations of steps that move columns, of categories and of missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from ....modules import (
    Affine,
    Concatenate,
    ExpressionProgram,
    Impute,
    KeyBits,
    KeyIndicator,
    KeyNumber,
    Missing,
    OrdinalEncode,
    Select,
    Standardize,
)
from ....registry import register
from ...named.translations import index, write_numbers
from ..operators import categories, expression, normalizers, plumbing
from ..operators._base import Host, Input
from ._base import MLNetTranslation, single

_AT = "pipegrad.sources.mlnet.operators"


@register(f"{_AT}._base.Input")
class InputRow(MLNetTranslation):
    """A column of the user's table."""

    raw_numbers = False

    def to_torch(self, operator: Input) -> nn.Module:
        return OrdinalEncode()

    def refuse(self, operator: Input) -> str | None:
        if operator.missing:
            return f"{operator.missing}; it can be used from column {operator.name!r} of the table"
        return "a column of the user's table"


@register(
    f"{_AT}.categories.Vocabulary",
    f"{_AT}.categories.Hash",
    f"{_AT}.categories.Lookup",
    f"{_AT}.plumbing.Parse",
)
class HostRow(MLNetTranslation):
    """Converts texts to numbers on the host; modules receive the numbers."""

    raw_numbers = False
    differentiable = False

    def to_torch(self, operator: Host) -> nn.Module:
        return OrdinalEncode()

    def encode(self, operator: Host, X: Any) -> Any:
        with np.errstate(over="ignore"):
            return operator.run(X).astype(np.float32)


@register(f"{_AT}.plumbing.ConcatenateTexts", f"{_AT}.categories.LookupText")
class TextRow(MLNetTranslation):
    """Texts that remain texts."""

    def to_torch(self, operator: Host) -> nn.Module:
        return OrdinalEncode()

    def refuse(self, operator: Host) -> str | None:
        return "gives texts or keys; it runs on the host"


@register(f"{_AT}.plumbing.Concatenate")
class ConcatenateRow(MLNetTranslation):
    """Columns side by side."""

    def to_torch(self, operator: plumbing.Concatenate) -> nn.Module:
        return Concatenate()


@register(f"{_AT}.plumbing.Convert", f"{_AT}.categories.CategoryText")
class Same(MLNetTranslation):
    """The identity, since modules ignore column types and represent texts by keys."""

    def to_torch(self, operator: Any) -> nn.Module:
        return OrdinalEncode()


@register(f"{_AT}.plumbing.Truth")
class Truth(MLNetTranslation):
    """Tests whether numbers are nonzero."""

    differentiable = False

    def to_torch(self, operator: plumbing.Truth) -> nn.Module:
        return ExpressionProgram([("input", 0), ("number", 0.0), ("ne", 0, 1)])


@register(f"{_AT}.plumbing.SelectSlots")
class SelectSlots(MLNetTranslation):
    """Selects slots by position."""

    def to_torch(self, operator: plumbing.SelectSlots) -> nn.Module:
        return Select(index(operator.keep))


@register(f"{_AT}.categories.Indicator")
class Indicator(MLNetTranslation):
    """One-hot encodes keys."""

    differentiable = False

    def to_torch(self, operator: categories.Indicator) -> nn.Module:
        wide = operator.gives_sparse(False)
        return KeyIndicator(operator.count, operator.keys, operator.bag, sparse=wide)


@register(f"{_AT}.categories.Bits")
class Bits(MLNetTranslation):
    """Encodes keys in binary."""

    differentiable = False

    def to_torch(self, operator: categories.Bits) -> nn.Module:
        return KeyBits(operator.width)


@register(f"{_AT}.categories.CategoryNumber")
class CategoryNumber(MLNetTranslation):
    """Maps keys to the numbers that they stand for."""

    differentiable = False

    def to_torch(self, operator: categories.CategoryNumber) -> nn.Module:
        return KeyNumber(single(operator.values))


@register(f"{_AT}.expression.Expression")
class Expression(MLNetTranslation):
    """A formula; no gradient passes through formulas with Boolean results."""

    def to_torch(self, operator: expression.Expression) -> nn.Module:
        return ExpressionProgram(operator.program)


@register(f"{_AT}.normalizers.ReplaceMissing")
class ReplaceMissing(MLNetTranslation):
    """The fill values for NaN train."""

    def to_torch(self, operator: normalizers.ReplaceMissing) -> nn.Module:
        return Impute(single(operator.fill))

    def write_back(self, module: Impute, operator: normalizers.ReplaceMissing) -> None:
        write_numbers(operator.fill, module.fill)


@register(f"{_AT}.normalizers.IsMissing")
class IsMissing(MLNetTranslation):
    """Tests whether numbers are NaN."""

    differentiable = False

    def to_torch(self, operator: normalizers.IsMissing) -> nn.Module:
        return Missing()


@register(f"{_AT}.normalizers.Affine")
class AffineRow(MLNetTranslation):
    """Scale and offset train; no offset is added if the file has none."""

    def to_torch(self, operator: normalizers.Affine) -> nn.Module:
        offset = None if operator.offset is None else single(operator.offset)
        slots = None if operator.slots is None else index(operator.slots)
        return Affine(single(operator.scale), offset, slots)

    def write_back(self, module: Affine, operator: normalizers.Affine) -> None:
        write_numbers(operator.scale, module.scale())
        write_numbers(operator.offset, module.offset)


@register(f"{_AT}.normalizers.Robust")
class Robust(MLNetTranslation):
    """Center and range train."""

    def to_torch(self, operator: normalizers.Robust) -> nn.Module:
        return Standardize(single(operator.center), single(operator.range))

    def write_back(self, module: Standardize, operator: normalizers.Robust) -> None:
        assert module.scale is not None
        write_numbers(operator.center, module.shift)
        write_numbers(operator.range, module.scale())
