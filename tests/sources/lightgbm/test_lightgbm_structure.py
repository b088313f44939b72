"""LightGBM's text files: whatever the library writes passes, and damage is named by its place."""

import gc
import os
import random
import re
import signal

import numpy as np
import pandas as pd
import pytest

import pipegrad as pg
from pipegrad.errors import ModelFileError
from pipegrad.sources.lightgbm._structure import check
from pipegrad.testing import Case, cases

lgb = pytest.importorskip("lightgbm")

QUIET = {"verbose": -1, "n_jobs": 1, "n_estimators": 4, "num_leaves": 5, "min_child_samples": 3}
SETS = {"min_data_per_group": 1, "cat_smooth": 0.0, "cat_l2": 0.0, "max_cat_to_onehot": 1}


def rows(n=200):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).round(2)
    X[:, 3] = rng.integers(0, 9, n)
    return X, X[:, 0] - X[:, 1] ** 2 + X[:, 3] % 3


def booster(categories="auto", **params):
    X, y = rows()
    model = lgb.LGBMRegressor(**{**QUIET, **params})
    return model.fit(X, y, categorical_feature=categories).booster_


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    X, y = rows()
    classes = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    several = lgb.LGBMClassifier(**QUIET).fit(X, classes).booster_
    table = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(X[:, 3].astype(int).astype(str))})
    found = {
        "plain": booster(monotone_constraints=[1, 0, 0, 0]),
        "linear": booster(linear_tree=True),
        "sets": booster([3], **SETS),
        "binary": lgb.LGBMClassifier(**QUIET).fit(X, classes > 0).booster_,
        "several": several,
        "table": lgb.LGBMRegressor(**QUIET, **SETS).fit(table, y).booster_,
    }
    return {name: one.model_to_string() for name, one in found.items()}


def resized(text: str) -> str:
    """The text with sizes of the trees that are right again."""
    starts = [match.start() + 1 for match in re.finditer("\nTree=", text)]
    ends = [*starts[1:], text.index("end of trees")]
    sizes = " ".join(str(end - start) for start, end in zip(starts, ends, strict=True))
    return re.sub("^tree_sizes=.*$", f"tree_sizes={sizes}", text, flags=re.MULTILINE)


def put(key: str, value: str, tree: int | None = None):
    """A mutation: another value of a line, in one tree or in the header."""

    def mutated(text: str) -> str:
        start = 0 if tree is None else text.index(f"\nTree={tree}\n")
        at = re.compile(f"^{key}=.*$", re.MULTILINE).search(text, start)
        assert at
        return resized(text[: at.start()] + f"{key}={value}" + text[at.end() :])

    return mutated


def without(key: str, tree: int | None = None):
    """A mutation: a line less."""

    def mutated(text: str) -> str:
        changed = put(key, "@", tree)(text)
        return resized(changed.replace(f"{key}=@\n", "", 1))

    return mutated


def swap(old: str, new: str):
    """A mutation: the first occurrence of a string becomes another one."""

    def mutated(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return mutated


def cut(after: str):
    """A mutation: the file ends after a string."""
    return lambda text: text[: text.index(after) + len(after)]


DAMAGE = [
    ("plain", lambda text: "", "line 1: '', but it must be 'tree'"),
    ("plain", swap("tree\n", "three\n"), "line 1: 'three', but it must be 'tree'"),
    ("plain", swap("\nTree=2", "\0\nTree=2"), r"byte \d+: a zero"),
    ("plain", swap("version", "ver sion"), "line 2: 'ver sion=v4' is no line of a header"),
    ("plain", swap("label_index=0", "label_index=0\nlabel_index=0"), "line 6: label_index for the"),
    ("plain", swap("label_index=0", "label_index=0=1"), "several equals signs"),
    ("plain", without("num_class"), "header: there is no num_class"),
    ("plain", without("label_index"), "header: there is no label_index"),
    ("plain", without("feature_infos"), "header: there is no feature_infos"),
    ("plain", put("num_class", "x"), "num_class: 'x' is no whole number"),
    ("plain", put("num_class", "99999999999"), "num_class: '99999999999' is no whole number of 32"),
    ("plain", put("num_class", "0"), "num_tree_per_iteration: 1, but num_class=0"),
    ("several", put("num_tree_per_iteration", "0"), "num_tree_per_iteration: 0, but num_class=3"),
    (
        "plain",
        put("max_feature_idx", "1000000000"),
        "feature_names: 4 entries, but max_feature_idx",
    ),
    ("plain", put("max_feature_idx", "-1"), "max_feature_idx: it must not be negative"),
    ("plain", put("feature_infos", "none none"), "feature_infos: 2 entries, but"),
    ("plain", put("monotone_constraints", "1 0 0"), "monotone_constraints: 3 entries, but"),
    ("plain", put("monotone_constraints", "1 0 7 0"), "monotone_constraints: entries other than"),
    ("plain", put("objective", ""), "objective: it has no name"),
    ("several", put("objective", "multiclass"), "'multiclass', num_class: '' is no whole number"),
    ("several", put("objective", "multiclass num_class:9"), "it has 9 outputs, but num_class=3"),
    (
        "several",
        put("objective", "multiclass num_class:1"),
        "num_class: 1, but it must be at least",
    ),
    ("several", put("objective", "regression"), "it has 1 outputs, but num_class=3"),
    ("binary", put("objective", "binary sigmoid:-1"), "sigmoid: -1.0, but it must be positive"),
    ("binary", put("objective", "binary sigmoid:nan"), "sigmoid: nan, but it must be positive"),
    ("binary", put("objective", "binary"), "sigmoid: '' is no number"),
    ("plain", swap("tree_sizes=", "tree_sizes=1 "), "tree_sizes: 5 numbers, but .* 4 trees"),
    ("plain", swap("tree_sizes=", "tree_sizes=1"), r"tree_sizes: 1\d+ for Tree=0, which has \d+"),
    ("plain", lambda text: text.replace("\n", "\r\n"), r"\nHint: the line breaks were changed"),
    ("plain", swap("\nTree=1", "\nTree=7"), "Tree=1: 'Tree=7' where this tree must begin"),
    ("plain", swap("\nTree=1", "\nleaf\n\nTree=1"), "Tree=1: 'Tree=1' does not follow"),
    ("plain", cut("Tree=2\nnum_leaves=5\n"), "Tree=2: the file ends within this tree"),
    ("plain", cut("Tree=2"), "Tree=2: the file ends within this tree"),
    (
        "plain",
        swap("Tree=1\n", "Tree=1\nnum_leaves\n"),
        "Tree=1: 'num_leaves' is no line of a tree",
    ),
    ("plain", swap("Tree=1\n", "Tree=1\nnum_cat=0\n"), "Tree=1, num_cat: the line is there twice"),
    (
        "plain",
        swap("Tree=1\n", "Tree=1\n" + "".join(f"a{i}=0\n" for i in range(9))),
        "Tree=1: 25 lines, but LightGBM reads 22",
    ),
    ("plain", put("num_leaves", "6", 2), "Tree=2, split_feature: 4 numbers, .* num_leaves=6"),
    ("plain", put("num_leaves", "2000000000", 2), "Tree=2, leaf_value: 5 .* num_leaves=2000000000"),
    ("plain", put("num_leaves", "0", 2), "Tree=2, num_leaves: 0, but a tree has a leaf"),
    ("plain", put("num_leaves", "1", 2), "Tree=2, split_feature: 4 numbers, .* num_leaves=1"),
    ("plain", put("is_linear", "1", 3), "Tree=3: there is no leaf_const"),
    ("plain", put("is_linear", "2", 3), "Tree=3, is_linear: 2, but it must be 0 or 1"),
    ("plain", put("num_cat", "-1", 3), "Tree=3, num_cat: -1 is negative"),
    ("plain", put("num_cat", "1", 3), "Tree=3: there is no cat_boundaries"),
    *(
        ("plain", without(key, 1), f"Tree=1: there is no {key}")
        for key in ("num_leaves", "num_cat", "split_feature", "threshold", "left_child")
    ),
    ("plain", without("leaf_value", 3), "Tree=3, leaf_value: 0 numbers"),
    ("plain", put("threshold", "1 2 3", 1), "Tree=1, threshold: 3 numbers, .* num_leaves=5"),
    ("plain", put("threshold", "1 2\t3 4", 1), "Tree=1, threshold: 3 numbers, .* num_leaves=5"),
    ("plain", put("threshold", "1 2 x 4", 1), "Tree=1, threshold: 'x' is no number"),
    ("plain", put("threshold", "1 2 1_0 4", 1), "Tree=1, threshold: '1_0' is no number"),
    ("plain", put("threshold", "1 2 nan 4", 1), r"Tree=1, threshold: not a number \(node 2\)"),
    ("plain", put("leaf_value", "1 2 3 4 0x5", 1), "Tree=1, leaf_value: '0x5' is no number"),
    ("plain", put("leaf_count", "1 2", 1), "Tree=1, leaf_count: 2 numbers"),
    ("plain", put("split_gain", "1 2 . 4", 1), "Tree=1, split_gain: '.' is no number"),
    ("plain", put("shrinkage", "e", 1), "Tree=1, shrinkage: 'e' is no number"),
    ("plain", put("split_feature", "0 1 4 2", 1), r"split_feature: feature 4, .* is 3 \(node 2\)"),
    ("plain", put("split_feature", "0 1 -1 2", 1), "Tree=1, split_feature: feature -1"),
    ("plain", put("split_feature", "0 1.5 1 2", 1), "Tree=1, split_feature: '1.5' is no number"),
    ("plain", put("left_child", "1 2 3 4", 1), r"Tree=1, left_child: there is no node 4 \(node 3"),
    ("plain", put("right_child", "-9 -3 -4 -5", 1), "Tree=1, right_child: there is no leaf 8"),
    (
        "plain",
        put("left_child", "0 2 3 -1", 1),
        "Tree=1, left_child and right_child: node 0 has se",
    ),
    (
        "plain",
        put("decision_type", "2 2 16 2", 1),
        r"Tree=1, decision_type: 16 is unknown \(node 2",
    ),
    ("plain", put("decision_type", "2 12 2 2", 1), "Tree=1, decision_type: 12 is unknown"),
    ("plain", put("decision_type", "2 1 2 2", 1), "Tree=1, threshold: category set .* num_cat=0"),
    ("sets", put("cat_boundaries", "0 1", 0), "Tree=0, cat_boundaries: 2 numbers, .* num_cat="),
    ("sets", put("cat_threshold", "1 2 3 4 5 6 7", 0), "Tree=0, cat_threshold: 7 numbers, which"),
    ("linear", put("num_features", "1 1 1 1", 2), "Tree=2, num_features: 4 numbers"),
    ("linear", put("num_features", "1 1 1 1 99999", 2), r"Tree=2, num_features: \d+ leaf_features"),
    ("linear", put("num_features", "1 -1 1 1 1", 2), r"Tree=2, num_features: \d+ leaf_features"),
    ("linear", put("leaf_coeff", "1", 2), "Tree=2, leaf_coeff: 1 numbers, .* num_features add to"),
    ("linear", put("leaf_const", "1 2 3 4 1e-320", 2), "leaf_const: '1e-320' is beyond the range"),
    ("linear", put("leaf_const", "1 2 3 4 1e400", 2), "leaf_const: '1e400' is beyond the range"),
    ("linear", without("leaf_features", 2), "Tree=2: there is no leaf_features"),
    ("plain", swap("[max_depth: -1]", "max_depth"), "parameters: 'max_depth' is no line like"),
    ("plain", swap("[data: ]", '[data: "]'), "parameters, data: '\"' has quotation marks"),
    (
        "plain",
        swap("[monotone_constraints: 1,0,0,0]", "[monotone_constraints: 1,0]"),
        "parameters, monotone_constraints: it must be 4 of the numbers",
    ),
    ("plain", swap("[alpha: 0.9]", "[alpha: x]"), "parameters, alpha: 'x' is no number"),
    ("plain", lambda text: text + "pandas_categorical:[[", "pandas_categorical: no JSON"),
    ("plain", lambda text: text + "pandas_categorical:" + "[" * 10**5, "pandas_categorical: no JS"),
    ("plain", lambda text: text + "pandas_categorical:[1]", "pandas_categorical: it must be null"),
    ("plain", lambda text: text + "pandas_categorical:[[{}]]", "a category must be a text or a nu"),
    ("plain", lambda text: text + 'pandas_categorical:[["a","a"]]', "a category is there twice"),
]


@pytest.mark.parametrize(
    ("model", "mutation", "fault"), DAMAGE, ids=[re.sub(r"\W+", "_", d[2])[:50] for d in DAMAGE]
)
def test_damage_is_named(model: str, mutation, fault: str, texts) -> None:
    text = mutation(texts[model])
    with pytest.raises(ModelFileError, match=f"^model.txt: .*{fault}") as caught:
        check(text.encode(), ".txt", "model.txt")
    assert len(str(caught.value)) < 300


def test_bytes_that_are_no_text(texts) -> None:
    content = texts["plain"].encode().replace(b"Column_1", b"Column_\xff", 1)
    with pytest.raises(ModelFileError, match=r"byte \d+: not UTF-8"):
        check(content, ".txt", "model.txt")


def by_hand(left: str, right: str, features: int = 2, **more: str) -> str:
    """A tree with the given children, as a model."""
    nodes = len(left.split())
    lines = {
        "num_leaves": str(nodes + 1),
        "num_cat": "0",
        "split_feature": " ".join(["0"] * nodes),
        "threshold": " ".join(map(str, range(nodes))),
        "left_child": left,
        "right_child": right,
        "leaf_value": " ".join(map(str, range(nodes + 1))),
        **more,
    }
    tree = "Tree=0\n" + "".join(f"{key}={value}\n" for key, value in lines.items()) + "\n"
    return (
        "tree\nversion=v2\nnum_class=1\nlabel_index=0\n"
        f"max_feature_idx={features - 1}\nfeature_names={' '.join(map(str, range(features)))}\n"
        f"feature_infos={'none ' * features}\n\n{tree}"
    )


def test_node_that_is_its_own_ancestor() -> None:
    text = by_hand("-1 2 1 -2 -4", "-3 -5 3 4 -6")
    with pytest.raises(ModelFileError, match=r"Tree=0, left_child and right_child: .* ancestor"):
        check(text.encode(), ".txt", "model.txt")


def test_leaf_without_parent() -> None:
    text = by_hand("1 -1", "-2 -1")
    with pytest.raises(ModelFileError, match="leaf 0 has several parents"):
        check(text.encode(), ".txt", "model.txt")


def test_category_set_of_two_nodes() -> None:
    sets = {"decision_type": "1 1", "num_cat": "2", "cat_boundaries": "0 1 2"}
    text = by_hand("1 -1", "-2 -3", **sets, cat_threshold="5 6")
    check(text.encode(), ".txt", "model.txt")
    for threshold, fault in (("0 0", "0 belongs to another node"), ("0 0.5", "0.5, but num_cat=2")):
        damaged = text.replace("threshold=0 1\n", f"threshold={threshold}\n", 1)
        with pytest.raises(ModelFileError, match=f"Tree=0, threshold: category set {fault}"):
            check(damaged.encode(), ".txt", "model.txt")


def test_nodes_in_any_order_and_old_versions() -> None:
    """Neither the order of nodes nor lines that came later are required."""
    text = by_hand("2 -1 1", "-3 -2 -4")
    for one in (text, text.replace("\n", "\r\n")):
        check(one.encode(), ".txt", "model.txt")
        source = lgb.Booster(model_str=one)
        net = pg.to_torch(source)
        X = np.array([[-1.0, 0], [0.5, 0], [1.5, 0], [9, 0]])
        np.testing.assert_allclose(net.predict(X), source.predict(X))
        with np.errstate(all="raise"):
            leaves = next(p for name, p in net.named_parameters() if "leaf_values" in name)
            leaves.data += 1
            assert np.allclose(pg.from_torch(net).predict(X), source.predict(X) + 1)


def test_scores_beyond_the_range_of_exp() -> None:
    """LightGBM computes log(1 + exp(score))."""
    text = by_hand("-1", "-2", leaf_value="700 710").replace(
        "feature_names", "objective=cross_entropy_lambda\nfeature_names"
    )
    check(text.encode(), ".txt", "model.txt")
    source = lgb.Booster(model_str=text)
    X = np.array([[-1.0, 0], [1.0, 0]])
    np.testing.assert_allclose(pg.to_torch(source).predict(X), source.predict(X))
    assert np.isinf(source.predict(X)).tolist() == [False, True]


@pytest.mark.parametrize("case", cases("lightgbm.*"), ids=str)
def test_every_example_passes(case: Case) -> None:
    text = case.fitted().booster_.model_to_string()
    check(text.encode(), ".txt", "model.txt")
    again = lgb.Booster(model_str=text).model_to_string()
    check(again.encode(), ".txt", "model.txt")


def test_every_option_passes(texts) -> None:
    X, y = rows()
    for text in texts.values():
        check(text.encode(), ".txt", "model.txt")
    for params in (
        {"objective": three_gradients, "num_class": 3},
        {"min_data_in_leaf": 1000, "linear_tree": True},
        {"min_data_in_leaf": 1000},
        {"interaction_constraints": [[0, 1], [2, 3]]},
        {"max_bin_by_feature": [3, 9, 9, 9], "feature_contri": [1.0, 0.5, 1, 1]},
        {"boosting": "dart", "xgboost_dart_mode": True, "path_smooth": 1.0},
        {"use_quantized_grad": True},
    ):
        full = {"verbose": -1, "num_threads": 1, "num_leaves": 5, **params}
        model = lgb.train(full, lgb.Dataset(X, y), 2)
        text = model.model_to_string()
        check(text.encode(), ".txt", "model.txt")
        check(lgb.Booster(model_str=text).model_to_string().encode(), ".txt", "model.txt")
    check(booster().model_to_string(num_iteration=2, start_iteration=1).encode(), ".txt", "m.txt")


def three_gradients(scores, data):
    """Gradients and second derivatives of an objective with three outputs."""
    return scores - data.get_label()[:, None], np.ones_like(scores)


def mutant(text: str, rng: random.Random) -> str:
    """The text with one number or line changed."""
    lines = text.split("\n")
    end = lines.index("end of trees")
    i, j = rng.randrange(1, end), rng.randrange(1, end)
    kind = rng.randrange(4)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        key, equals, value = lines[i].partition("=")
        words = value.split(" ")
        new = rng.choice(["0", "1", "-1", "9", "2147483647", "nan", "inf", "1e400", "", "x", "3"])
        words[rng.randrange(len(words))] = new
        lines[i] = key + equals + " ".join(words)
    changed = "\n".join(lines)
    return resized(changed) if "end of trees" in lines and "\nTree=" in changed else changed


def outcome(text: str) -> bool:
    """Whether a file is accepted; its module then answers as LightGBM does."""
    try:
        check(text.encode(), ".txt", "model.txt")
        source = lgb.Booster(model_str=text)
    except (ModelFileError, lgb.basic.LightGBMError):
        return False
    X = np.concatenate([rows(9)[0], [[np.nan] * 4, [np.inf] * 4, [-1e300] * 4]])
    X = X[:, : source.num_feature()]
    with np.errstate(all="ignore"):
        want, got = source.predict(X), pg.to_torch(source).predict(X)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_mutant_ends_the_process(texts) -> None:
    rng = random.Random(0)
    mutants = [mutant(rng.choice(list(texts.values())), rng) for _ in range(70)]
    child = os.fork()
    if not child:
        gc.freeze()  # What the parent left may have threads, which are not here to be ended.
        signal.alarm(30)
        try:
            accepted = sum(map(outcome, mutants))
            os._exit(0 if 5 < accepted < 60 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
