"""Composites, which unfold into their parts, as ONNX files."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import RFE, RFECV
from sklearn.frozen import FrozenEstimator
from sklearn.impute import IterativeImputer
from sklearn.linear_model import Lasso, LogisticRegression, RANSACRegressor, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from pipegrad.testing import DATASETS, assert_close

pytest.importorskip("onnxruntime")
from pipegrad.export.measured import onnx_answers, session, source_answers
from pipegrad.export.onnx_file import onnx_file

# Of members, searches and imputers that stop early.
pytestmark = pytest.mark.filterwarnings("ignore")


def logistic():
    return LogisticRegression(max_iter=50)


def tree():
    return DecisionTreeClassifier(max_depth=3, random_state=0)


CLASSIFIERS = [("a", logistic()), ("b", tree())]
REGRESSORS = [("a", Ridge()), ("b", Lasso())]
GRID = {"C": [0.5, 1.0]}
CASES = {
    "log of target": (
        "positive",
        TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
    ),
    "scaled target": (
        "multioutput",
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    ),
    "stack of classifiers": ("multiclass", StackingClassifier(CLASSIFIERS, cv=2)),
    "stack of regressors": ("regression", StackingRegressor(REGRESSORS, cv=2)),
    "hard vote": ("multiclass", VotingClassifier(CLASSIFIERS)),
    "soft vote": ("multiclass", VotingClassifier(CLASSIFIERS, voting="soft")),
    "mean of regressors": ("regression", VotingRegressor(REGRESSORS)),
    "RFE": ("multiclass", RFE(logistic(), n_features_to_select=3)),
    "RFECV": ("multiclass", RFECV(logistic(), cv=2)),
    "IterativeImputer": ("missing", IterativeImputer(max_iter=1)),
    "RANSAC": ("regression", RANSACRegressor(random_state=0)),
    "fixed threshold": ("binary", FixedThresholdClassifier(logistic(), threshold=0.3)),
    "tuned threshold": ("binary", TunedThresholdClassifierCV(logistic(), cv=2)),
    "grid": ("multiclass", GridSearchCV(logistic(), GRID, cv=2)),
    "random search": ("multiclass", RandomizedSearchCV(logistic(), GRID, n_iter=1, cv=2)),
    "halving grid": ("binary", HalvingGridSearchCV(logistic(), GRID, cv=2)),
    "halving random": ("binary", HalvingRandomSearchCV(logistic(), GRID, cv=2)),
    "one against one": ("multiclass", OneVsOneClassifier(logistic())),
    "one against rest": ("multiclass", OneVsRestClassifier(logistic())),
    "several labels": ("multilabel", OneVsRestClassifier(logistic())),
    "output codes": ("multiclass", OutputCodeClassifier(logistic(), random_state=0)),
    "chain of classifiers": ("multilabel", ClassifierChain(logistic())),
    "several targets": ("several", MultiOutputClassifier(logistic())),
    "several regressions": ("multioutput", MultiOutputRegressor(Ridge())),
    "chain of regressors": ("multioutput", RegressorChain(Ridge())),
    "union": ("multiclass", make_pipeline(make_union(StandardScaler(), PCA(2)), logistic())),
    "self-training": ("partly_labeled", SelfTrainingClassifier(logistic())),
    "predictor as features": (
        "multiclass",
        make_pipeline(make_union(pg.Featurizer(tree()), StandardScaler()), logistic()),
    ),
}
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
def test_a_frozen_estimator_is_the_estimator():
    X, y = DATASETS["binary_strings"]()
    check(FrozenEstimator(logistic().fit(X, y)), X)


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
