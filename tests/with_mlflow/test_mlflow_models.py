"""Models in MLflow's format, with the real MLflow: saved, loaded, answered by name and method."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pipegrad as pg
from pipegrad.mlflow.library import mlflow_library

pytest.importorskip("mlflow")
mlflow = mlflow_library()
# MLflow compares the names of columns with a range.
pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")

RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": RNG.normal(size=80), "b": RNG.normal(size=80), "color": ["r", "g"] * 40})
Y = np.where((X.a + (X.color == "r")) > 0.5, "yes", "no")
TREE = "sklearn.tree._tree.Tree"


def colored() -> Any:
    columns = make_column_transformer((OneHotEncoder(), ["color"]), (StandardScaler(), ["a", "b"]))
    return make_pipeline(columns, LogisticRegression()).fit(X, Y)


def numbers(last: Any = None) -> Any:
    pipe = make_pipeline(StandardScaler(), PCA(2), last or LogisticRegression())
    return pipe.fit(X[["a", "b"]].to_numpy(), Y if last is None else X.a)


def inputs_of(folder: Path) -> Any:
    return mlflow.models.Model.load(str(folder)).signature.inputs


def types_of(folder: Path) -> list[str]:
    return [kind.name for kind in inputs_of(folder).input_types()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "model"


@pytest.mark.parametrize("form", ["pipeline", "module", "tuner"])
def test_what_is_loaded_answers_as_before(form: str, folder: Path) -> None:
    pipe = colored()
    thing: Any = pipe
    if form == "module":
        thing = pg.to_torch(pipe)
    if form == "tuner":
        thing = pg.FineTuner(colored(), random_state=0, epochs=3).fit(X, Y)
        pipe = thing.estimator_
    pg.mlflow.save_model(thing, folder, input_example=X[:3])
    net = pg.mlflow.load_model(folder)
    assert isinstance(net, pg.PipelineModule)
    assert (net.predict(X) == pipe.predict(X)).all()
    np.testing.assert_allclose(net.predict_proba(X), pipe.predict_proba(X), rtol=1e-12)
    assert type(pg.from_torch(net)) is type(pipe)
    model = mlflow.pyfunc.load_model(str(folder))
    assert (model.predict(X) == pipe.predict(X)).all()
    assert (folder / "report.json").exists() == (form == "tuner")
    if form == "tuner":
        assert json.loads((folder / "report.json").read_text()) == json.loads(
            thing.report_.to_json()
        )
        assert (folder / "README.md").read_text("utf-8") == thing.report_.card()


def test_columns_are_found_by_name_and_methods_by_parameter(folder: Path) -> None:
    pipe = colored()
    pg.mlflow.save_model(pipe, folder, input_example=X[:3])
    model = mlflow.pyfunc.load_model(str(folder))
    mixed = X[["color", "b", "a"]].assign(more=1.0)
    shares = model.predict(mixed, params={"method": "predict_proba"})
    np.testing.assert_allclose(shares, pipe.predict_proba(X), rtol=1e-12)
    values = model.predict(mixed, params={"method": "decision_function"})
    np.testing.assert_allclose(values, pipe.decision_function(X), rtol=1e-12)
    with pytest.raises(mlflow.MlflowException, match="missing inputs"):
        model.predict(X[["a", "b"]])
    with pytest.raises(pg.ArgumentError, match="method must be one of predict, predict_proba"):
        model.predict(X, params={"method": "transform"})
    assert isinstance(model.get_raw_model(), pg.PipelineModule)


def test_the_signature_is_that_of_the_example(folder: Path) -> None:
    pg.mlflow.save_model(colored(), folder, input_example=X[:3])
    assert inputs_of(folder).input_names() == ["a", "b", "color"]
    assert types_of(folder) == ["double", "double", "string"]
    example = mlflow.models.Model.load(str(folder)).load_input_example(str(folder))
    pd.testing.assert_frame_equal(example, X[:3], check_dtype=False)


def test_whole_numbers_are_whole_in_the_signature(folder: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3, 4], "b": [0.5, 1.0, 2.0, 0.0]})
    pipe = Ridge().fit(frame, frame.b)
    pg.mlflow.save_model(pipe, folder, input_example=frame)
    assert types_of(folder) == ["long", "double"]


def test_a_pipeline_that_reads_numbers_needs_no_example(tmp_path: Path) -> None:
    pg.mlflow.save_model(numbers(), tmp_path / "array")
    (tensor,) = inputs_of(tmp_path / "array").inputs
    assert (tensor.type, tensor.shape) == (np.float64, (-1, 2))
    rows = X[["a", "b"]]
    model = mlflow.pyfunc.load_model(str(tmp_path / "array"))
    assert (model.predict(rows.to_numpy()) == numbers().predict(rows.to_numpy())).all()
    table = make_pipeline(StandardScaler(), Ridge()).fit(rows, X.a)
    pg.mlflow.save_model(table, tmp_path / "table")
    assert inputs_of(tmp_path / "table").input_names() == ["a", "b"]
    pg.mlflow.save_model(colored(), tmp_path / "colors")
    assert mlflow.models.Model.load(str(tmp_path / "colors")).signature is None
    pg.mlflow.save_model(numbers(), tmp_path / "none", signature=False)
    assert mlflow.models.Model.load(str(tmp_path / "none")).signature is None


def test_texts_are_served(folder: Path) -> None:
    texts = ["good day", "bad day", "good night", "bad night"]
    pipe = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    pg.mlflow.save_model(pipe, folder, input_example=texts[:2])
    model = mlflow.pyfunc.load_model(str(folder))
    assert list(model.predict(texts)) == list(pipe.predict(texts))


def test_transformers_transform(folder: Path) -> None:
    rows = X[["a", "b"]].to_numpy()
    pipe = make_pipeline(StandardScaler(), PCA(1)).fit(rows)
    pg.mlflow.save_model(pipe, folder)
    columns = mlflow.pyfunc.load_model(str(folder)).predict(rows)
    np.testing.assert_allclose(columns, pipe.transform(rows), rtol=1e-12)


def test_types_are_trusted_by_name_only(tmp_path: Path) -> None:
    rows = X[["a", "b"]].to_numpy()
    forest = RandomForestClassifier(3, max_depth=2, random_state=0).fit(rows, Y)
    pg.mlflow.save_model(forest, tmp_path / "asks")
    with pytest.raises(pg.ArgumentError, match=r"pipegrad\.mlflow\.load_model\(uri, trusted="):
        pg.mlflow.load_model(tmp_path / "asks")
    with pytest.raises(pg.ArgumentError, match=r"pyfunc\.load_model\(uri, model_config=\{'trus"):
        mlflow.pyfunc.load_model(str(tmp_path / "asks"))
    net = pg.mlflow.load_model(tmp_path / "asks", trusted=[TREE])
    assert (net.predict(rows) == forest.predict(rows)).all()
    given = {"trusted": [TREE]}
    model = mlflow.pyfunc.load_model(str(tmp_path / "asks"), model_config=given)
    assert (model.predict(rows) == forest.predict(rows)).all()
    pg.mlflow.save_model(forest, tmp_path / "served", trusted=[TREE])
    assert (
        mlflow.pyfunc.load_model(str(tmp_path / "served")).predict(rows) == forest.predict(rows)
    ).all()
    with pytest.raises(pg.ArgumentError, match="not known to be safe"):
        pg.mlflow.load_model(tmp_path / "served")  # The list in the file is the server's.


def test_nothing_is_pickled(folder: Path) -> None:
    pg.mlflow.save_model(colored(), folder, input_example=X[:3])
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"MLmodel", "parameters.safetensors", "source.skops"} <= {path.name for path in files}
    for path in files:
        assert path.suffix != ".pkl"
        assert path.read_bytes()[:1] != b"\x80"  # how a pickle begins


def test_a_server_installs_what_is_installed(folder: Path) -> None:
    pg.mlflow.save_model(colored(), folder)
    lines = (folder / "requirements.txt").read_text().split()
    assert f"pipegrad[files]=={pg.__version__}" in lines
    assert any(line.startswith("scikit-learn==") for line in lines)
    assert not any("+" in line for line in lines)
    pg.mlflow.save_model(colored(), folder.with_name("own"), pip_requirements=["mine"])
    assert "mine" in (folder.with_name("own") / "requirements.txt").read_text().split()


def test_the_source_is_not_changed(folder: Path) -> None:
    pipe = colored()
    before = pickle.dumps(pipe)
    pg.mlflow.save_model(pipe, folder, input_example=X[:3])
    assert pickle.dumps(pipe) == before


def test_wrong_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(pg.ArgumentError, match="takes a fitted FineTuner"):
        pg.mlflow.save_model(pg.FineTuner(Ridge()), tmp_path / "a")
    with pytest.raises(pg.ArgumentError, match="trusted must be a list"):
        pg.mlflow.save_model(colored(), tmp_path / "a", trusted=TREE)
    assert not (tmp_path / "a").exists()
    mlflow.pyfunc.save_model(
        str(tmp_path / "other"), loader_module="json", pip_requirements=["none"]
    )
    with pytest.raises(pg.ModelFileError, match="is no model of pipegrad, but of python_function"):
        pg.mlflow.load_model(tmp_path / "other")
