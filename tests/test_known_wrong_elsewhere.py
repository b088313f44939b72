"""Where similar tools are known to answer wrongly, the answers here are right."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

import pipegrad as pg
from helpers import assert_alike, assert_round_trip, fit_on, fitted, table, target
from pipegrad.testing import DATASETS, assert_close, identical


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "saga"])
def test_logistic_regression_of_three_classes(solver):
    source, X = fit_on(
        "multiclass", make_pipeline(StandardScaler(), LogisticRegression(solver=solver))
    )
    net = assert_round_trip(source, X)
    assert net.predict_proba(X).shape == (len(X), 3)
    assert_close(net.predict_proba(X).sum(1), np.ones(len(X)), 1e-12)


@pytest.mark.parametrize("data", ["binary", "multiclass"])
def test_stacking_inside_a_pipeline(data):
    learners = [
        ("logistic", LogisticRegression()),
        ("sgd", make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0))),
    ]
    stack = StackingClassifier(learners, LogisticRegression(), cv=2)
    net = assert_round_trip(*fit_on(data, make_pipeline(StandardScaler(), stack)))
    # Two classes give the final estimator one column a learner, three give three.
    width = 2 if data == "binary" else 6
    final = net.steps["stackingclassifier/final_estimator"]
    assert final.body.weight.shape[0] == width


def test_union_with_a_pipeline_inside():
    union = FeatureUnion(
        [("plain", MinMaxScaler()), ("deep", make_pipeline(StandardScaler(), PCA(2)))],
        transformer_weights={"deep": 3.0},
    )
    net = assert_round_trip(*fit_on("regression", make_pipeline(union, Ridge())))
    assert [s.name for s in net.graph if "deep" in s.name] == [
        "featureunion/deep/standardscaler",
        "featureunion/deep/pca",
    ]


@pytest.mark.parametrize("whiten", [False, True])
def test_pca_leaves_the_array_of_the_caller_alone(whiten):
    source, X = fit_on("regression", PCA(3, whiten=whiten))
    before = X.copy()
    net = pg.to_torch(source)
    for _ in range(2):
        assert_alike(net, source, X)
    assert np.array_equal(X, before)


@pytest.mark.parametrize("options", [{}, {"copy": False}])
def test_scalers_leave_the_array_of_the_caller_alone(options):
    for scaler in (StandardScaler(**options), MinMaxScaler(**options), MaxAbsScaler(**options)):
        X, y = DATASETS["regression"]()
        source = fitted(make_pipeline(scaler, Ridge()), X.copy(), y)
        net = pg.to_torch(source)
        before = X.copy()
        net.predict(X)
        assert np.array_equal(X, before)
        assert_close(net.predict(X), source.predict(X.copy()), 1e-9)


@pytest.mark.parametrize("func", [np.log1p, np.tanh, np.square])
def test_functions_other_than_the_identity(func):
    source, X = fit_on(
        "positive", make_pipeline(MinMaxScaler(), FunctionTransformer(func), Ridge())
    )
    net = assert_round_trip(source, X)
    assert net.graph["functiontransformer"].status == "translated"
    assert not np.allclose(source[1].transform(X), X)


@pytest.mark.parametrize("data", ["binary_strings", "multiclass"])
def test_labels_are_those_of_the_user(data):
    source, X = fit_on(data, make_pipeline(StandardScaler(), LogisticRegression()))
    net = pg.to_torch(source)
    assert net.predict(X).dtype == source.predict(X).dtype
    assert (net.predict(X) == source.predict(X)).all()
    assert (net.classes_ == source.classes_).all()


@pytest.mark.parametrize(
    "labels",
    [
        [-1, 1],
        [10, 20, 30],
        [False, True],
        np.array(["no", "maybe", "yes"], dtype=object),
        [0.5, 1.5],
    ],
    ids=str,
)
def test_labels_of_every_kind(labels):
    X, y = DATASETS["multiclass"]()
    y = np.asarray(labels)[np.searchsorted(np.unique(y), y) % len(labels)]
    if y.dtype.kind == "f":
        y = y * 2  # scikit-learn takes whole numbers for classes
    net = assert_round_trip(fitted(make_pipeline(StandardScaler(), LogisticRegression()), X, y), X)
    assert net.predict(X).dtype == y.dtype
    assert net.encode_target(y).unique().tolist() == list(range(len(labels)))


@pytest.mark.parametrize("encoder", ["one hot", "ordinal"])
@pytest.mark.parametrize("translate", ["trainable", "all"])
def test_unknown_categories(encoder, translate):
    X = table()[["color", "note"]]
    first: Any = OneHotEncoder(handle_unknown="ignore")
    if encoder == "ordinal":
        first = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    source = fitted(make_pipeline(first, LogisticRegression()), X, target(table(), "multiclass"))
    other = X.copy()
    other.loc[:, "color"] = ["mauve", *other["color"].iloc[1:]]
    other.loc[other.index[3], "note"] = "no such thing"
    assert_round_trip(source, X, other, translate=translate)


@pytest.mark.parametrize("translate", ["trainable", "all"])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_input(kind, translate):
    X, y = DATASETS["sparse_multiclass"]()
    union = make_union(MaxAbsScaler(), StandardScaler(with_mean=False))
    source = fitted(make_pipeline(MaxAbsScaler(), union, LogisticRegression()), X, y)
    before = copy.deepcopy(X)
    net = pg.to_torch(source, translate=translate)
    assert_alike(net, source, X.asformat(kind))
    assert_alike(net, source, X.toarray())
    assert identical(before, X)
