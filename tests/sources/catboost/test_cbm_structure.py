"""Binary CatBoost files: whatever the library writes passes, and damage is named by its place."""

import gc
import os
import random
import signal
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipegrad as pg
from pipegrad.errors import ModelFileError, UntranslatableError
from pipegrad.sources.catboost._cbm_structure import check
from pipegrad.sources.catboost._flatbuffer import Buffer, Table
from pipegrad.sources.catboost._model_json import load_content
from pipegrad.testing import Case, cases

cb = pytest.importorskip("catboost")

FEW = {
    "iterations": 3,
    "depth": 3,
    "verbose": 0,
    "allow_writing_files": False,
    "thread_count": 1,
    "random_seed": 0,
}
LEAFY = {"grow_policy": "Lossguide", "max_leaves": 6}


def rows(n=150):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    table = pd.DataFrame({"x": X[:, 0], "a": rng.choice(list("abcdef"), n), "y": X[:, 1]})
    table["b"] = rng.choice(list("uvw"), n)
    return table, X[:, 0] + (table.a == "b") + 2 * (table.b == "v")


def saved(model, folder: Path) -> bytes:
    path = folder / "model.cbm"
    model.save_model(str(path))
    return path.read_bytes()


def fitted(**params):
    table, y = rows()
    kind = cb.CatBoostRegressor
    if params.pop("several", False):
        kind, y = cb.CatBoostClassifier, np.digitize(y, [0.5, 1.5])
    if not params.get("cat_features"):
        table = table[["x", "y"]]
    return kind(**{**FEW, **params}).fit(table, y)


CATEGORIES = {"cat_features": ["a", "b"], "one_hot_max_size": 4, "depth": 5, "iterations": 12}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    models = {
        "plain": fitted(),
        "several": fitted(several=True),
        "leafy": fitted(**LEAFY),
        "leafy_several": fitted(**LEAFY, several=True),
        "categories": fitted(**CATEGORIES),
    }
    return {name: saved(model, folder) for name, model in models.items()}


# -- finding places in a file -------------------------------------------------------------------


def root(content: bytes) -> Table:
    size = struct.unpack_from("<I", content, 4)[0]
    return Buffer(content[8 : 8 + size], "").root()


def trees(content: bytes) -> Table:
    return root(content).table(1, "")


def entry(table: Table, field: int, number: int = 0, size: int = 4) -> int:
    """Where an entry of a vector is in the file."""
    return 8 + table._target(field, "") + 4 + size * number


def put(form: str, value, find):
    """A mutation: another number at a place."""

    def mutated(content: bytes) -> bytes:
        new, at = bytearray(content), find(content)
        struct.pack_into(f"<{form}", new, at, value)
        return bytes(new)

    return mutated


def tree_entry(form: str, value, field: int, number: int = 0):
    """A mutation of an entry of a vector next to the trees."""
    size = struct.calcsize(form)
    return put(form, value, lambda content: entry(trees(content), field, number, size))


def length(field: int, value: int):
    """A mutation: another length of a vector next to the trees."""
    return put("I", value, lambda content: entry(trees(content), field) - 4)


def feature(field: int, number: int, scalar: int, form: str, value):
    """A mutation of a number of a feature."""

    def find(content: bytes) -> int:
        table = trees(content).tables(field, "")[number]
        return 8 + table._field(scalar, struct.calcsize(form), "")

    return put(form, value, find)


def border(number: int, value: float):
    """A mutation of a border of the first numeric feature."""
    return put("f", value, lambda content: entry(trees(content).tables(5, "")[0], 3, number))


def scalar(field: int, form: str, value):
    """A mutation of a number next to the trees."""
    size = struct.calcsize(form)
    return put(form, value, lambda content: 8 + trees(content)._field(field, size, ""))


def swap(old: bytes, new: bytes):
    """A mutation: the first occurrence of some bytes becomes others of the same length."""

    def mutated(content: bytes) -> bytes:
        assert old in content
        assert len(old) == len(new)
        return content.replace(old, new, 1)

    return mutated


def statistics(content: bytes) -> int:
    """Where the tables of statistics begin."""
    return 8 + struct.unpack_from("<I", content, 4)[0]


def statistic(field: int, number: int, form: str, value):
    """A mutation within a vector of the first table of statistics."""

    def find(content: bytes) -> int:
        at = statistics(content) + 8
        table = Buffer(content[at:], "").root()
        return at + table._target(field, "") + 4 + number

    return put(form, value, find)


def pointed(content: bytes, index: int) -> bytes:
    """An empty entry of the first table of statistics that leads somewhere."""
    at = content.index(b"\xff" * 8, statistics(content))
    return content[: at + 8] + struct.pack("<I", index) + content[at + 12 :]


def full(content: bytes) -> bytes:
    """No empty entry in the first table of statistics: a search for another would not end."""
    at = statistics(content) + 8
    table = Buffer(content[at:], "").root()
    first = at + table._target(1, "") + 4
    count = len(table.array(1, "", "u1")) // 12
    return content[:first] + struct.pack("<QI", 5, 0) * count + content[first + 12 * count :]


DAMAGE = [
    ("plain", lambda c: b"", "byte 0: it must begin with CBM1"),
    ("plain", lambda c: b"CBM1", "model core: it lies beyond the end"),
    ("plain", lambda c: c[:-9], r"model core: \d+ bytes, but the file ends after \d+"),
    ("plain", lambda c: c + b"\0", r"byte \d+: bytes after the last part"),
    ("plain", put("I", 2**31, lambda c: 8), "model core: it lies beyond the end of its buffer"),
    ("plain", put("i", 2**30, lambda c: 8 + root(c).at), "model core: it lies beyond the end"),
    ("plain", put("H", 2, lambda c: 8 + root(c).fields), "model core: its description lies"),
    ("plain", put("H", 9999, lambda c: 12 + root(c).fields), "FormatVersion: it lies outside"),
    ("plain", put("H", 0, lambda c: 12 + root(c).fields), "FormatVersion: None, but it must be"),
    ("plain", put("H", 0, lambda c: 14 + root(c).fields), "model core: there is no ModelTrees"),
    ("plain", swap(b"FlabuffersModel_v1", b"FlabuffersModel_v2"), "_v2', but it must be 'Flab"),
    ("plain", swap(b"FlabuffersModel_v1", b"FlabuffersModel_\xff1"), "FormatVersion: .* not UTF-8"),
    ("plain", length(1, 2**31), "ModelTrees, TreeSplits: 2147483648 entries, but the buffer ends"),
    ("plain", length(1, 8), r"ModelTrees, TreeSplits: 8, but TreeSizes add to 9"),
    ("plain", tree_entry("i", 99, 1), r"TreeSplits: the features have \d+ splits"),
    ("plain", tree_entry("i", -1, 1), r"TreeSplits: the features have \d+ splits"),
    ("plain", tree_entry("i", -3, 2), "TreeSizes: negative numbers"),
    ("plain", tree_entry("i", 4, 2), "TreeStartOffsets: they do not agree with TreeSizes"),
    ("plain", tree_entry("i", 1, 3, 1), "TreeStartOffsets: they do not agree with TreeSizes"),
    ("plain", length(8, 23), "LeafValues: 23, but 24 leaves need 24"),
    ("plain", length(9, 23), "LeafWeights: 23, but there are 24 leaves"),
    ("plain", tree_entry("d", np.nan, 8), "LeafValues: it is not finite"),
    ("plain", scalar(0, "i", 0), "ApproxDimension: 0, with 24 values"),
    ("several", scalar(0, "i", 10**9), "ApproxDimension: 1000000000, with 72 values"),
    ("several", scalar(0, "i", 2), "LeafValues: 72, but 24 leaves need 48"),
    ("plain", tree_entry("d", np.inf, 16), "MultiBias: it is not finite"),
    ("plain", border(0, np.nan), r"FloatFeatures\[0\], Borders: they must be finite"),
    ("plain", border(0, 9.0), r"FloatFeatures\[0\], Borders: they must rise"),
    ("plain", feature(5, 1, 1, "i", 7), r"FloatFeatures\[1\]: Index 7 and FlatIndex 1 are imposs"),
    ("plain", feature(5, 1, 2, "i", 2**30), r"FloatFeatures\[1\]: .* FlatIndex 1073741824 are im"),
    ("plain", feature(5, 1, 2, "i", -1), r"FloatFeatures\[1\]: Index 1 and FlatIndex -1"),
    ("leafy", tree_entry("H", 60000, 10), "NonSymmetricStepNodes: a child beyond its tree"),
    ("leafy", tree_entry("H", 2, 10), r"NonSymmetricStepNodes: node \d must have one parent"),
    ("leafy", length(10, 3), r"NonSymmetricStepNodes: 3 nodes and \d+ places of leaves"),
    ("leafy", length(9, 0), r"LeafWeights: 0, but there are \d+ leaves"),
    ("leafy_several", length(9, 0), r"LeafWeights: 0, but there are \d+ leaves"),
    ("plain", swap(b'{"detailed_profile"', b'["detailed_profile"'), "InfoMap, params: no JSON"),
    ("plain", swap(b'learn_metrics_history"', b"learn_metrics_history\n"), "no JSON"),
    (
        "plain",
        swap(b'"monotone_constraints":{}', b'"monotone_constraints":37'),
        "they must be -1, 0",
    ),
    ("categories", lambda c: c[: statistics(c)], "categorical statistics: it lies beyond the end"),
    ("categories", lambda c: c[: statistics(c) + 4], "table 0: it lies beyond the end"),
    ("categories", lambda c: c[:-5], r"statistics, table \d: \d+ bytes, but the file ends after"),
    ("categories", put("I", 2**31, statistics), "2147483648 tables do not fit into the file"),
    ("categories", put("I", 0, statistics), r"byte \d+: bytes after the last part"),
    ("categories", statistic(1, -4, "I", 12), "IndexHashRaw: no entry is empty"),
    ("categories", full, "IndexHashRaw: no entry is empty, so that a search would not end"),
    ("categories", lambda c: pointed(c, 7), "IndexHashRaw: an index beyond the"),
    ("categories", statistic(1, -4, "I", 25), "IndexHashRaw: 25 bytes are no power of two"),
    ("categories", statistic(2, -4, "I", 5), "CTRBlob: 5 bytes are no multiple of 4"),
    ("categories", statistic(2, -4, "I", 4), "IndexHashRaw: an index beyond the"),
    (
        "categories",
        swap(b"static_provider_v1", b"static_provider_v9"),
        "'static_provider_v9' is unk",
    ),
    ("categories", feature(4, 0, 0, "i", 1), r"CatFeatures\[1\]: Index and FlatIndex must rise"),
    ("categories", feature(6, 0, 0, "i", 5), "there is no used categorical feature 5"),
    ("categories", feature(7, 0, 0, "I", 2**31), r"CtrFeatures\[0\], Ctr: it lies beyond the end"),
]


@pytest.mark.parametrize(("model", "mutation", "fault"), DAMAGE)
def test_damage_is_named(model: str, mutation, fault: str, files) -> None:
    content = mutation(files[model])
    with pytest.raises(ModelFileError, match=f"^model.cbm: .*{fault}") as caught:
        check(content, ".cbm", "model.cbm")
    assert len(str(caught.value)) < 300


def test_one_table_for_many_features(files) -> None:
    """A vector whose entries are all the same large table would stand for a huge model."""
    offsets = 200_000
    names = b"".join(struct.pack("<I", 4 * (offsets - i)) for i in range(offsets))
    text = struct.pack("<I", 4 * offsets) + b"x" * 4 * offsets
    fields = struct.pack("<6H", 12, 20, 0, 0, 0, 4)
    start = 4 + len(fields)
    table = struct.pack("<iI", len(fields), 16) + b"\0" * 12
    buffer = struct.pack("<I", start) + fields + table
    buffer += struct.pack("<I", offsets) + names + text
    with pytest.raises(ModelFileError, match="parts of the file are shared so often"):
        Buffer(buffer, "core").root().texts(3, "names")


@pytest.mark.parametrize("case", cases("catboost.*"), ids=str)
def test_every_example_passes(case: Case, tmp_path) -> None:
    check(saved(case.fitted(), tmp_path), ".cbm", "model.cbm")


def test_every_option_passes(tmp_path, files) -> None:
    for content in files.values():
        check(content, ".cbm", "model.cbm")
    shrunk = fitted()
    shrunk.shrink(2)
    scaled = fitted(**LEAFY)
    scaled.set_scale_and_bias(2.0, 1.0)
    scaled.get_metadata()["mine"] = "a\nb"
    options = [
        {"border_count": 1000, "iterations": 30, "depth": 6},
        {"grow_policy": "Depthwise", "min_data_in_leaf": 900},
        {"ignored_features": [0]},
        {"monotone_constraints": [1, 0], "model_shrink_rate": 0.1},
        {"posterior_sampling": True},
        *({"simple_ctr": [kind], **CATEGORIES} for kind in ("Buckets", "Counter", "Borders")),
        {"simple_ctr": ["BinarizedTargetMeanValue"], "several": True, **CATEGORIES},
        {"combinations_ctr": ["Buckets"], "several": True, **CATEGORIES},
        {**CATEGORIES, **LEAFY},
    ]
    models = [shrunk, scaled, *(fitted(**one) for one in options)]
    models.append(cb.sum_models([fitted(), fitted(learning_rate=0.3)], weights=[1, 2]))
    for model in models:
        check(saved(model, tmp_path), ".cbm", "model.cbm")


def test_models_that_have_no_module(tmp_path) -> None:
    skipped = fitted(**CATEGORIES, final_ctr_computation_mode="Skip")
    table, y = rows()
    words = pd.DataFrame({"t": ["one two", "three four five"] * 75, "x": table.x})
    texts = cb.CatBoostClassifier(**FEW).fit(words, y > 1, text_features=["t"])
    for model, reason in ((skipped, "final_ctr_computation_mode"), (texts, "text_features")):
        with pytest.raises(UntranslatableError, match=reason):
            check(saved(model, tmp_path), ".cbm", "model.cbm")
        with pytest.raises(UntranslatableError, match=reason):
            pg.to_torch(model)


def test_statistics_that_differ_in_the_borders_of_the_target_alone() -> None:
    """CatBoost's JSON has one table for all of them, with which other predictions come out."""
    table, y = rows()
    counts = ["Borders:TargetBorderCount=1", "Borders:TargetBorderCount=4"]
    params = {**FEW, "one_hot_max_size": 2, "iterations": 10, "combinations_ctr": counts}
    for kinds, refused in ((counts, True), (counts[:1], False)):
        model = cb.CatBoostRegressor(**{**params, "combinations_ctr": kinds}, simple_ctr=kinds)
        model.fit(table, y, cat_features=["a", "b"])
        if refused:
            with pytest.raises(UntranslatableError, match="TargetBorderCount"):
                pg.to_torch(model)
        else:
            np.testing.assert_allclose(pg.to_torch(model).predict(table), model.predict(table))


def test_columns_that_were_dropped(tmp_path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 4))
    for used, refused in (([0, 1], False), ([2, 3], True)):
        model = cb.CatBoostRegressor(**FEW).fit(X, X[:, used].sum(1))
        model.drop_unused_features()
        check(saved(model, tmp_path), ".cbm", "model.cbm")
        if refused:
            with pytest.raises(UntranslatableError, match="drop_unused_features"):
                pg.to_torch(model)
        else:
            np.testing.assert_allclose(pg.to_torch(model).predict(X), model.predict(X), rtol=1e-6)


def test_model_without_features(files) -> None:
    """CatBoost's JSON has null in the place of an empty list."""
    content = length(5, 0)(length(1, 0)(files["plain"]))
    new = bytearray(content)
    for field in (2, 3):
        struct.pack_into("<3i", new, entry(trees(content), field), 0, 0, 0)
    content = length(9, 3)(length(8, 3)(bytes(new)))
    check(content, ".cbm", "model.cbm")
    source = load_content(content, "cbm", cb.CatBoost())
    with pytest.raises(UntranslatableError, match="no longer knows all columns"):
        pg.to_torch(source)


def test_nan_in_a_feature_that_had_none(tmp_path) -> None:
    """CatBoost reads how NaN is treated only where the data had some."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    X[::4, 0] = np.nan
    model = cb.CatBoostRegressor(**FEW, nan_mode="Max").fit(X, np.nan_to_num(X[:, 0], nan=3.0))
    content = feature(5, 0, 0, "b", 0)(saved(model, tmp_path))
    check(content, ".cbm", "model.cbm")
    source = load_content(content, "cbm", cb.CatBoost())
    np.testing.assert_allclose(pg.to_torch(source).predict(X), source.predict(X), rtol=1e-6)
    assert abs(source.predict(X) - model.predict(X)).max() > 0.1


# -- many mutants -------------------------------------------------------------------------------


def mutant(content: bytes, rng: random.Random) -> bytes:
    """The content with one number or byte changed."""
    new, at = bytearray(content), rng.randrange(8, len(content) - 8)
    kind = rng.randrange(4)
    if kind == 0:
        new[at] ^= 1 << rng.randrange(8)
        return bytes(new)
    if kind == 1:
        # Behind the texts about the training, which are most of the file.
        at = rng.randrange(content.rindex(b"}"), len(content) - 8)
    at &= ~3
    old = struct.unpack_from("<i", new, at)[0]
    values = [0, 1, -1, 255, 2**31 - 1, old + 1, old - 1, old + 4, old - 4, old ^ 0x100]
    struct.pack_into("<I", new, at, rng.choice(values) & 0xFFFFFFFF)
    return bytes(new)


def outcome(content: bytes) -> bool:
    """Whether a file is accepted; its module then answers as CatBoost does."""
    try:
        check(content, ".cbm", "model.cbm")
        source = load_content(content, "cbm", cb.CatBoost())
        net = pg.to_torch(source)
    except (ModelFileError, UntranslatableError, cb.CatBoostError):
        return False
    X = rows(12)[0]
    X.iloc[:3, 0], X.iloc[3, 2] = [np.nan, np.inf, -1e30], np.nan
    if not source.get_cat_feature_indices():
        X = X[["x", "y"]].to_numpy()
    try:
        want = source.predict(X)
    except cb.CatBoostError:
        return False
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(net.predict(X), want, rtol=1e-5, atol=1e-6)
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_mutant_ends_the_process(files) -> None:
    rng = random.Random(0)
    mutants = [mutant(rng.choice(list(files.values())), rng) for _ in range(20)]
    child = os.fork()
    if not child:
        gc.freeze()  # What the parent left may have threads, which are not here to be ended.
        signal.alarm(30)
        try:
            accepted = sum(map(outcome, mutants))
            os._exit(0 if 0 < accepted < 20 else 1)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
