"""Reads a CatBoost model from its JSON form and writes learned parameters back into it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import catboost
import numpy as np
import torch
from numpy.typing import NDArray

from ...file_writing import incomplete, scratch_folder
from ...modules import TreeEnsemble
from ..arrays import to_array, to_tensor
from ..sklearn._flat_trees import monotone_values

_NODES = ("feature", "threshold", "default_left", "asked", "left", "right")


class Content:
    """The model of an estimator as nested dicts and lists, and its trees as flat arrays.

    Parameters
    ----------
    operator : catboost.CatBoost
        The estimator, which is never changed.
    """

    def __init__(self, operator: Any) -> None:
        self.model = _to_json(operator)
        scale, bias = self.model["scale_and_bias"]
        self.scale, self.bias = float(scale), np.array(bias, dtype=np.float64)
        self.features = self.model["features_info"] or {}
        self.floats = self.features.get("float_features", [])
        self.has_categories = bool(self.features.get("categorical_features"))
        self.questions: list[dict[str, Any]] = []
        self._columns: dict[int, tuple[int, dict[str, Any]]] = {}

    def float_columns(self) -> list[int]:
        """The numeric columns of the input."""
        return [int(f["flat_feature_index"]) for f in self.floats]

    def misses_columns(self) -> bool:
        """Whether columns before the last one, or all of them, are no longer known."""
        categories = self.features.get("categorical_features") or []
        known = [f["flat_feature_index"] for f in [*self.floats, *categories]]
        return not known or sorted(known) != list(range(len(known)))

    def has_statistics(self) -> bool:
        """Whether the statistics of categories that the splits compare are there, if any."""
        return not self.ctr_types() or bool(self.model.get("ctr_data"))

    def named_classes(self) -> int:
        """How many classes the options name, if they are not the outputs in order; else 0."""
        if len(self.bias) == 1:
            return 0
        classes = _parsed((self.model.get("model_info") or {}).get("class_params"))
        stated = max(int(classes.get("classes_count") or 0), len(classes.get("class_names") or []))
        return 0 if classes.get("class_to_label") == list(range(stated)) else stated

    def ctr_types(self) -> set[str]:
        """The kinds of categorical statistics (CTRs) that the splits compare."""
        return {ctr["ctr_type"] for ctr in self.features.get("ctrs") or []}

    def monotone(self, column: NDArray[np.int64], asked: NDArray[np.bool_]) -> torch.Tensor | None:
        """The constraint of the feature of each node; None if all are free."""
        parameters = _parsed((self.model.get("model_info") or {}).get("params"))
        given = parameters.get("tree_learner_options", {}).get("monotone_constraints") or {}
        if not given:
            return None
        width = int(max(column, default=-1)) + 1
        constraints = np.zeros(max(width, len(self.floats)), dtype=np.int64)
        for number, feature in enumerate(self.floats):
            flat = int(feature["flat_feature_index"])
            place = number if self.has_categories else flat
            if str(flat) in given and place < len(constraints):
                constraints[place] = int(given[str(flat)])
        return torch.from_numpy(np.where(asked, 0, constraints[column]))

    def flatten(self) -> Flat:
        """All trees as flat arrays."""
        flat = Flat()
        for tree in self.model.get("oblivious_trees", []):
            self._add_symmetric(flat, tree)
        for tree in self.model.get("trees", []):
            flat.roots.append(self._add(flat, tree))
        return flat

    def _add_symmetric(self, flat: Flat, tree: dict[str, Any]) -> None:
        splits = tree.get("splits") or []
        depth = len(splits)
        level, left, right = _heap(depth)
        node, leaf = len(flat.split), len(flat.weight)
        # The first split is the lowest bit of the leaf index, so it is evaluated last.
        seen = [self._seen(split) for split in reversed(splits)]
        flat.split += [seen[i][0] for i in level]
        for name, column in zip(_NODES, zip(*(s[1] for s in seen), strict=True), strict=False):
            flat.nodes[name] += np.array(column)[level].tolist()
        for name, child in (("left", left), ("right", right)):
            flat.nodes[name] += np.where(child < 0, child - leaf, child + node).tolist()
        flat.roots.append(node if depth else ~leaf)
        width = 2**depth
        flat.values.append(np.array(tree["leaf_values"], dtype=np.float64).reshape(width, -1))
        flat.weight += list(tree.get("leaf_weights") or [0.0] * width)

    def _add(self, flat: Flat, tree: dict[str, Any]) -> int:
        if "split" not in tree:
            flat.values.append(np.array(tree["value"], dtype=np.float64).reshape(1, -1))
            flat.weight.append(tree.get("weight", 0.0))
            return ~(len(flat.weight) - 1)
        split, seen = self._seen(tree["split"])
        node = len(flat.split)
        flat.split.append(split)
        for name, value in zip(_NODES[:4], seen, strict=True):
            flat.nodes[name].append(value)
        flat.nodes["left"].append(0)
        flat.nodes["right"].append(0)
        flat.nodes["left"][node] = self._add(flat, tree["left"])
        flat.nodes["right"][node] = self._add(flat, tree["right"])
        return node

    def _seen(self, split: dict[str, Any]) -> tuple[dict[str, Any], tuple[int, float, bool, bool]]:
        """A split as (column, threshold, NaN goes left, CatBoost itself evaluates it)."""
        if split["split_type"] == "FloatFeature":
            number = int(split["float_feature_index"])
            feature = self.floats[number]
            column = number if self.has_categories else int(feature["flat_feature_index"])
            left = not feature["has_nans"] or feature["nan_value_treatment"] != "AsTrue"
            return split, (column, float(split["border"]), left, False)
        known = self._columns.get(split["split_index"])
        if known is None:
            known = len(self.floats) + len(self.questions), split
            self._columns[split["split_index"]] = known
            self.questions.append(split)
        return split, (known[0], 0.5, True, True)

    def asker(self) -> Any:
        """A model with one tree for each split on categorical columns."""
        self.flatten()
        model = {k: v for k, v in self.model.items() if k not in ("trees", "oblivious_trees")}
        leaves = {"leaf_values": [0.0, 1.0], "leaf_weights": [1.0, 1.0]}
        model["oblivious_trees"] = [{**leaves, "splits": [split]} for split in self.questions]
        model["scale_and_bias"] = [1, [0.0]]
        return _from_json(model, catboost.CatBoost())


def _parsed(options: Any) -> dict[str, Any]:
    """Options of the fit, which can stand in a text."""
    return json.loads(options) if isinstance(options, str) and options else options or {}


class Flat:
    """Trees as flat arrays: nodes, leaves, and the split behind each node."""

    def __init__(self) -> None:
        self.roots: list[int] = []
        self.nodes: dict[str, list[Any]] = {name: [] for name in _NODES}
        self.split: list[dict[str, Any]] = []
        self.values: list[NDArray[np.float64]] = []
        self.weight: list[float] = []

    def node(self, name: str, dtype: Any) -> NDArray[Any]:
        """One attribute of all nodes."""
        return np.array(self.nodes[name], dtype=dtype)

    def leaf_values(self) -> NDArray[np.float64]:
        """Values of the leaves, shape (leaves, outputs)."""
        return np.concatenate(self.values)


@cache
def _heap(depth: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Level and children of the nodes of a full tree; leaves are coded ``~number``."""
    nodes = np.arange(2**depth - 1)
    level = np.floor(np.log2(nodes + 1)).astype(np.int64)
    children = [2 * nodes + side for side in (1, 2)]
    left, right = (np.where(c < len(nodes), c, ~(c - len(nodes))) for c in children)
    return level, left, right


def to_module(content: Content) -> TreeEnsemble:
    """The trees as one module."""
    flat = content.flatten()
    values = flat.leaf_values()
    asked = torch.from_numpy(flat.node("asked", bool))
    trees = len(flat.roots)
    return TreeEnsemble(
        torch.tensor(flat.roots),
        torch.from_numpy(flat.node("feature", np.int64)),
        to_tensor(flat.node("threshold", np.float64)),
        torch.from_numpy(flat.node("left", np.int64)),
        torch.from_numpy(flat.node("right", np.int64)),
        to_tensor(values),
        single=True,
        default_left=torch.from_numpy(flat.node("default_left", bool)),
        # CatBoost evaluates a split to zero or one; one goes right.
        category_width=asked.long() * 2,
        category_left=torch.tensor([True, False]).repeat(int(asked.sum())),
        tree_weights=None if content.scale == 1 else to_tensor(np.full(trees, content.scale)),
        outputs=values.shape[1],
        base=to_tensor(np.broadcast_to(content.bias, values.shape[1])),
        squeeze=values.shape[1] == 1,
        monotone=content.monotone(flat.node("feature", np.int64), flat.node("asked", bool)),
    )


def write_back(module: TreeEnsemble, operator: Any) -> None:
    """Write leaf values, bias and thresholds into the estimator."""
    content = Content(operator)
    flat = content.flatten()
    before = flat.node("threshold", np.float64).astype(np.float32)
    moved = to_array(module.moved_thresholds(to_tensor(before)))
    values = to_array(module.leaf_table()).astype(np.float64)
    values = monotone_values(module, values, moved)
    assert module.base is not None
    bias = to_array(module.base).astype(np.float64).tolist()
    if np.array_equal(before, moved):
        _reload(operator)
        order = leaf_order(operator, content)
    else:
        order = _rebuild(operator, content, flat, moved)
    operator.set_leaf_values(values[order].ravel())
    operator.set_scale_and_bias(content.scale, bias if len(bias) > 1 else bias[0])


def leaf_order(operator: Any, content: Content) -> NDArray[np.int64]:
    """For each position in ``get_leaf_values()``, the index of the leaf in the JSON form."""
    count = int(operator.get_leaf_values().size)
    if "trees" not in content.model:
        return np.arange(count // len(content.bias))
    # CatBoost's leaf order in non-symmetric trees is an implementation detail, so query it.
    marked = _fresh(operator)
    marked.set_leaf_values(np.arange(count, dtype=np.float64))
    values = Content(marked).flatten().leaf_values()
    return np.argsort(values[:, 0])


def _rebuild(
    operator: Any, content: Content, flat: Flat, thresholds: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Write the thresholds into the estimator and return its new leaf order."""
    count, width = flat.leaf_values().shape
    marks = np.repeat(np.arange(count, dtype=np.float64)[:, None], width, axis=1)
    # Nodes on one level may now differ, so the trees are no longer symmetric.
    content.model["trees"] = [_nested(flat, root, thresholds, marks) for root in flat.roots]
    content.model.pop("oblivious_trees", None)
    _number_splits(content.model)
    with _kept(operator):
        _from_json(content.model, operator)
    return operator.get_leaf_values().reshape(-1, width)[:, 0].round().astype(np.int64)


@contextmanager
def _kept(operator: Any) -> Iterator[None]:
    """Preserve the estimator's other attributes, which loading a model discards."""
    state = {name: value for name, value in vars(operator).items() if name != "_object"}
    evaluated = operator._object._get_test_evals()
    yield
    vars(operator).update(state)
    if evaluated:
        operator._set_test_evals(evaluated)


def _reload(operator: Any) -> None:
    """Reload the model, since CatBoost cannot modify a copied or unpickled model."""
    with _kept(operator):
        load_content(saved(operator, "cbm"), "cbm", operator)


def _fresh(operator: Any) -> Any:
    """The bare model, in a form that can be modified."""
    return load_content(saved(operator, "cbm"), "cbm", catboost.CatBoost())


def _nested(
    flat: Flat, at: int, thresholds: NDArray[np.float32], values: NDArray[np.float64]
) -> dict[str, Any]:
    if at < 0:
        value = values[~at].tolist()
        return {"value": value if len(value) > 1 else value[0], "weight": flat.weight[~at]}
    split = dict(flat.split[at])
    if split["split_type"] == "FloatFeature":
        split["border"] = float(thresholds[at])
    left, right = flat.nodes["left"][at], flat.nodes["right"][at]
    return {
        "split": split,
        "left": _nested(flat, left, thresholds, values),
        "right": _nested(flat, right, thresholds, values),
    }


def _number_splits(model: dict[str, Any]) -> None:
    """List the borders that the trees use, and renumber the splits."""
    floats = model["features_info"].get("float_features", [])
    used: list[set[float]] = [set() for _ in floats]
    splits = [split for tree in model["trees"] for split in _splits(tree)]
    for split in splits:
        if split["split_type"] == "FloatFeature":
            used[split["float_feature_index"]].add(split["border"])
    before = sum(len(feature["borders"]) for feature in floats)
    place: dict[tuple[int, float], int] = {}
    for number, (feature, borders) in enumerate(zip(floats, used, strict=True)):
        feature["borders"] = sorted(borders)
        for border in feature["borders"]:
            place[number, border] = len(place)
    for split in splits:
        if split["split_type"] == "FloatFeature":
            split["split_index"] = place[split["float_feature_index"], split["border"]]
        else:
            split["split_index"] += len(place) - before


def _splits(tree: dict[str, Any]) -> list[dict[str, Any]]:
    if "split" not in tree:
        return []
    return [tree["split"], *_splits(tree["left"]), *_splits(tree["right"])]


def saved(operator: Any, form: str) -> bytes:
    """The content of a model file in the format "cbm" or "json".

    Raises
    ------
    OSError
        If the folder of temporary files is full, of which CatBoost itself says nothing.
    """
    if form == "cbm":
        return bytes(operator._serialize_model())
    with scratch_folder() as folder:
        path = folder / "model.json"
        try:
            operator.save_model(str(path), format="json")
            content = path.read_bytes()
            json.loads(content)
        except (catboost.CatBoostError, ValueError) as error:
            raise incomplete(path) from error
    return content


def _to_json(operator: Any) -> dict[str, Any]:
    return json.loads(saved(operator, "json"))


def _from_json(model: dict[str, Any], into: Any) -> Any:
    return load_content(json.dumps(model).encode(), "json", into)


def load_content(content: bytes, form: str, into: Any) -> Any:
    """Load the content of a file into a model.

    CatBoost reads JSON from files alone, and cannot modify a model that it read from memory.
    """
    with scratch_folder() as folder:
        path = folder / f"model.{form}"
        path.write_bytes(content)
        return into.load_model(str(path), format=form)
