"""Reads a booster from XGBoost's JSON model and writes learned parameters back into it."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import numpy as np
import torch
import xgboost
from numpy.typing import NDArray
from scipy import sparse

from ...modules import Impute, Linear, Sequential, TreeEnsemble
from ..arrays import to_array, to_tensor
from ..sklearn._flat_trees import flatten, monotone_values

_CATEGORICAL = 1
_DELETED = 2**31 - 1


class Content:
    """The model of a booster as nested dicts and lists.

    Parameters
    ----------
    booster : xgboost.Booster
        The booster, which is never changed.
    """

    def __init__(self, booster: Any) -> None:
        self.model = json.loads(booster.save_raw("json"))
        self.learner = self.model["learner"]
        self.linear = self.learner["gradient_booster"]["name"] == "gblinear"
        dart = self.learner["gradient_booster"]["name"] == "dart"
        outer = self.learner["gradient_booster"]
        self.dropout = outer["weight_drop"] if dart else None
        self.inner = (outer["gbtree"] if dart else outer)["model"]

    def trees(self, rounds: int | None) -> list[dict[str, Any]]:
        """The trees of the first rounds; of all rounds if None."""
        every = self.inner["trees"]
        return every if rounds is None else every[: self.inner["iteration_indptr"][rounds]]

    def start(self) -> NDArray[np.float32]:
        """The score before the first tree, shape () or (outputs,).

        The scale of ``base_score`` depends on the objective and on the version, so XGBoost itself
        predicts with a copy of the model whose trees (or weights) are zero.
        """
        empty = dict(self.learner)
        if self.linear:
            weights = [0.0] * len(self.inner["weights"])
            model = {**self.inner, "weights": weights}
        else:
            model = {**self.inner, "trees": [_nothing(self.inner["trees"][0])], "tree_info": [0]}
            model["iteration_indptr"] = [0, 1]
            model["gbtree_model_param"] = {**model["gbtree_model_param"], "num_trees": "1"}
        name = "gblinear" if self.linear else "gbtree"
        empty["gradient_booster"] = {"model": model, "name": name}
        empty["feature_names"], empty["feature_types"] = [], []
        booster = load({**self.model, "learner": empty})
        width = int(self.learner["learner_model_param"]["num_feature"])
        row = xgboost.DMatrix(sparse.csr_matrix((1, width), dtype=np.float32))
        return np.asarray(booster.predict(row, output_margin=True))[0]

    def categories(self) -> list[list[Any] | None]:
        """The categories of each column in the table that the model was fitted on.

        Names are bytes: XGBoost cuts the UTF-8 text of all names at positions that count
        characters, so that the pieces need not be valid UTF-8.
        """
        known = self.inner.get("cats", {}).get("enc", [])
        return [_categories(column) for column in known]


def load(model: dict[str, Any], into: Any = None) -> Any:
    """Load a model into a new booster, or into a given one, which keeps its settings."""
    text = bytearray(json.dumps(model).encode())
    if into is None:
        return xgboost.Booster(model_file=text)
    settings = into.save_config()
    into.load_model(text)
    into.load_config(settings)
    return into


def _nothing(tree: dict[str, Any]) -> dict[str, Any]:
    """A tree with a single leaf of value zero."""
    out = copy.copy(tree)
    for name, value in tree.items():
        if isinstance(value, list):
            out[name] = []
    for name in ("base_weights", "loss_changes", "split_conditions", "sum_hessian"):
        out[name] = [0.0]
    for name in ("default_left", "split_indices", "split_type"):
        out[name] = [0]
    for name in ("left_children", "right_children"):
        out[name] = [-1]
    out["parents"] = [2**31 - 1]
    out["id"] = 0
    out["tree_param"] = {
        **tree["tree_param"],
        "num_nodes": "1",
        "num_deleted": "0",
        "size_leaf_vector": "1",
    }
    return out


def _categories(column: dict[str, Any]) -> list[Any] | None:
    if "offsets" not in column:
        return list(column["values"])
    ends = column["offsets"]
    if not ends:
        return None
    octets = np.array(column["values"], dtype=np.int64).astype(np.uint8).tobytes()
    return [octets[a:b] for a, b in itertools.pairwise(ends)]


# -- trees ---------------------------------------------------------------------------------------


def tree_module(
    content: Content,
    rounds: int | None,
    missing: float | None,
    constraints: NDArray[np.int64] | None = None,
) -> TreeEnsemble:
    """The trees of the first rounds as one module, with the monotone constraints of the columns."""
    trees = content.trees(rounds)
    children = [_children(tree) for tree in trees]
    flat = flatten(
        [left for left, _ in children],
        [right for _, right in children],
        _joined(trees, "split_indices", np.int64),
        _joined(trees, "split_conditions", np.float32),
    )
    inner = ~flat.is_leaf
    start = content.start()
    vectors = _vectors(trees)
    outputs = max(1, start.size)
    groups = None
    if outputs > 1 and not vectors:
        groups = torch.tensor(content.inner["tree_info"][: len(trees)])
    weights = None if content.dropout is None else content.dropout[: len(trees)]
    return TreeEnsemble(
        **flat.structure,
        leaf_values=to_tensor(np.concatenate([leaf_values(tree) for tree in trees])),
        strict=True,
        single=True,
        default_left=torch.from_numpy(_joined(trees, "default_left", bool)[inner]),
        **_category_sets(trees, inner),
        tree_weights=None if weights is None else to_tensor(np.float32(weights)),
        tree_output=groups,
        outputs=outputs,
        base=to_tensor(start.reshape(-1)),
        train_base=False,
        squeeze=start.ndim == 0,
        missing_value=missing,
        absent=float("nan"),
        whole=True,
        monotone=None if constraints is None else _monotone(constraints, flat.structure["feature"]),
    )


def _monotone(constraints: NDArray[np.int64], feature: torch.Tensor) -> torch.Tensor:
    """The constraint of the feature of each node; columns without one are free."""
    missing = max(0, int(feature.max()) + 1 - len(constraints)) if feature.numel() else 0
    return torch.from_numpy(np.pad(constraints, (0, missing)))[feature]


def write_trees(module: TreeEnsemble, content: Content, rounds: int | None) -> None:
    """Write leaf values and thresholds into the model."""
    trees = content.trees(rounds)
    values = to_array(module.leaf_table()).astype(np.float32)
    leaves = _joined(trees, "left_children", np.int64) < 0
    before = _joined(trees, "split_conditions", np.float32)[~leaves]
    moved = to_array(module.moved_thresholds(to_tensor(before)))
    values = monotone_values(module, values, moved)
    leaf = node = 0
    for tree in trees:
        is_leaf, is_inner = _leaves(tree), np.array(tree["left_children"]) >= 0
        count, inner = int(is_leaf.sum()), int(is_inner.sum())
        _write_leaves(tree, is_leaf, values[leaf : leaf + count])
        span = slice(node, node + inner)
        if not np.array_equal(before[span], moved[span]):
            thresholds = np.array(tree["split_conditions"], dtype=np.float32)
            thresholds[is_inner] = moved[span]
            tree["split_conditions"] = _numbers(thresholds)
        leaf, node = leaf + count, node + inner


def leaf_values(tree: dict[str, Any]) -> NDArray[np.float32]:
    """Values of the leaves of a tree, shape (leaves, k)."""
    is_leaf = _leaves(tree)
    width = int(tree["tree_param"]["size_leaf_vector"])
    if width <= 1:
        return np.array(tree["split_conditions"], dtype=np.float32)[is_leaf, None]
    if "leaf_weights" not in tree:
        return np.array(tree["base_weights"], dtype=np.float32).reshape(-1, width)[is_leaf]
    place = np.array(tree["right_children"])[is_leaf]
    return np.array(tree["leaf_weights"], dtype=np.float32).reshape(-1, width)[place]


def _write_leaves(
    tree: dict[str, Any], is_leaf: NDArray[np.bool_], values: NDArray[np.float32]
) -> None:
    before = leaf_values(tree)
    if np.array_equal(before, values):
        return
    width = values.shape[1]
    if "leaf_weights" in tree:
        table = np.empty_like(values)
        table[np.array(tree["right_children"])[is_leaf]] = values
        tree["leaf_weights"] = _numbers(table)
        return
    statistics = np.array(tree["base_weights"], dtype=np.float32).reshape(-1, width)
    if width == 1:
        conditions = np.array(tree["split_conditions"], dtype=np.float32)
        conditions[is_leaf] = values[:, 0]
        tree["split_conditions"] = _numbers(conditions)
    # The statistics of a leaf repeat its value, unless the model was edited by hand.
    same = (statistics[is_leaf] == before).all(1)
    statistics[np.flatnonzero(is_leaf)[same]] = values[same]
    tree["base_weights"] = _numbers(statistics)


def _vectors(trees: list[dict[str, Any]]) -> bool:
    return int(trees[0]["tree_param"]["size_leaf_vector"]) > 1


def _kept(tree: dict[str, Any]) -> NDArray[np.bool_]:
    """Which nodes are left: pruning marks those that it deletes, and they stay in the arrays."""
    kept = np.ones(len(tree["left_children"]), dtype=bool)
    if tree["tree_param"]["num_deleted"] != "0":
        asked, default = np.array(tree["split_indices"]), np.array(tree["default_left"])
        kept[1:] = (asked[1:] != _DELETED) | (default[1:] == 0)
    return kept


def _leaves(tree: dict[str, Any]) -> NDArray[np.bool_]:
    return (np.array(tree["left_children"]) < 0) & _kept(tree)


def _children(tree: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The left and the right child of each node that is left; -1 for leaves."""
    kept = _kept(tree)
    number = np.cumsum(kept) - 1
    left, right = (np.array(tree[side])[kept] for side in ("left_children", "right_children"))
    # The right child of a leaf can be its index in a table of vectors.
    return np.where(left < 0, -1, number[left]), np.where(left < 0, -1, number[right * (left >= 0)])


def _joined(trees: list[dict[str, Any]], name: str, dtype: Any) -> NDArray[Any]:
    """An array of all trees, for the nodes that are left."""
    return np.concatenate([np.array(tree[name]).astype(dtype)[_kept(tree)] for tree in trees])


def _category_sets(trees: list[dict[str, Any]], inner: NDArray[np.bool_]) -> dict[str, Any]:
    """Direction of each category at the categorical nodes; listed categories go right."""
    chosen = _joined(trees, "split_type", np.int64) == _CATEGORICAL
    chosen &= inner
    if not chosen.any():
        return {}
    sets, width, start = [], np.zeros(len(chosen), dtype=np.int64), 0
    for tree in trees:
        members = np.array(tree["categories"], dtype=np.int64)
        begins, sizes = tree["categories_segments"], tree["categories_sizes"]
        kept = _kept(tree)
        number = np.cumsum(kept) - 1
        for node, begin, size in zip(tree["categories_nodes"], begins, sizes, strict=True):
            if tree["left_children"][node] < 0:
                continue  # A leaf keeps the categories of the split that it was before pruning.
            named = members[begin : begin + size]
            ways = np.ones(int(named.max(initial=0)) + 1, dtype=bool)
            ways[named] = False
            sets.append(ways)
            width[start + number[node]] = len(ways)
        start += int(kept.sum())
    return {
        "category_width": torch.from_numpy(width[inner]),
        "category_left": torch.from_numpy(np.concatenate(sets)),
        "unknown_left": torch.from_numpy(chosen[inner]),
    }


def _numbers(values: NDArray[np.float32]) -> list[float]:
    """Shortest decimals that identify each float32, as XGBoost itself writes them."""
    return values.ravel().astype(str).astype(np.float64).tolist()


# -- linear --------------------------------------------------------------------------------------


def linear_module(content: Content, missing: float | None) -> Sequential:
    """A linear map applied after missing values are replaced by zero."""
    start = content.start()
    width = int(content.learner["learner_model_param"]["num_feature"])
    weights = np.array(content.inner["weights"], dtype=np.float32).reshape(width + 1, -1)
    zeros = torch.zeros(width)
    marks = [float("nan")] if missing is None else [float("nan"), float(np.float32(missing))]
    linear = Linear(
        to_tensor(weights[:-1]),
        to_tensor(weights[-1]),
        squeeze=start.ndim == 0,
        offset=to_tensor(start.reshape(-1)),
    )
    return Sequential(*[Impute(zeros, mark, trainable=False) for mark in marks], linear)


def write_linear(module: Sequential, content: Content) -> None:
    """Write weights and bias into the model."""
    linear = module.links[-1]
    assert isinstance(linear, Linear)
    assert linear.bias is not None
    rows = [to_array(linear.effective_weight()), to_array(linear.bias)[None]]
    content.inner["weights"] = _numbers(np.concatenate(rows).astype(np.float32))
