"""Translations of models of XGBoost."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ....modules import BoosterColumns, BoosterSums, LinearBooster
from ....registry import register
from ...arrays import to_array
from ...named.translations import (
    NamedTranslation,
    numbers_of,
    tree_ensemble,
    write_numbers,
)
from ..operators import boosters

_AT = "pipegrad.sources.h2o.operators.boosters"


@register(f"{_AT}.Columns")
class Columns(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: boosters.Columns) -> nn.Module:
        return BoosterColumns(operator.sizes, operator.shift, operator.sparse)


@register(f"{_AT}.BoostedTrees")
class BoostedTrees(NamedTranslation):
    """Leaf values train, and thresholds with soft splits; base scores and factors stay fixed."""

    differentiable = False
    sparse = False
    has_splits = True

    def to_torch(self, operator: boosters.BoostedTrees) -> nn.Module:
        factors = operator.factors
        return BoosterSums(
            tree_ensemble(
                operator.structure,
                self._thresholds(operator),
                operator.leaves.values[:, None],
                strict=True,
                default_left=torch.from_numpy(operator.missing_left.copy()),
            ),
            operator.outputs,
            operator.count,
            operator.base,
            None if factors is None else numbers_of(factors),
            operator.base_last,
            squeeze=operator.task != "softmax",
        )

    def write_back(self, module: BoosterSums, operator: boosters.BoostedTrees) -> None:
        operator.leaves.put(to_array(module.trees.leaf_table())[:, 0])
        if len(operator.numeric):
            before = numbers_of(self._thresholds(operator))
            moved = to_array(module.trees.moved_thresholds(before))
            operator.thresholds.put(moved[operator.numeric])

    def _thresholds(self, operator: boosters.BoostedTrees) -> Any:
        every = np.zeros(len(operator.structure.feature))
        every[operator.numeric] = operator.thresholds.values
        return every


@register(f"{_AT}.BoostedLinear")
class BoostedLinear(NamedTranslation):
    """Coefficients and the bias train."""

    sparse = False

    def to_torch(self, operator: boosters.BoostedLinear) -> nn.Module:
        return LinearBooster(
            numbers_of(operator.weight),
            numbers_of(operator.bias),
            operator.sizes,
            operator.base,
            operator.base_last,
            squeeze=operator.task != "softmax",
        )

    def write_back(self, module: LinearBooster, operator: boosters.BoostedLinear) -> None:
        write_numbers(operator.weight, module.weight)
        write_numbers(operator.bias, module.bias)
