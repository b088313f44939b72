"""Composites, which unfold into their parts, as ONNX files."""

from __future__ import annotations

import pytest
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import pipegrad as pg
from composite_cases import CASES, logistic
from pipegrad.testing import DATASETS, assert_close

pytest.importorskip("onnxruntime")
from pipegrad.export.measured import onnx_answers, session, source_answers
from pipegrad.export.onnx_file import onnx_file

# Of members, searches and imputers that stop early.
pytestmark = pytest.mark.filterwarnings("ignore")


QUICK = ("stack of classifiers", "several targets", "scaled target")


def check(model, X):
    """Compare the ONNX file of a model with the model."""
    file = session(onnx_file(model, dtype=None, rows=None, opset=20))
    ours = onnx_answers(file, X)
    for name, theirs in source_answers(model, X, list(ours)).items():
        if theirs.dtype.kind == "f":
            assert_close(ours[name], theirs, 1e-12, name)
        else:
            assert (ours[name] == theirs).all(), name
    usual = {name: value.shape[1:] for name, value in ours.items()}
    assert {name: v.shape for name, v in onnx_answers(file, X[:0]).items()} == {
        name: (0, *shape) for name, shape in usual.items()
    }


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES],
)
def test_parts_answer_together_as_the_composite(name):
    data, model = CASES[name]
    X, y = DATASETS[data]()
    model = model.fit(X) if name == "IterativeImputer" else model.fit(X, y)
    check(model, X)


@pytest.mark.slow
def test_a_module_for_one_number_of_rows_is_refused():
    X, y = DATASETS["multiclass"]()
    model = GaussianProcessClassifier(multi_class="one_vs_one").fit(X, y)
    with pytest.raises(pg.UntranslatableError, match="cannot trace its module for any number"):
        onnx_file(model, dtype=None, rows=None, opset=20)


@pytest.mark.slow
def test_probabilities_of_pairs_of_classes_exist_for_no_rows(monkeypatch):
    # As many steps as these rows need; the export of all of them takes minutes.
    monkeypatch.setattr("pipegrad.modules._one_vs_one._STEPS", 8)
    X, y = DATASETS["multiclass"]()
    check(SVC(probability=True, random_state=0).fit(X[::3], y[::3]), X[:20])


@pytest.mark.slow
def test_a_frozen_estimator_is_the_estimator():
    frozen = pytest.importorskip("sklearn.frozen")  # new in scikit-learn 1.6
    X, y = DATASETS["binary_strings"]()
    check(frozen.FrozenEstimator(logistic().fit(X, y)), X)


@pytest.mark.slow
def test_samplers_do_not_take_part():
    from imblearn import over_sampling, pipeline

    X, y = DATASETS["binary"]()
    sampler = over_sampling.RandomOverSampler(random_state=0)
    check(pipeline.make_pipeline(sampler, logistic()).fit(X, y), X)


@pytest.mark.slow
def test_boosters_without_an_estimator():
    import lightgbm

    X, y = DATASETS["binary"]()
    options = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 5, "num_threads": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(X, y), 5)
    ours = onnx_answers(session(onnx_file(booster, dtype=None, rows=None, opset=20)), X)
    assert_close(ours["variable"][:, 0], booster.predict(X), 1e-12)


def test_a_tuner_exports_what_it_has_fitted(tmp_path):
    X, y = DATASETS["binary"]()
    tuner = pg.FineTuner(make_pipeline(StandardScaler(), logistic()), epochs=1, random_state=0)
    with pytest.raises(pg.ArgumentError, match="takes a fitted FineTuner"):
        pg.export(tuner, tmp_path / "tuner.onnx")
    path = pg.export(tuner.fit(X, y), tmp_path / "tuner.onnx")
    ours = onnx_answers(session(path.read_bytes()), X)
    assert_close(ours["probabilities"], tuner.predict_proba(X), 1e-12)
