"""Classifiers with thresholds of their own, and self-trained ones, are those they hold."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, make_scorer
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from composite_checks import as_table, check_composite, check_recovery, lower_loss
from helpers import assert_alike, assert_round_trip, fitted
from pipegrad.testing import DATASETS, assert_close

MEMBERS: dict[str, Any] = {
    "logistic": LogisticRegression(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "hinge": LinearSVC(dual=False, C=0.01),
    "support vectors": SVC(gamma=0.1),
    "naive Bayes": GaussianNB(),
    "tree": DecisionTreeClassifier(max_depth=3),
}


def fit(estimator: Any, data: Any = "binary_strings") -> tuple[Any, Any, Any]:
    X, y = DATASETS[data]() if isinstance(data, str) else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fitted(estimator, X, y), X, y


@pytest.mark.parametrize(("threshold", "label"), [("auto", None), (0.2, "no"), (-0.1, "yes")])
@pytest.mark.parametrize("name", MEMBERS)
def test_fixed_threshold(name: str, threshold: Any, label: Any) -> None:
    model = FixedThresholdClassifier(MEMBERS[name], threshold=threshold, pos_label=label)
    net = assert_round_trip(*fit(model)[:2])
    assert set(net.head.responses) >= {"predict"}


@pytest.mark.parametrize("method", ["predict_proba", "decision_function"])
@pytest.mark.parametrize("label", [None, "no"])
def test_response_method(method: str, label: Any) -> None:
    model = FixedThresholdClassifier(
        LogisticRegression(), threshold=0.3, response_method=method, pos_label=label
    )
    assert_round_trip(*fit(model)[:2])


def test_a_value_at_the_threshold_is_positive() -> None:
    model, X, _ = fit(FixedThresholdClassifier(DecisionTreeClassifier(max_depth=1)), "binary")
    threshold = float(model.predict_proba(X)[0, 1])
    for label in (None, 0, 1):
        model.set_params(threshold=threshold, pos_label=label)
        np.testing.assert_array_equal(pg.to_torch(model).predict(X), model.predict(X))


def test_a_classifier_that_was_fitted_before() -> None:
    X, y = DATASETS["binary"]()
    model = FixedThresholdClassifier(LogisticRegression().fit(X, y), threshold=0.9)
    if not hasattr(model, "classes_"):
        pytest.skip("this version of scikit-learn cannot predict so")
    net = pg.to_torch(model)
    np.testing.assert_array_equal(net.predict(X), model.predict(X))


SCORER = make_scorer(fbeta_score, beta=2, pos_label="no")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scoring": SCORER, "thresholds": 20},
        {"response_method": "decision_function", "scoring": SCORER},
        {"cv": 0.3, "refit": False, "random_state": 0, "store_cv_results": True},
        {"thresholds": np.array([0.2, 0.4])},
    ],
    ids=["default", "scorer", "decisions", "one split", "given"],
)
def test_tuned_threshold(options: dict[str, Any]) -> None:
    model = TunedThresholdClassifierCV(LogisticRegression(), **options)
    model, X, y = fit(model)
    net = assert_round_trip(model, X)
    net.fit(X, y, epochs=2, validation=None)
    assert pg.from_torch(net).best_threshold_ == model.best_threshold_


def test_tuned_threshold_of_a_fitted_classifier() -> None:
    X, y = DATASETS["binary_strings"]()
    member = GaussianNB().fit(X, y)
    model = TunedThresholdClassifierCV(member, cv="prefit", refit=False).fit(X, y)
    assert_round_trip(model, X)


@pytest.mark.parametrize(
    "estimator", [FixedThresholdClassifier, TunedThresholdClassifierCV, SelfTrainingClassifier]
)
def test_contract(estimator: Any) -> None:
    data = "binary" if estimator is SelfTrainingClassifier else "binary_strings"
    check_composite(estimator(LogisticRegression()), data)


def test_they_train_on_the_loss_of_the_classifier() -> None:
    for estimator in (FixedThresholdClassifier, TunedThresholdClassifierCV):
        pipe = make_pipeline(StandardScaler(), estimator(LogisticRegression(C=0.001)))
        model, X, y = fit(pipe)
        net = pg.to_torch(model)
        before, after = lower_loss(net, X, y)
        assert after < before
        assert_alike(net, pg.from_torch(net), X)
    check_recovery(FixedThresholdClassifier(LogisticRegression(), threshold=0.1), "binary")


@pytest.mark.parametrize("method", ["predict_proba", "decision_function", "predict"])
def test_within_a_stack(method: str) -> None:
    X, y = DATASETS["binary"]()
    inner = FixedThresholdClassifier(LogisticRegression(), threshold=0.7)
    stack = StackingClassifier([("a", inner)], LogisticRegression(), cv=2, stack_method=method)
    assert_round_trip(stack.fit(X, y), X)
    vote = VotingClassifier([("a", inner), ("b", GaussianNB()), ("c", LinearSVC(dual=False))])
    assert_round_trip(fitted(vote, X, y), X)
    assert_round_trip(OneVsRestClassifier(inner).fit(X, y), X)


def test_refused() -> None:
    X, y = DATASETS["binary_strings"]()
    model = FixedThresholdClassifier(GaussianNB(), pos_label="maybe").fit(X, y)
    with pytest.raises(pg.UntranslatableError, match="none of its classes"):
        pg.to_torch(model)


# -- self-training -------------------------------------------------------------------------------


def few_labels() -> tuple[Any, Any]:
    X, y = DATASETS["multiclass"]()
    y = np.unique(y, return_inverse=True)[1]
    return X, np.where(np.arange(len(y)) % 3 == 0, y, -1)


@pytest.mark.parametrize("name", ["logistic", "pipeline", "naive Bayes", "tree"])
@pytest.mark.parametrize("options", [{}, {"criterion": "k_best", "k_best": 5, "max_iter": 2}])
def test_self_training(name: str, options: dict[str, Any]) -> None:
    model, X, _ = fit(SelfTrainingClassifier(MEMBERS[name], **options), few_labels())
    assert_round_trip(model, X)
    net = pg.to_torch(model)
    with np.errstate(divide="ignore"):
        wanted = model.predict_log_proba(X)
    assert_close(net.predict_log_proba(X), wanted, 1e-9)


def test_self_training_with_names_of_columns() -> None:
    X, y = few_labels()
    model, table, _ = fit(SelfTrainingClassifier(LogisticRegression()), (as_table(X), y))
    net = assert_round_trip(model, table)
    labeled = y >= 0
    before, after = lower_loss(net, table[labeled], y[labeled], epochs=3)
    assert after <= before
    with pytest.raises(ValueError, match="feature names"):
        net.predict(table[table.columns[::-1]])
