"""Classifiers of pairs of classes and of code books answer and train as their members do."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsOneClassifier, OutputCodeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

import pipegrad as pg
from composite_checks import (
    CLASSIFIERS,
    as_table,
    check_composite,
    check_recovery,
    lower_loss,
    row_losses,
)
from helpers import assert_round_trip, fitted
from pipegrad.testing import DATASETS, assert_close
from pipegrad.training.criterion import Criterion, class_weights, make_criterion

TWICE = {"csr with entries stored twice": "distances to the sum of both use the norms of each"}


def pair_rows(X: Any, y: Any, model: Any) -> list[tuple[Any, Any, Any]]:
    """The rows of each pair of classes, and which of them are of its second class."""
    found = []
    for i, first in enumerate(model.classes_):
        for second in model.classes_[i + 1 :]:
            rows = np.flatnonzero((y == first) | (y == second))
            found.append((rows, X[rows], (y[rows] == second).astype(int)))
    return found


@pytest.mark.parametrize("data", ["multiclass", "binary_strings"])
@pytest.mark.parametrize("name", [*CLASSIFIERS, "regression"])
def test_one_vs_one(name: str, data: str) -> None:
    X, y = DATASETS[data]()
    member = CLASSIFIERS.get(name, Ridge())
    net = assert_round_trip(fitted(OneVsOneClassifier(member), X, y), X)
    assert net.head.responses == ("predict", "decision_function")


@pytest.mark.parametrize(
    ("name", "data"),
    [("logistic", "multiclass"), ("hinge", "binary_strings"), ("hinge", "sparse_multiclass")],
)
def test_one_vs_one_meets_the_contract(name: str, data: str) -> None:
    check_composite(OneVsOneClassifier(CLASSIFIERS[name]), data)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["rbf", "precomputed"])
def test_one_vs_one_of_kernels(kernel: str) -> None:
    data = "similarities_multiclass" if kernel == "precomputed" else "multiclass"
    check_composite(OneVsOneClassifier(SVC(kernel=kernel)), data, {} if data[0] == "s" else TWICE)


def test_one_vs_one_of_many_classes() -> None:
    X, _ = DATASETS["multiclass"]()
    y = np.arange(len(X)) % 5
    assert_round_trip(OneVsOneClassifier(LinearSVC(dual=False)).fit(X, y), X)


def test_ties_of_votes_are_broken_by_confidence() -> None:
    """A row of zeros, for which regressors of signs give no vote to either class."""
    X = np.vstack([np.eye(3), np.zeros((1, 3))])
    model = OneVsOneClassifier(LinearSVC(fit_intercept=False, dual=False)).fit(X[:3], [0, 1, 2])
    net = pg.to_torch(model)
    assert_close(net.decision_function(X), model.decision_function(X), 1e-9)
    np.testing.assert_array_equal(net.predict(X), model.predict(X))


def test_names_of_columns_are_checked_once() -> None:
    X, y = DATASETS["multiclass"]()
    table = as_table(X)
    model = OneVsOneClassifier(LinearSVC(dual=False)).fit(table, y)
    net = assert_round_trip(model, table)
    with pytest.raises(ValueError, match="feature names"):
        net.predict(table[table.columns[::-1]])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_each_pair_has_its_own_loss(name: str) -> None:
    X, y = DATASETS["multiclass"]()
    model = fitted(OneVsOneClassifier(CLASSIFIERS[name]), X, y)
    net = pg.to_torch(model)
    wanted = np.zeros(len(X))
    pairs = pair_rows(X, y, model)
    for member, (rows, Z, second) in zip(model.estimators_, pairs, strict=True):
        wanted[rows] += row_losses(pg.to_torch(member), Z, second)
    assert_close(row_losses(net, X, y), wanted, 1e-9)


@pytest.mark.parametrize("weight", ["balanced", {0: 3.0}])
def test_class_weights_of_pairs(weight: Any) -> None:
    X, y = DATASETS["multiclass"]()
    model = fitted(OneVsOneClassifier(LogisticRegression(class_weight=weight)), X, y)
    wanted = np.zeros(len(X))
    pairs = pair_rows(X, y, model)
    for member, (rows, Z, second) in zip(model.estimators_, pairs, strict=True):
        own = row_losses(pg.to_torch(member), Z, second)
        wanted[rows] += own * compute_sample_weight(weight, second)
    net = pg.to_torch(model)
    function, objective = make_criterion(None, net.objective, net.head)
    target = net.encode_target(y)
    _, table = class_weights(objective, target, np.arange(len(X)), None, net.head.task)
    assert_close(Criterion(function, table).rows(net(X), target).detach().numpy(), wanted, 1e-9)


@pytest.mark.parametrize("estimator", [OneVsOneClassifier, OutputCodeClassifier])
def test_training(estimator: Any) -> None:
    X, y = DATASETS["multiclass"]()
    pipe = make_pipeline(StandardScaler(), estimator(LogisticRegression(C=0.01)))
    if estimator is OutputCodeClassifier:
        pipe.set_params(outputcodeclassifier__random_state=0)
    net = pg.to_torch(pipe.fit(X, y))
    before, after = lower_loss(net, X, y)
    assert after < before
    changed = pg.from_torch(net)
    np.testing.assert_array_equal(net.predict(X), changed.predict(X))
    net(X).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.trainable_parameters().values())


def test_gradients_pass_through_hard_votes() -> None:
    """In a stack, the votes of the pairs have the slope of soft votes."""
    X, y = DATASETS["multiclass"]()
    inner = make_pipeline(StandardScaler(), OneVsOneClassifier(LogisticRegression(C=0.01)))
    stack = StackingClassifier([("inner", inner)], LogisticRegression(), cv=2).fit(X, y)
    net = assert_round_trip(stack, X)
    net(X).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.trainable_parameters().values())


@pytest.mark.parametrize("estimator", [OneVsOneClassifier, OutputCodeClassifier])
@pytest.mark.parametrize("data", ["multiclass", "binary_strings"])
def test_votes(estimator: Any, data: str) -> None:
    X, y = DATASETS[data]()
    options = {"random_state": 0} if estimator is OutputCodeClassifier else {}
    inner = estimator(LinearSVC(dual=False), **options)
    vote = VotingClassifier([("a", inner), ("b", GaussianNB()), ("c", LogisticRegression())])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vote.fit(X, y)
    assert_round_trip(vote, X)


# -- code books ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.7, 1.5, 4])
@pytest.mark.parametrize("name", ["logistic", "naive Bayes", "support vectors", "tree"])
def test_output_code(name: str, size: float) -> None:
    X, y = DATASETS["multiclass"]()
    model = OutputCodeClassifier(CLASSIFIERS[name], code_size=size, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    net = pg.to_torch(model)
    np.testing.assert_array_equal(net.predict(X), model.predict(X))
    shaken(net)
    np.testing.assert_array_equal(net.predict(X), pg.from_torch(net).predict(X))


def shaken(net: pg.PipelineModule) -> None:
    from pipegrad.testing import perturb

    perturb(net, 0.5)


@pytest.mark.parametrize("data", ["multiclass", "binary_strings", "sparse_multiclass"])
def test_output_code_meets_the_contract(data: str) -> None:
    model = OutputCodeClassifier(LinearSVC(dual=False, C=0.01), code_size=3, random_state=2)
    rows = DATASETS[data]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_composite(model, rows)


@pytest.mark.parametrize("name", ["logistic", "naive Bayes"])
def test_the_loss_of_codes(name: str) -> None:
    X, y = DATASETS["multiclass"]()
    model = fitted(OutputCodeClassifier(CLASSIFIERS[name], code_size=2, random_state=0), X, y)
    book = model.code_book_[np.unique(y, return_inverse=True)[1]].astype(int)
    wanted = np.zeros(len(X))
    for k, member in enumerate(model.estimators_):
        if hasattr(member, "classes_"):
            wanted += row_losses(pg.to_torch(member), X, book[:, k])
    assert_close(row_losses(pg.to_torch(model), X, y), wanted, 1e-9)


@pytest.mark.parametrize("name", ["logistic", "naive Bayes"])
def test_the_loss_comes_back(name: str) -> None:
    check_recovery(OneVsOneClassifier(CLASSIFIERS[name]), "multiclass")
    check_recovery(
        OutputCodeClassifier(CLASSIFIERS[name], random_state=0, code_size=2), "multiclass"
    )


def test_losses_of_classes_are_refused() -> None:
    X, y = DATASETS["multiclass"]()
    net = pg.to_torch(OneVsOneClassifier(LinearSVC(dual=False)).fit(X, y))
    with pytest.raises(pg.ArgumentError, match="scores of several members"):
        net.fit(X, y, loss="one_vs_one_hinge")
    assert torch.isfinite(net(X)).all()
