"""Translations of linear models, and of decisions between classes."""

from __future__ import annotations

import torch
from torch import nn

from ....modules import (
    DrawnLargest,
    Elementwise,
    InverseLink,
    MarginSides,
    MonotoneInterpolation,
    Sequential,
    away_from_zero,
    ordered_shares,
)
from ....registry import register
from ...named.translations import NamedTranslation, numbers_of, write_numbers
from ..operators import answers, isotonic, linear, margins

_AT = "pipegrad.sources.h2o.operators"


# Smaller linear predictors have this reciprocal, with their sign; smaller means are this one.
_SMALLEST, _FLOOR = 1e-5, 2e-16


@register(f"{_AT}.linear.BoundedMean")
class BoundedMean(NamedTranslation):
    """Converts linear predictors to means."""

    def to_torch(self, operator: linear.BoundedMean) -> nn.Module:
        links: list[nn.Module] = [InverseLink(operator.link, operator.power)]
        if operator.link == "inverse":
            links.insert(0, Elementwise(away_from_zero, {"smallest": _SMALLEST}))
        if operator.floor:
            links.append(Elementwise(torch.clamp, {"min": _FLOOR}))
        return Sequential(*links)


@register(f"{_AT}.answers.DrawnClass")
class DrawnClass(NamedTranslation):
    """No gradient passes through the decision."""

    differentiable = False
    sparse = False

    def to_torch(self, operator: answers.DrawnClass) -> nn.Module:
        return DrawnLargest(numbers_of(operator.priors))


@register(f"{_AT}.linear.Shares")
class Shares(NamedTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: linear.Shares) -> nn.Module:
        return Elementwise(ordered_shares, elementwise=False)


@register(f"{_AT}.isotonic.Interpolate")
class Interpolate(NamedTranslation):
    """Values at the knots train, and do not start to decrease."""

    sparse = False

    def to_torch(self, operator: isotonic.Interpolate) -> nn.Module:
        knots, values = numbers_of(operator.knots), numbers_of(operator.values)
        return MonotoneInterpolation(knots, values, clip=True)

    def write_back(self, module: MonotoneInterpolation, operator: isotonic.Interpolate) -> None:
        write_numbers(operator.values, module.values())


@register(f"{_AT}.margins.MarginColumns")
class MarginColumns(NamedTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: margins.MarginColumns) -> nn.Module:
        return MarginSides(operator.threshold, operator.least)
