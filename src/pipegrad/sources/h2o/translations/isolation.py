"""Translations of forests that isolate rows."""

from __future__ import annotations

import numpy as np
from torch import nn

from ....modules import Elementwise, ObliqueTrees, anomaly_score, share_of_lengths
from ....registry import register
from ...named.translations import NamedTranslation, numbers_of, tree_ensemble
from ..operators import isolation

_AT = "pipegrad.sources.h2o.operators.isolation"


@register(f"{_AT}.ShareOfLengths")
class ShareOfLengths(NamedTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: isolation.ShareOfLengths) -> nn.Module:
        limits = {"shortest": operator.shortest, "longest": operator.longest}
        return Elementwise(share_of_lengths, limits, elementwise=False)


@register(f"{_AT}.AnomalyScore")
class AnomalyScore(NamedTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: isolation.AnomalyScore) -> nn.Module:
        return Elementwise(anomaly_score, {"typical": operator.typical}, elementwise=False)


@register(f"{_AT}.ObliqueTrees")
class ObliqueTreesRow(NamedTranslation):
    """Stays fixed: H2O computes the lengths of paths from whole numbers of rows."""

    differentiable = False
    sparse = False

    def to_torch(self, operator: isolation.ObliqueTrees) -> nn.Module:
        trees = tree_ensemble(
            operator.structure,
            np.zeros(len(operator.points)),
            operator.lengths[:, None],
            average=True,
            squeeze=True,
        )
        planes = numbers_of(operator.points), numbers_of(operator.normals)
        return ObliqueTrees(*planes, trees).requires_grad_(False)

    def trainable(self, operator: isolation.ObliqueTrees) -> bool:
        return False
