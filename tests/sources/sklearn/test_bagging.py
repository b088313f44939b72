"""Bagging over estimators that are no trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import pipegrad as pg
from helpers import assert_round_trip
from pipegrad.testing import DATASETS, assert_close, identical, perturb

LOGISTIC = make_pipeline(StandardScaler(with_mean=False), LogisticRegression())
MEMBERS = {
    "linear": Ridge(),
    "pipeline": make_pipeline(StandardScaler(), Ridge()),
    "boosted": HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=5, min_samples_leaf=5),
}


@pytest.mark.parametrize("options", [{}, {"max_features": 0.5}, {"bootstrap_features": True}])
@pytest.mark.parametrize("member", list(MEMBERS))
def test_regressors(member: str, options: Any) -> None:
    X, y = DATASETS["regression"]()
    bag = BaggingRegressor(MEMBERS[member], 3, random_state=0, **options).fit(X, y)
    net = assert_round_trip(bag, X)
    assert sum(step.status == "trainable" for step in net.graph) >= 3


def check_classes(bag: Any, X: Any) -> Any:
    """Parity and both round trips."""
    net = pg.to_torch(bag)
    same_classes(net, bag, X)
    assert identical(bag.predict_proba(X), pg.from_torch(net).predict_proba(X))
    perturb(net)
    changed = pg.from_torch(net)
    same_classes(net, changed, X)
    assert not np.allclose(changed.predict_proba(X), bag.predict_proba(X))
    return net


def same_classes(net: Any, bag: Any, X: Any) -> None:
    assert_close(net.predict_proba(X), bag.predict_proba(X), 1e-9)
    assert identical(net.predict(X), bag.predict(X))


@pytest.mark.parametrize("data", ["multiclass", "binary", "binary_strings", "sparse_multiclass"])
@pytest.mark.parametrize("options", [{}, {"max_features": 0.5}])
def test_classifiers(data: str, options: Any) -> None:
    X, y = DATASETS[data]()
    bag = BaggingClassifier(LOGISTIC, 4, random_state=0, **options).fit(X, y)
    net = check_classes(bag, X)
    changed = pg.from_torch(net)
    for method in ("decision_function", "predict_log_proba"):
        assert_close(getattr(net, method)(X), getattr(changed, method)(X), 1e-9)


@pytest.mark.parametrize("data", ["multiclass", "binary_strings", "sparse_multiclass"])
@pytest.mark.parametrize("member", [LinearSVC(), RidgeClassifier(), SGDClassifier(random_state=0)])
def test_members_without_probabilities_vote(data: str, member: Any) -> None:
    X, y = DATASETS[data]()
    bag = BaggingClassifier(member, 4, random_state=0).fit(X, y)
    net = pg.to_torch(bag)
    same_classes(net, bag, X)
    assert hasattr(net, "decision_function") == hasattr(bag, "decision_function")
    net(X).square().sum().backward()
    assert any(p.grad.abs().sum() > 0 for p in net.trainable_parameters().values())
    perturb(net)
    changed = pg.from_torch(net)
    same_classes(net, changed, X)
    assert not identical(changed.estimators_[0].coef_, bag.estimators_[0].coef_)


def test_votes_train() -> None:
    X, y = DATASETS["binary_strings"]()
    bag = BaggingClassifier(LinearSVC(), 5, random_state=0).fit(X, y[::-1])
    net = pg.to_torch(bag).fit(X, y, epochs=20, lr=0.1, validation=None)
    assert net.score(X, y) > bag.score(X, y) + 0.1


def test_several_targets_and_tables() -> None:
    X, y = DATASETS["multioutput"]()
    table = pd.DataFrame(X, columns=list("abcdef"))
    bag = BaggingRegressor(Ridge(), 3, max_features=4, random_state=0).fit(table, y)
    net = assert_round_trip(bag, table)
    for bad in (table[list("abcde")], table[list("fedcba")]):
        with pytest.raises(ValueError):
            bag.predict(bad)
        with pytest.raises(ValueError):
            net.predict(bad)


def test_behind_and_among_others_all_trains() -> None:
    X, y = DATASETS["binary_strings"]()
    bag = BaggingClassifier(LOGISTIC, 3, max_features=3, random_state=0)
    pipe = make_pipeline(StandardScaler(), bag).fit(X, y)
    net = check_classes(pipe, X)
    assert net.graph["standardscaler"].status == "trainable"
    net = pg.to_torch(pipe).fit(X, y, epochs=30, lr=0.1, validation=None)
    losses = net.history[:, "train_loss"]
    assert losses[-1] < losses[0]
    tuned = pg.from_torch(net)
    same_classes(net, tuned, X)
    assert not np.allclose(tuned.predict_proba(X), pipe.predict_proba(X))


def test_members_that_did_not_see_every_class() -> None:
    X, y = DATASETS["multiclass"]()
    rare = np.where(np.arange(len(y)) == 0, "rare", y)
    partial = BaggingClassifier(LOGISTIC, 4, max_samples=0.2, random_state=0).fit(X, rare)
    assert any(len(member.classes_) < 4 for member in partial.estimators_)
    check_classes(partial, X)


def test_refusals_name_the_reason() -> None:
    X, y = DATASETS["regression"]()
    near = BaggingRegressor(KNeighborsRegressor(weights=np.exp), 3, random_state=0).fit(X, y)
    with pytest.raises(pg.UntranslatableError, match="KNeighborsRegressor"):
        pg.to_torch(make_pipeline(StandardScaler(), near).fit(X, y))
