"""Translations of clusters."""

from __future__ import annotations

import numpy as np
from torch import nn

from ....modules import Impute, MixedDistances
from ....registry import register
from ...named.translations import NamedTranslation, numbers_of, write_numbers
from ..operators import clusters

_AT = "pipegrad.sources.h2o.operators.clusters"


@register(f"{_AT}.Fill")
class Fill(NamedTranslation):
    """Fixed: H2O derives these numbers from others."""

    sparse = False

    def to_torch(self, operator: clusters.Fill) -> nn.Module:
        return Impute(numbers_of(operator.values), trainable=False)


@register(f"{_AT}.MixedDistances")
class Distances(NamedTranslation):
    """Numeric coordinates of centers train; their categories are fixed."""

    sparse = False

    def to_torch(self, operator: clusters.MixedDistances) -> nn.Module:
        centers = np.stack([center.values for center in operator.centers])
        return MixedDistances(numbers_of(centers), numbers_of(operator.levels))

    def write_back(self, module: MixedDistances, operator: clusters.MixedDistances) -> None:
        for center, found in zip(operator.centers, module.centers, strict=True):
            write_numbers(center, found)
