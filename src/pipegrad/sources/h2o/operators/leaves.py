"""The leaves that rows reach: their paths from the root, and their numbers in H2O."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Step, TreeStructure
from ..mojo import Mojo
from ..plan import Answer, Plan
from .tree_bytes import Forest

# Each tree has two columns.
_MOST_TREES = 200
_WITH_NUMBERS = 1.3
_DEEPEST = 64
_RECORD = np.dtype(
    [("node", "<i4"), ("left nodes", "<i4"), ("", "<f4", 6), ("left", "<i4"), ("right", "<i4")]
)


@dataclass(eq=False, kw_only=True)
class Leaves(Step):
    """The leaf that a row reaches in each tree, counted over all trees.

    Parameters
    ----------
    structure : TreeStructure
        The nodes.
    thresholds : array
        The thresholds of the nodes.
    missing_left : array of bool
        Whether missing values go left, node by node.
    """

    structure: TreeStructure = field(repr=False)
    thresholds: NDArray[np.float64] = field(repr=False)
    missing_left: NDArray[np.bool_] = field(repr=False)


@dataclass(eq=False)
class Paths:
    """The paths of leaves from their roots.

    Parameters
    ----------
    structure : TreeStructure
        The nodes.
    """

    structure: TreeStructure

    def __post_init__(self) -> None:
        left, right = self.structure.left, self.structure.right
        count = len(left)
        codes, above = np.concatenate([left, right]), np.tile(np.arange(count), 2)
        side = np.repeat([0, 1], count)
        inner = codes >= 0
        # A parent, twice, and the side; -1 for roots.
        self.nodes = np.full(count, -1)
        self.nodes[codes[inner]] = (2 * above + side)[inner]
        self.leaves = np.full(count + len(self.structure.roots), -1)
        self.leaves[~codes[~inner]] = (2 * above + side)[~inner]

    def of(self, leaf: int) -> str | None:
        """The path of a leaf; None if H2O has no room for it."""
        turns, at = [], int(self.leaves[leaf])
        while at >= 0:
            turns.append("LR"[at % 2])
            at = int(self.nodes[at // 2])
        path = "".join(reversed(turns))
        return path if _fits(path) else None


def _fits(path: str) -> bool:
    """Whether the bits of a path, and one for its end, are a number."""
    if len(path) >= _DEEPEST:
        return False
    bits = sum(1 << place for place, turn in enumerate(path) if turn == "R") | 1 << len(path)
    return not math.isnan(struct.unpack("<d", struct.pack("<Q", bits))[0])


@dataclass(eq=False)
class LeafColumn:
    """What a column says of the leaves in one tree.

    Parameters
    ----------
    tree : int
        The tree.
    paths : Paths
        The paths of all leaves.
    numbers : array of int64, optional
        H2O's numbers of all leaves, for a column of numbers.
    """

    tree: int
    paths: Paths
    numbers: NDArray[np.int64] | None = None

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """The cells (n,) for leaves (n, trees)."""
        found, rows = np.unique(values[:, self.tree].astype(np.int64), return_inverse=True)
        cells = [self.paths.of(leaf) for leaf in found.tolist()]
        if self.numbers is None:
            return np.array([*cells, None], dtype=object)[rows]
        known = np.array([cell is not None for cell in cells], dtype=bool)
        return np.where(known, self.numbers[found], -1)[rows]


def with_leaves(
    mojo: Mojo, plan: Plan, answer: Answer, forest: Forest, row: str, operator: Leaves
) -> Answer:
    """An answer with the columns of leaves, unless there are very many, or trees are left out."""
    outputs = mojo.integer("n_trees_per_class")
    if not len(forest.roots) == outputs * mojo.integer("n_trees") <= _MOST_TREES:
        return answer
    step = plan.step(mojo, operator, row, name="leaves")
    paths = Paths(operator.structure)
    numbers = _numbers(forest, paths) if mojo.number("mojo_version") >= _WITH_NUMBERS else None
    for tree in range(len(forest.roots)):
        name = f"T{tree // outputs + 1}.C{tree % outputs + 1}"
        answer.columns[f"path:{name}"] = step
        answer.views[f"path:{name}"] = LeafColumn(tree, paths)
        if numbers is not None:
            answer.columns[f"node:{name}"] = step
            answer.views[f"node:{name}"] = LeafColumn(tree, paths, numbers)
    return answer


def _numbers(forest: Forest, paths: Paths) -> NDArray[np.int64]:
    """H2O's numbers of all leaves."""
    counts = np.diff([*forest.starts, len(forest.nodes)])
    tables = [_records(forest.mojo, *one) for one in zip(forest.names, counts, strict=True)]
    records = np.concatenate([np.zeros(0, dtype=_RECORD), *tables])
    _check(forest.mojo, records, paths)
    if not len(records):
        return np.zeros(len(paths.leaves), dtype=np.int64)
    above = paths.leaves
    both = np.stack([records["left"], records["right"]], 1).reshape(-1).astype(np.int64)
    return np.where(above >= 0, both[above], 0)


def _records(mojo: Mojo, name: str, count: int) -> NDArray[Any]:
    content = mojo.blob(name.removesuffix(".bin") + "_aux.bin")
    if len(content) != count * _RECORD.itemsize:
        mojo.fail(f"{name!r} has other nodes than the table of their numbers.")
    return np.frombuffer(content, _RECORD)


def _check(mojo: Mojo, records: NDArray[Any], paths: Paths) -> None:
    """The tables must describe the trees."""
    left, right = paths.structure.left, paths.structure.right
    sizes = _left_sizes(left, right)
    good = records["left nodes"] == sizes
    for codes, name in ((left, "left"), (right, "right")):
        child = records["node"][np.maximum(codes, 0)]
        good &= (codes < 0) | (records[name] == child)
    if not good.all():
        mojo.fail("the numbers of the nodes of its trees are damaged.")


def _left_sizes(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of nodes in each left subtree; children follow their parents."""
    sizes, found = [1] * len(left), [0] * len(left)
    lefts, rights = list(map(int, left)), list(map(int, right))
    for node in range(len(lefts) - 1, -1, -1):
        if lefts[node] >= 0:
            found[node] = sizes[lefts[node]]
        sizes[node] += found[node] + (sizes[rights[node]] if rights[node] >= 0 else 0)
    return np.array(found, dtype=np.int64)
