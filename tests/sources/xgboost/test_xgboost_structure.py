"""Malformed XGBoost files: each fault has one error, which names its place."""

from __future__ import annotations

import copy
import json
import random
import re
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import pipegrad as pg
from pipegrad.testing import DATASETS

xgboost = pytest.importorskip("xgboost")

from pipegrad.sources.xgboost._structure import check  # noqa: E402
from pipegrad.sources.xgboost._ubjson import read_ubjson  # noqa: E402

Model = dict[str, Any]
FEW = {"nthread": 1, "max_depth": 3, "verbosity": 0}


@cache
def files() -> dict[str, tuple[bytes, bytes]]:
    """Small models of every shape, as JSON and UBJSON."""
    X, y = DATASETS["regression"]()
    X = X[:, :4].copy()
    X[:, 3] = np.arange(len(X)) % 7
    classes = np.arange(len(y)) % 3
    types = {"feature_types": ["q", "q", "q", "c"], "enable_categorical": True}
    several = {"objective": "multi:softprob", "num_class": 3, "num_parallel_tree": 2}
    vectors = {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
    quantiles = {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8]}
    made: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
        "number": ({}, y, {}),
        "pruned": ({"tree_method": "exact", "gamma": 2 * float(y.var()), "max_depth": 6}, y, {}),
        "logistic": ({"objective": "binary:logistic"}, classes > 0, {}),
        "classes": (several, classes, {}),
        "quantiles": (quantiles, y, {}),
        "vectors": (vectors, np.c_[y, -y], {}),
        "categories": ({"max_cat_to_onehot": 1}, y + (X[:, 3] == 2), types),
        "dart": ({"booster": "dart"}, y, {}),
        "linear": ({"booster": "gblinear"}, y, {}),
    }
    out = {}
    for name, (options, target, columns) in made.items():
        table = xgboost.DMatrix(X, target, **columns)
        booster = xgboost.train({**FEW, **options}, table, 2)
        out[name] = bytes(booster.save_raw("json")), bytes(booster.save_raw("ubj"))
    return out


def trees(model: Model) -> list[Model]:
    booster = model["learner"]["gradient_booster"]
    return booster.get("gbtree", booster)["model"]["trees"]


def fault(content: bytes, suffix: str = ".json") -> str:
    with pytest.raises(pg.ModelFileError) as error:
        check(content, suffix, "model")
    return str(error.value)


def setting(*path: Any) -> Callable[[Model], None]:
    """A change of one value: its path, then the value."""
    *keys, last, value = path

    def change(model: Model) -> None:
        place: Any = model
        for key in keys:
            place = place[key]
        place[last] = value

    return change


def in_tree(name: str, *path: Any) -> Callable[[Model], None]:
    return lambda model: setting(name, *path)(trees(model)[1])


def without(*path: Any) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        place: Any = model
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def root_alone(model: Model) -> None:
    """Turn the root into a leaf, so that all other nodes are out of reach."""
    tree = trees(model)[1]
    tree["left_children"][0] = tree["right_children"][0] = -1


def deleted_leaf(model: Model) -> None:
    """Mark a leaf that rows reach as deleted."""
    tree = trees(model)[1]
    leaf = tree["left_children"].index(-1)
    tree["split_indices"][leaf], tree["default_left"][leaf] = 2**31 - 1, 1


BOOSTER = ("learner", "gradient_booster")
PARAMETERS = ("learner", "learner_model_param")
FOREST = (*BOOSTER, "model")
CASES: list[tuple[str, Callable[[Model], None], str]] = [
    ("number", without("learner"), "learner: is missing"),
    ("number", setting("version", [3, 2]), "version: has 2 elements"),
    ("number", setting("version", "3.2"), "version: must be an array, not a text"),
    ("number", setting(*BOOSTER, "name", "forest"), "name: forest is unknown"),
    ("number", setting(*PARAMETERS, "num_feature", "1000000000"), "num_feature: 1000000000 lies"),
    ("number", setting(*PARAMETERS, "num_feature", "-1"), "num_feature: -1 lies outside"),
    ("number", setting(*PARAMETERS, "num_feature", "4.0"), "4.0 must be a text with an integer"),
    ("number", setting(*PARAMETERS, "num_feature", 4), "num_feature: must be a text, not a number"),
    (
        "number",
        setting(*PARAMETERS, "num_feature", "1"),
        "split_indices/.*model has no feature",
    ),
    ("number", setting(*PARAMETERS, "num_class", "1000000000"), "num_class: 1000000000 lies"),
    ("number", setting(*PARAMETERS, "num_target", "0"), "num_target: 0 lies outside"),
    ("classes", setting(*PARAMETERS, "num_target", "2"), "3 classes and 2 targets exclude"),
    ("classes", setting(*PARAMETERS, "num_class", "2"), "base_score: holds 3 numbers for 2"),
    ("number", setting(*PARAMETERS, "base_score", "[]"), "base_score: .* no list of numbers"),
    ("number", setting(*PARAMETERS, "base_score", "[1E99]"), "base_score: must be finite"),
    ("logistic", setting(*PARAMETERS, "base_score", "2E0"), "base_score: must be a probability"),
    ("number", setting("learner", "attributes", {"a": 1}), "attributes/a: must be a text"),
    ("number", setting("learner", "attributes", {"best_iteration": "x"}), "best_iteration: x must"),
    ("number", setting("learner", "feature_names", [1]), "feature_names/0: must be a text"),
    ("logistic", setting("learner", "objective", "name", "multi:softprob"), "needs a num_class"),
    (
        "logistic",
        setting("learner", "objective", "reg_loss_param", "scale_pos_weight", "-1"),
        "scale_pos_weight: lies outside",
    ),
    (
        "quantiles",
        setting("learner", "objective", "quantile_loss_param", "quantile_alpha", "[0.5]"),
        "quantile_alpha: must be 2 quantile levels",
    ),
    ("number", setting(*FOREST, "gbtree_model_param", "num_trees", "3"), "3 trees are stated"),
    ("number", setting(*FOREST, "tree_info", [0]), "tree_info: has 1 elements, but needs 2"),
    ("number", setting(*FOREST, "tree_info", [0, 5]), "tree_info/1: 5 lies outside of 0 to 0"),
    ("number", setting(*FOREST, "iteration_indptr", []), "iteration_indptr: must increase"),
    ("number", setting(*FOREST, "iteration_indptr", [0, 3, 2]), "3 lies outside"),
    ("number", setting(*FOREST, "iteration_indptr", [1, 1, 2]), "must increase from 0"),
    ("number", in_tree("id", 0), "trees/1/id: two trees have the number 0"),
    ("number", in_tree("id", 9), "trees/1/id: 9 lies outside of 0 to 1"),
    ("number", in_tree("left_children", 0, 10**6), "left_children/0: child 1000000 of node 0 lies"),
    ("number", in_tree("right_children", 0, 0), "right_children/0: child 0 of node 0 lies"),
    ("number", in_tree("right_children", 0, 1), "node 1 is the child of more than one node"),
    ("number", in_tree("left_children", 0, -7), "left_children/0: -7 lies outside"),
    ("number", in_tree("left_children", 0, True), "left_children/0: must be an integer"),
    ("number", in_tree("left_children", []), "0 nodes are stated|stated, but there are 0"),
    ("number", in_tree("parents", 1, 2), "parents/1: 2 does not have the child 1"),
    ("number", in_tree("parents", 0, 5), "parents/0: the root cannot have the parent 5"),
    ("number", in_tree("split_conditions", [0.5]), "split_conditions: has 1 elements"),
    ("number", in_tree("split_conditions", 0, None), "split_conditions/0: must be a number"),
    ("number", in_tree("split_conditions", 0, float("nan")), "/0: the threshold is no number"),
    ("number", in_tree("base_weights", 0, "x"), "base_weights/0: must be a number, not a text"),
    ("number", in_tree("split_indices", 0, 2**40), "split_indices/0: 1099511627776 lies"),
    ("number", in_tree("default_left", 0, 2), "default_left/0: 2 lies outside of 0 to 1"),
    ("number", in_tree("tree_param", "num_nodes", "1"), "num_nodes: 1 nodes are stated"),
    ("number", in_tree("tree_param", "num_deleted", "1"), "num_deleted: 1 is not 0"),
    ("number", in_tree("tree_param", "size_leaf_vector", "2"), "trees/1/.*"),
    ("pruned", in_tree("tree_param", "num_deleted", "0"), "num_deleted: 0 is not"),
    ("number", root_alone, "node 1 is no part of the tree"),
    ("number", deleted_leaf, "node .* is deleted"),
    ("vectors", in_tree("leaf_weights", [0.5]), "leaf_weights: has 1 elements"),
    ("vectors", in_tree("base_weights", [0.5]), "base_weights: 1 numbers cannot be shared"),
    ("vectors", in_tree("right_children", -1, 0), "the leaves do not have one vector each"),
    ("vectors", in_tree("tree_param", "size_leaf_vector", "3"), "leaf_weights: has"),
    ("categories", in_tree("categories_nodes", []), "categories_nodes: has 0 elements"),
    ("categories", in_tree("categories", 0, -1), "categories/0: -1 lies outside"),
    ("categories", in_tree("categories", 0, 2**24), "categories/0: 16777216 lies outside"),
    ("categories", in_tree("categories_sizes", 0, 10**6), "categories_sizes/0: 1000000 lies"),
    ("categories", in_tree("categories_segments", 0, 1), "segments do not cover the categories"),
    ("categories", in_tree("split_type", 0, 7), "split_type/0: 7 lies outside of 0 to 1"),
    ("dart", setting(*BOOSTER, "weight_drop", [1.0]), "weight_drop: has 1 elements, but needs 2"),
    ("dart", setting(*BOOSTER, "gbtree", "name", "dart"), "gbtree/name: dart is unknown"),
    ("linear", setting(*FOREST, "weights", [1.0]), "weights: has 1 elements, but needs 5"),
    ("linear", without(*FOREST, "weights"), "weights: is missing"),
]


@pytest.mark.parametrize(("name", "change", "expected"), CASES)
def test_faults_are_named(name: str, change: Callable[[Model], None], expected: str) -> None:
    model = json.loads(files()[name][0])
    change(model)
    message = fault(json.dumps(model).encode())
    assert message.startswith("model: ")
    assert re.search(expected, message), message


def reordered(model: Model) -> None:
    """Turn a node into its own ancestor: every node has one parent, but two lead in a circle."""
    tree = trees(model)[0]
    left, right, parents = (tree[k] for k in ("left_children", "right_children", "parents"))
    inner = [node for node, child in enumerate(left) if child >= 0 and node]
    a = next(node for node in inner if left[node] in inner or right[node] in inner)
    side = left if left[a] in inner else right
    b = side[a]
    other = left if left[b] >= 0 else right
    above = left if left[parents[a]] == a else right
    above[parents[a]], parents[other[b]] = other[b], parents[a]
    other[b], parents[a] = a, b


def test_a_cycle_is_found_without_walking_it() -> None:
    model = json.loads(files()["number"][0])
    reordered(model)
    assert "lies on a cycle" in fault(json.dumps(model).encode())


def test_leaves_of_several_outputs_are_finite() -> None:
    model = json.loads(files()["classes"][0])
    tree = trees(model)[1]
    tree["split_conditions"][tree["left_children"].index(-1)] = 1e39
    assert "is not finite" in fault(json.dumps(model).encode())


TEXTS: list[tuple[bytes, str]] = [
    (b"", "is not JSON"),
    (b"\xff", "byte 0 is not UTF-8"),
    (b"\xef\xbb\xbf{}", "is not JSON"),
    (b"[]", "must be an object, not an array"),
    (b'{"a": 1, "a": 2}', "the key a stands twice"),
    (b"[" * 10**5, "nested brackets"),
    (b'{"a": ' + b"1" * 5000 + b"}", "too many digits"),
    (b'{"\\u006cearner": 1}', "contains an escape sequence"),
    (b' {"learner": {}}', "an XGBoost model begins with"),
    (b'{"learner": {}} x', "is not JSON: Extra data"),
]


@pytest.mark.parametrize(("content", "expected"), TEXTS, ids=range(len(TEXTS)))
def test_texts_that_are_no_document(content: bytes, expected: str) -> None:
    assert expected in fault(content)


def length(number: int) -> bytes:
    return b"L" + struct.pack(">q", number)


BINARIES: list[tuple[bytes, str]] = [
    (b"", "byte 0: 1 more bytes are declared"),
    (b"{", "byte 1: a length must follow"),
    (b"{" + length(10**9), "the length 1000000000 is more than what the file contains"),
    (b"{" + length(-1), "the length -1 is more"),
    (b"[$d#" + length(10**9), "the length 1000000000 is more"),
    (b"[$d#" + length(1), "the length 1 is more"),
    (b"[$d#" + length(1) + b"1", "4 more bytes are declared"),
    (b"[$x#" + length(0), "is no type of an array"),
    (b"[#" + length(-5), "the length -5 is more"),
    (b"[" * 1000, "objects and arrays are nested"),
    (b"[i", "1 more bytes are declared"),
    (b"q", "is no type of a value"),
    (b"S" + length(1) + b"\xff", "is not UTF-8"),
    (b"S" + length(1) + b"\0", "contains a zero byte"),
    (b"{" + 2 * (length(1) + b"aZ"), "the key a stands twice"),
    (b"{}x", "the document ends here"),
    (b"{}", "learner: is missing"),
]


@pytest.mark.parametrize(("content", "expected"), BINARIES, ids=range(len(BINARIES)))
def test_binaries_that_are_no_document(content: bytes, expected: str) -> None:
    assert expected in fault(content, ".ubj")


def test_both_forms_have_the_same_content() -> None:
    for name, (text, binary) in files().items():
        assert listed(read_ubjson(binary, name).value) == json.loads(text)


def listed(value: Any) -> Any:
    """Nested lists and floats that print as in JSON."""
    if isinstance(value, dict):
        return {key: listed(member) for key, member in value.items()}
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return [float(str(number)) for number in value]
    if isinstance(value, (list, np.ndarray)):
        return [listed(member) for member in list(value)]
    return value.item() if isinstance(value, np.generic) else value


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_valid_files_pass(suffix: str) -> None:
    for name, both in files().items():
        check(both[suffix == ".ubj"], suffix, name)


def test_older_shapes_pass() -> None:
    """Before categories (1.3), rounds (2.0), names of targets, and lists of intercepts (3.1)."""
    model = json.loads(files()["number"][0])
    parameters = model["learner"]["learner_model_param"]
    parameters["base_score"] = "5E-1"
    for key in ("num_target", "boost_from_average"):
        del parameters[key]
    forest = model["learner"]["gradient_booster"]["model"]
    del forest["iteration_indptr"], forest["cats"]
    forest["gbtree_model_param"]["size_leaf_vector"] = "0"
    for tree in forest["trees"]:
        tree["tree_param"]["size_leaf_vector"] = "0"
        for key in ("split_type", *(key for key in list(tree) if key.startswith("categories"))):
            del tree[key]
    content = json.dumps(model).encode()
    check(content, ".json", "model")
    xgboost.Booster(model_file=bytearray(content)).save_raw()


def change_number(model: Any, draw: random.Random) -> None:
    """Change one value at a random place."""
    while True:
        keys = list(model) if isinstance(model, dict) else range(len(model))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(model[key], (dict, list)) and model[key]:
            model = model[key]
            continue
        model[key] = draw.choice([0, -1, 2**31, 2**63, 1.5, 1e39, "1", "-1", "x", None, [], {}])
        return


@pytest.mark.parametrize("name", list(files()))
def test_what_passes_is_predicted_as_xgboost_does(name: str) -> None:
    draw, X = random.Random(name), np.random.default_rng(0).normal(size=(20, 4)) * 3
    X[:, 3] = np.arange(20) % 9 - 1
    X[::5, 0] = np.nan
    passed = 0
    for _ in range(60):
        model = json.loads(files()[name][0])
        change_number(model, draw)
        content = json.dumps(model).encode()
        try:
            check(content, ".json", "model")
        except pg.ModelFileError:
            continue
        passed += predicted_alike(content, X)
    assert passed


def predicted_alike(content: bytes, X: Any) -> bool:
    try:
        booster = xgboost.Booster(model_file=bytearray(content))
        columns = {"feature_types": booster.feature_types, "enable_categorical": True}
        table = xgboost.DMatrix(X, **columns)
        expected = booster.predict(table)
    except xgboost.core.XGBoostError:
        return False
    np.testing.assert_allclose(pg.to_torch(booster).predict(table), expected, rtol=2e-6, atol=2e-6)
    return True


def test_no_time_or_memory_beyond_the_file() -> None:
    """A file of 10 kB asks for a table of 16 MB for each node; a few of them are a valid model."""
    model = json.loads(files()["categories"][0])
    tree = trees(model)[0]
    nodes = tree["split_type"].count(1)
    tree["categories"] = [2**24 - 1] * nodes
    tree["categories_sizes"] = [1] * nodes
    tree["categories_segments"] = list(range(nodes))
    forest = model["learner"]["gradient_booster"]["model"]
    forest["trees"] = [{**copy.deepcopy(tree), "id": i} for i in range(9)]
    forest["tree_info"], forest["iteration_indptr"] = [0] * 9, list(range(10))
    forest["gbtree_model_param"]["num_trees"] = "9"
    assert "too much memory" in fault(json.dumps(model).encode())
