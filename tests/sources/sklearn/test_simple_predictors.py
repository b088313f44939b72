"""Dummy predictors and isotonic regression, where the contract's examples do not reach."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import VotingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import assert_round_trip
from pipegrad.graph import Graph, Step
from pipegrad.modules import MonotoneInterpolation
from pipegrad.partition import check, partition
from pipegrad.testing import DATASETS, perturb
from pipegrad.testing.promises import shake

X, y = DATASETS["one_column"]()


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_random_predictions_are_drawn_as_the_source_draws_them(strategy, method):
    model = DummyClassifier(strategy=strategy, random_state=0).fit(X, np.digitize(y, [2, 4]))
    ours, theirs = getattr(pg.to_torch(model), method)(X), getattr(model, method)(X)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_random_members_vote_as_those_of_the_source(strategy):
    members = [
        ("a", LogisticRegression()),
        ("b", DummyClassifier(strategy=strategy, random_state=0)),
    ]
    rows = X.reshape(-1, 1)
    model = VotingClassifier(members, voting="soft").fit(rows, y > 4)
    ours, theirs = pg.to_torch(model).predict_proba(rows), model.predict_proba(rows)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("method", ["predict_proba", "predict", "votes"])
def test_random_answers_have_no_module(method):
    model = DummyClassifier(strategy="stratified").fit(X, y > 4)
    step = Step("dummy", "sklearn.dummy.DummyClassifier", ("input",), method, operator=model)
    graph = Graph((step,), "dummy")
    with pytest.raises(pg.UntranslatableError, match="answers drawn at random"):
        check(partition(graph))


@pytest.mark.parametrize(
    "rows",
    [["a", "b", "c"], pd.DataFrame({"text": ["u", None]}), sparse.eye_array(3), [[1], [2]]],
    ids=["text", "table", "sparse", "lists"],
)
def test_any_input_counts_rows(rows):
    for model in (DummyClassifier().fit(X, y > 4), DummyRegressor().fit(X, y)):
        np.testing.assert_array_equal(pg.to_torch(model).predict(rows), model.predict(rows))


@pytest.mark.parametrize("labels", [["no", "yes"], [2, 7], [0.5, 1.5], [False, True]], ids=str)
@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "constant"])
def test_labels_have_the_type_of_the_source(labels, strategy):
    for first in labels:
        given = np.where(np.arange(len(X)) < 50, first, labels[1 - labels.index(first)])
        model = DummyClassifier(strategy=strategy, constant=[first]).fit(X, given)
        ours, theirs = pg.to_torch(model).predict(X), model.predict(X)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_sparse_targets_are_predicted_as_a_sparse_matrix():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = sparse.csc_matrix(np.column_stack([y > 4, y > 5]).astype(float))
        model = DummyClassifier(strategy="most_frequent").fit(X, labels)
        ours, theirs = pg.to_torch(model).predict(X), model.predict(X)
    assert sparse.issparse(ours)
    assert (ours != theirs).nnz == 0


def test_a_constant_that_the_user_set_does_not_train():
    model = make_pipeline(StandardScaler(), DummyRegressor(strategy="constant", constant=3))
    net = pg.to_torch(model.fit(X[:, None], y))
    assert not net.trainable_parameters()
    assert net.predict(X[:, None]).dtype == model.predict(X[:, None]).dtype


def grid(model):
    low, high = X.min(), X.max()
    between = (model.X_thresholds_[1:] + model.X_thresholds_[:-1]) / 2
    return np.concatenate([[low - 1, low, high, high + 1], model.X_thresholds_, between])


@pytest.mark.parametrize("outside", ["nan", "clip"])
def test_knots_and_what_lies_beyond(outside):
    model = IsotonicRegression(out_of_bounds=outside, increasing="auto").fit(X, y)
    net = pg.to_torch(model)
    places = grid(model)
    np.testing.assert_allclose(net.predict(places), model.predict(places), rtol=1e-12)
    np.testing.assert_allclose(net.transform(places), model.transform(places), rtol=1e-12)
    np.testing.assert_allclose(net.predict(places[:, None]), model.predict(places), rtol=1e-12)


def test_numbers_beyond_the_knots_are_refused_where_the_source_refuses_them():
    net = pg.to_torch(IsotonicRegression(out_of_bounds="raise").fit(X, y))
    with pytest.raises(ValueError, match=r"got 1e\+06(.|\n)*clip"):
        net.predict([0.0, 1e6])


@pytest.mark.parametrize("increasing", [True, False])
def test_values_stay_monotone_and_in_their_range(increasing):
    model = IsotonicRegression(increasing=increasing, y_min=4, y_max=6).fit(X, y)
    for seed in range(5):
        net = pg.to_torch(model)
        shake(net, seed)
        tuned = pg.from_torch(net)
        steps = np.diff(tuned.predict(np.sort(X)))
        assert ((steps >= 0) if increasing else (steps <= 0)).all()
        assert tuned.y_thresholds_.min() >= 4
        assert tuned.y_thresholds_.max() <= 6


def test_steps_below_zero_count_as_zero_and_can_rise_again():
    module = MonotoneInterpolation(torch.arange(3.0), torch.arange(3.0))
    module.steps.data[0] = -5.0
    values = module.values()
    assert values.tolist() == [0.0, 0.0, 1.0]
    (-values.sum()).backward()
    assert module.steps.grad is not None
    assert (module.steps.grad < 0).all()


def test_a_single_knot():
    model = IsotonicRegression(out_of_bounds="clip").fit([1.0, 1.0], [2.0, 4.0])
    net = pg.to_torch(model)
    np.testing.assert_array_equal(net.predict([0.0, 1.0, 2.0]), model.predict([0.0, 1.0, 2.0]))
    perturb(net)
    np.testing.assert_array_equal(pg.from_torch(net).predict([1.0]), net.predict([1.0]))


def test_gradients_of_the_input_are_slopes():
    model = IsotonicRegression(out_of_bounds="clip").fit([0.0, 1.0, 2.0], [0.0, 2.0, 3.0])
    net = pg.to_torch(model)
    x = torch.tensor([[0.5], [1.0], [1.5], [3.0]], dtype=torch.float64, requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None
    assert x.grad[[0, 2, 3], 0].tolist() == [2.0, 1.0, 0.0]


def test_dummies_may_follow_trained_steps():
    X, y = DATASETS["multilabel"]()
    for model in (
        ClassifierChain(DummyClassifier(), chain_method="predict_log_proba", order=[0, 1, 2]),
        make_pipeline(StandardScaler(), RegressorChain(DummyRegressor(strategy="median"))),
    ):
        net = assert_round_trip(model.fit(X, y), X)
        assert net.trainable_parameters()
