"""Classifiers that were fitted on one label only predict as their source does, or are refused."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import is_classifier
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from pipegrad.testing import Case, cases, perturb
from pipegrad.testing.methods import assert_same_methods

# Their translations say so.
ONE_CLASS_REFUSED = ["CalibratedClassifierCV", "NeuralNetClassifier"]
if parse_version(sklearn.__version__) < parse_version("1.6"):
    ONE_CLASS_REFUSED.append("AdaBoostClassifier")


def fitted(case: Case) -> Any:
    """The classifier of an example fitted on one label, or None if its library refuses that."""
    operator, (X, y) = copy.deepcopy(case.fitted()), case.data()
    if y is None or not is_classifier(operator):
        return None
    y = np.asarray(y)
    first = min(y.tolist()) if y.ndim == 1 else y[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return operator.fit(X, np.full_like(y, first), **case.example.fit)
    except Exception:  # each library has its own
        return None


@pytest.mark.parametrize("case", cases("*Classifier*"), ids=str)
def test_one_label(case: Case) -> None:
    operator, (X, y) = fitted(case), case.data()
    if operator is None:
        pytest.skip("its library does not fit one label")
    if operator.__class__.__name__ in ONE_CLASS_REFUSED:
        with pytest.raises(pg.UntranslatableError, match="only one class"):
            pg.to_torch(operator)
        return
    net = pg.to_torch(operator)
    assert_same_methods(net, operator, X, y, case.tolerance)
    perturb(net)
    assert_same_methods(net, pg.from_torch(net), X, y, case.tolerance)


X = np.random.default_rng(0).normal(size=(40, 3))


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), RidgeClassifier()),
        VotingClassifier([("r", RidgeClassifier()), ("t", DecisionTreeClassifier())]),
        RandomForestClassifier(3),
    ],
    ids=["pipeline", "vote", "forest"],
)
def test_composites_of_one_label(model: Any) -> None:
    model = copy.deepcopy(model).fit(X, ["only"] * 40)
    assert_same_methods(pg.to_torch(model), model, X, ["only"] * 40, 1e-9)


def test_votes_on_one_label() -> None:
    bag = BaggingClassifier(RidgeClassifier(), 3).fit(X, ["only"] * 40)
    net = pg.to_torch(bag)
    assert list(net.predict(X)) == list(bag.predict(X))
    assert np.array_equal(net.predict_proba(X), bag.predict_proba(X))
    two = BaggingClassifier(LinearSVC(), 3, random_state=0).fit(X, X[:, 0] > 0)
    assert pg.to_torch(two).predict_proba(X).shape == (40, 2)
