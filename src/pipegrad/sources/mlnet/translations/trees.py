"""Translations of tree ensembles, as predictors and as features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ....modules import (
    AnyPositive,
    BernoulliHead,
    Head,
    RegressionHead,
    Sequential,
    TreeEnsemble,
    TreeFeatures,
)
from ....registry import Objective, register
from ...arrays import to_array
from ...named.translations import index, write_numbers
from ..operators import trees
from ._base import MLNetTranslation, single

_AT = "pipegrad.sources.mlnet.operators"
_RANKING = ("FTREE RA", "LGBMRANK")


class EnsembleRow(MLNetTranslation):
    """Leaf values train; routing compares in float32, as ML.NET does."""

    differentiable = False
    has_splits = True

    def to_torch(self, operator: trees.Trees) -> nn.Module:
        groups = [
            slots.tolist() for tree in operator.trees for _, slots in sorted(tree.slots.items())
        ]
        ensemble = _ensemble(operator)
        return Sequential(AnyPositive(groups, operator.features), ensemble) if groups else ensemble

    def write_back(self, module: nn.Module, operator: trees.Trees) -> None:
        ensemble = _trees_in(module)
        parts = torch.split(ensemble.leaf_table()[:, 0], [len(v.values) for v in operator.values])
        for numbers, part in zip(operator.values, parts, strict=True):
            write_numbers(numbers, part)
        _put_thresholds(ensemble, operator)


def _put_thresholds(ensemble: TreeEnsemble, operator: trees.Trees) -> None:
    before = single(np.concatenate([t.values for t in operator.thresholds]))
    moved = ensemble.moved_thresholds(before)
    parts = torch.split(moved, [len(t.values) for t in operator.thresholds])
    for tree, numbers, part in zip(operator.trees, operator.thresholds, parts, strict=True):
        new = to_array(part)
        # A categorical node uses no threshold, so the file's value stays.
        places = list(tree.slots)
        new[places] = numbers.values[places]
        _put_defaults(tree, new)
        numbers.put(new)


def _put_defaults(tree: trees.Tree, thresholds: Any) -> None:
    """Keep the value that replaces missing ones on its side of a threshold that moves."""
    if tree.default is not None:
        old, above = tree.default.values, np.nextafter(thresholds, np.float32(np.inf))
        left = old <= tree.threshold.values
        new = np.where(left, thresholds, above)
        tree.default.put(np.where(left == (old <= thresholds), old, new))


def _trees_in(module: nn.Module) -> TreeEnsemble:
    return next(m for m in module.modules() if isinstance(m, TreeEnsemble))


def _ensemble(operator: trees.Trees) -> TreeEnsemble:
    flat = _flatten(operator)
    return TreeEnsemble(
        index(flat["roots"]),
        index(flat["feature"]),
        single(flat["threshold"]),
        index(flat["left"]),
        index(flat["right"]),
        single(np.concatenate([v.values for v in operator.values]))[:, None],
        default_left=torch.from_numpy(flat["default"]),
        average=operator.average,
        squeeze=True,
    )


def _flatten(operator: trees.Trees) -> dict[str, Any]:
    parts: dict[str, list[Any]] = {
        name: [] for name in ("roots", "feature", "threshold", "left", "right", "default")
    }
    nodes = leaves = groups = 0
    for tree in operator.trees:
        count = len(tree.left)
        feature, threshold = tree.feature.copy(), tree.threshold.values.copy()
        for node in sorted(tree.slots):
            # An extra column indicates whether any slot is positive; such rows go right.
            feature[node], threshold[node] = operator.features + groups, 0.5
            groups += 1
        default = np.zeros(count, dtype=bool)
        if tree.default is not None:
            default = tree.default.values <= threshold
        parts["roots"].append([nodes if count else ~leaves])
        parts["feature"].append(feature)
        parts["threshold"].append(threshold)
        parts["default"].append(default)
        for name, children in (("left", tree.left), ("right", tree.right)):
            parts[name].append(np.where(children < 0, children - leaves, children + nodes))
        nodes, leaves = nodes + count, leaves + len(tree.values.values)
    return {name: np.concatenate(values) for name, values in parts.items()}


@register(f"{_AT}.trees.Trees")
class TreesRow(EnsembleRow):
    """A tree ensemble as a predictor."""

    def head(self, operator: trees.Trees) -> Head:
        if operator.kind in ("FTREE BC", "FFORE BC", "LGBBINCL"):
            return BernoulliHead()
        return RegressionHead("log" if operator.kind == "FTREE TW" else "identity")

    def objective(self, operator: trees.Trees) -> Objective | None:
        if operator.kind in _RANKING:
            return None  # Ranking losses compare the rows of a group, which is unknown here.
        if operator.kind == "FTREE TW":
            return Objective("tweedie", {"power": 1.5, "link": "log"})
        return Objective(
            "log_loss" if isinstance(self.head(operator), BernoulliHead) else "squared_error"
        )


@register(f"{_AT}.trees.TreeValues", f"{_AT}.trees.TreeLeaves", f"{_AT}.trees.TreePaths")
class TreeColumns(EnsembleRow):
    """The values of trees train; leaves and paths have no trainable parameters."""

    has_splits = False  # Rows are routed to leaves by hard splits.

    _WHAT = {"TreeValues": "values", "TreeLeaves": "leaves", "TreePaths": "paths"}

    def to_torch(self, operator: trees.Trees) -> nn.Module:
        what: Any = self._WHAT[type(operator).__name__]
        inner = super().to_torch(operator)
        if isinstance(inner, Sequential):
            first, ensemble = inner.links
            return Sequential(first, TreeFeatures(ensemble, what))  # type: ignore[arg-type]
        return TreeFeatures(inner, what)  # type: ignore[arg-type]

    def trainable(self, operator: trees.Trees) -> bool:
        return isinstance(operator, trees.TreeValues)

    def write_back(self, module: nn.Module, operator: trees.Trees) -> None:
        if isinstance(operator, trees.TreeValues):
            super().write_back(module, operator)
