"""Translations of generalized additive models."""

from __future__ import annotations

import torch
from torch import nn

from ....modules import (
    CubicRegressionBasis,
    Module,
    MonotoneSplineBasis,
    SmoothColumns,
    ThinPlateBasis,
)
from ....registry import register
from ...named.translations import NamedTranslation, numbers_of
from ..operators import additive


@register("pipegrad.sources.h2o.operators.additive.SmoothColumns")
class Smooth(NamedTranslation):
    """Has no parameters to train: the coefficients of the linear map after it are the functions."""

    sparse = False

    def to_torch(self, operator: additive.SmoothColumns) -> nn.Module:
        parts = operator.parts
        return SmoothColumns(
            [_basis(part) for part in parts],
            [None if part.map is None else numbers_of(part.map) for part in parts],
            [part.columns for part in parts],
            [part.start for part in parts],
            operator.kept,
            operator.width,
        )


def _basis(part: additive.Smooth) -> Module:
    knots: torch.Tensor = numbers_of(part.knots)
    if isinstance(part, additive.CubicSpline):
        return CubicRegressionBasis(knots[0], numbers_of(part.curvature))
    if isinstance(part, additive.ThinPlate):
        numbers = (part.powers, part.radial, part.scale, part.shift)
        return ThinPlateBasis(knots, part.order, *map(numbers_of, numbers))
    assert isinstance(part, additive.MonotoneSpline)
    return MonotoneSplineBasis(knots[0], part.order, part.integrals)
