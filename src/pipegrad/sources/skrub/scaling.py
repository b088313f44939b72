"""Scaling with soft clipping."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...modules import SquashedColumns
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ..sklearn import SklearnTranslation
from ..sklearn._base import validate


@register("skrub.SquashingScaler")
class SquashingScaler(SklearnTranslation):
    """Centers and widths of the columns are trainable, and widths stay positive."""

    missing = True
    kept: ClassVar[tuple[str, ...]] = ("scale",)
    examples: ClassVar[Any] = (
        {},
        {"max_absolute_value": 5, "quantile_range": (10.0, 80.0)},
        Example({"quantile_range": (50.0, 50.0)}),
        Example({}, data="missing"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "robust_cols_": "which columns are scaled by quantiles does not change",
        "minmax_cols_": "which columns are scaled by their range does not change",
        "zero_cols_": "columns that are constant stay constant",
    }

    def encode(self, operator: Any, X: Any) -> Any:
        return validate(operator, X, finite=False)

    def to_torch(self, operator: Any) -> SquashedColumns:
        shift, scale = np.zeros(operator.n_features_in_), np.ones(operator.n_features_in_)
        robust, ranges = operator.robust_cols_, operator.minmax_cols_
        if robust.any():
            shift[robust] = operator.robust_scaler_.center_
            scale[robust] = operator.robust_scaler_.scale_
        if ranges.any():
            shift[ranges] = operator.minmax_scaler_.median_
            scale[ranges] = 1 / operator.minmax_scaler_.scale_
        kept = np.flatnonzero(robust | ranges)
        bound = float(operator.max_absolute_value)
        return SquashedColumns(to_tensor(shift[kept]), to_tensor(scale[kept]), kept.tolist(), bound)

    def write_back(self, module: SquashedColumns, operator: Any) -> None:
        scaling = module.standardize
        assert scaling.shift is not None
        assert scaling.scale is not None
        shift, scale = to_array(scaling.shift), to_array(scaling.scale())
        kept = to_array(module.kept)
        robust, ranges = operator.robust_cols_[kept], operator.minmax_cols_[kept]
        if robust.any():
            operator.robust_scaler_.center_ = shift[robust]
            operator.robust_scaler_.scale_ = scale[robust]
        if ranges.any():
            operator.minmax_scaler_.median_ = shift[ranges]
            operator.minmax_scaler_.scale_ = 1 / scale[ranges]
