"""Conversion between scikit-learn's trees and flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...modules import TreeEnsemble
from ..arrays import to_array, to_tensor


@dataclass(frozen=True)
class Flat:
    """Nodes and leaves of many trees, in the layout of `TreeEnsemble`.

    Parameters
    ----------
    structure : dict of str
        Roots, features, thresholds and children.
    is_leaf : array of bool
        Leaf mask over all nodes of all trees, in the source's order.
    """

    structure: dict[str, Any]
    is_leaf: NDArray[np.bool_]


def flatten(
    left: Sequence[Any], right: Sequence[Any], feature: NDArray[Any], threshold: NDArray[Any]
) -> Flat:
    """Concatenate trees whose child indices are local to each tree; a leaf has the index -1.

    Parameters
    ----------
    left, right : sequences of arrays
        Child indices, one array per tree.
    feature, threshold : arrays
        Split features and thresholds over all nodes of all trees.

    Returns
    -------
    Flat
        The concatenated trees.
    """
    sizes = np.array([len(part) for part in left])
    offset = np.cumsum(sizes) - sizes
    shift = np.repeat(offset, sizes)
    lefts = np.concatenate(left).astype(np.int64)
    rights = np.concatenate(right).astype(np.int64)
    is_leaf = lefts < 0
    code = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    inner = ~is_leaf
    structure: dict[str, Any] = {
        "roots": torch.from_numpy(code[offset]),
        "feature": torch.from_numpy(feature[inner].astype(np.int64)),
        "threshold": to_tensor(threshold[inner]),
        "left": torch.from_numpy(code[(lefts + shift)[inner]]),
        "right": torch.from_numpy(code[(rights + shift)[inner]]),
    }
    return Flat(structure, is_leaf)


def flatten_trees(trees: Sequence[Any], columns: Sequence[Any] | None = None) -> Flat:
    """Concatenate ``tree_`` objects.

    Parameters
    ----------
    trees : sequence of sklearn.tree._tree.Tree
        The trees.
    columns : sequence of arrays, optional
        The columns that each tree uses, if not all.
    """
    if columns is None:
        feature = [tree.feature for tree in trees]
    else:
        # A leaf has the feature -2, which is never read.
        pairs = zip(trees, columns, strict=True)
        feature = [np.asarray(c)[np.maximum(tree.feature, 0)] for tree, c in pairs]
    flat = flatten(
        [tree.children_left for tree in trees],
        [tree.children_right for tree in trees],
        np.concatenate(feature),
        np.concatenate([tree.threshold for tree in trees]),
    )
    default = np.concatenate([tree.missing_go_to_left for tree in trees])[~flat.is_leaf]
    flat.structure["default_left"] = torch.from_numpy(default.astype(bool))
    return flat


def leaf_values(trees: Sequence[Any]) -> NDArray[Any]:
    """Return the values of all leaves, shape (leaves, outputs, classes)."""
    return np.concatenate([tree.value[tree.children_left < 0] for tree in trees])


def write_trees(module: TreeEnsemble, trees: Sequence[Any], values: NDArray[Any]) -> None:
    """Write leaf values (leaves, outputs, classes) and thresholds into ``tree_`` objects."""
    leaf = node = 0
    thresholds = _thresholds(module, [tree.threshold[tree.children_left >= 0] for tree in trees])
    values = monotone_values(module, values, thresholds)
    for tree in trees:
        is_leaf = tree.children_left < 0
        count = int(is_leaf.sum())
        tree.value[is_leaf] = values[leaf : leaf + count]
        leaf += count
        inner = len(is_leaf) - count
        tree.threshold[~is_leaf] = thresholds[node : node + inner]
        node += inner


def monotone_values(
    module: TreeEnsemble, values: NDArray[Any], thresholds: NDArray[Any]
) -> NDArray[Any]:
    """Return leaf values that respect monotone constraints in the precision of the source."""
    table = to_tensor(values.reshape(len(values), -1))
    kept = module.monotone_values(table, to_tensor(thresholds))
    return values if kept is table else kept.numpy().astype(values.dtype).reshape(values.shape)


def _thresholds(module: TreeEnsemble, before: Sequence[Any]) -> NDArray[Any]:
    known = np.concatenate(before)
    return to_array(module.moved_thresholds(to_tensor(known)), known)
