"""Scalers: column-wise shifts and scales."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from ...modules import Rescale, Standardize
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation


@register("sklearn.preprocessing.StandardScaler")
class StandardScaler(SklearnTranslation):
    """mean_ and scale_ become a trainable shift and scale; var_ follows."""

    examples = (
        {},
        Example({"with_mean": False}, keeps=("mean_",)),
        {"with_std": False},
        Example({"with_mean": False, "with_std": False}),
        Example({"with_mean": False}, data="sparse", keeps=("mean_",)),
        Example({}, data="missing"),
    )
    sparse = True
    missing = True

    def to_torch(self, operator: Any) -> nn.Module:
        shift = to_tensor(operator.mean_) if operator.with_mean else None
        scale = to_tensor(operator.scale_) if operator.with_std else None
        return Standardize(shift, scale)

    def write_back(self, module: Standardize, operator: Any) -> None:
        if module.shift is not None:
            operator.mean_ = to_array(module.shift, operator.mean_)
        if module.scale is not None:
            scale = to_array(module.scale(), operator.scale_)
            # A constant column has variance 0 and scale 1: only a scale that moved has a new one.
            operator.var_ = np.where(scale == operator.scale_, operator.var_, scale**2)
            operator.scale_ = scale

    def inverse(self, operator: Any) -> nn.Module:
        width = operator.n_features_in_
        scale = operator.scale_ if operator.with_std else np.ones(width)
        offset = operator.mean_ if operator.with_mean else np.zeros(width)
        return Rescale(to_tensor(scale), to_tensor(offset))
