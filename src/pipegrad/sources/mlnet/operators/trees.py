"""Tree ensembles, as predictors and as features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..binary import Numbers, Reader
from ..builder import Builder
from ..node import Node
from ..readers import predictor, transform
from ..types import SINGLE
from ._base import Entry, Operator, Predictor, width_mismatch
from .scoring import Exponential

_DEEPEST = 4096
_WIDEST = 1 << 24
_VERSIONS = tuple(range(0x00010003, 0x00010007))
_BINARY = ("FTREE BC", "FFORE BC", "LGBBINCL")
_RANKING = ("FTREE RA", "LGBMRANK")


@dataclass(eq=False)
class Tree:
    """One tree; a child ``c >= 0`` is a node, a negative one the leaf ``~c``.

    Parameters
    ----------
    left, right : array
        Children of each node.
    feature : array
        Column that each node compares.
    threshold : Numbers
        Rows at or below the threshold go left.
    default : Numbers, optional
        Values that replace missing ones.
    slots : dict
        Slots of each categorical node; a row goes right if any of them is positive.
    values : Numbers
        Leaf values.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Numbers
    default: Numbers | None
    slots: dict[int, NDArray[np.int64]]
    values: Numbers


@dataclass(eq=False, kw_only=True)
class Trees(Operator):
    """The sum or the mean of trees.

    Parameters
    ----------
    trees : tuple of Tree
        The trees.
    features : int
        Width of the input.
    average : bool
        Whether the sum is divided by the number of trees.
    kind : str
        ML.NET's signature, which identifies the loss.
    thresholds, values, defaults : tuple of Numbers
        Thresholds, leaf values and default values of all trees.
    """

    trees: tuple[Tree, ...]
    features: int
    average: bool = False
    kind: str = ""
    thresholds: tuple[Numbers, ...] = ()
    values: tuple[Numbers, ...] = ()
    defaults: tuple[Numbers, ...] = ()


@dataclass(eq=False, kw_only=True)
class TreeValues(Trees):
    """One column per tree with its value."""


@dataclass(eq=False, kw_only=True)
class TreeLeaves(Trees):
    """One column per leaf: 1 for the leaf that the row reaches."""


@dataclass(eq=False, kw_only=True)
class TreePaths(Trees):
    """One column per node: 1 for nodes on the row's path."""


def read_trees(node: Node, features: int) -> Trees:
    """Read the trees of an ensemble; scoring ignores its weights and bias."""
    reader = node.block.reader()
    reader.float_size()
    count = reader.count(21, "trees", least=1, weight=50)
    trees = tuple(_tree(reader, features or _WIDEST) for _ in range(count))
    reader.array(1, "<f8")
    reader.text()
    reader.text()
    width = reader.i4()
    if width_mismatch(width, features) or not 0 < width <= _WIDEST:
        raise reader.fail(f"expects {width} features, but gets {features}")
    if not features:
        for tree in trees:
            _check(reader, tree, width)
    # The module tells in a table which slots each categorical node asks for.
    node.archive.fill(width * sum(len(tree.slots) for tree in trees), f"{node.path!r}")
    return Trees(
        trees=trees,
        features=width,
        average=node.block.signature == "FFORE RE",
        kind=node.block.signature,
        thresholds=tuple(tree.threshold for tree in trees),
        values=tuple(tree.values for tree in trees),
        defaults=tuple(tree.default for tree in trees if tree.default is not None),
        loader=node.block.loader,
    )


def _tree(reader: Reader, features: int) -> Tree:
    kind, leaves = reader.u1(), reader.i4()
    if kind not in (0, 2) or leaves < 1:
        raise reader.fail(f"has a tree of unknown kind {kind}")
    reader.array(2, "<f8")
    left, right, feature, categorical = (reader.counted() for _ in range(4))
    slots = {}
    for node in categorical.tolist():
        slots[node] = reader.counted().astype(np.int64)
        reader.array(2)
    reader.counted()
    threshold = reader.counted_numbers(finite=False)
    default = reader.counted_numbers(finite=False)
    values = reader.counted_numbers("<f8")
    for _ in range(5 if kind == 2 else 3):
        reader.counted("<f8")
    nodes = leaves - 1
    sizes = {len(left), len(right), len(feature), len(threshold.values)}
    if sizes != {nodes} or len(values.values) != leaves or default.values.size not in (0, nodes):
        raise reader.fail(f"has a tree of {leaves} leaves with other numbers of nodes")
    tree = Tree(
        left.astype(np.int64),
        right.astype(np.int64),
        feature.astype(np.int64),
        threshold,
        default if default.values.size else None,
        slots,
        values,
    )
    _check(reader, tree, features)
    return tree


def _check(reader: Reader, tree: Tree, features: int) -> None:
    nodes = len(tree.left)
    plain = np.ones(nodes, dtype=bool)
    for node, slots in tree.slots.items():
        if not 0 <= node < nodes or not ((slots >= 0) & (slots < features)).all():
            raise reader.fail("has a tree with categories of other columns")
        plain[node] = False
    used = tree.feature[plain]
    if not ((used >= 0) & (used < features)).all() or np.isnan(tree.threshold.values[plain]).any():
        raise reader.fail("has a tree that compares other columns")
    children = np.concatenate([tree.left, tree.right])
    wanted = np.concatenate([np.arange(-nodes - 1, 0), np.arange(1, nodes)])
    if nodes and not np.array_equal(np.sort(children), wanted):
        raise reader.fail("has nodes that do not form a tree")
    reached, at = 0, np.zeros(min(nodes, 1), dtype=np.int64)
    for _ in range(_DEEPEST):
        if not len(at):
            break
        reached += len(at)
        below = np.concatenate([tree.left[at], tree.right[at]])
        at = below[below >= 0]
    if reached != nodes or len(at):
        raise reader.fail("has a tree with unreachable nodes")


@predictor(
    "FTREE BC", "FTREE RE", "FTREE RA", "FTREE TW", "FFORE BC", "FFORE RE", "LGBBINCL", "LGBSIREG",
    "LGBMRANK", versions=_VERSIONS,
)  # fmt: skip
def read_ensemble(node: Node, features: int) -> Predictor:
    """Read a tree ensemble; all trainers use the same format."""
    signature = node.block.signature
    operator = read_trees(node, features)
    task = "binary" if signature in _BINARY else "regression"
    task = "ranking" if signature in _RANKING else task
    link = Exponential(loader=node.block.loader) if signature == "FTREE TW" else None
    return Predictor(task, operator, link=link)


@transform("TREEFEAT")
def read_tree_features(node: Node, builder: Builder) -> None:
    """Read the three feature columns of an ensemble."""
    reader = node.block.reader()
    name, outputs = reader.name(), [reader.text() for _ in range(3)]
    reader.done()
    column = builder.require_column(name, where=node.path)
    model = node.child("Model")
    if model.block.signature not in (*_BINARY, *_RANKING, "FTREE RE", "FTREE TW", "FFORE RE"):
        raise model.unsupported_error()
    trees = read_trees(model, column.type.width)
    leaves = sum(len(values.values) for values in trees.values)
    widths = (len(trees.trees), leaves, leaves - len(trees.trees))
    kinds = (TreeValues, TreeLeaves, TreePaths)
    added = []
    for out, width, kind in zip(outputs, widths, kinds, strict=True):
        if out:
            if kind is TreePaths:  # A table tells which nodes are above each leaf.
                node.archive.fill(2 * leaves * width, f"{node.path!r}")
            operator = kind(**{**vars(trees), "entry": Entry()})
            added.append(builder.add_step(node, out, SINGLE.sized(width), operator, column))
    builder.add(added)
