"""Translations of trees, and of what surrounds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ....modules import (
    Elementwise,
    EncodedLevels,
    LeafNumbers,
    LogOdds,
    PiecewiseLinear,
    ReweightedShares,
    Sequential,
    TreeEnsemble,
)
from ....registry import register
from ...arrays import to_array
from ...named.translations import (
    NamedTranslation,
    index,
    numbers_of,
    tree_ensemble,
    write_numbers,
)
from ..numbers import Numbers
from ..operators import calibration, encoding, leaves, trees

_AT = "pipegrad.sources.h2o.operators"


def _put(parts: list[Numbers], values: Any) -> None:
    ends = np.cumsum([len(numbers.values) for numbers in parts])
    for numbers, new in zip(parts, np.split(values, ends[:-1]), strict=True):
        numbers.put(new)


@register(f"{_AT}.encoding.Encode")
class Encode(NamedTranslation):
    """The numbers of levels stay fixed."""

    sparse = False

    def to_torch(self, operator: encoding.Encode) -> nn.Module:
        tables = operator.tables
        return EncodedLevels(
            operator.columns,
            operator.sizes,
            None if tables is None else [numbers_of(table) for table in tables],
        )


@register(f"{_AT}.trees.Trees")
class Trees(NamedTranslation):
    """Leaf values train, as does what is added to their sum; thresholds with soft splits."""

    differentiable = False
    has_splits = True

    def to_torch(self, operator: trees.Trees) -> nn.Module:
        output, base = operator.tree_output, operator.base
        leaves = trees.joined(operator.leaves)
        first = leaves[:, None]
        return tree_ensemble(
            operator.structure,
            self._thresholds(operator),
            np.hstack([first, 1 - first]) if operator.shares else first,
            strict=True,
            default_left=torch.from_numpy(operator.missing_left.copy()),
            tree_output=None if output is None else index(output),
            outputs=operator.outputs,
            base=None if base is None else numbers_of(base),
            average=operator.average,
            positive=operator.positive,
            probabilities=(2,) if operator.shares else None,
            squeeze=output is None and not operator.shares,
        )

    def write_back(self, module: TreeEnsemble, operator: trees.Trees) -> None:
        _put(operator.leaves, to_array(module.leaf_table())[:, 0])
        write_numbers(operator.base, module.base)
        if len(operator.numeric):
            moved = to_array(module.moved_thresholds(numbers_of(self._thresholds(operator))))
            _put(operator.thresholds, moved[operator.numeric])

    def _thresholds(self, operator: trees.Trees) -> Any:
        return trees.every_threshold(operator.structure, operator.numeric, operator.thresholds)


@register(f"{_AT}.leaves.Leaves")
class Leaves(NamedTranslation):
    """The leaves of the trees in the file; splits that moved count where it is read again."""

    differentiable = False
    sparse = False

    def to_torch(self, operator: leaves.Leaves) -> nn.Module:
        count = len(operator.thresholds) + len(operator.structure.roots)
        trees = tree_ensemble(
            operator.structure,
            operator.thresholds,
            np.zeros((count, 1)),
            strict=True,
            default_left=torch.from_numpy(operator.missing_left.copy()),
        )
        return LeafNumbers(trees)

    def trainable(self, operator: leaves.Leaves) -> bool:
        return False


@register(f"{_AT}.trees.ClassShares")
class ClassShares(NamedTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: trees.ClassShares) -> nn.Module:
        return ReweightedShares(numbers_of(operator.factors))


@register(f"{_AT}.calibration.Platt")
class Platt(NamedTranslation):
    """Stays fixed: no loss is computed on calibrated probabilities."""

    def to_torch(self, operator: calibration.Platt) -> nn.Module:
        slope, constant = numbers_of(-operator.beta.values)
        odds = LogOdds(slope, constant)
        return Sequential(odds, Elementwise(torch.sigmoid)).requires_grad_(False)

    def trainable(self, operator: calibration.Platt) -> bool:
        return False


@register(f"{_AT}.calibration.Isotonic")
class Isotonic(NamedTranslation):
    """Stays fixed: no loss is computed on calibrated probabilities."""

    def to_torch(self, operator: calibration.Isotonic) -> nn.Module:
        knots, values = numbers_of(operator.knots), numbers_of(operator.values)
        return PiecewiseLinear(knots, values, (-np.inf, np.inf), numbers_of(operator.found))
