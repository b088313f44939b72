"""Decision trees, forests and boosted trees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import ModelFileError
from ...named.operators import Derive, Predictor, Step, TreeStructure
from ..folder import Stage
from ..numbers import Numbers
from ..plan import Plan, reads
from .answers import add_classification, add_regression
from .linear import features

_MOST_NODES = 5_000_000


@dataclass(eq=False, kw_only=True)
class Structure(TreeStructure):
    """The nodes of all trees, with their rows in the table.

    Parameters
    ----------
    inner, leaves : array of int64
        Rows of the table of the inner nodes, and of the leaves.
    """

    inner: NDArray[np.int64]
    leaves: NDArray[np.int64]


@dataclass(eq=False, kw_only=True)
class Trees(Predictor):
    """The sum or the mean of trees.

    Parameters
    ----------
    structure : Structure
        The nodes.
    predictions : Numbers
        The prediction of each node.
    counts : Numbers, optional
        The weight of each class in each node, for classifiers.
    thresholds : Numbers
        The thresholds of the inner nodes that have one.
    numeric : array of int64
        Which inner nodes these are.
    tree_weights : list of float, optional
        Factor of each tree.
    average : bool
        Whether the sum is divided by the number of trees.
    """

    structure: Structure = field(repr=False)
    predictions: Numbers = field(repr=False)
    counts: Numbers | None = field(default=None, repr=False)
    thresholds: Numbers = field(repr=False)
    numeric: NDArray[np.int64] = field(repr=False)
    tree_weights: list[float] | None = None
    average: bool = False


@dataclass(eq=False, kw_only=True)
class LeafTotals(Step):
    """The total weight of all classes in the leaf of a row."""

    trees: Trees


@dataclass(eq=False, kw_only=True)
class LeafNumbers(Step):
    """The number of the leaf of a row in each tree."""

    trees: Trees


@dataclass(eq=False, kw_only=True)
class LeafVariance(Step):
    """The variance of the training targets in the leaf of a row.

    Parameters
    ----------
    trees : Trees
        A single tree.
    variances : array
        Variance in each node.
    """

    trees: Trees
    variances: NDArray[np.float64] = field(repr=False)


def _read(stage: Stage, classes: int = 0) -> dict[str, Any]:
    """The fields of `Trees`."""
    rows = stage.rows()
    if not 0 < len(rows) <= _MOST_NODES:
        stage.fail(f"it has {len(rows)} nodes.")
    try:
        nested = "nodeData" in rows[0]
        nodes = [row["nodeData"] for row in rows] if nested else rows
        tree_of = np.array([row["treeID"] for row in rows] if nested else [0] * len(rows))
        fields = {
            name: np.array([node[key] for node in nodes], dtype=np.int64)
            for name, key in {"id": "id", "left": "leftChild", "right": "rightChild"}.items()
        }
        splits = [node["split"] for node in nodes]
        predictions = np.array([node["prediction"] for node in nodes], dtype=np.float64)
        prefix = ("nodeData",) if nested else ()
        found = _structure(stage, tree_of, fields, splits)
        everywhere = range(len(rows))
        place = stage.at("data")
        counts = None
        if classes:
            table = np.array([node["impurityStats"] for node in nodes], dtype=np.float64)
            if table.shape != (len(nodes), classes):
                stage.fail("its nodes have no weight for each class.")
            if (table < 0).any() or not (table.sum(1) > 0).all() or not np.isfinite(table).all():
                stage.fail("the weights of the classes in its nodes are damaged.")
            counts = Numbers(table, place, (*prefix, "impurityStats"), "list", everywhere)
        structure, numeric = found
        cut = structure.inner[numeric]
        values = np.array([splits[row]["leftCategoriesOrThreshold"] for row in cut], dtype=float)
        keys = (*prefix, "split", "leftCategoriesOrThreshold")
        return {
            "structure": structure,
            "predictions": Numbers(
                predictions, place, (*prefix, "prediction"), "number", everywhere
            ),
            "counts": counts,
            "thresholds": Numbers(values.reshape(len(cut), 1), place, keys, "list", cut.tolist()),
            "numeric": numeric,
        }
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        stage.fail("its nodes are damaged.")


def _structure(
    stage: Stage, tree_of: NDArray[Any], fields: dict[str, Any], splits: list[Any]
) -> tuple[Structure, NDArray[np.int64]]:
    # Spark writes the rows in any order.
    order = np.lexsort((fields["id"], tree_of))
    starts = np.flatnonzero(np.diff(tree_of[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    start_of = np.repeat(starts, sizes)
    if not np.array_equal(fields["id"][order], np.arange(len(order)) - start_of):
        stage.fail("the nodes of its trees are not numbered one after the other.")
    left, right = fields["left"][order], fields["right"][order]
    inner = left >= 0
    number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(~inner) - 1))
    size_of, own = np.repeat(sizes, sizes), np.arange(len(order)) - start_of
    for child in (left, right):
        # Nodes are numbered in preorder, so that a path cannot return to a node.
        if ((child[inner] <= own[inner]) | (child[inner] >= size_of[inner])).any():
            stage.fail("its trees are no trees.")
    children = np.concatenate([(start_of + left)[inner], (start_of + right)[inner]])
    if len(np.unique(children)) != len(children) or len(children) + len(starts) != len(order):
        stage.fail("its trees are no trees.")
    rows = order[inner]
    parts = [_split(stage, splits[row]) for row in rows]
    widths = np.array([width for _, width, _, _ in parts], dtype=np.int64)
    masks = [mask for _, _, mask, _ in parts]
    structure = Structure(
        roots=number[starts],
        feature=np.array([feature for feature, _, _, _ in parts], dtype=np.int64),
        left=number[(start_of + left)[inner]],
        right=number[(start_of + right)[inner]],
        inner=rows,
        leaves=order[~inner],
        category_width=widths,
        category_left=np.concatenate([np.zeros(0, dtype=bool), *masks]),
        unknown_left=np.array([unknown for _, _, _, unknown in parts], dtype=bool),
    )
    return structure, np.flatnonzero(widths == 0)


def _split(stage: Stage, split: Any) -> tuple[int, int, NDArray[np.bool_], bool]:
    """Entry, number of categories, which of them go left, and whether unknown ones do."""
    feature, count = int(split["featureIndex"]), int(split["numCategories"])
    values = split["leftCategoriesOrThreshold"]
    if not 0 <= feature < 1 << 31:
        raise ValueError
    if count < 0:
        if len(values) != 1:
            raise ValueError
        return feature, 0, np.zeros(0, dtype=bool), False
    if not 0 < count <= 1 << 20:
        raise ValueError
    mask = np.zeros(count, dtype=bool)
    places = np.array(values, dtype=np.int64)
    if (places < 0).any():
        raise ValueError
    mask[places] = True
    # Spark keeps the smaller side, and all that is not on it goes to the other one.
    return feature, count, mask, len(values) > count // 2


def _weights(stage: Stage) -> list[float]:
    rows = stage.rows("treesMetadata")
    try:
        ordered = sorted(rows, key=lambda row: int(row["_1"] if "_1" in row else row["treeID"]))
        found = [float(row["_3"] if "_3" in row else row["weights"]) for row in ordered]
    except (KeyError, TypeError, ValueError, OverflowError):
        stage.fail("the weights of its trees are damaged.")
    return found


def _classes(stage: Stage) -> int:
    found = stage.metadata.get("numClasses")
    if not isinstance(found, int) or not 1 <= found <= 100_000:
        stage.fail("its number of classes is damaged.")
    return found


def _add_leaves(stage: Stage, plan: Plan, trees: Trees, source: str) -> None:
    """The column of leaves, if there is one."""
    name = stage.text("leafCol")
    if not name:
        return
    step = plan.step(stage, LeafNumbers(trees=trees), source, name="leaf")
    if stage.kind.startswith("DecisionTree"):
        step = plan.step(stage, Derive(what="entry", numbers_=[0.0]), step, name="leaf")
    plan.name(stage, name, step)


def _add_variance(stage: Stage, plan: Plan, trees: Trees, source: str) -> None:
    name = stage.text("varianceCol")
    if not name:
        return
    try:
        stats = np.array([row["impurityStats"] for row in stage.rows()], dtype=np.float64)
        counts, sums, squares = stats[:, :3].T
        spread = np.where(counts > 0, squares - sums**2 / np.where(counts > 0, counts, 1.0), 0.0)
        variances = spread / np.where(counts > 0, counts, 1.0)
    except (KeyError, TypeError, ValueError, OverflowError):
        stage.fail("the variances of its leaves are damaged.")
    operator = LeafVariance(trees=trees, variances=variances)
    plan.name(stage, name, plan.step(stage, operator, source, name="variance"))


@reads("regression.DecisionTreeRegressionModel", "regression.RandomForestRegressionModel")
def _regression(stage: Stage, plan: Plan) -> None:
    forest = stage.kind.startswith("RandomForest")
    operator = Trees(**_read(stage), average=forest, task="squared_error")
    source = features(stage, plan)
    score = plan.step(stage, operator, source, method="score")
    _add_leaves(stage, plan, operator, source)
    if not forest:
        _add_variance(stage, plan, operator, source)
    add_regression(stage, plan, score, score)


@reads("regression.GBTRegressionModel")
def _boosted_regression(stage: Stage, plan: Plan) -> None:
    absolute = stage.text("lossType", "squared") == "absolute"
    task = "absolute_error" if absolute else "squared_error"
    operator = Trees(**_read(stage), tree_weights=_weights(stage), task=task)
    _check_weights(stage, operator)
    source = features(stage, plan)
    score = plan.step(stage, operator, source, method="score")
    _add_leaves(stage, plan, operator, source)
    add_regression(stage, plan, score, score)


def _check_weights(stage: Stage, trees: Trees) -> None:
    if len(trees.tree_weights or []) != len(trees.structure.roots):
        stage.fail("it has another number of weights than of trees.")


@reads("classification.GBTClassificationModel")
def _boosted_classifier(stage: Stage, plan: Plan) -> None:
    operator = Trees(**_read(stage), tree_weights=_weights(stage), task="logistic_twice")
    _check_weights(stage, operator)
    source = features(stage, plan)
    score = plan.step(stage, operator, source, method="score")
    _add_leaves(stage, plan, operator, source)
    shares = ("twice_sigmoid", "two_shares")
    add_classification(stage, plan, score, 2, ("two_scores",), shares)


@reads("classification.DecisionTreeClassificationModel")
def _tree_classifier(stage: Stage, plan: Plan) -> None:
    classes = _classes(stage)
    trees = Trees(**_read(stage, classes), task="shares")
    source = features(stage, plan)
    score = plan.step(stage, trees, source, method="score")
    totals = plan.step(stage, LeafTotals(trees=trees), source, name="totals")
    _add_leaves(stage, plan, trees, source)
    add_classification(stage, plan, score, classes, ("times",), (), raw_inputs=(totals,))


@reads("classification.RandomForestClassificationModel")
def _forest_classifier(stage: Stage, plan: Plan) -> None:
    classes = _classes(stage)
    trees = Trees(**_read(stage, classes), task="shares", average=True)
    source = features(stage, plan)
    score = plan.step(stage, trees, source, method="score")
    _add_leaves(stage, plan, trees, source)
    count = len(trees.structure.roots)
    raw = plan.step(stage, Derive(what="multiple", numbers_=[float(count)]), score, name="raw")
    add_classification(stage, plan, score, classes, (), (), raw_step=raw)
