"""Bagging and AdaBoost over members of any kind, and stacks of labels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from composite_checks import as_table, check_composite, lower_loss, mean_loss
from helpers import SAMME, assert_alike, assert_round_trip, fitted
from pipegrad.graph import Graph
from pipegrad.testing import DATASETS, assert_close, perturb


def fit(estimator: Any, data: Any) -> tuple[Any, Any, Any]:
    X, y = DATASETS[data]() if isinstance(data, str) else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fitted(estimator, X, y), X, y


def rare_classes() -> tuple[Any, Any]:
    """Five classes, of which bags of few rows miss some."""
    X, _ = DATASETS["multiclass"]()
    y = np.array(["ant", "bee", "cat", "dog", "eel"])[np.r_[[3, 4, 4], np.arange(len(X) - 3) % 3]]
    return X, y


# -- bags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "member",
    [GaussianNB(), DecisionTreeClassifier(max_depth=3), RidgeClassifier(), SVC()],
    ids=lambda member: type(member).__name__,
)
@pytest.mark.parametrize("options", [{}, {"max_features": 0.5}])
def test_members_that_miss_classes(member: Any, options: dict[str, Any]) -> None:
    # Pipelines take no weights, so that each is fitted on the rows of its bag alone.
    pipe = make_pipeline(StandardScaler(), member)
    bag = BaggingClassifier(pipe, 5, max_samples=12, random_state=1, **options)
    model, X, y = fit(bag, rare_classes())
    assert any(len(one.classes_) < 5 for one in model.estimators_)
    net = pg.to_torch(model)
    perturbed = pg.to_torch(model)
    perturb(perturbed, 0.3)
    for one, other in ((net, model), (perturbed, pg.from_torch(perturbed))):
        for method in ("predict", "predict_proba"):
            assert_close(getattr(one, method)(X), getattr(other, method)(X), 1e-9, method)
    if hasattr(member, "predict_proba"):  # the votes of others have an approximate slope
        before = mean_loss(net, X, y)
        net.fit(X, y, validation=None, epochs=3, optim=torch.optim.LBFGS)
        assert mean_loss(net, X, y) < before


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bags_meet_the_contract() -> None:
    check_composite(
        BaggingClassifier(GaussianNB(), 4, max_samples=12, random_state=1), rare_classes
    )


def test_votes_where_there_is_one_class() -> None:
    X, _ = DATASETS["multiclass"]()
    data = X, np.full(len(X), "ant")
    for member in (DummyClassifier(), RidgeClassifier(), DecisionTreeClassifier()):
        model, _, _ = fit(BaggingClassifier(member, 3, random_state=0), data)
        net = pg.to_torch(model)
        np.testing.assert_array_equal(net.predict(X), model.predict(X))
        assert_close(net.predict_proba(X), model.predict_proba(X), 1e-9)


# -- boosting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["linear", "square", "exponential"])
@pytest.mark.parametrize(
    "member",
    [Ridge(), LinearRegression(), make_pipeline(StandardScaler(), Ridge(10.0)), SVR(gamma=0.01)],
    ids=lambda member: type(member).__name__,
)
def test_boosted_regressors(member: Any, loss: str) -> None:
    model = AdaBoostRegressor(member, n_estimators=5, loss=loss, random_state=0)
    assert_round_trip(*fit(model, "regression")[:2])


@pytest.mark.parametrize("data", ["regression", "sparse"])
def test_boosted_regressors_meet_the_contract(data: str) -> None:
    # A member that is the median of no row has no gradient.
    boosted = AdaBoostRegressor(Ridge(), n_estimators=4, random_state=0)
    check_composite(boosted, data, but=("gradients",))


def test_boosted_regressors_train() -> None:
    boosted = AdaBoostRegressor(Ridge(1e4), n_estimators=5, random_state=0)
    model, X, y = fit(make_pipeline(StandardScaler(), boosted), "regression")
    net = pg.to_torch(model)
    assert net.objective.name == "absolute_error"
    before, after = lower_loss(net, X, y, epochs=50)
    assert after < before
    assert_alike(net, pg.from_torch(net), X)
    still = make_pipeline(
        StandardScaler(), AdaBoostRegressor(KNeighborsRegressor(), n_estimators=3)
    )
    model, X, y = fit(still, "regression")
    assert_alike(pg.to_torch(model), model, X)


@pytest.mark.parametrize("data", ["multiclass", "binary_strings"])
@pytest.mark.parametrize(
    "member",
    [LogisticRegression(), GaussianNB(), SVC(gamma=0.1), LinearSVC(dual=False, C=1e-4)],
    ids=lambda member: type(member).__name__,
)
def test_boosted_classifiers(member: Any, data: str) -> None:
    boosted = AdaBoostClassifier(member, n_estimators=5, random_state=0, **SAMME)
    model, X, y = fit(boosted, data)
    net = pg.to_torch(model)
    assert_alike(net, model, X)
    perturb(net, 0.5)
    assert_alike(net, pg.from_torch(net), X)
    net(X).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.trainable_parameters().values())
    before, after = lower_loss(net, X, y)
    assert after <= before


@pytest.mark.parametrize("data", ["multiclass", "binary_strings"])
def test_boosted_classifiers_meet_the_contract(data: str) -> None:
    member = LogisticRegression(C=0.01)
    check_composite(AdaBoostClassifier(member, n_estimators=3, random_state=0, **SAMME), data)


def test_names_of_columns() -> None:
    X, y = DATASETS["multiclass"]()
    for estimator in (
        AdaBoostClassifier(LogisticRegression(), n_estimators=3, random_state=0, **SAMME),
        BaggingClassifier(GaussianNB(), 3, random_state=0),
    ):
        model, table, _ = fit(estimator, (as_table(X), y))
        assert_alike(pg.to_torch(model), model, table)


# -- stacks of labels ----------------------------------------------------------------------------

MEMBERS = [
    ("neighbors", KNeighborsClassifier(3)),
    ("perceptron", MLPClassifier((3,), max_iter=9, random_state=0)),
    ("ridge", RidgeClassifier()),
    ("rest", OneVsRestClassifier(LogisticRegression())),
    ("targets", MultiOutputClassifier(LogisticRegression())),
]


def two_labels() -> tuple[Any, Any]:
    X, y = DATASETS["multilabel"]()
    return X, y[:, :2]


@pytest.mark.parametrize("data", ["multilabel", two_labels])
@pytest.mark.parametrize(
    "final",
    [
        RandomForestClassifier(3, max_depth=2, random_state=0),
        RidgeClassifier(),
        MultiOutputClassifier(LogisticRegression()),
        OneVsRestClassifier(LogisticRegression()),
    ],
    ids=lambda final: type(final).__name__,
)
@pytest.mark.parametrize("passthrough", [False, True])
def test_stacks_of_labels(final: Any, data: Any, passthrough: bool) -> None:
    stack = StackingClassifier(MEMBERS, final, cv=2, passthrough=passthrough)
    model, X, y = fit(stack, data() if callable(data) else data)
    net = pg.to_torch(model)
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        if not hasattr(model, method):
            continue
        try:
            wanted = getattr(model, method)(X)
        except (IndexError, ValueError):
            continue  # the source fails where the final estimator has no list of tables
        assert_close(getattr(net, method)(X), wanted, 1e-9, method)
    before = mean_loss(net, X, y)
    net.fit(X, y, validation=None, epochs=3, seed=0, cross_fit=False)
    assert mean_loss(net, X, y) <= before
    np.testing.assert_array_equal(net.predict(X), pg.from_torch(net).predict(X))


def test_stacks_of_labels_are_cross_fitted() -> None:
    stack = StackingClassifier(MEMBERS[3:], RidgeClassifier(), cv=2)
    model, X, y = fit(stack, "multilabel")
    net = pg.to_torch(model)
    net.fit(X, y, validation=None, epochs=2, seed=0)
    assert isinstance(net.graph, Graph)


def test_a_stack_whose_last_member_is_one_against_the_rest() -> None:
    X, y = DATASETS["multiclass"]()
    final = OneVsRestClassifier(LogisticRegression())
    members = [("a", OneVsRestClassifier(LogisticRegression())), ("b", GaussianNB())]
    model, _, _ = fit(StackingClassifier(members, final, cv=2), (X, y))
    net = assert_round_trip(model, X)
    net.fit(X, y, validation=None, epochs=2, seed=0)
    assert torch.isfinite(net(X)).all()


def test_labels_of_a_stack_are_zero_and_one() -> None:
    X, y = DATASETS["multilabel"]()
    model, _, _ = fit(StackingClassifier(MEMBERS[2:3], RidgeClassifier(), cv=2), (X, y + 1))
    with pytest.raises(pg.UntranslatableError, match="zero and one"):
        pg.to_torch(model)
