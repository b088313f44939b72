"""Checks the trees in the text of a LightGBM model: every array, every index, every tree a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError
from ..faults import fail
from ._numbers import check_range, integer, numbers, words

# Arrays of a tree by length: "n" is one number a node, "l" one a leaf.
_NEEDED = {
    "split_feature": "n",
    "threshold": "n",
    "left_child": "n",
    "right_child": "n",
    "leaf_value": "l",
}
_OPTIONAL = {
    "split_gain": "n",
    "decision_type": "n",
    "internal_value": "n",
    "internal_weight": "n",
    "internal_count": "n",
    "leaf_weight": "l",
    "leaf_count": "l",
}
_LINEAR = ("leaf_const", "num_features", "leaf_features", "leaf_coeff")
_INTEGERS = {
    "split_feature",
    "left_child",
    "right_child",
    "decision_type",
    "internal_count",
    "leaf_count",
    "num_features",
    "leaf_features",
    "cat_boundaries",
    "cat_threshold",
}
_CATEGORICAL, _TYPES = 1, 3


class Trees:
    """The trees of a model; each array is read for all trees at once.

    Parameters
    ----------
    trees : list of dict
        The lines of each tree.
    features : int
        Number of columns of the input.
    """

    def __init__(self, trees: list[dict[str, bytes]], features: int) -> None:
        self.trees, self.features = trees, features
        self.leaves = self._scalars("num_leaves")
        self.nodes = self.leaves - 1
        for number in np.flatnonzero(self.leaves < 1).tolist():
            fail(f"Tree={number}, num_leaves", f"{self.leaves[number]}, but a tree has a leaf")
        self.categories = self._scalars("num_cat")
        for number in np.flatnonzero(self.categories < 0).tolist():
            fail(f"Tree={number}, num_cat", f"{self.categories[number]} is negative")
        self.linear = self._scalars("is_linear", b"0")
        for number in np.flatnonzero((self.linear < 0) | (self.linear > 1)).tolist():
            fail(f"Tree={number}, is_linear", f"{self.linear[number]}, but it must be 0 or 1")
        self.node_tree = np.repeat(np.arange(len(trees)), self._checked_nodes())

    def _scalars(self, key: str, default: bytes | None = None) -> NDArray[np.int64]:
        found = []
        for number, tree in enumerate(self.trees):
            value = tree.get(key, default)
            if value is None:
                fail(f"Tree={number}", f"there is no {key}")
            found.append(integer(f"Tree={number}, {key}", value))
        return np.array(found, dtype=np.int64)

    def _checked_nodes(self) -> NDArray[np.int64]:
        # Only what the file holds is allocated: a node takes more than one byte.
        for number, tree in enumerate(self.trees):
            present = len(tree.get("leaf_value", b"")) // 2 + 1
            if self.leaves[number] > present:
                count = len(words(tree.get("leaf_value", b"")))
                _fail_count(number, "leaf_value", count, f"num_leaves={self.leaves[number]}")
        return self.nodes

    def check(self, size: int) -> None:
        """Check all trees of a file of ``size`` bytes."""
        wanted = {"n": self.nodes, "l": self.leaves}
        trivial = (self.leaves == 1) & (self.linear == 0)
        arrays = {
            key: self._array(key, wanted[length], trivial=trivial)
            for key, length in _NEEDED.items()
        }
        for key, length in _OPTIONAL.items():
            arrays[key] = self._array(key, wanted[length], trivial=self.leaves == 1, needed=False)
        for number, tree in enumerate(self.trees):
            if "shrinkage" in tree:
                numbers(f"Tree={number}, shrinkage", [tree["shrinkage"]], float)
        self._check_features(arrays["split_feature"])
        self._check_children(arrays["left_child"], arrays["right_child"])
        self._check_decisions(arrays["decision_type"], arrays["threshold"])
        self._check_linear(size)

    def _array(
        self, key: str, wanted: NDArray[np.int64], trivial: Any, needed: bool = True
    ) -> NDArray[Any]:
        """One array of all trees; in trivial trees it may be absent or empty."""
        tokens: list[bytes] = []
        for number, tree in enumerate(self.trees):
            value = tree.get(key)
            if value is None:
                if needed and not (trivial[number] and wanted[number] == 0):
                    fail(f"Tree={number}", f"there is no {key}")
                continue
            parts = words(value)
            if len(parts) != wanted[number] and (needed or parts or not trivial[number]):
                _fail_count(number, key, len(parts), f"num_leaves={self.leaves[number]}")
            tokens += parts
        try:
            return numbers(key, tokens, int if key in _INTEGERS else float)
        except ModelFileError:
            self._find_number(key)
            raise

    def _find_number(self, key: str) -> None:
        """Name the tree whose array holds something that is no number."""
        read: Callable[[Any], Any] = int if key in _INTEGERS else float
        for number, tree in enumerate(self.trees):
            numbers(f"Tree={number}, {key}", words(tree.get(key, b"")), read)

    def _fail_node(self, node: int, key: str, fault: str) -> NoReturn:
        number = int(self.node_tree[node])
        fail(f"Tree={number}, {key}", f"{fault} (node {node - int(self.nodes[:number].sum())})")

    def _check_features(self, feature: NDArray[np.int64]) -> None:
        for node in np.flatnonzero((feature < 0) | (feature >= self.features)).tolist():
            fault = f"feature {feature[node]}, but the largest is {self.features - 1}"
            self._fail_node(node, "split_feature", fault)

    def _check_children(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        nodes, leaves = self.nodes[self.node_tree], self.leaves[self.node_tree]
        for key, child in (("left_child", left), ("right_child", right)):
            for node in np.flatnonzero((child >= nodes) | (child < -leaves)).tolist():
                self._fail_node(node, key, f"there is no {_child(int(child[node]))}")
        start, of_leaf = (np.cumsum(n) - n for n in (self.nodes, self.leaves))
        shift, leaf_shift = start[self.node_tree], of_leaf[self.node_tree]
        seen = [np.zeros(int(n.sum()), dtype=np.int64) for n in (self.nodes, self.leaves)]
        for child in (left, right):
            np.add.at(seen[0], (child + shift)[child >= 0], 1)
            np.add.at(seen[1], (~child + leaf_shift)[child < 0], 1)
        seen[0][start[self.nodes > 0]] += 1
        seen[1][of_leaf[self.nodes == 0]] += 1
        for counts, first, word in zip(seen, (start, of_leaf), ("node", "leaf"), strict=True):
            for place in np.flatnonzero(counts != 1).tolist():
                tree = int(np.searchsorted(first, place, "right")) - 1
                what = f"{word} {place - int(first[tree])}"
                fault = "is the child of no node" if counts[place] == 0 else "has several parents"
                fail(f"Tree={tree}, left_child and right_child", f"{what} {fault}")
        self._check_reached(left + shift, right + shift, left >= 0, right >= 0)

    def _check_reached(self, left: Any, right: Any, left_inner: Any, right_inner: Any) -> None:
        """Check that no node is its own ancestor, where each has one parent."""
        parent = np.full(len(left), -1, dtype=np.int64)
        for child, inner in ((left, left_inner), (right, right_inner)):
            parent[child[inner]] = np.flatnonzero(inner)
        if (parent < np.arange(len(parent))).all():
            return
        for node in _in_cycles(parent.tolist()):
            self._fail_node(node, "left_child and right_child", "the node is its own ancestor")

    def _check_decisions(self, decision: NDArray[np.int64], threshold: NDArray[Any]) -> None:
        if not len(decision):
            decision = np.zeros(len(threshold), dtype=np.int64)
        if len(decision) != len(threshold):
            fail("decision_type", "some trees have the line and others do not")
        for node in np.flatnonzero((decision < 0) | ((decision >> 2) >= _TYPES)).tolist():
            self._fail_node(node, "decision_type", f"{decision[node]} is unknown")
        for node in np.flatnonzero(np.isnan(threshold)).tolist():
            self._fail_node(node, "threshold", "not a number")
        asked = (decision & _CATEGORICAL) > 0
        for number in np.flatnonzero(self.categories > 0).tolist():
            if self.leaves[number] > 1:
                self._check_category_sets(number)
        self._check_category_index(asked, threshold)

    def _check_category_sets(self, number: int) -> None:
        tree, count = self.trees[number], int(self.categories[number])
        place = f"Tree={number}"
        for key in ("cat_boundaries", "cat_threshold"):
            if key not in tree:
                fail(place, f"there is no {key}")
        bounds = numbers(f"{place}, cat_boundaries", words(tree["cat_boundaries"]), int)
        if len(bounds) != count + 1:
            _fail_count(number, "cat_boundaries", len(bounds), f"num_cat={count}")
        if bounds[0] != 0 or (np.diff(bounds) <= 0).any():
            fail(f"{place}, cat_boundaries", "they must rise from 0")
        bits = numbers(f"{place}, cat_threshold", words(tree["cat_threshold"]), int)
        if len(bits) != bounds[-1]:
            _fail_count(number, "cat_threshold", len(bits), f"cat_boundaries end at {bounds[-1]}")
        if len(bits) and not (bits.min() >= 0 and bits.max() < 2**32):
            fail(f"{place}, cat_threshold", "numbers of more than 32 bits")

    def _check_category_index(self, asked: Any, threshold: NDArray[Any]) -> None:
        node = np.flatnonzero(asked)
        tree, index = self.node_tree[node], threshold[node]
        wrong = (index < 0) | (index >= self.categories[tree]) | (index != np.floor(index))
        for i in np.flatnonzero(wrong).tolist():
            fault = f"category set {index[i]:g}, but num_cat={self.categories[tree[i]]}"
            self._fail_node(int(node[i]), "threshold", fault)
        first = np.cumsum(self.categories) - self.categories
        _, at = np.unique(first[tree] + index.astype(np.int64), return_index=True)
        for i in np.setdiff1d(np.arange(len(node)), at).tolist():
            fault = f"category set {index[i]:g} belongs to another node"
            self._fail_node(int(node[i]), "threshold", fault)

    def _check_linear(self, size: int) -> None:
        widest = 0
        for number in np.flatnonzero(self.linear).tolist():
            tree, leaves = self.trees[number], int(self.leaves[number])
            for key in _LINEAR:
                if key not in tree:
                    fail(f"Tree={number}", f"there is no {key}")
            found = {
                key: numbers(
                    f"Tree={number}, {key}", words(tree[key]), int if key in _INTEGERS else float
                )
                for key in _LINEAR
            }
            counts, column = found["num_features"], found["leaf_features"]
            for key in ("leaf_const", "leaf_coeff"):
                check_range(f"Tree={number}, {key}", words(tree[key]), found[key])
            for key in ("leaf_const", "num_features"):
                if len(found[key]) != leaves:
                    _fail_count(number, key, len(found[key]), f"num_leaves={leaves}")
            if (counts < 0).any() or (counts > len(column)).any():
                fail(f"Tree={number}, num_features", f"{len(column)} leaf_features are there")
            for key in ("leaf_features", "leaf_coeff"):
                if len(found[key]) != counts.sum():
                    _fail_count(number, key, len(found[key]), f"num_features add to {counts.sum()}")
            if ((column < 0) | (column >= self.features)).any():
                fail(f"Tree={number}, leaf_features", f"the largest is {self.features - 1}")
            widest = max(widest, int(counts.max()))
        # Their coefficients become one table.
        if widest * int(self.leaves.sum()) > 8 * size + 10**7:
            fail("num_features", f"{widest} in one leaf and {self.leaves.sum()} leaves")


def _child(code: int) -> str:
    return f"node {code}" if code >= 0 else f"leaf {~code}"


def _fail_count(number: int, key: str, count: int, because: str) -> NoReturn:
    fail(f"Tree={number}, {key}", f"{count} numbers, which does not agree with {because}")


def _in_cycles(parent: list[int]) -> Iterator[int]:
    """The nodes that no root leads to."""
    known = [False] * len(parent)
    for start in range(len(parent)):
        path, node = [], start
        while node >= 0 and not known[node]:
            known[node] = True
            path.append(node)
            node = parent[node]
        if node >= 0 and node in set(path):
            yield node
