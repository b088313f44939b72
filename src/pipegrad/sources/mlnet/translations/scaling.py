"""Translations of normalizers, projections and kernel features."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from ....modules import (
    BinPosition,
    Distances,
    Head,
    Linear,
    NearestHead,
    NormalDistribution,
    RandomFourierFeatures,
    RowNorm,
)
from ....registry import Objective, register
from ...arrays import to_array
from ...named.translations import write_numbers
from ..operators import normalizers, projections
from ._base import MLNetTranslation, single

_AT = "pipegrad.sources.mlnet.operators"


@register(f"{_AT}.normalizers.Cumulative")
class Cumulative(MLNetTranslation):
    """Mean and standard deviation train; ML.NET's approximation loses digits near the mean."""

    tolerance = 2e-5

    def to_torch(self, operator: normalizers.Cumulative) -> nn.Module:
        mean, deviation = single(operator.mean), single(operator.deviation)
        return NormalDistribution(mean, deviation, operator.logarithm)

    def write_back(self, module: NormalDistribution, operator: normalizers.Cumulative) -> None:
        write_numbers(operator.mean, module.mean)
        write_numbers(operator.deviation, module.deviation())


@register(f"{_AT}.normalizers.Binning")
class Binning(MLNetTranslation):
    """The bounds stay fixed; no gradient passes."""

    differentiable = False

    def to_torch(self, operator: normalizers.Binning) -> nn.Module:
        return BinPosition([single(b) for b in operator.bounds], operator.fix_zero)


@register(f"{_AT}.normalizers.RowNorm")
class RowNormRow(MLNetTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: normalizers.RowNorm) -> nn.Module:
        return RowNorm(operator.norm, operator.center, operator.scale)


@register(f"{_AT}.projections.Projection")
class Projection(MLNetTranslation):
    """Directions and the projected mean train."""

    def to_torch(self, operator: projections.Projection) -> nn.Module:
        origin = None if operator.origin is None else -single(operator.origin)
        return Linear(single(operator.directions).T, origin)

    def write_back(self, module: Linear, operator: projections.Projection) -> None:
        write_numbers(operator.directions, module.weight.T)
        write_numbers(operator.origin, None if module.bias is None else -module.bias)


@register(f"{_AT}.projections.Whitening")
class Whitening(MLNetTranslation):
    """The matrix trains."""

    def to_torch(self, operator: projections.Whitening) -> nn.Module:
        return Linear(single(operator.matrix.values[: operator.rows]).T)

    def write_back(self, module: Linear, operator: projections.Whitening) -> None:
        new = operator.matrix.values.copy()
        new[: operator.rows] = to_array(module.weight.T)
        operator.matrix.put(new)


@register(f"{_AT}.projections.FourierFeatures")
class FourierFeatures(MLNetTranslation):
    """The frequencies stay fixed: ML.NET stores only how to draw them."""

    def to_torch(self, operator: projections.FourierFeatures) -> nn.Module:
        frequencies, given = operator.drawn
        weight = single(frequencies).T
        amplitude = math.sqrt(2.0 / weight.shape[1])
        if given is None:
            # Sines are cosines shifted by a quarter turn; each frequency gives such a pair.
            weight = weight.repeat_interleave(2, 1)
            quarter = torch.tensor([0.0, -math.pi / 2])
            phases, amplitude = quarter.repeat(weight.shape[1] // 2), amplitude / math.sqrt(2.0)
        else:
            phases = single(given)
        module = RandomFourierFeatures(weight, phases, amplitude)
        return module.requires_grad_(False)

    def trainable(self, operator: projections.FourierFeatures) -> bool:
        return False


@register(f"{_AT}.projections.Centroids")
class Centroids(MLNetTranslation):
    """Centers train."""

    def to_torch(self, operator: projections.Centroids) -> nn.Module:
        centers = np.stack([center.array() for center in operator.centers])
        return Distances(single(centers), squared=True)

    def write_back(self, module: Distances, operator: projections.Centroids) -> None:
        for row, center in zip(to_array(module.centers), operator.centers, strict=True):
            center.put(row)

    def head(self, operator: projections.Centroids) -> Head:
        return NearestHead()

    def objective(self, operator: projections.Centroids) -> Objective:
        return Objective("inertia", {"squared": True})
