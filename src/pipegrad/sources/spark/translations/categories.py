"""Translations of columns of the table, of texts and of categories."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from torch import nn

from ....modules import (
    IndexIndicators,
    Intervals,
    NumberOfIndex,
    OrdinalEncode,
    PlacesOfValues,
    SinglePrecisionLinear,
)
from ....registry import register
from ...arrays import to_array
from ...named.cells import is_null
from ...named.operators import Host
from ...named.translations import NamedTranslation, numbers_of
from .._base import Input
from ..operators import categories, texts
from ..operators.categories import refuse_rows

_AT = "pipegrad.sources.spark"
# Wider indicators are sparse.
_WIDEST = 64


@register(f"{_AT}._base.Input")
class InputRow(NamedTranslation):
    """A column of the user's table."""

    raw_numbers = False

    def to_torch(self, operator: Input) -> nn.Module:
        return OrdinalEncode()

    def refuse(self, operator: Input) -> str | None:
        if operator.missing:
            return f"{operator.missing}; it can be used from column {operator.name!r} of the table"
        return "a column of the user's table"


@register(
    f"{_AT}.operators.categories.IndexNumbers",
    f"{_AT}.operators.categories.IndexTexts",
    f"{_AT}.operators.recommendation.IndexIds",
    f"{_AT}.operators.texts.HashTerms",
    f"{_AT}.operators.texts.CountTerms",
    f"{_AT}.operators.texts.ShareOfTerms",
)
class HostRow(NamedTranslation):
    """Converts texts to numbers on the host; modules receive the numbers."""

    raw_numbers = False
    differentiable = False

    def to_torch(self, operator: Host) -> nn.Module:
        return OrdinalEncode()

    def encode(self, operator: Host, X: Any) -> Any:
        return operator.run(X)


@register(
    f"{_AT}.operators.texts.Split",
    f"{_AT}.operators.texts.SplitByPattern",
    f"{_AT}.operators.texts.RemoveTerms",
    f"{_AT}.operators.texts.JoinTerms",
)
class TextRow(NamedTranslation):
    """Texts that remain texts."""

    def to_torch(self, operator: texts.Host) -> nn.Module:
        return OrdinalEncode()

    def refuse(self, operator: texts.Host) -> str | None:
        return "gives lists of texts; it runs on the host"


@register(f"{_AT}.operators.texts.HashColumns")
class HashColumns(NamedTranslation):
    """Numbers and texts of several columns in one vector, on the host."""

    def to_torch(self, operator: texts.HashColumns) -> nn.Module:
        return OrdinalEncode()

    def refuse(self, operator: texts.HashColumns) -> str | None:
        return "hashes texts; it runs on the host"


@register(f"{_AT}.operators.texts.MeanOfVectors")
class MeanOfVectors(NamedTranslation):
    """Vectors of words train, in the single precision in which Spark keeps them."""

    def to_torch(self, operator: texts.MeanOfVectors) -> nn.Module:
        return SinglePrecisionLinear(numbers_of(operator.vectors))

    def write_back(self, module: SinglePrecisionLinear, operator: texts.MeanOfVectors) -> None:
        operator.vectors.put(to_array(module.weight).astype(np.float32))


@register(f"{_AT}.operators.categories.TextOfIndex")
class TextOfIndex(NamedTranslation):
    """The identity, since modules represent texts by their index."""

    differentiable = False

    def to_torch(self, operator: categories.TextOfIndex) -> nn.Module:
        return OrdinalEncode()


@register(f"{_AT}.operators.categories.Indicators")
class Indicators(NamedTranslation):
    """One-hot encodes indices."""

    differentiable = False

    def to_torch(self, operator: categories.Indicators) -> nn.Module:
        width = operator.width
        keep = operator.invalid == "keep"
        return IndexIndicators(operator.size, width, keep, sparse=width > _WIDEST)

    def encode(self, operator: categories.Indicators, X: Any) -> Any:
        found = super().encode(operator, X)
        if operator.invalid != "keep":
            with np.errstate(invalid="ignore"):
                known = (found >= 0) & (found < operator.size)
            refuse_rows(operator.kind, ~known, operator.invalid, "unseen indices")
        return found


@register(f"{_AT}.operators.categories.IndexValues")
class IndexValues(NamedTranslation):
    """Has no parameters to train; gradients do not pass."""

    differentiable = False
    sparse = False

    def to_torch(self, operator: categories.IndexValues) -> nn.Module:
        values = [numbers_of(values) for values in operator.maps.values()]
        return PlacesOfValues(list(operator.maps), values)

    def encode(self, operator: categories.IndexValues, X: Any) -> Any:
        found = super().encode(operator, X)
        if operator.invalid != "keep":
            rows = found.toarray() if sparse.issparse(found) else found
            unknown = np.zeros(len(rows), dtype=bool)
            for column, values in operator.maps.items():
                unknown |= ~np.isin(rows[:, column], values)
            refuse_rows(operator.kind, unknown, operator.invalid, "unseen values")
        return found


@register(f"{_AT}.operators.categories.TargetMeans")
class TargetMeans(NamedTranslation):
    """The number of each category trains."""

    differentiable = False

    def to_torch(self, operator: categories.TargetMeans) -> nn.Module:
        return NumberOfIndex(numbers_of(_encodings(operator)))

    def write_back(self, module: NumberOfIndex, operator: categories.TargetMeans) -> None:
        before, now = _encodings(operator), to_array(module.values)
        if np.array_equal(before, now):
            return
        counts = np.array(operator.counts)
        share = counts / (counts + operator.smoothing)
        means = (now - (1 - share) * now[-1]) / share
        means[-1] = now[-1]
        stats = operator.stats.values.copy()
        stats[0, operator.order] = means * counts if operator.sums else means
        operator.stats.put(stats)


def _encodings(operator: categories.TargetMeans) -> Any:
    counts = np.array(operator.counts)
    means = operator.stats.values[0, operator.order]
    means = means / counts if operator.sums else means
    share = counts / (counts + operator.smoothing)
    return share * means + (1 - share) * means[-1]


@register(f"{_AT}.operators.categories.Buckets")
class Buckets(NamedTranslation):
    """The bounds stay fixed; gradients do not pass."""

    differentiable = False

    def to_torch(self, operator: categories.Buckets) -> nn.Module:
        return Intervals(numbers_of(operator.splits))

    def encode(self, operator: categories.Buckets, X: Any) -> Any:
        # A module has no null to give, only the NaN that has an index of its own.
        how = "skip" if operator.invalid == "skip" else "error"
        refuse_rows(operator.kind, is_null(X), how, "null")
        found = super().encode(operator, X)
        with np.errstate(invalid="ignore"):
            outside = (found < operator.splits[0]) | (found > operator.splits[-1])
        refuse_rows(operator.kind, outside, "error", "numbers beyond its splits")
        if operator.invalid != "keep":
            refuse_rows(operator.kind, np.isnan(found), operator.invalid, "NaN")
        return found
