"""Scores that training made too sure, or too unsure, mean what they say again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import pipegrad as pg
from pipegrad.finetune import recalibration, recipe
from pipegrad.finetune.recalibration import (
    AffineFreedom,
    Recalibration,
    apply,
    calibratable_parameters,
    fit_recalibration,
)
from pipegrad.modules import BernoulliHead, MulticlassHead, RegressionHead
from pipegrad.registry import Objective
from pipegrad.training.criterion import Criterion, make_criterion

BOTH = AffineFreedom(scale=True, shift=True)


def terms(name: str, head: Any) -> Any:
    return Criterion(make_criterion(None, Objective(name), head)[0]).rows


LOG_LOSS = terms("log_loss", BernoulliHead("logistic"))


def two_classes(count: int, seed: int) -> tuple[np.ndarray, Tensor]:
    """Scores that mean what they say, and classes."""
    generator = np.random.default_rng(seed)
    score = 1.5 * generator.normal(size=count)
    drawn = generator.random(count) < 1 / (1 + np.exp(-score))
    return score, torch.from_numpy(drawn.astype(np.int64))


def test_scores_that_are_too_sure_get_their_temperature_back():
    score, target = two_classes(3000, 0)
    found = fit_recalibration(score, 3 * score + 1, target, LOG_LOSS, BOTH, seed=0)
    assert found is not None
    assert found.scale == pytest.approx(1 / 3, rel=0.1)
    assert float(found.shift) == pytest.approx(-1 / 3, abs=0.1)
    assert found.gain > 10 * found.error
    assert "scores times 0.3" in str(found)
    back = found(torch.from_numpy(3 * score + 1))
    best = float(LOG_LOSS(torch.from_numpy(score), target).mean())
    assert float(LOG_LOSS(back, target).mean()) < best + 1e-3


def test_the_scale_alone_leaves_labels_alone():
    score, target = two_classes(2000, 0)
    free = AffineFreedom(scale=True, shift=False)
    found = fit_recalibration(score, 0.3 * score, target, LOG_LOSS, free, seed=0)
    assert found is not None
    assert float(found.shift) == 0
    assert found.scale == pytest.approx(1 / 0.3, rel=0.15)


@pytest.mark.slow
def test_calibrated_scores_are_left_alone():
    wrong = 0
    for seed in range(50):
        score, target = two_classes(150, seed)
        noise = np.random.default_rng(seed + 1000).normal(size=150)
        wrong += (
            fit_recalibration(score + 0.3 * noise, score, target, LOG_LOSS, BOTH, seed) is not None
        )
    assert wrong <= 2


def test_what_was_so_before_training_is_left_alone():
    score, target = two_classes(2000, 0)
    assert fit_recalibration(4 * score, 3 * score, target, LOG_LOSS, BOTH, seed=0) is None
    assert fit_recalibration(2 * score, 3 * score, target, LOG_LOSS, BOTH, seed=0) is not None


def test_several_classes_have_a_shift_each():
    generator = np.random.default_rng(0)
    score = generator.normal(size=(4000, 3))
    target = torch.from_numpy((score + generator.gumbel(size=score.shape)).argmax(1))
    shift = np.array([1.0, 0.0, -1.0])
    head = MulticlassHead("softmax")
    after = 2 * score + shift
    found = fit_recalibration(score, after, target, terms("log_loss", head), BOTH, seed=0)
    assert found is not None
    assert found.scale == pytest.approx(0.5, rel=0.1)
    wanted = torch.from_numpy(-shift / 2)
    assert torch.allclose(found.shift - found.shift.mean(), wanted, atol=0.15)


def test_counts_get_their_balance_back():
    generator = np.random.default_rng(0)
    score = generator.normal(size=3000)
    target = torch.from_numpy(generator.poisson(np.exp(score)).astype(float))
    free = AffineFreedom(scale=False, shift=True)
    poisson = terms("poisson", RegressionHead("log"))
    found = fit_recalibration(score, score + 0.4, target, poisson, free, seed=0)
    assert found is not None
    assert found.scale == 1
    total = found(torch.from_numpy(score + 0.4)).exp().sum()
    assert float(total) == pytest.approx(float(target.sum()), rel=1e-3)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
def test_means_get_their_slope_back_in_any_unit(unit):
    generator = np.random.default_rng(0)
    score = 50 + generator.normal(size=3000)
    target = torch.from_numpy(unit * (score + generator.normal(size=3000)))
    after = unit * (2 * score - 40)
    found = fit_recalibration(
        unit * score, after, target, terms("squared_error", RegressionHead()), BOTH, 0
    )
    assert found is not None
    assert found.scale == pytest.approx(0.5, rel=0.05)
    assert float(found(torch.tensor(unit * 60.0)).double()) == pytest.approx(unit * 50, rel=0.01)


def test_rows_of_no_weight_have_no_say():
    score, target = two_classes(4000, 0)
    after = np.where(np.arange(4000) < 2000, 3 * score, score)
    weight = (torch.arange(4000) < 2000).double() * 2
    found = fit_recalibration(score, after, target, LOG_LOSS, BOTH, 0, weight)
    assert found is not None
    assert found.scale == pytest.approx(1 / 3, rel=0.15)


@pytest.mark.parametrize(
    ("loss", "objective", "head", "wanted"),
    [
        (None, "log_loss", BernoulliHead("logistic"), BOTH),
        ("log_loss", "log_loss", MulticlassHead("softmax"), BOTH),
        ("focal", "log_loss", BernoulliHead("logistic"), AffineFreedom(scale=True, shift=False)),
        ("pairwise_auc", "log_loss", BernoulliHead("logistic"), BOTH),
        ("pairwise_logistic", "squared_error", RegressionHead(), BOTH),
        ("hinge", "log_loss", BernoulliHead("logistic"), None),
        (lambda score, y: score, "log_loss", BernoulliHead("logistic"), None),
        (None, "hinge", BernoulliHead(), None),
        (None, "poisson", RegressionHead("log"), AffineFreedom(scale=False, shift=True)),
        (None, "gamma", RegressionHead("log"), AffineFreedom(scale=False, shift=True)),
        (None, "squared_error", RegressionHead(), BOTH),
        (None, "squared_error", RegressionHead("log"), None),
        ("absolute_error", "squared_error", RegressionHead(), None),
        (None, "pinball", RegressionHead(), None),
    ],
)
def test_losses_that_ask_for_true_probabilities_or_means(loss, objective, head, wanted):
    assert calibratable_parameters(loss, Objective(objective), head) == wanted


def test_a_transformer_has_nothing_to_recalibrate():
    assert calibratable_parameters(None, None, None) is None


# -- into the numbers of the operator -----------------------------------------------------------


def table(kind: str) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(200, 3))
    score = X[:, 0] + 0.5 * generator.normal(size=200)
    if kind == "count":
        return X, generator.poisson(np.exp(0.5 * score)).astype(float)
    if kind == "value":
        return X, 10 + score
    return X, np.digitize(score, [0.0] if kind == "two" else [-0.5, 0.5])


def score_of(estimator: Any, X: Any) -> np.ndarray:
    if hasattr(estimator, "decision_function"):
        return estimator.decision_function(X)
    out = estimator.predict(X)
    return np.log(out) if type(estimator).__name__ == "PoissonRegressor" else out


@pytest.mark.parametrize(
    ("kind", "estimator"),
    [
        ("two", LogisticRegression()),
        ("three", LogisticRegression()),
        ("value", Ridge()),
        ("count", PoissonRegressor()),
        ("two", HistGradientBoostingClassifier(max_iter=5)),
        ("three", HistGradientBoostingClassifier(max_iter=5)),
        ("value", HistGradientBoostingRegressor(max_iter=5)),
        ("value", GradientBoostingRegressor(n_estimators=4)),
        ("three", GradientBoostingClassifier(n_estimators=4)),
        ("value", RandomForestRegressor(n_estimators=4)),
    ],
)
def test_what_is_written_back_gives_the_scaled_and_shifted_score(kind, estimator):
    X, y = table(kind)
    fitted = estimator.fit(X, y)
    before = score_of(fitted, X)
    shift = np.array([0.1, 0.0, -0.3]) if kind == "three" else np.array(-0.25)
    net = pg.to_torch(fitted)
    assert apply(net, Recalibration(0.6, torch.from_numpy(shift)))
    after = pg.from_torch(net)
    assert type(after) is type(fitted)
    assert np.allclose(score_of(after, X), 0.6 * before + shift, rtol=1e-6, atol=1e-9)
    assert np.array_equal(score_of(fitted, X), before)


@pytest.mark.parametrize("kind", ["value", "three"])
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_boosters_of_other_libraries(library, kind):
    package, (X, y) = pytest.importorskip(library), table(kind)
    name = {"lightgbm": "LGBM", "xgboost": "XGB"}[library]
    name += "Regressor" if kind == "value" else "Classifier"
    quiet = {"verbose": -1} if library == "lightgbm" else {}
    fitted = getattr(package, name)(n_estimators=4, n_jobs=1, **quiet).fit(X, y)
    net = pg.to_torch(fitted)
    before = net(X).detach()
    shift = torch.tensor([0.1, 0.0, -0.3] if kind == "three" else -0.25)
    assert apply(net, Recalibration(0.6, shift))
    wanted = 0.6 * before + shift
    assert torch.allclose(net(X), wanted, rtol=1e-5)
    assert torch.allclose(pg.to_torch(pg.from_torch(net))(X), wanted, rtol=1e-5, atol=1e-5)


def test_numbers_that_cannot_hold_it_stay():
    X, y = table("two")
    flat = pg.to_torch(LogisticRegression(fit_intercept=False).fit(X, y))
    before = flat.decision_function(X)
    assert not apply(flat, Recalibration(1.0, torch.tensor(0.5)))
    assert np.array_equal(flat.decision_function(X), before)
    assert apply(flat, Recalibration(2.0, torch.tensor(0.0)))
    assert np.allclose(flat.decision_function(X), 2 * before)
    trees = pg.to_torch(RandomForestClassifier(n_estimators=3).fit(X, y))
    assert not apply(trees, Recalibration(0.5, torch.tensor(0.0)))


def rows(count: int, seed: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(count, 5)) * [1, 2, 3, 4, 5]
    score = 2 * X[:, 0] + X[:, 1] - 0.3 * X[:, 2]
    return X, (score > generator.logistic(size=count)).astype(int)


@pytest.mark.slow
def test_fine_tuning_on_a_loss_that_is_unsure_ends_in_true_probabilities(monkeypatch):
    X, y = rows(1200, 0)
    fresh = rows(20_000, 1)
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    tuner = pg.FineTuner(pipe, loss="focal", random_state=0).fit(X, y)
    assert tuner.improved_
    assert "Recalibrated: scores times" in str(tuner.report_)
    monkeypatch.setattr(recipe, "recalibrate", lambda *given: "")
    unsure = pg.FineTuner(pipe, loss="focal", random_state=0).fit(X, y)
    assert "Recalibrated" not in str(unsure.report_)
    assert np.array_equal(tuner.predict(fresh[0]), unsure.predict(fresh[0]))
    losses = [log_loss(fresh[1], one.predict_proba(fresh[0])) for one in (tuner, unsure)]
    assert losses[0] < losses[1] - 0.02


def test_a_last_step_that_was_frozen_stays():
    X, y = rows(100, 0)
    pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    assert recalibration._supported_parameters(pg.to_torch(pipe), BOTH) == BOTH
    assert (
        recalibration._supported_parameters(pg.to_torch(pipe, freeze=["logisticregression"]), BOTH)
        is None
    )
