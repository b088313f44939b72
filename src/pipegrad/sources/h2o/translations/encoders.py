"""Translations of encodings of categories."""

from __future__ import annotations

import numpy as np
from torch import nn

from ....modules import BlendedMeans, PlaceOfCombination
from ....registry import register
from ...arrays import to_array
from ...named.translations import NamedTranslation, index, numbers_of
from ..operators import encoders

_AT = "pipegrad.sources.h2o.operators.encoders"


@register(f"{_AT}.Combination")
class Combination(NamedTranslation):
    """Has no parameters to train; gradients do not pass."""

    differentiable = False
    sparse = False

    def to_torch(self, operator: encoders.Combination) -> nn.Module:
        return PlaceOfCombination(operator.sizes, index(operator.combinations))


@register(f"{_AT}.TargetMeans")
class TargetMeans(NamedTranslation):
    """The mean targets of each category train."""

    differentiable = False
    sparse = False

    def to_torch(self, operator: encoders.TargetMeans) -> nn.Module:
        return BlendedMeans(
            numbers_of(operator.sums.values / operator.counts),
            numbers_of(operator.counts),
            numbers_of(operator.shares),
            index(operator.rows),
            operator.missing,
        )

    def write_back(self, module: BlendedMeans, operator: encoders.TargetMeans) -> None:
        means = to_array(module.means)
        same = means == operator.sums.values / operator.counts
        operator.sums.put(np.where(same, operator.sums.values, means * operator.counts))
