"""Malformed CatBoost files in JSON: each fault has one error, which names its place."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipegrad as pg
from pipegrad.testing import DATASETS

catboost = pytest.importorskip("catboost")

from pipegrad.sources.catboost import _cbm_structure, _json_structure  # noqa: E402
from pipegrad.sources.catboost._json_structure import check  # noqa: E402

Model = dict[str, Any]
FEW = {
    "iterations": 2,
    "depth": 2,
    "verbose": 0,
    "allow_writing_files": False,
    "thread_count": 1,
    "random_seed": 0,
}
BORDERS = {"simple_ctr": ["Borders"], "combinations_ctr": ["Borders"], "one_hot_max_size": 1}


def table() -> tuple[Any, Any]:
    X, y = DATASETS["regression"]()
    colors = np.array(list("abcd"))[np.arange(len(y)) % 4]
    sizes = (np.arange(len(y)) * 7 % 11).astype(str)
    frame = pd.DataFrame({"x": X[:, 0], "color": colors, "z": X[:, 1], "size": sizes})
    return frame, y + (colors == "b")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small models of every shape."""
    folder = tmp_path_factory.mktemp("models")
    X, y = DATASETS["regression"]()
    mixed, target = table()
    columns = {"cat_features": ["color", "size"]}
    classes, codes = np.arange(len(y)) % 3, np.arange(len(y)) % 4
    made: dict[str, tuple[dict[str, Any], Any, Any, dict[str, Any]]] = {
        "symmetric": ({}, X[:, :3], y, {}),
        "nested": ({"grow_policy": "Depthwise"}, X[:, :3], y, {}),
        "classes": ({"loss_function": "MultiClass"}, X[:, :3], classes, {}),
        "monotone": ({"monotone_constraints": [1, 0, -1]}, X[:, :3], y, {}),
        "onehot": ({"one_hot_max_size": 20}, mixed, target, columns),
        "ctrs": ({"loss_function": "Logloss", **BORDERS}, mixed, codes == 3, columns),
    }
    out = {}
    for name, (options, rows, labels, kinds) in made.items():
        pool = catboost.Pool(rows, labels, **kinds)
        model = catboost.CatBoost({**FEW, **options}).fit(pool)
        path = folder / f"{name}.json"
        model.save_model(str(path), format="json")
        out[name] = path.read_bytes()
    return out


def fault(content: bytes) -> str:
    with pytest.raises(pg.ModelFileError) as error:
        check(content, ".json", "model")
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


def in_feature(name: str, value: Any) -> Callable[[Model], None]:
    return setting("features_info", "float_features", 1, name, value)


def in_tree(*path: Any) -> Callable[[Model], None]:
    return setting("oblivious_trees", 1, *path)


def in_ctr(name: str, value: Any) -> Callable[[Model], None]:
    return setting("features_info", "ctrs", 0, name, value)


def in_table(name: str, value: Any) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        key = next(key for key in model["ctr_data"] if "Borders" in key)
        model["ctr_data"][key][name] = value

    return change


def unsorted(model: Model) -> None:
    feature = max(model["features_info"]["float_features"], key=lambda f: len(f["borders"]))
    feature["borders"] = [0.5, 0.25]


CASES: list[tuple[str, Callable[[Model], None], str]] = [
    ("symmetric", lambda model: model.pop("features_info"), "features_info: is missing"),
    ("symmetric", lambda model: model.pop("oblivious_trees"), "needs either oblivious_trees"),
    ("symmetric", setting("trees", []), "needs either oblivious_trees or trees"),
    ("symmetric", setting("oblivious_trees", {}), "oblivious_trees: must be an array"),
    ("symmetric", in_tree("splits", 0, "split_index", 10**6), "split_index: 1000000 lies outside"),
    ("symmetric", in_tree("splits", 0, "split_index", -1), "split_index: -1 lies outside"),
    ("symmetric", in_tree("splits", 0, "split_index", "0"), "split_index: must be an integer"),
    ("symmetric", in_tree("splits", [{"split_index": 0}] * 40), "40 levels are too many"),
    ("symmetric", in_tree("splits", [{"split_index": 0}]), "4 numbers do not fit 2 leaves"),
    ("symmetric", in_tree("leaf_values", [0.5]), "1 numbers do not fit 4 leaves"),
    ("symmetric", in_tree("leaf_values", 0, "x"), "leaf_values/0: must be a number, not a text"),
    ("symmetric", in_tree("leaf_weights", [1]), "leaf_weights: has 1 elements, but needs 4"),
    ("symmetric", lambda m: m["oblivious_trees"][1].pop("leaf_weights"), "in some trees only"),
    ("symmetric", setting("scale_and_bias", [1]), "scale_and_bias: has 1 elements, but needs 2"),
    ("symmetric", setting("scale_and_bias", [1, [0, 0]]), "has 2 numbers for 1 outputs"),
    ("symmetric", unsorted, "borders/1: must increase"),
    ("symmetric", in_feature("borders", [1e39]), "borders/0: .* is not finite"),
    ("symmetric", in_feature("borders", [True]), "borders/0: must be a number, not a boolean"),
    ("symmetric", in_feature("has_nans", 1), "has_nans: must be true or false"),
    ("symmetric", in_feature("nan_value_treatment", "No"), "nan_value_treatment: No is unknown"),
    ("symmetric", in_feature("feature_id", None), "feature_id: must be a text, not null"),
    ("symmetric", in_feature("feature_index", 0), "feature_index and flat_feature_index must"),
    ("symmetric", in_feature("flat_feature_index", 10**9), "flat_feature_index: 1000000000 lies"),
    ("symmetric", setting("model_info", "params", "x"), "model_info/params: .*is not JSON"),
    ("symmetric", setting("model_info", "params", [1]), "params: must be an object"),
    (
        "monotone",
        setting("model_info", "params", "tree_learner_options", "monotone_constraints", "0", "x"),
        "monotone_constraints/0: must be an integer",
    ),
    ("nested", setting("trees", 0, "split", {}), "trees/0/split/split_index: is missing"),
    ("nested", setting("trees", 0, "left", {"value": 1}), "trees/0/left/weight: is missing"),
    ("nested", setting("trees", 0, "left", {"value": [], "weight": 1}), "value: has no numbers"),
    ("nested", setting("trees", 0, "right", None), "trees/0/right: must be an object, not null"),
    ("nested", setting("trees", 0, "left", {"value": [1, 2], "weight": 1}), "other leaves have"),
    ("nested", lambda m: m["trees"][1].pop("left"), "trees/1/left: is missing"),
    ("classes", setting("model_info", "class_params", "class_to_label", [0, 1, 9]), "below 3"),
    ("classes", setting("model_info", "class_params", "class_to_label", [0, 1]), "needs 3"),
    ("classes", setting("model_info", "class_params", "class_to_label", [0, 1, 1]), "twice"),
    ("classes", setting("model_info", "class_params", "classes_count", 10**9), "1000000000 lies"),
    (
        "onehot",
        setting("features_info", "categorical_features", 0, "values", [1, 1]),
        "values: has a value twice",
    ),
    (
        "onehot",
        setting("features_info", "categorical_features", 0, "flat_feature_index", 0),
        "two features have the same flat_feature_index",
    ),
    ("ctrs", in_ctr("ctr_type", "Mean"), "ctr_type: Mean is unknown"),
    ("ctrs", in_ctr("elements", []), "ctr_data has no table for it"),
    ("ctrs", in_ctr("target_border_idx", 7), "target_border_idx: 7 lies outside of 0 to 0"),
    ("ctrs", in_ctr("scale", "x"), "scale: must be a number, not a text"),
    (
        "ctrs",
        lambda m: setting("cat_feature_index", 9)(m["features_info"]["ctrs"][0]["elements"][0]),
        "there is no categorical feature 9",
    ),
    ("ctrs", setting("ctr_data", {}), "ctr_data has no table for it"),
    ("ctrs", in_table("hash_stride", 0), "hash_stride: 0 lies outside"),
    ("ctrs", in_table("hash_stride", 10**6), "no whole number of entries"),
    ("ctrs", in_table("hash_map", ["1", 2]), "no whole number of entries"),
    ("ctrs", in_table("hash_map", [1, 2, 3]), "hash_map/0: must be a text with a hash"),
    ("ctrs", in_table("hash_map", ["1", 2, 2**40]), "1099511627776 lies outside"),
    ("ctrs", setting("ctr_data", "x", {}), "ctr_data/x: .*is not JSON"),
]


@pytest.mark.parametrize(("name", "change", "expected"), CASES)
def test_faults_are_named(
    files: dict[str, bytes], name: str, change: Callable[[Model], Any], expected: str
) -> None:
    model = json.loads(files[name])
    change(model)
    message = fault(json.dumps(model).encode())
    assert message.startswith("model: ")
    assert re.search(expected, message), message


# CatBoost ends reading silently at what its parser rejects.
REJECTED = ["1e999", "NaN", "-Infinity", '"\\ud800"', "1" * 310, "1" * 310 + "e-10"]


@pytest.mark.parametrize("value", REJECTED, ids=range(len(REJECTED)))
def test_what_ends_the_parser_of_catboost_is_refused(files: dict[str, bytes], value: str) -> None:
    content = files["symmetric"].lstrip()
    assert fault(b'{"x": ' + value.encode() + b"," + content[1:])


def test_valid_files_pass(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        check(content, ".json", name)


def test_a_node_far_from_its_parent_is_refused(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CatBoost keeps distances between nodes in 16 bits."""
    model = json.loads(files["nested"])
    leaf, split = {"value": 0.5, "weight": 1}, model["trees"][0]["split"]
    tree = {"split": split, "left": leaf, "right": leaf}
    model["trees"] = [{"split": split, "left": tree, "right": leaf}]
    monkeypatch.setattr(_json_structure, "_FARTHEST", 4)
    check(json.dumps(model).encode(), ".json", "model")
    model["trees"] = [{"split": split, "left": {**tree, "right": tree}, "right": leaf}]
    assert "trees/0: its left side has more than" in fault(json.dumps(model).encode())


def change_value(model: Any, draw: random.Random) -> None:
    """Change one value at a random place."""
    while True:
        keys = list(model) if isinstance(model, dict) else range(len(model))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(model[key], (dict, list)) and model[key]:
            model = model[key]
            continue
        model[key] = draw.choice([0, 1, 2, -1, 2**31, 1.5, 1e39, "1", "x", None, [], {}, True])
        return


@pytest.mark.parametrize("name", ["symmetric", "nested", "classes", "monotone", "onehot", "ctrs"])
def test_what_passes_is_predicted_as_catboost_does(
    files: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    draw, path = random.Random(name), tmp_path / "model.json"
    X = table()[0][:20] if name in ("onehot", "ctrs") else DATASETS["regression"]()[0][:20, :3]
    passed = 0
    for _ in range(14):
        model = json.loads(files[name])
        for part in ("trees", "oblivious_trees", "features_info", "ctr_data"):
            if part in model and draw.random() < 0.3:
                change_value(model[part], draw)
        content = json.dumps(model).encode()
        try:
            check(content, ".json", "model")
        except pg.ModelFileError:
            continue
        path.write_bytes(content)
        loaded = catboost.CatBoost().load_model(str(path), format="json")
        expected = loaded.predict(X, thread_count=1)
        try:
            found = pg.to_torch(loaded).predict(X)
        except pg.UntranslatableError:
            continue
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
        passed += 1
    assert passed


def test_a_binary_file_of_a_model_from_json_passes(files: dict[str, bytes], tmp_path: Path) -> None:
    """CatBoost fills its tables of hashes differently when it reads JSON."""
    source, path = tmp_path / "model.json", tmp_path / "model.cbm"
    source.write_bytes(files["ctrs"])
    model = catboost.CatBoost().load_model(str(source), format="json")
    model.save_model(str(path))
    X = table()[0]
    found = pg.to_torch(path, trusted=True).predict(X)
    np.testing.assert_allclose(found, model.predict(X, thread_count=1), rtol=1e-9)


def test_classes_of_binary_files_are_checked(files: dict[str, bytes], tmp_path: Path) -> None:
    source, path = tmp_path / "model.json", tmp_path / "model.cbm"
    source.write_bytes(files["classes"])
    catboost.CatBoost().load_model(str(source), format="json").save_model(str(path))
    content = path.read_bytes()
    labels = re.search(rb'"class_to_label":\[0,1,2\]', content)
    assert labels is not None
    wrong = content.replace(labels[0], labels[0].replace(b"2", b"9"))
    with pytest.raises(pg.ModelFileError, match="class_to_label: must hold the numbers of classes"):
        _cbm_structure.check(wrong, ".cbm", "model")


@pytest.mark.parametrize("key", ["training", "output_options", "params"])
def test_deep_nesting_within_a_text_is_refused(files: dict[str, bytes], key: str) -> None:
    model = json.loads(files["symmetric"])
    model["model_info"][key] = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert re.search(rf"model_info/{key}: .*nested", fault(json.dumps(model).encode()))
