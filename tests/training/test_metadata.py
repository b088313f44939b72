"""Sample weights and other metadata reach the pipeline's ``fit`` as scikit-learn passes them."""

import numpy as np
import pytest
import sklearn
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    BaggingClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE
from sklearn.linear_model import Lars, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from pipegrad.training.metadata import fit_arguments, takes_groups, takes_weight
from pipegrad.training.samples import Samples

pytestmark = pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")
GRID = {"ridge__alpha": [1.0, 10.0]}
# Stacks and transformed targets route metadata since scikit-learn 1.6.
ALL_ROUTE = parse_version(sklearn.__version__) >= parse_version("1.6")


@pytest.fixture(scope="module")
def numbers():
    X, y = make_regression(60, 4, noise=1.0, random_state=0)
    return X, y / 50


@pytest.fixture(scope="module")
def labels():
    X, y = make_classification(60, 8, n_classes=3, n_informative=5, random_state=0)
    return X, np.array(["ant", "bee", "cow"])[y]


def ridge():
    return make_pipeline(StandardScaler(), Ridge())


# Estimators that take weights without metadata routing, and the name of their argument.
UNROUTED = [
    (Ridge(), "sample_weight"),
    (ridge(), "ridge__sample_weight"),
    (make_pipeline(StandardScaler(), ridge()), "pipeline__ridge__sample_weight"),
    (VotingRegressor([("a", Ridge()), ("b", Ridge(2))]), "sample_weight"),
    (VotingRegressor([("a", Ridge()), ("b", "drop")]), "sample_weight"),
    (
        make_pipeline(StandardScaler(), VotingRegressor([("a", Ridge())])),
        "votingregressor__sample_weight",
    ),
    (StackingRegressor([("a", Ridge())], Ridge()), "sample_weight"),
    (StackingRegressor([("a", VotingRegressor([("b", Ridge())]))]), "sample_weight"),
    (TransformedTargetRegressor(Ridge()), "sample_weight"),
    (TransformedTargetRegressor(ridge()), "ridge__sample_weight"),
    (GridSearchCV(ridge(), GRID, cv=2), "ridge__sample_weight"),
    (RFE(Ridge(), n_features_to_select=2), "sample_weight"),
]


@pytest.mark.parametrize(("estimator", "name"), UNROUTED)
def test_the_argument_is_the_one_that_scikit_learn_takes(estimator, name, numbers):
    X, y = numbers
    weight = np.linspace(0.5, 2, len(y))
    assert fit_arguments(estimator, weight).keys() == {name}
    weighted = sklearn.clone(estimator).fit(X, y, **fit_arguments(estimator, weight))
    assert not np.allclose(weighted.predict(X), sklearn.clone(estimator).fit(X, y).predict(X))


@pytest.mark.parametrize(
    ("estimator", "culprit"),
    [
        (KNeighborsRegressor(), "KNeighborsRegressor.fit"),
        (make_pipeline(StandardScaler(), Lars()), "Lars, to which Pipeline passes it on"),
        (VotingRegressor([("a", Ridge()), ("b", Lars())]), "Lars, to which VotingRegressor"),
        (VotingRegressor([("a", ridge())]), "under the name of a step"),
        (StackingRegressor([("a", Ridge())], Lars()), "Lars, to which StackingRegressor"),
        (GridSearchCV(KNeighborsRegressor(), {}), "KNeighborsRegressor, to which GridSearchCV"),
    ],
)
def test_weights_without_use_are_refused_with_the_estimator_that_has_none(estimator, culprit):
    with pytest.raises(pg.ArgumentError, match=culprit):
        fit_arguments(estimator, np.ones(3))
    assert not takes_weight(estimator)
    assert fit_arguments(estimator, None) == {}


def requesting(estimator):
    return estimator.set_fit_request(sample_weight=True)


def test_with_routing_the_estimator_decides():
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        member = make_pipeline(scaler, requesting(Ridge()))
        stack = StackingRegressor([("a", member)], requesting(Ridge()))
        for estimator in (
            member,
            VotingRegressor([("a", member)]),
            GridSearchCV(member, GRID),
            *([stack, TransformedTargetRegressor(member)] if ALL_ROUTE else []),
        ):
            assert fit_arguments(estimator, np.ones(3)).keys() == {"sample_weight"}
            assert takes_weight(estimator)
        with pytest.raises(pg.ArgumentError, match=r"KNeighborsRegressor\.fit does not"):
            fit_arguments(KNeighborsRegressor(), np.ones(3))


def test_groups_are_for_searches_that_split_by_them():
    assert takes_groups(GridSearchCV(Ridge(), {}, cv=GroupKFold(2)))
    assert not takes_groups(GridSearchCV(Ridge(), {}, cv=2))
    assert not takes_groups(Ridge())


@pytest.mark.parametrize("routing", [False, True])
def test_composites_are_fitted_with_the_weights(routing, labels):
    X, y = labels
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    with sklearn.config_context(enable_metadata_routing=routing):

        def linear():
            return requesting(LogisticRegression()) if routing else LogisticRegression()

        stack = StackingClassifier([("a", linear())], linear(), cv=2)
        for estimator in (
            VotingClassifier([("a", linear()), ("b", linear())], voting="soft"),
            *([stack] if ALL_ROUTE or not routing else []),
            BaggingClassifier(linear(), 2, random_state=0),
        ):
            tuner = pg.FineTuner(estimator, random_state=0, epochs=1)
            tuner.fit(X, y, sample_weight=weight)
            assert tuner.predict(X).shape == y.shape


def test_weights_without_use_are_refused_before_anything_is_fitted(labels):
    X, y = labels
    mixed = VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())])
    with pytest.raises(pg.ArgumentError, match="KNeighborsClassifier, to which VotingClassifier"):
        pg.FineTuner(mixed).fit(X, y, sample_weight=np.ones(len(y)))


class Remembering(Ridge):
    """Keeps the arguments of its fit."""

    seen: list = []

    def fit(self, X, y, sample_weight=None, colour=None, shade=None):
        self.seen.append((len(X), None if colour is None else len(colour), shade))
        return super().fit(X, y, sample_weight)


def test_further_arguments_are_split_along_with_the_rows(numbers):
    X, y = numbers
    Remembering.seen.clear()
    search = GridSearchCV(Remembering(), {"alpha": [1.0]}, cv=2)
    with pytest.raises(pg.UntranslatableError, match="subclass of Ridge"):
        pg.FineTuner(search).fit(X, y)
    assert not Remembering.seen
    samples = Samples(X, y, None, None, {"colour": list(range(60)), "shade": "dark", "cut": (1, 2)})
    taken = samples.take(np.array([3, 5]))
    assert taken.metadata == {"colour": [3, 5], "shade": "dark", "cut": (1, 2)}
    Remembering().fit(taken.X, taken.y, colour=taken.metadata["colour"], shade="dark")
    assert Remembering.seen == [(2, 2, "dark")]


@pytest.mark.parametrize("routing", [False, True])
def test_a_search_in_the_pipeline_receives_the_groups(routing, numbers):
    X, y = numbers
    groups = np.repeat(np.arange(12), 5)
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(Ridge(), {"alpha": [1.0, 10.0]}, cv=GroupKFold(2))
        tuner = pg.FineTuner(search, random_state=0, epochs=2).fit(X, y, groups=groups)
    assert set(tuner.estimator_.best_params_) == {"alpha"}
