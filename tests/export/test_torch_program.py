"""Pipelines as programs of torch, which run without pipegrad."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import NMF
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import CategoricalNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

import pipegrad as pg
from pipegrad.export.torch_program import torch_program
from pipegrad.registry import translation
from pipegrad.testing import DATASETS, assert_close
from pipegrad.testing.program_check import running

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"


@pytest.fixture(scope="module")
def fitted():
    X, y = DATASETS["multiclass"]()
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X


@pytest.fixture(scope="module")
def file(fitted, tmp_path_factory):
    pipe, X = fitted
    return pg.export(pipe, tmp_path_factory.mktemp("program") / "pipe.pt2", rows=X)


def loaded(path):
    """The program of a file and the table beside it."""
    files = {"table.json": ""}
    program = torch.export.load(path, extra_files=files).module()
    return program, json.loads(files["table.json"])


@pytest.mark.parametrize("count", [0, 1, 80])
def test_labels_and_probabilities_are_those_of_the_pipeline(fitted, file, count):
    pipe, X = fitted
    program, table = loaded(file)
    ours = program(torch.from_numpy(X[:count]))
    assert list(ours) == ["label", "probabilities"]
    assert [tuple(v.shape) for v in ours.values()] == [(count,), (count, 3)]
    assert not ours["probabilities"].requires_grad
    if count:
        assert (np.array(table["classes"])[ours["label"]] == pipe.predict(X[:count])).all()
        assert_close(ours["probabilities"], pipe.predict_proba(X[:count]), 1e-12)


def test_the_table_says_what_the_program_takes_and_gives(file):
    _, table = loaded(file)
    assert table["columns"] == [{"name": place} for place in range(6)]
    assert (table["dtype"], table["labels"]) == ("float64", "places")
    assert table["classes"] == ["ant", "bee", "cat"]
    assert table["source"] == "sklearn.pipeline.Pipeline"
    assert table["versions"] == {"pipegrad": pg.__version__, "torch": torch.__version__}
    assert table["largest_difference"]["label"] == 0
    assert 0 <= table["largest_difference"]["probabilities"] < 1e-12


def test_gradients_reach_the_input(file):
    X = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    loaded(file)[0](X)["probabilities"][:, 0].sum().backward()
    assert (X.grad != 0).all()


def test_a_process_without_pipegrad_and_its_libraries_answers(fitted, file, tmp_path):
    pipe, X = fitted
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "p.npy", pipe.predict_proba(X))
    code = textwrap.dedent(
        """
        import sys
        for name in ("pipegrad", "sklearn", "scipy", "skorch"):
            sys.modules[name] = None
        import numpy, torch
        program = torch.export.load(sys.argv[1]).module()
        answers = program(torch.from_numpy(numpy.load("X.npy")))
        assert numpy.allclose(answers["probabilities"], numpy.load("p.npy"), rtol=1e-12)
        assert not [name for name in sys.modules if name.startswith("pipegrad.")]
        """
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", code, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_float32_takes_and_gives_float32(fitted, tmp_path):
    pipe, X = fitted
    program, table = loaded(pg.export(pipe, tmp_path / "pipe.pt2", dtype="float32"))
    ours = program(torch.from_numpy(X.astype(np.float32)))
    assert table["dtype"] == "float32"
    assert ours["probabilities"].dtype == torch.float32
    assert_close(ours["probabilities"], pipe.predict_proba(X).astype(np.float32), 1e-6)
    assert (np.array(table["classes"])[ours["label"]] == pipe.predict(X)).all()


@pytest.mark.parametrize("labels", [[4, 9], [False, True]], ids=str)
def test_labels_that_are_numbers_are_given_as_they_are(labels, tmp_path):
    X, y = DATASETS["binary"]()
    pipe = LogisticRegression().fit(X, np.array(labels)[(y == y[0]).astype(int)])
    program, table = loaded(pg.export(pipe, tmp_path / "pipe.pt2"))
    assert (table["classes"], table["labels"]) == (labels, "values")
    assert program(torch.from_numpy(X))["label"].tolist() == pipe.predict(X).tolist()


def test_several_targets_have_a_list_of_classes_each(tmp_path):
    from sklearn.multioutput import MultiOutputClassifier

    X, y = DATASETS["several"]()
    pipe = MultiOutputClassifier(LogisticRegression(max_iter=2000)).fit(X, y)
    path = pg.export(pipe, tmp_path / "pipe.pt2", rows=X)
    assert [list(one) for one in pipe.classes_] == loaded(path)[1]["classes"]
    assert (running(path.read_bytes())(X)["label"] == pipe.predict(X)).all()


# -- text ----------------------------------------------------------------------------------------


def shown_function():
    """The function that docs/deploy.md shows, which makes the matrix of a table's rows."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "def matrix(" in block)
    names = {"np": np}
    exec(block[block.index("def matrix(") : block.index("\n\n\npath")], names)
    return names["matrix"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    X, y = DATASETS["categories_missing"]()
    X["big"] = np.arange(len(X)) % 3 == 0
    text = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5),
    )
    columns = ColumnTransformer(
        [
            ("text", text, ["color", "size"]),
            ("codes", OrdinalEncoder(encoded_missing_value=-1), ["grade"]),
            ("number", make_pipeline(SimpleImputer(), StandardScaler()), ["grade"]),
        ],
        remainder="passthrough",
    )
    pipe = make_pipeline(columns, LogisticRegression()).fit(X, y)
    return pipe, X, pg.export(pipe, tmp_path_factory.mktemp("program") / "mixed.pt2", rows=X)


@pytest.mark.parametrize("what", ["all", "unknown", "missing", "one", "none", "turned"])
def test_the_lines_of_the_page_apply_the_table(mixed, what):
    pipe, X, file = mixed
    X = X.copy()
    if what == "unknown":
        X.loc[3:6, "color"] = "violet"
    if what == "missing":
        X.loc[3:6, ["size", "grade"]] = np.nan
    if what == "turned":
        X = X[X.columns[::-1]]
    X = {"one": X[:1], "none": X[:0]}.get(what, X)
    program, table = loaded(file)
    ours = program(torch.from_numpy(shown_function()(table, X)))
    if what == "none":
        assert ours["probabilities"].shape == (0, 2)
        return
    X = X[mixed[1].columns]
    label = np.array(table["classes"])[ours["label"]]
    assert (label == pipe.predict(X)).all()
    assert_close(ours["probabilities"], pipe.predict_proba(X), 1e-12)


def test_only_columns_of_text_have_texts(mixed):
    columns = {one["name"]: one.get("texts") for one in loaded(mixed[2])[1]["columns"]}
    assert list(columns) == ["color", "size", "grade", "big"]
    assert sorted(columns["color"]) == sorted(mixed[1]["color"].dropna().unique())
    assert columns["grade"] is None
    assert columns["big"] is None


def test_columns_of_an_array_are_named_by_their_places(tmp_path):
    X = np.array([["a", "x"], ["b", "y"], ["a", "y"]] * 4, dtype=object)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(X)
    program, table = loaded(pg.export(encoder, tmp_path / "encoder.pt2"))
    assert table["columns"] == [{"name": 0, "texts": ["a", "b"]}, {"name": 1, "texts": ["x", "y"]}]
    rows = np.array([["b", "x"], ["c", "y"]], dtype=object)
    given = shown_function()(table, dict(enumerate(rows.T)))
    ours = program(torch.from_numpy(given))["variable"]
    assert (ours.numpy() == encoder.transform(rows).toarray()).all()


def test_numbers_that_are_categories_are_found_exactly(tmp_path):
    X = pd.DataFrame({"code": [0.1, 0.3, 1e300, -2.0, np.nan] * 4})
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(X)
    program, _ = loaded(pg.export(encoder, tmp_path / "encoder.pt2"))
    odd = [0.1, np.nextafter(0.1, 1), 0.1 + 0.2, -7.0, np.nan, 1e300, np.inf, -np.inf]
    ours = program(torch.tensor(odd, dtype=torch.float64)[:, None])["variable"].numpy()
    known = np.array(odd)[:, None]
    assert (ours[:6] == encoder.transform(pd.DataFrame({"code": odd[:6]}))).all()
    assert (ours[6:] == 0).all(), known[6:]


def test_fractions_of_categories_are_cut_off(tmp_path):
    X, y = np.arange(12).reshape(6, 2) % 3, [0, 1, 0, 1, 1, 0]
    bayes = CategoricalNB().fit(X, y)
    program, _ = loaded(pg.export(bayes, tmp_path / "bayes.pt2"))
    ours = program(torch.from_numpy(X + 0.75))["probabilities"]
    assert_close(ours, bayes.predict_proba(X), 1e-12)


def test_text_that_is_read_as_numbers_is_refused(tmp_path):
    X = pd.DataFrame({"a": ["1", "2", "3"] * 3})
    scaler = StandardScaler().fit(X)
    with pytest.raises(pg.UntranslatableError, match="the column 'a' holds text"):
        pg.export(scaler, tmp_path / "scaler.pt2", rows=X)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vectorizer", "reason"),
    [
        (CountVectorizer(), "a program of torch takes numbers, and it counts the words of text"),
        (HashingVectorizer(n_features=8), "'hashingvectorizer'"),
    ],
    ids=["counts", "hashes"],
)
def test_text_that_is_counted_is_refused_before_any_work(tmp_path, vectorizer, reason):
    pipe = make_pipeline(vectorizer, LogisticRegression())
    pipe.fit(["a word", "another word", "no letters", "a letter"], [0, 0, 1, 1])
    with pytest.raises(pg.UntranslatableError, match=reason):
        pg.export(pipe, tmp_path / "pipe.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pipe.pt2", {"opset": 20}, "opset must be None for a file that ends in .pt2, got 20"),
        ("pipe.pt2", {"compiled": 1}, "compiled must be True or False, got 1"),
        ("pipe.onnx", {"compiled": True}, "compiled must be False for a file that ends in .onnx"),
        ("pipe.pt2", {"dtype": "float16"}, "dtype must be 'float64', 'float32' or None"),
    ],
)
def test_wrong_options_are_refused_before_any_work(fitted, tmp_path, name, options, message):
    with pytest.raises(pg.ArgumentError, match=message):
        pg.export(fitted[0], tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_machine_code_takes_a_compiler(fitted, tmp_path, monkeypatch):
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    getattr(get_cpp_compiler, "cache_clear", lambda: None)()
    with pytest.raises(pg.ArgumentError, match=r"compiled=True requires a C\+\+ compiler"):
        pg.export(fitted[0], tmp_path / "pipe.pt2", compiled=True)
    assert not list(tmp_path.iterdir())


def test_an_older_torch_is_refused(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.export.ExportedProgram, "module", lambda self: None)
    with pytest.raises(pg.ArgumentError, match="requires a newer torch than"):
        pg.export(fitted[0], tmp_path / "pipe.pt2")


def test_operations_that_torch_lacks_are_named_with_their_step(monkeypatch):
    """Such as those of a plug-in whose row does not say so."""
    rows, _ = DATASETS["positive"]()
    model = make_pipeline(NMF(2, max_iter=20, tol=0.1)).fit(rows)
    monkeypatch.setattr(type(translation(model[0])), "not_exported", "")
    with pytest.raises(pg.UntranslatableError, match=r"'nmf' .*operator for pipegrad\."):
        torch_program(model, dtype=None, rows=None, compiled=False)


# -- other sources of a pipeline -----------------------------------------------------------------


def test_a_module_exports_its_present_parameters(tmp_path):
    X, y = DATASETS["regression"]()
    net = pg.to_torch(make_pipeline(StandardScaler(), Ridge()).fit(X, y))
    before = net.predict(X)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1
    program, _ = loaded(pg.export(net, tmp_path / "net.pt2"))
    ours = program(torch.from_numpy(X))["variable"][:, 0]
    assert_close(ours, net.predict(X), 1e-12)
    assert np.abs(ours.numpy() - before).max() > 0.01


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="machine code needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of torch's compiler about itself
def test_machine_code_gives_the_same_answers(fitted, tmp_path):
    pipe, X = fitted
    path = pg.export(pipe, tmp_path / "pipe.pt2", rows=X, compiled=True)
    package = torch._inductor.aoti_load_package(str(path))
    table = json.loads(package.get_metadata()["table.json"])
    assert table["classes"] == ["ant", "bee", "cat"]
    for count in (len(X), 2, 1, 0):
        ours = package(torch.from_numpy(X[:count]))
        assert [tuple(v.shape) for v in ours.values()] == [(count,), (count, 3)]
        if count:
            assert (np.array(table["classes"])[ours["label"]] == pipe.predict(X[:count])).all()
            assert_close(ours["probabilities"], pipe.predict_proba(X[:count]), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_categories_of_boosted_trees_are_numbers_of_the_table(library):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=200), "c": rng.choice(["x", "y", "z"], 200)})
    X["k"] = pd.Categorical(rng.choice([3, 7, 11], 200))
    X["c"] = pd.Categorical(X["c"].where(X.index % 7 > 0))
    y = X["a"] + (X["c"] == "x") * 2 + X["k"].astype(float) * 0.1
    if library == "lightgbm":
        from lightgbm import LGBMRegressor

        few = {"min_child_samples": 3, "min_data_per_group": 3, "verbose": -1}
        model = LGBMRegressor(n_estimators=5, n_jobs=1, **few).fit(X, y)
    else:
        from xgboost import XGBRegressor

        model = XGBRegressor(n_estimators=5, n_jobs=1, enable_categorical=True).fit(X, y)
    run = running(torch_program(model, dtype=None, rows=None, compiled=False))
    assert_close(run(X)["variable"][:, 0], model.predict(X), 1e-6)


def test_columns_of_mlnet_are_refused():
    path = PAGE.parents[1] / "tests" / "data" / "mlnet" / "linear_svm.zip"
    model = pg.to_torch(path).source
    with pytest.raises(pg.UntranslatableError, match=r"and ML\.NET columns of types"):
        torch_program(model, dtype=None, rows=None, compiled=False)


def test_rows_across_a_threshold_are_counted(tmp_path):
    X, y = DATASETS["regression"]()
    y = y + 100 * (X[:, 0] > np.median(X[:, 0]))  # so that a wrong leaf is seen
    pipe = make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=2)).fit(X, y)
    tree, scaler = pipe[-1].tree_, pipe[0]
    feature, rows = tree.feature[0], X[:41].copy()
    edge = tree.threshold[0] * scaler.scale_[feature] + scaler.mean_[feature]
    rows[:, feature] = edge * (1 + np.linspace(-1e-6, 1e-6, 41))
    program, table = loaded(pg.export(pipe, tmp_path / "p.pt2", dtype="float32", rows=rows))
    ours = program(torch.from_numpy(rows.astype(np.float32)))["variable"][:, 0].numpy()
    count = (abs(ours - pipe.predict(rows)) > 1).sum()
    assert table["rows_across_thresholds"] == count > 0
    assert table["largest_difference"]["variable"] < 1e-6
