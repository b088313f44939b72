"""Imputation and indicators of missing values."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from ...modules import Impute, Missing
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, as_float, reject_entries_stored_twice


class _AboutMissing(SklearnTranslation):
    sparse = True
    missing = True

    def encode(self, operator: Any, X: Any) -> Any:
        return as_float(operator._validate_input(X, in_fit=False))


@register("sklearn.impute.SimpleImputer")
class SimpleImputer(_AboutMissing):
    """statistics_ become trainable fill values, one per column that has one."""

    examples = (
        Example({}, data="missing"),
        Example({"strategy": "median"}, data="missing"),
        Example({"strategy": "most_frequent"}, data="missing"),
        Example({"strategy": "constant", "fill_value": -1.5}, data="missing"),
        Example({"strategy": "constant"}, data="missing"),
        Example({"strategy": np.max}, data="missing"),
        Example({"add_indicator": True}, data="missing"),
        Example({"keep_empty_features": True, "add_indicator": True}, data="missing"),
        Example({"missing_values": -99.0, "strategy": "median"}, data="marked"),
        Example({"add_indicator": True}, data="sparse_missing"),
        Example({"strategy": "constant", "fill_value": 2.5}, data="sparse_missing"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "indicator_": "marks missing entries; it holds no fill values"
    }

    def refuse(self, operator: Any) -> str | None:
        if operator._fit_dtype.kind == "O":
            return "its fill values are not numbers"
        return None

    def trainable(self, operator: Any) -> bool:
        # The source keeps integer fill values as integers, which would round trained values.
        return self.refuse(operator) is None and operator._fit_dtype.kind == "f"

    def to_torch(self, operator: Any) -> nn.Module:
        kept = _kept(operator)
        flags = operator.indicator_.features_ if operator.add_indicator else None
        return Impute(
            to_tensor(_numbers(operator, kept)),
            _mark(operator.missing_values),
            None if kept.all() else np.flatnonzero(kept).tolist(),
            flags,
            trainable=self.trainable(operator),
        )

    def write_back(self, module: Impute, operator: Any) -> None:
        kept = _kept(operator)
        statistics = operator.statistics_.copy()
        before = _numbers(operator, kept)
        fill = to_array(module.fill, before)
        statistics[kept] = np.where(fill == before, statistics[kept], fill)
        operator.statistics_ = statistics


@register("sklearn.impute.MissingIndicator")
class MissingIndicator(_AboutMissing):
    """Zeros and ones. Nothing is trainable; gradients stop here."""

    examples = (
        Example({}, data="missing"),
        Example({"features": "all"}, data="missing"),
        Example({"sparse": True}, data="missing"),
        Example({"missing_values": -99, "sparse": False}, data="marked"),
        Example({}, data="sparse_missing"),
        Example({"sparse": False}, data="sparse_missing"),
    )
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "the mask has an entry for each of them"
    }
    differentiable = False

    def refuse(self, operator: Any) -> str | None:
        if isinstance(operator.missing_values, str) or operator.missing_values is None:
            return f"missing_values={operator.missing_values!r} is not a number"
        return None

    def trainable(self, operator: Any) -> bool:
        return False

    def encode(self, operator: Any, X: Any) -> Any:
        # The source rejects missing values in a column that had none during fit.
        operator.transform(X)
        encoded = super().encode(operator, X)
        reject_entries_stored_twice(operator, encoded)
        # Request dense output.
        if operator.sparse is False and sparse.issparse(encoded):
            return encoded.toarray()
        return encoded

    def to_torch(self, operator: Any) -> nn.Module:
        whole = len(operator.features_) == operator.n_features_in_
        columns = None if whole else operator.features_
        return Missing(_mark(operator.missing_values), columns, sparse=operator.sparse is True)

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass


def _mark(missing_values: Any) -> float:
    """Return the marker of a missing entry; pandas' NA is NaN in numeric tables."""
    try:
        return float(missing_values)
    except TypeError:
        return math.nan


def _numbers(operator: Any, kept: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the fill values in the source's dtype."""
    kind = getattr(operator, "_fill_dtype", operator._fit_dtype)
    numbers: NDArray[Any] = operator.statistics_[kept].astype(kind)
    return numbers


def _kept(operator: Any) -> NDArray[np.bool_]:
    """Return a mask of the output columns, which are those with a fill value."""
    if operator.keep_empty_features:
        return np.ones(len(operator.statistics_), dtype=bool)
    return ~np.isnan(operator.statistics_.astype(np.float64))
