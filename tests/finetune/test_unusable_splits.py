"""Where validation can show nothing, the pipeline as fitted comes back, with the reason."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import (
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg

SETTINGS = [{}, {"epochs": 2}]
X = np.random.default_rng(0).normal(size=(150, 3))


def tuned(estimator, X, y, settings, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pg.FineTuner(estimator, random_state=0, **settings, **options).fit(X, y)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(),
        RandomForestClassifier(3),
        ExtraTreesClassifier(3),
        BaggingClassifier(n_estimators=2),
        RidgeClassifier(),
        make_pipeline(StandardScaler(), DecisionTreeClassifier()),
    ],
)
@pytest.mark.parametrize("label", [0, "a"])
def test_one_label(estimator, label, settings):
    tuner = tuned(estimator, X, np.full(len(X), label), settings)
    assert (tuner.predict(X) == label).all()
    assert not tuner.improved_
    assert tuner.report_.why == "all rows have the same target"
    assert "all rows have the same target" in str(tuner.report_)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    "estimator",
    [PoissonRegressor(), HistGradientBoostingRegressor(loss="poisson", max_iter=3)],
)
def test_one_event(estimator, settings):
    y = np.zeros(len(X))
    y[7] = 1
    tuner = tuned(estimator, X, y, settings)
    assert not tuner.improved_
    assert "only 1 row has a target that differs" in tuner.report_.why


def test_five_events_are_compared():
    y = np.zeros(len(X), dtype=int)
    y[:4] = 1
    assert "only 4 rows" in tuned(LogisticRegression(), X, y, {}).report_.why
    y[4] = 1
    assert "only" not in tuned(LogisticRegression(), X, y, {}).report_.why


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_fit_that_diverges(settings):
    huge = X.copy()
    huge[3] = 1e203
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = pg.FineTuner(SGDRegressor(random_state=0), random_state=0, **settings)
        tuner.fit(huge, X[:, 0])
    assert not tuner.improved_
    assert "could not be used" in tuner.report_.why or "finite" in tuner.report_.why


@pytest.mark.parametrize("settings", SETTINGS)
def test_rows_that_only_the_whole_pipeline_knows(settings):
    names = np.arange(150).reshape(-1, 1)
    tuner = tuned(make_pipeline(OneHotEncoder(), Ridge()), names, X[:, 0], settings)
    assert "Found unknown categories" in tuner.report_.why
    assert tuner.predict(names).shape == (150,)  # It was fitted on all rows.


def test_one_unusable_split_is_left_out():
    names = np.tile(np.arange(10), 15).reshape(-1, 1)
    names[-1] = 99
    model = make_pipeline(OneHotEncoder(), Ridge())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tuner = pg.FineTuner(model, random_state=0, cv=KFold(3)).fit(names, X[:, 0])
    assert "A validation split could not be used: Found unknown" in str(told[0].message)
    assert tuner.report_.splits in (1, 2)


def test_errors_of_the_users_own_functions_are_not_swallowed():
    def broken(score, y):
        raise RuntimeError("mine")

    for settings in SETTINGS:
        with pytest.raises(Exception, match="mine"):
            tuned(Ridge(), X, X[:, 0], settings, loss=broken)


class Resampling(Pipeline):
    """A pipeline of another library, derived from that of scikit-learn."""

    fits: list = []

    def fit(self, X, y=None, **params):
        self.fits.append(len(X))
        return super().fit(X, y, **params)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: GridSearchCV(p, {"ridge__alpha": [1.0]})])
def test_a_composite_without_translation_is_refused_before_it_is_fitted(wrap, settings):
    foreign = Resampling([("scaler", StandardScaler()), ("ridge", Ridge())])
    with pytest.raises(pg.UntranslatableError, match=r"Resampling[\s\S]*nothing was fitted"):
        tuned(wrap(foreign), X, X[:, 0], settings)
    assert not Resampling.fits


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (
            make_pipeline(StandardScaler(), PCA(2)),
            r"The last step, 'pca' \(PCA\), has no objective",
        ),
        (IsolationForest(n_estimators=2), r"\(IsolationForest\), has no objective"),
        (make_pipeline(StandardScaler(), "passthrough"), "has no objective"),
    ],
)
def test_a_last_step_without_objective_is_refused_before_it_is_fitted(estimator, words, settings):
    with pytest.raises(pg.ArgumentError, match=words):
        tuned(estimator, X, X[:, 0], settings)
