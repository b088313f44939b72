"""FineTuner and net.fit inside the searches of scikit-learn and Optuna."""

import copy
import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.training.search.lr_finder import RATES

pytestmark = pytest.mark.filterwarnings("ignore:Training did not lower")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def numbers():
    return make_friedman1(240, 6, noise=0.3, random_state=0)


def tuner(**options):
    pipe = make_pipeline(StandardScaler(), PCA(3), Ridge())
    return pg.FineTuner(pipe, epochs=3, random_state=0, **options)


def check(search, X, y):
    """The best tuner is refitted with the best settings, and predicts as a plain pipeline."""
    search.fit(X, y)
    best = search.best_estimator_
    assert isinstance(best, pg.FineTuner)
    for name, value in search.best_params_.items():
        assert best.get_params()[name] == value
    again = clone(tuner()).set_params(**search.best_params_)
    np.testing.assert_allclose(again.fit(X, y).predict(X), search.predict(X))
    np.testing.assert_allclose(best.estimator_.predict(X), search.predict(X))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    return search


def test_grid_search(numbers):
    grid = {
        "lr": [1e-3, 3e-2],
        "anchor": [0.0, 0.1],
        "estimator__pca__n_components": [2, 4],
    }
    search = check(GridSearchCV(tuner(), grid, cv=2), *numbers)
    # What a setting changes shows in the scores.
    scores = search.cv_results_["mean_test_score"]
    assert len(set(np.round(scores, 9))) == 8
    assert search.best_params_["estimator__pca__n_components"] == 4


def test_grid_search_over_a_rate_that_is_found(numbers):
    search = check(GridSearchCV(tuner(), {"lr": ["auto", 1e-4]}, cv=2), *numbers)
    assert search.best_params_ == {"lr": "auto"}
    assert search.best_estimator_.history_[0]["lr"] in RATES


def test_grid_search_over_ways_to_train_trees(numbers):
    pipe = make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=3))
    search = GridSearchCV(
        pg.FineTuner(pipe, epochs=2, random_state=0), {"trees": ["leaves", "soft"]}, cv=2
    )
    search.fit(*numbers)
    first, second = search.cv_results_["mean_test_score"]
    assert first != second


def test_randomized_search(numbers):
    space = {"lr": loguniform(1e-4, 1e-1), "anchor": loguniform(1e-4, 1)}
    check(RandomizedSearchCV(tuner(), space, n_iter=3, cv=2, random_state=0), *numbers)


def test_halving_search_over_rows(numbers):
    space = {"lr": loguniform(1e-4, 1e-1)}
    search = HalvingRandomSearchCV(
        tuner(), space, n_candidates=4, factor=2, min_resources=60, cv=2, random_state=0
    )
    check(search, *numbers)
    assert search.n_candidates_[:2] == [4, 2]


def test_halving_search_over_epochs(numbers):
    search = HalvingRandomSearchCV(
        tuner(), {"lr": loguniform(1e-4, 1e-1)}, resource="epochs", max_resources=8,
        min_resources=2, n_candidates=4, factor=2, cv=2, random_state=0,
    )  # fmt: skip
    search.fit(*numbers)
    assert search.best_estimator_.epochs == search.n_resources_[-1] > 2
    assert len(search.best_estimator_.history_) == search.n_resources_[-1] + 1


def test_cross_validation_returns_tuners(numbers):
    found = cross_validate(tuner(lr="auto"), *numbers, cv=3, return_estimator=True)
    assert [type(one.estimator_).__name__ for one in found["estimator"]] == ["Pipeline"] * 3
    assert all(one.history_[0]["lr"] in RATES for one in found["estimator"])


def test_the_tuner_inside_a_pipeline_inside_a_search(numbers):
    pipe = make_pipeline(StandardScaler(), tuner())
    search = GridSearchCV(pipe, {"finetuner__lr": [1e-3, 1e-2]}, cv=2).fit(*numbers)
    assert search.best_estimator_[-1].lr in (1e-3, 1e-2)


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def optuna():
    found = pytest.importorskip("optuna")
    level = found.logging.get_verbosity()
    found.logging.set_verbosity(found.logging.WARNING)
    yield found
    found.logging.set_verbosity(level)


def test_a_pruned_trial_leaves_the_module_as_it_was(numbers, optuna):
    X, y = numbers
    net = pg.to_torch(make_pipeline(StandardScaler(), Ridge(10.0)).fit(X, y))
    before = copy.deepcopy(net.state_dict())
    report = example("optuna_search").ReportToTrial

    class Impatient(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.last_step == 2

    def objective(trial):
        net.fit(X, y, validation=(X, y), epochs=5, callbacks=[report(trial)])

    study = optuna.create_study(pruner=Impatient())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert sorted(trial.intermediate_values) == [1, 2]
    assert all(torch.equal(now, before[name]) for name, now in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert len(net.history) == 3
    net.fit(X, y, validation=(X, y), epochs=2)  # and may be trained again


def test_the_example_with_optuna(optuna):
    study, nets, before = example("optuna_search").search(trials=6, epochs=6)
    states = [trial.state.name for trial in study.trials]
    assert states.count("PRUNED") >= 1
    assert len(nets) == states.count("COMPLETE")
    assert study.best_value < before
