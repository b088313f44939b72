"""The pipeline of imbalanced-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import assert_round_trip
from pipegrad.testing import DATASETS

imblearn = pytest.importorskip("imblearn")


def test_samplers_do_nothing_to_predictions():
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline
    from imblearn.under_sampling import RandomUnderSampler

    X, y = DATASETS["binary"]()
    steps = StandardScaler(), SMOTE(random_state=0), PCA(3), RandomUnderSampler(random_state=0)
    pipe = make_pipeline(*steps, LogisticRegression()).fit(X[20:], y[20:])
    net = assert_round_trip(pipe, X)
    assert [step.name for step in net.graph] == ["standardscaler", "pca", "logisticregression"]
    net.fit(X, y, epochs=2, lr=1e-3, validation=None)


def test_a_pipeline_that_passes_through_and_transforms():
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import Pipeline

    X, y = DATASETS["binary"]()
    steps = [("nothing", "passthrough"), ("more", RandomOverSampler()), ("scale", StandardScaler())]
    assert_round_trip(Pipeline(steps).fit(X, y), X)


def test_fine_tuning():
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline

    X, y = DATASETS["binary"]()
    sampler = RandomOverSampler(random_state=0)
    pipe = make_pipeline(StandardScaler(), sampler, LogisticRegression(C=1e-3))
    tuner = pg.FineTuner(pipe, epochs=5, lr=0.05, random_state=0).fit(X, y)
    assert tuner.improved_
    assert isinstance(tuner.estimator_, type(pipe))
    assert np.isfinite(tuner.predict_proba(X)).all()


def test_more_trees_after_a_sampler():
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline

    X, y = DATASETS["binary"]()
    last = GradientBoostingClassifier(n_estimators=5, random_state=0)
    pipe = make_pipeline(StandardScaler(), RandomOverSampler(random_state=0), last)
    tuner = pg.FineTuner(pipe, random_state=0).partial_fit(X, y)
    tuner.partial_fit(X[:40], y[:40])
