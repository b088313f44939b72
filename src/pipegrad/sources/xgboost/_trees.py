"""Checks the arrays of one tree in an XGBoost model file."""

from __future__ import annotations

from functools import cache
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from ..document import Place, single

_LARGEST = 2**31 - 1
_DELETED = 2**31 - 1  # the split index of a node that was pruned
_NO_PARENT = (-1, 2**31 - 1)
_MOST_CATEGORIES = 2**24
_CATEGORY_KEYS = ("categories", "categories_nodes", "categories_segments", "categories_sizes")


def check_tree(tree: Place, features: int, *, finite: bool) -> tuple[int, int]:
    """Reject a tree that is none, or whose arrays do not fit together.

    Parameters
    ----------
    tree : Place
        The tree in its document.
    features : int
        Number of features of the model.
    finite : bool
        Whether leaves that are single values must be finite.

    Returns
    -------
    (int, int)
        How many values a leaf has, and the size of its tables of categories.
    """
    known = tree["tree_param"]
    nodes = len(tree["left_children"].array())
    stated = known["num_nodes"].integer_text(1, _LARGEST)
    if stated != nodes:
        known.fail(f"{stated} nodes are stated, but there are {nodes}.", at="num_nodes")
    known["num_feature"].integer_text(0, 2**32 - 1)
    width = max(1, known["size_leaf_vector"].integer_text(0, _LARGEST))
    left = tree["left_children"].integers(-1, _LARGEST, nodes)
    right = tree["right_children"].integers(-1, _LARGEST, nodes)
    leaf = left == -1
    children = np.concatenate([left[~leaf], right[~leaf]])
    owners = np.tile(np.flatnonzero(~leaf), 2)
    _check_children(tree, children, owners, nodes)
    asked = tree["split_indices"].integers(0, _LARGEST, nodes)
    default = tree["default_left"].integers(0, 1, nodes, booleans=True)
    deleted = (asked == _DELETED) & (default == 1)
    deleted[0] = False
    _check_links(tree, children, owners, deleted)
    if (asked[~leaf] >= features).any():
        node = int(np.flatnonzero(~leaf & (asked >= features))[0])
        tree["split_indices"].fail(f"the model has no feature {asked[node]}.", at=node)
    if width == 1:
        _check_numbers(tree, right, leaf, finite)
    else:
        _check_vectors(tree, right[leaf], nodes, width)
    _check_thresholds(tree, leaf)
    return width, _check_category_sets(tree, nodes)


def _check_children(
    tree: Place, children: NDArray[np.int64], owners: NDArray[np.int64], nodes: int
) -> None:
    """Each node has at most one parent, and the root has none."""
    outside = (children < 1) | (children >= nodes)
    if not outside.any():
        if nodes > 1 and np.bincount(children, minlength=nodes).max() > 1:
            twice = int(np.bincount(children).argmax())
            tree.fail(f"node {twice} is the child of more than one node.")
        return
    bad = int(np.flatnonzero(outside)[0])
    side = "left_children" if bad < len(children) // 2 else "right_children"
    tree[side].fail(
        f"child {children[bad]} of node {owners[bad]} lies outside of the tree of {nodes} nodes.",
        at=int(owners[bad]),
    )


def _check_links(
    tree: Place,
    children: NDArray[np.int64],
    owners: NDArray[np.int64],
    deleted: NDArray[np.bool_],
) -> None:
    """All nodes hang together, except for deleted leaves."""
    nodes = len(deleted)
    parents = tree["parents"].integers(-1, _LARGEST, nodes)
    if parents[0] not in _NO_PARENT:
        tree["parents"].fail(f"the root cannot have the parent {parents[0]}.", at=0)
    wrong = parents[children] != owners
    if wrong.any():
        node = int(children[wrong][0])
        tree["parents"].fail(f"{parents[node]} does not have the child {node}.", at=node)
    if ((parents[1:] < 0) | (parents[1:] >= nodes)).any():
        node = 1 + int(np.flatnonzero((parents[1:] < 0) | (parents[1:] >= nodes))[0])
        tree["parents"].fail(f"{parents[node]} lies outside of the tree of {nodes} nodes.", at=node)
    linked = np.zeros(nodes, dtype=bool)
    linked[children] = True
    linked[0] = True
    loose = linked == deleted
    loose[owners] |= deleted[owners]
    if loose.any():
        node = int(np.flatnonzero(loose)[0])
        tree.fail(f"node {node} is {'deleted' if linked[node] else 'no part of the tree'}.")
    stated = tree["tree_param"]["num_deleted"].integer_text(0, _LARGEST)
    if stated != deleted.sum():
        tree["tree_param"].fail(f"{stated} is not {deleted.sum()}.", at="num_deleted")
    if (owners >= children).any():
        _check_cycles(tree, children, owners, nodes)


def _check_cycles(
    tree: Place, children: NDArray[np.int64], owners: NDArray[np.int64], nodes: int
) -> None:
    """Every node leads to the root."""
    above = np.zeros(nodes, dtype=np.int64)
    above[children] = owners
    for _ in range(nodes.bit_length()):
        above = above[above]
    if above.any():
        tree.fail(f"node {int(np.flatnonzero(above)[0])} lies on a cycle.")


def _check_numbers(
    tree: Place, right: NDArray[np.int64], leaf: NDArray[np.bool_], finite: bool
) -> None:
    """Thresholds, leaves and statistics of a tree whose leaves are numbers."""
    for name in ("base_weights", "loss_changes", "sum_hessian"):
        tree[name].numbers(len(leaf))
    values = tree["split_conditions"].numbers(len(leaf))
    if (right[leaf] != -1).any():
        node = int(np.flatnonzero(leaf & (right != -1))[0])
        tree["right_children"].fail("a leaf has a right child.", at=node)
    # A sum over all trees would spread what is not finite to all outputs.
    bad = leaf & ~np.isfinite(single(values)) if finite else np.zeros(0)
    if bad.any():
        node = int(np.flatnonzero(bad)[0])
        tree["split_conditions"].fail(f"the leaf {values[node]} is not finite.", at=node)


def _check_thresholds(tree: Place, leaf: NDArray[np.bool_]) -> None:
    """Splits on numbers compare with a number."""
    types, place = tree.get("split_type"), tree["split_conditions"]
    numeric = ~leaf
    if types is not None:
        numeric &= types.integers(0, 1, len(leaf)) == 0
    bad = numeric & np.isnan(place.numbers(len(leaf)))
    if bad.any():
        place.fail("the threshold is no number.", at=int(np.flatnonzero(bad)[0]))


def _check_vectors(tree: Place, right: NDArray[np.int64], nodes: int, width: int) -> None:
    """Thresholds, leaves and statistics; ``right`` has the right children of the leaves.

    The right child of a leaf is the row of its vector.
    """
    tree["split_conditions"].numbers(nodes)
    tree["split_type"].array(nodes)
    weights, alone = tree["base_weights"], _has_leaf_weights()
    for name in ("loss_changes", "sum_hessian"):
        if alone or name in tree.object():
            tree[name].numbers(nodes)
    if not alone and "leaf_weights" not in tree.object():
        weights.numbers(nodes * width)
        return
    count = len(weights.numbers())
    if not count or count % nodes:
        weights.fail(f"{count} numbers cannot be shared by {nodes} nodes.")
    tree["leaf_weights"].numbers(len(right) * width)
    if not np.array_equal(np.sort(right), np.arange(len(right))):
        tree["right_children"].fail("the leaves do not have one vector each.")


@cache
def _has_leaf_weights() -> bool:
    """Whether the installed XGBoost reads the vectors of leaves from an array of their own."""
    for name in ("xgboost", "xgboost-cpu"):
        try:
            return tuple(map(int, metadata.version(name).split(".")[:2])) >= (3, 2)
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return True


def _check_category_sets(tree: Place, nodes: int) -> int:
    """The sets of categories at categorical nodes; returns the size of their tables."""
    types = tree.get("split_type")
    if types is None:
        known = [name for name in _CATEGORY_KEYS if name in tree.object()]
        if known and len(tree[known[0]].array()):
            tree.fail("is missing.", at="split_type")
        return 0
    chosen = np.flatnonzero(types.integers(0, 1, nodes))
    named = tree["categories_nodes"].integers(0, nodes - 1, len(chosen))
    if not np.array_equal(named, chosen):
        tree["categories_nodes"].fail("does not list the categorical nodes in their order.")
    codes = tree["categories"].integers(0, _MOST_CATEGORIES - 1)
    sizes = tree["categories_sizes"].integers(1, max(1, len(codes)), len(chosen))
    begins = tree["categories_segments"].integers(0, len(codes), len(chosen))
    ends = np.cumsum(sizes)
    if not np.array_equal(begins, ends - sizes) or len(codes) != sizes.sum():
        tree["categories_segments"].fail("the segments do not cover the categories one by one.")
    if not len(chosen):
        return 0
    return int(np.maximum.reduceat(codes, begins).sum()) + len(chosen)
