"""Scalers: column-wise shifts and scales, and row normalization."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from ...modules import NormalizeRows, Rescale, Standardize
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation


@register("sklearn.preprocessing.StandardScaler")
class StandardScaler(SklearnTranslation):
    """mean_ and scale_ become a trainable shift and scale; var_ is updated to match."""

    rounds_parameters = True  # to float32, which loses digits of values close to the mean
    kept: ClassVar[tuple[str, ...]] = ("scale",)
    examples = (
        {},
        Example({"with_mean": False}, unchanged_attributes=("mean_",)),
        {"with_std": False},
        Example({"with_mean": False, "with_std": False}),
        Example({"with_mean": False}, data="sparse", unchanged_attributes=("mean_",)),
        Example({"with_mean": False, "with_std": False}, data="sparse"),
        Example({}, data="missing"),
    )
    sparse = True
    missing = True

    def encode(self, operator: Any, X: Any) -> Any:
        if operator.with_mean and sparse.issparse(X):
            raise ValueError("Cannot center sparse matrices: pass `with_mean=False` instead.")
        return super().encode(operator, X)

    def encoding_key(self, operator: Any) -> Hashable:
        return operator.with_mean

    def to_torch(self, operator: Any) -> nn.Module:
        shift = to_tensor(operator.mean_) if operator.with_mean else None
        scale = to_tensor(operator.scale_) if operator.with_std else None
        return Standardize(shift, scale)

    def write_back(self, module: Standardize, operator: Any) -> None:
        if module.shift is not None:
            operator.mean_ = to_array(module.shift, operator.mean_)
        if module.scale is not None:
            scale = to_array(module.scale(), operator.scale_)
            # A constant column has variance 0 and scale 1; its variance changes with its scale.
            operator.var_ = np.where(scale == operator.scale_, operator.var_, scale**2)
            operator.scale_ = scale

    def inverse(self, operator: Any) -> nn.Module:
        shift = operator.mean_ if operator.with_mean else None
        return _undo(operator, shift, operator.scale_ if operator.with_std else None)


@register("sklearn.preprocessing.MinMaxScaler")
class MinMaxScaler(SklearnTranslation):
    """scale_ and min_ become a trainable scale and offset; the data range is updated to match."""

    kept: ClassVar[tuple[str, ...]] = ("scale",)
    examples: ClassVar[Any] = (
        {},
        {"feature_range": (-2, 3)},
        {"clip": True},
        {"clip": True, "feature_range": (-1, 0.5)},
        Example({}, data="missing"),
    )
    missing = True

    def to_torch(self, operator: Any) -> nn.Module:
        bounds = None
        if operator.clip:
            bounds = (float(operator.feature_range[0]), float(operator.feature_range[1]))
        return Rescale(to_tensor(operator.scale_), to_tensor(operator.min_), bounds)

    def write_back(self, module: Rescale, operator: Any) -> None:
        scale = to_array(module.scale(), operator.scale_)
        offset = to_array(module.offset, operator.min_)
        low, high = operator.feature_range
        # A constant column has range 0 but the scale of range 1; both change together.
        same_scale = scale == operator.scale_
        width = np.where(same_scale, operator.data_range_, (high - low) / scale)
        same = same_scale & (offset == operator.min_)
        least = np.where(same, operator.data_min_, (low - offset) / scale)
        most = np.where(same, operator.data_max_, least + width)
        kind = operator.data_range_.dtype
        operator.scale_, operator.min_ = scale, offset
        operator.data_range_ = width.astype(kind)
        operator.data_min_, operator.data_max_ = least.astype(kind), most.astype(kind)

    def inverse(self, operator: Any) -> nn.Module:
        return Standardize(to_tensor(operator.min_), to_tensor(operator.scale_))


@register("sklearn.preprocessing.MaxAbsScaler")
class MaxAbsScaler(SklearnTranslation):
    """scale_ becomes a trainable scale; max_abs_ is updated to match."""

    kept: ClassVar[tuple[str, ...]] = ("scale",)
    examples = (
        {},
        Example({}, data="sparse"),
        Example({}, data="missing"),
        Example({"clip": True}, since="1.9"),
        Example({"clip": True}, data="sparse", since="1.9"),
    )
    sparse = True
    missing = True

    def to_torch(self, operator: Any) -> nn.Module:
        bounds = (-1.0, 1.0) if getattr(operator, "clip", False) else None
        return Standardize(scale=to_tensor(operator.scale_), bounds=bounds)

    def write_back(self, module: Standardize, operator: Any) -> None:
        assert module.scale is not None
        scale = to_array(module.scale(), operator.scale_)
        # A column of zeros has the scale 1.
        same = scale == operator.scale_
        operator.max_abs_ = np.where(same, operator.max_abs_, scale)
        operator.scale_ = scale

    def inverse(self, operator: Any) -> nn.Module:
        return _undo(operator, None, operator.scale_)


@register("sklearn.preprocessing.RobustScaler")
class RobustScaler(SklearnTranslation):
    """center_ and scale_ become a trainable shift and scale."""

    kept: ClassVar[tuple[str, ...]] = ("scale",)
    examples = (
        {},
        {"with_centering": False},
        {"with_scaling": False},
        {"with_centering": False, "with_scaling": False},
        {"unit_variance": True, "quantile_range": (10.0, 80.0)},
        Example({"with_centering": False}, data="sparse"),
        Example({}, data="missing"),
    )
    sparse = True
    missing = True

    def refuse(self, operator: Any) -> str | None:
        if operator.with_scaling and np.isin(operator.scale_, (0.0, np.inf)).any():
            return f"quantile_range={operator.quantile_range} gives scales of zero or infinity"
        return None

    def to_torch(self, operator: Any) -> nn.Module:
        shift = to_tensor(operator.center_) if operator.with_centering else None
        scale = to_tensor(operator.scale_) if operator.with_scaling else None
        return Standardize(shift, scale)

    def write_back(self, module: Standardize, operator: Any) -> None:
        if module.shift is not None:
            operator.center_ = to_array(module.shift, operator.center_)
        if module.scale is not None:
            operator.scale_ = to_array(module.scale(), operator.scale_)

    def inverse(self, operator: Any) -> nn.Module:
        return _undo(operator, operator.center_, operator.scale_)


@register("sklearn.preprocessing.Normalizer")
class Normalizer(SklearnTranslation):
    """Rows scaled to unit norm. Nothing is trainable; gradients pass through."""

    examples = (
        {},
        {"norm": "l1"},
        {"norm": "max"},
        Example({}, data="sparse"),
        Example({"norm": "l1"}, data="sparse"),
        Example({"norm": "max"}, data="sparse"),
    )
    sparse = True
    adds_entries = False
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "the norm of a row counts each of them"
    }

    def to_torch(self, operator: Any) -> nn.Module:
        return NormalizeRows(operator.norm)

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass


def _undo(operator: Any, shift: NDArray[Any] | None, scale: NDArray[Any] | None) -> nn.Module:
    width = operator.n_features_in_
    return Rescale(
        to_tensor(np.ones(width) if scale is None else scale),
        to_tensor(np.zeros(width) if shift is None else shift),
    )
