"""Translations of trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ....modules import LeafNumbers, TreeEnsemble
from ....registry import register
from ...arrays import to_array
from ...named.translations import NamedTranslation, index, numbers_of, tree_ensemble
from ..operators import trees

_AT = "pipegrad.sources.spark.operators.trees"


def _ensemble(operator: trees.Trees, values: Any, squeeze: bool, classes: int = 0) -> TreeEnsemble:
    at = operator.structure
    threshold = np.zeros(len(at.feature))
    threshold[operator.numeric] = operator.thresholds.values[:, 0]
    weights = operator.tree_weights
    categories = bool(at.category_width.any())
    return tree_ensemble(
        at,
        threshold,
        values,
        # NaN is no category that a node knows.
        default_left=torch.from_numpy(at.unknown_left.copy()) if categories else None,
        tree_weights=None if weights is None else numbers_of(weights),
        average=operator.average,
        squeeze=squeeze,
        probabilities=(classes,) if classes else None,
    )


@register(f"{_AT}.Trees")
class TreesRow(NamedTranslation):
    """Leaf values train; for classifiers, the shares of classes in each leaf."""

    differentiable = False
    has_splits = True

    def to_torch(self, operator: trees.Trees) -> nn.Module:
        leaves = operator.structure.leaves
        if operator.counts is None:
            values = operator.predictions.values[leaves][:, None]
            return _ensemble(operator, values, squeeze=True)
        counts = operator.counts.values[leaves]
        shares = counts / counts.sum(1, keepdims=True)
        return _ensemble(operator, shares, squeeze=False, classes=counts.shape[1])

    def write_back(self, module: TreeEnsemble, operator: trees.Trees) -> None:
        leaves, table = operator.structure.leaves, to_array(module.leaf_table())
        predictions = operator.predictions.values.copy()
        if operator.counts is None:
            predictions[leaves] = table[:, 0]
        else:
            counts = operator.counts.values.copy()
            before = counts[leaves]
            totals = before.sum(1, keepdims=True)
            same = table == to_array(self._fresh(operator).leaf_table())
            counts[leaves] = np.where(same.all(1, keepdims=True), before, table * totals)
            changed = ~same.all(1)
            predictions[leaves[changed]] = table[changed].argmax(1)
            operator.counts.put(counts)
        operator.predictions.put(predictions)
        if len(operator.numeric):
            old = np.zeros(len(operator.structure.feature))
            old[operator.numeric] = operator.thresholds.values[:, 0]
            moved = to_array(module.moved_thresholds(numbers_of(old)))
            operator.thresholds.put(moved[operator.numeric][:, None])

    def _fresh(self, operator: trees.Trees) -> TreeEnsemble:
        made = self.to_torch(operator)
        assert isinstance(made, TreeEnsemble)
        return made


@register(f"{_AT}.LeafTotals")
class LeafTotals(NamedTranslation):
    """The weight of each leaf stays fixed."""

    differentiable = False

    def to_torch(self, operator: trees.LeafTotals) -> nn.Module:
        inner = operator.trees
        assert inner.counts is not None
        values = inner.counts.values[inner.structure.leaves].sum(1, keepdims=True)
        return _ensemble(inner, values, squeeze=True).requires_grad_(False)

    def trainable(self, operator: trees.LeafTotals) -> bool:
        return False


@register(f"{_AT}.LeafNumbers")
class LeafNumbersRow(NamedTranslation):
    """Has no parameters to train; thresholds of the trees stay as fitted in it."""

    differentiable = False

    def to_torch(self, operator: trees.LeafNumbers) -> nn.Module:
        at = operator.trees.structure
        count = len(at.leaves)
        routes = _ensemble(operator.trees, np.zeros((count, 1)), squeeze=True)
        return LeafNumbers(routes, index(_first_leaves(at)))

    def trainable(self, operator: trees.LeafNumbers) -> bool:
        return False


def _first_leaves(at: trees.Structure) -> Any:
    """The first leaf of each tree; leaves have the order of their trees."""
    starts = []
    for root in at.roots.tolist():
        while root >= 0:
            root = int(at.left[root])
        starts.append(~root)
    return starts


@register(f"{_AT}.LeafVariance")
class LeafVariance(NamedTranslation):
    """The variances stay fixed."""

    differentiable = False

    def to_torch(self, operator: trees.LeafVariance) -> nn.Module:
        values = operator.variances[operator.trees.structure.leaves][:, None]
        return _ensemble(operator.trees, values, squeeze=True).requires_grad_(False)

    def trainable(self, operator: trees.LeafVariance) -> bool:
        return False
