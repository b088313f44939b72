"""Compressed trees of H2O: the bytes of their nodes as tables."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...named.operators import TreeStructure
from ..mojo import Mojo

_NO_COLUMN = 0xFFFF
# Bits of the first byte of a node: the size of the left subtree or that it is a leaf, the kind of
# the test, and whether the right subtree is a leaf.
_LEFT, _TEST, _RIGHT_LEAF = 0x33, 0x0C, 0x40
_LEFT_LEAF = 0x30
_NUMBER, _SMALL_SET, _SET = 0x00, 0x08, 0x0C
# The byte after the column: where missing values go, or that the node tests only for them.
_MISSING_OR_NOT, _LEFTWARD = 1, (2, 4)
DEEPEST = 4096
"""The number of nodes on a path that no tree of H2O reaches."""
_NOTHING = np.zeros(0, dtype=bool)


@dataclass(eq=False)
class Node:
    """An inner node; codes of children are those of `modules.TreeEnsemble`.

    Parameters
    ----------
    feature : int
        The column that it tests.
    threshold : int
        The byte of its threshold; -1 if it has none.
    categories : array of bool
        Whether each category goes left, if it has no threshold.
    missing_left, other_left : bool
        Whether missing values go left, and categories that it does not know.
    """

    feature: int
    threshold: int
    categories: NDArray[np.bool_]
    missing_left: bool
    other_left: bool
    left: int = 0
    right: int = 0


@dataclass(eq=False)
class Forest:
    """Collects the nodes and leaves of trees.

    Parameters
    ----------
    mojo : Mojo
        The model.
    nodes : list of Node
        The inner nodes of all trees.
    names : list of str
        The files of the trees.
    roots : list of int
        Their roots.
    leaves : list of list of int
        The byte of the value of each leaf, tree by tree.
    starts : list of int
        The number of inner nodes before each tree.
    """

    mojo: Mojo
    nodes: list[Node] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    leaves: list[list[int]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    _leaf_count: int = 0

    def __post_init__(self) -> None:
        self._sizes = [len(self.mojo.domains.get(n, ())) for n in range(len(self.mojo.features))]

    def add(self, name: str) -> None:
        """Read the tree in a file of the model."""
        content = self.mojo.blob(name)
        self.starts.append(len(self.nodes))
        self.leaves.append([])
        self.names.append(name)
        try:
            self.roots.append(self._tree(content))
        except (struct.error, IndexError):
            self.mojo.fail(f"{name!r} ends within a node.")

    def structure(self) -> TreeStructure:
        """The nodes of all trees."""
        nodes = self.nodes
        return TreeStructure(
            roots=np.array(self.roots, dtype=np.int64),
            feature=np.array([node.feature for node in nodes], dtype=np.int64),
            left=np.array([node.left for node in nodes], dtype=np.int64),
            right=np.array([node.right for node in nodes], dtype=np.int64),
            category_width=np.array([len(node.categories) for node in nodes], dtype=np.int64),
            category_left=np.concatenate([_NOTHING, *(node.categories for node in nodes)]),
            unknown_left=np.array([node.other_left for node in nodes], dtype=bool),
        )

    def _tree(self, content: bytes) -> int:
        """The code of the root.

        The left subtree follows its node, and the right one follows the left one, so that each
        byte is read once.
        """
        root, at = 0, 0
        waiting: list[tuple[Node | None, bool, bool, int, int]] = [(None, False, False, 0, 0)]
        while waiting:
            parent, left, is_leaf, start, depth = waiting.pop()
            if at != start:
                self._fail("the subtrees of a node do not follow each other")
            if depth > DEEPEST:
                self._fail(f"a path has more than {DEEPEST} nodes")
            if is_leaf:
                code, at = self._leaf(at), at + 4
            elif _u2(content, at + 1) == _NO_COLUMN:
                code, at = self._leaf(at + 3), at + 7
            else:
                code, kind = len(self.nodes), content[at]
                node, at = self._node(content, at)
                self.nodes.append(node)
                at, size = self._left_size(content, kind & _LEFT, at)
                waiting.append((node, False, bool(kind & _RIGHT_LEAF), at + size, depth + 1))
                waiting.append((node, True, kind & _LEFT == _LEFT_LEAF, at, depth + 1))
            if parent is None:
                root = code
            elif left:
                parent.left = code
            else:
                parent.right = code
        if at != len(content):
            self._fail("it does not end with its last leaf")
        return root

    def _leaf(self, at: int) -> int:
        self.leaves[-1].append(at)
        self._leaf_count += 1
        return -self._leaf_count

    def _left_size(self, content: bytes, mask: int, at: int) -> tuple[int, int]:
        """The first byte of the left subtree, and its size."""
        if mask == _LEFT_LEAF:
            return at, 4
        width = mask + 1
        if width > 4 or at + width > len(content):
            self._fail("the size of a subtree is damaged")
        return at + width, int.from_bytes(content[at : at + width], "little")

    def _node(self, content: bytes, at: int) -> tuple[Node, int]:
        """The node at a byte, and the byte after its test."""
        feature, missing, test = _u2(content, at + 1), content[at + 3], content[at] & _TEST
        if feature >= len(self._sizes):
            self._fail(f"a node tests column {feature} of {len(self._sizes)}")
        leftward, at = missing in _LEFTWARD, at + 4
        if missing == _MISSING_OR_NOT:
            if test != _NUMBER:
                self._fail("a node tests for categories and for missing values at once")
            # Whatever is not missing goes left.
            return Node(feature, -1, np.ones(1, dtype=bool), False, True), at
        if test == _NUMBER:
            return Node(feature, at, _NOTHING, leftward, False), at + 4
        if test == _SMALL_SET:
            return self._set(content, feature, leftward, 0, 32, at)
        if test != _SET:
            self._fail("the test of a node is not known")
        first, count = struct.unpack_from("<Hi", content, at)
        return self._set(content, feature, leftward, first, count, at + 6)

    def _set(
        self, content: bytes, feature: int, leftward: bool, first: int, count: int, at: int
    ) -> tuple[Node, int]:
        """A node that sends a set of categories to the right, others in its default direction."""
        end = at + (count + 7) // 8
        if count < 0 or end > len(content):
            self._fail("a set of categories is longer than the file")
        known = self._sizes[feature]
        if not known:
            self._fail(f"a node tests for categories of column {feature}, which has none")
        bits = np.frombuffer(content, np.uint8, end - at, at)
        rightward = np.unpackbits(bits, count=count, bitorder="little").astype(bool)
        width = max(1, min(first + count, known))
        self.mojo.archive.fill(width, "its sets of categories")
        left = np.full(width, leftward)
        # A set may have no categories at all.
        tested = rightward[: max(width - first, 0)]
        left[first : first + len(tested)] = ~tested
        return Node(feature, -1, left, leftward, leftward), end

    def _fail(self, fault: str) -> None:
        self.mojo.fail(f"{self.names[-1]!r}: {fault}.")


def _u2(content: bytes, at: int) -> int:
    return int(struct.unpack_from("<H", content, at)[0])
