"""Pipelines as ONNX files, run by ONNX Runtime and compared with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg

pytest.importorskip("onnxruntime")
import onnx

from pipegrad.export.measured import onnx_answers, session, source_answers
from pipegrad.testing import DATASETS, assert_close


@pytest.fixture(scope="module")
def fitted():
    X, y = DATASETS["multiclass"]()
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X


@pytest.fixture(scope="module")
def file(fitted, tmp_path_factory):
    pipe, X = fitted
    return pg.export(pipe, tmp_path_factory.mktemp("onnx") / "pipe.onnx", rows=X)


@pytest.mark.parametrize("count", [0, 1, 80])
def test_labels_and_probabilities_are_those_of_the_pipeline(fitted, file, count):
    pipe, X = fitted
    ours = onnx_answers(session(file.read_bytes()), X[:count])
    assert list(ours) == ["label", "probabilities"]
    if not count:
        assert [v.shape for v in ours.values()] == [(0,), (0, 3)]
        return
    theirs = source_answers(pipe, X[:count], list(ours))
    assert (ours["label"] == theirs["label"]).all()
    assert_close(ours["probabilities"], theirs["probabilities"], 1e-12)


def test_the_file_says_what_it_is_and_how_close_it_is(file):
    model = onnx.load(file)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["pipegrad"] == pg.__version__
    assert (said["dtype"], said["opset"]) == ("float64", "20")
    assert said["source"] == "sklearn.pipeline.Pipeline"
    assert '"label": 0.0' in said["largest_difference"]
    assert [one.name for one in model.graph.input] == ["X"]


def test_float32_takes_and_gives_float32(fitted, tmp_path):
    pipe, X = fitted
    path = pg.export(pipe, tmp_path / "pipe.onnx", dtype="float32")
    ours = onnx_answers(session(path.read_bytes()), X)
    assert ours["probabilities"].dtype == np.float32
    assert_close(ours["probabilities"], pipe.predict_proba(X).astype(np.float32), 1e-6)
    assert (ours["label"] == pipe.predict(X)).all()


def test_a_module_exports_its_present_parameters(fitted, tmp_path):
    pipe, X = fitted
    net = pg.to_torch(pipe)
    net.fit(X, DATASETS["multiclass"]()[1], epochs=2, validation=None)
    path = pg.export(net, tmp_path / "net.onnx")
    ours = onnx_answers(session(path.read_bytes()), X)
    assert_close(ours["probabilities"], net.predict_proba(X), 1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "dtype must be 'float64', 'float32' or None, got 'float16'"),
        ({"opset": 9}, "opset must be a whole number from 20 to 23, got 9"),
        ({"opset": True}, "opset must be a whole number from 20 to 23, got True"),
    ],
)
def test_wrong_options_are_refused_before_any_work(fitted, tmp_path, options, message):
    with pytest.raises(pg.ArgumentError, match=message):
        pg.export(fitted[0], tmp_path / "pipe.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(fitted, tmp_path):
    with pytest.raises(pg.ArgumentError, match=r"must end in \.onnx"):
        pg.export(fitted[0], tmp_path / "pipe.pickle")
