"""Continued boosting, and the bound on what learners forget."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

import pipegrad as pg
from pipegrad.finetune.incremental import sample_of_old_rows
from pipegrad.finetune.pipeline import TunablePipeline
from pipegrad.online.batches import Arrival, BatchPreparer, ClassCounts
from pipegrad.online.forgetting import BOUND, OldRows, without_growth
from pipegrad.online.growth import GrowingLearner, boosting_rounds, grow
from pipegrad.training.samples import Samples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = X[:, 0] * X[:, 1] + X[:, 2] + 0.1 * RNG.normal(size=300)
NEW_X = 1.5 * RNG.normal(size=(300, 4))
NEW_Y = NEW_X[:, 0] * NEW_X[:, 1] - NEW_X[:, 2]
WEIGHT = RNG.uniform(0.5, 2.0, size=300)

QUIET = {"n_estimators": 8, "num_leaves": 7, "verbose": -1, "n_jobs": 1}
SILENT = {"iterations": 8, "depth": 3, "verbose": 0, "allow_writing_files": False}
EXTREME = {"n_estimators": 8, "max_depth": 3, "n_jobs": 1}


def numbers(y):
    return y


def two(y):
    return np.where(y > 0, "yes", "no")


def zero_one(y):
    return (y > 0).astype(int)


def three(y):
    return np.digitize(y, [-0.7, 0.7])


BOOSTED = {
    "lightgbm": (LGBMRegressor(**QUIET), numbers),
    "lightgbm classes": (LGBMClassifier(**QUIET, class_weight="balanced"), three),
    "lightgbm linear": (LGBMRegressor(**QUIET, linear_tree=True), numbers),
    "xgboost": (XGBRegressor(**EXTREME), numbers),
    "xgboost labels": (XGBClassifier(**EXTREME), zero_one),
    "xgboost classes": (XGBClassifier(**EXTREME), three),
    "xgboost vectors": (
        XGBRegressor(**EXTREME, multi_strategy="multi_output_tree"),
        lambda y: np.c_[y, -y],
    ),
    "catboost": (CatBoostRegressor(**SILENT), numbers),
    "catboost labels": (CatBoostClassifier(**SILENT), two),
    "catboost classes": (CatBoostClassifier(**SILENT, grow_policy="Depthwise"), three),
    "gradient boosting": (GradientBoostingRegressor(n_estimators=8, random_state=0), numbers),
    "gradient boosting, stopped": (
        GradientBoostingRegressor(n_estimators=8, n_iter_no_change=3, random_state=0),
        numbers,
    ),
    "gradient boosting classes": (
        GradientBoostingClassifier(n_estimators=8, subsample=0.5, random_state=0),
        three,
    ),
    "histograms": (HistGradientBoostingRegressor(max_iter=8, max_leaf_nodes=7), numbers),
    "histograms labels": (
        HistGradientBoostingClassifier(max_iter=8, max_leaf_nodes=7, early_stopping=True),
        two,
    ),
    "histograms classes": (HistGradientBoostingClassifier(max_iter=8, max_leaf_nodes=7), three),
}


def answers(model, rows):
    return model.predict_proba(rows) if is_classifier(model) else model.predict(rows)


def longer(model, y, rounds=4, weight=None):
    new = copy.deepcopy(model)
    if isinstance(model, CatBoostClassifier | CatBoostRegressor):
        vars(new).update({k: v for k, v in vars(model).items() if k != "_object"})
    assert grow(new, Samples(NEW_X, y, weight), rounds)
    return new


@pytest.mark.parametrize("kind", BOOSTED)
def test_growth_is_the_library_s_own_and_translates(kind):
    model, targets = BOOSTED[kind]
    model = copy.deepcopy(model).fit(X, targets(Y))
    before, settings = answers(model, X), str(model.get_params())
    rounds = boosting_rounds(model)
    new = longer(model, targets(NEW_Y), weight=WEIGHT)
    assert boosting_rounds(new) == rounds + 4
    assert str(new.get_params()) == settings
    np.testing.assert_array_equal(answers(model, X), before)
    assert model.score(NEW_X, targets(NEW_Y)) < new.score(NEW_X, targets(NEW_Y))
    net = pg.to_torch(new)
    ours = net.predict_proba(X) if is_classifier(new) else net.predict(X)
    np.testing.assert_allclose(ours, answers(new, X), rtol=1e-5, atol=2e-6)
    # The trees that were there are the first ones, unchanged.
    old, parameters = pg.to_torch(model), net.trainable_parameters()
    shorter = without_growth(old.trainable_parameters(), parameters)
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(shorter[name])
    assert torch.allclose(net.raw_score(X), old.raw_score(X), rtol=1e-5, atol=1e-6)


def test_growth_equals_what_users_do_themselves():
    labels, new = zero_one(Y), zero_one(NEW_Y)
    own = LGBMClassifier(**QUIET).fit(X, labels)
    theirs = LGBMClassifier(**QUIET).fit(NEW_X, new, init_model=own, sample_weight=WEIGHT)
    ours = longer(own, new, 8, WEIGHT)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    own = XGBClassifier(**EXTREME).fit(X, labels)
    theirs = XGBClassifier(**EXTREME).fit(NEW_X, new, xgb_model=own, sample_weight=WEIGHT)
    ours = longer(own, new, 8, WEIGHT)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    fixed = {**SILENT, "learning_rate": 0.2}
    own = CatBoostClassifier(**fixed).fit(X, labels)
    theirs = CatBoostClassifier(**fixed).fit(NEW_X, new, init_model=own, sample_weight=WEIGHT)
    ours = longer(own, new, 8, WEIGHT)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-12)
    own = GradientBoostingClassifier(n_estimators=8, warm_start=True, random_state=0)
    own.fit(X, labels)
    ours = longer(own, new, 8, WEIGHT)
    theirs = own.set_params(n_estimators=16).fit(NEW_X, new, sample_weight=WEIGHT)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))


def test_new_histograms_do_not_move_old_trees():
    """On the same rows a further fit is exact; on others scikit-learn misplaces rows in bins."""
    start = HistGradientBoostingRegressor(max_iter=8, random_state=0, early_stopping=False)
    whole = copy.deepcopy(start).set_params(max_iter=12).fit(X, Y)
    half = start.fit(X, Y)
    assert grow(half, Samples(X, Y), 4)
    np.testing.assert_allclose(half.predict(X), whole.predict(X), rtol=1e-10)
    # New trees fit the residuals of what the model predicts, not of what stale bins say.
    fitted = HistGradientBoostingRegressor(max_iter=50, random_state=0).fit(X, Y)
    far = X * 3 + 2
    same = fitted.predict(far)
    assert grow(fitted, Samples(far, same), 5)
    np.testing.assert_allclose(fitted.predict(far), same, atol=1e-6)


def test_rates_of_catboost_stay():
    model = CatBoostRegressor(**SILENT).fit(X, Y)
    new = longer(model, NEW_Y, 2)
    assert new.learning_rate_ == pytest.approx(model.learning_rate_)


NOT_GROWN = {
    "dropout": (LGBMClassifier(**QUIET, boosting_type="dart"), X, zero_one(Y)),
    "forest of LightGBM": (
        LGBMClassifier(**QUIET, boosting="rf", subsample=0.7, subsample_freq=1),
        X,
        zero_one(Y),
    ),
    "dropout of XGBoost": (XGBClassifier(**EXTREME, booster="dart"), X, zero_one(Y)),
    "linear": (XGBClassifier(n_estimators=3, booster="gblinear"), X, zero_one(Y)),
    "forest of XGBoost": (XGBRFClassifier(**EXTREME), X, zero_one(Y)),
    "forest": (RandomForestClassifier(3), X, zero_one(Y)),
    "no trees": (LogisticRegression(), X, zero_one(Y)),
}


@pytest.mark.parametrize("kind", NOT_GROWN)
def test_what_does_not_grow(kind):
    model, rows, y = NOT_GROWN[kind]
    assert boosting_rounds(copy.deepcopy(model).fit(rows, y)) is None


def test_trees_of_categories_do_not_grow():
    """A further fit would number the categories of the new rows anew."""
    table = pd.DataFrame(X, columns=list("abcd")).assign(
        e=pd.Categorical(np.where(X[:, 0] > 0, "up", "down"))
    )
    codes = np.c_[X, (X[:, 0] > 0).astype(float)]
    assert boosting_rounds(LGBMRegressor(**QUIET).fit(table, Y)) is None
    assert boosting_rounds(XGBRegressor(**EXTREME, enable_categorical=True).fit(table, Y)) is None
    assert boosting_rounds(CatBoostRegressor(**SILENT, cat_features=["e"]).fit(table, Y)) is None
    histograms = HistGradientBoostingRegressor(max_iter=3, categorical_features=[4])
    assert boosting_rounds(histograms.fit(codes, Y)) is None
    ranker = LGBMRanker(**QUIET).fit(X, three(Y), group=[30] * 10)
    assert boosting_rounds(ranker) is None


def test_growth_goes_through_the_steps_before_the_trees():
    trees = GradientBoostingRegressor(n_estimators=8, random_state=0)
    target = TransformedTargetRegressor(trees, func=np.log1p, inverse_func=np.expm1)
    search = GridSearchCV(make_pipeline(StandardScaler(), target), {}, cv=2)
    pipe = make_pipeline(StandardScaler(), search).fit(X, np.exp(Y))
    assert boosting_rounds(pipe) == 8
    scaler = pickle.dumps(pipe[0])
    assert grow(pipe, Samples(NEW_X, np.exp(NEW_Y)), 4)
    assert boosting_rounds(pipe) == 12
    assert pickle.dumps(pipe[0]) == scaler
    inner = search.best_estimator_
    rows = inner[0].transform(pipe[0].transform(NEW_X))
    by_hand = GradientBoostingRegressor(n_estimators=8, random_state=0)
    by_hand.fit(inner[0].transform(pipe[0].transform(X)), np.log1p(np.exp(Y)))
    assert grow(by_hand, Samples(rows, np.log1p(np.exp(NEW_Y))), 4)
    np.testing.assert_allclose(pipe.predict(NEW_X), np.expm1(by_hand.predict(rows)))


def test_rows_without_one_of_the_classes_grow_nothing():
    model = LGBMClassifier(**QUIET).fit(X, three(Y))
    before = model.predict_proba(X)
    assert not grow(model, Samples(NEW_X, np.minimum(three(NEW_Y), 1)), 4)
    np.testing.assert_array_equal(model.predict_proba(X), before)


# In a stream


def concept(rows, drifted, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 6))
    score = np.maximum(X[:, 0], 0) + np.sin(3 * X[:, 1]) - 0.5 + 0.8 * drifted * X[:, 2]
    return X, (score + 0.3 * rng.normal(size=rows) > 0).astype(int)


OLD, NEW, LATER, HELD = (
    concept(rows, drifted, seed)
    for seed, (rows, drifted) in enumerate([(700, 0), (400, 1), (1000, 1), (1000, 0)])
)
TREES = {"n_estimators": 20, "num_leaves": 15, "verbose": -1, "n_jobs": 1}


def tuned(forget=None, model=None, **settings):
    model = LGBMClassifier(**TREES) if model is None else model
    tuner = pg.FineTuner(model, forget=forget, random_state=0, **settings)
    return tuner.partial_fit(*OLD)


def loss(model, rows):
    return log_loss(rows[1], model.predict_proba(rows[0]))


def growing(tuner):
    return [one for one in tuner._stream.learners if isinstance(one, GrowingLearner)]


def test_one_call_of_drifted_rows_is_enough_to_follow():
    tuner = tuned(forget=True)
    first = tuner.estimator_
    control = LGBMClassifier(**TREES).fit(*NEW, init_model=first)
    tuner.partial_fit(*NEW)
    assert tuner.stream_[-1]["kept"].startswith("growth")
    assert tuner.stream_[-1]["rows"] == 400
    assert boosting_rounds(tuner.estimator_) > 20
    assert type(tuner.estimator_) is LGBMClassifier
    assert loss(tuner, LATER) < 0.6 * loss(first, LATER)
    assert loss(tuner, LATER) < 1.03 * loss(control, LATER)
    assert first.booster_.num_trees() == 20


@pytest.mark.slow
def test_old_rows_are_not_forgotten_unless_the_user_says_so():
    free, bound = tuned(forget=True), tuned()
    first = loss(bound.estimator_, HELD)
    for start in range(0, 400, 100):
        part = slice(start, start + 100)
        free.partial_fit(NEW[0][part], NEW[1][part])
        bound.partial_fit(NEW[0][part], NEW[1][part])
    assert loss(free, HELD) > 1.2 * first
    assert loss(bound, HELD) <= (1 + BOUND) * first
    old = bound._stream.old
    for one in bound._stream.learners:
        assert old.increase(one.net, one.values) <= BOUND + 1e-6


@pytest.mark.slow
def test_other_pipelines_are_bounded_on_request():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    y = (X[:, 0] + 0.5 * rng.normal(size=2000) > 0).astype(int)
    held = X[1500:], y[1500:]
    tuners = {
        forget: pg.FineTuner(LogisticRegression(), forget=forget, random_state=0)
        for forget in (None, False)
    }
    for tuner in tuners.values():
        tuner.partial_fit(X[:500], y[:500])
        for start in range(500, 1500, 20):
            part = slice(start, start + 20)
            tuner.partial_fit(X[part], 1 - y[part])
    first = loss(tuners[None]._stream.origin, held)
    assert tuners[None]._stream.old is None
    assert loss(tuners[None], held) > 1.03 * first
    assert loss(tuners[False], held) <= (1 + BOUND) * first


def test_when_a_stream_does_not_grow():
    assert len(growing(tuned())) == 3
    for settings in ({"loss": "log_loss"}, {"lr": 0.01}, {"recipe": None}):
        assert not growing(tuned(**settings))
    pipe = make_pipeline(StandardScaler(), LGBMClassifier(**TREES))
    frozen = tuned(model=pipe, trees="soft", freeze=["lgbmclassifier"])
    assert not growing(frozen)
    with pytest.raises(pg.ArgumentError, match="forget must be"):
        pg.FineTuner(LogisticRegression(), forget="yes").partial_fit(*OLD)


def test_small_calls_and_missing_classes_train_leaves_alone():
    tuner = tuned(forget=True)
    trees = [boosting_rounds(one.net.source) for one in growing(tuner)]
    tuner.partial_fit(NEW[0][:20], NEW[1][:20])
    alone = NEW[1] == 1
    tuner.partial_fit(NEW[0][alone], NEW[1][alone])
    assert [boosting_rounds(one.net.source) for one in growing(tuner)] == trees


@pytest.mark.slow
def test_a_long_stream_does_not_grow_without_limit():
    tuner = tuned(forget=True, model=LGBMClassifier(**{**TREES, "n_estimators": 2}))
    for _ in range(14):
        tuner.partial_fit(NEW[0][:100], NEW[1][:100])
    rounds = [boosting_rounds(one.net.source) for one in tuner._stream.learners]
    assert max(rounds) == 40


@pytest.mark.slow
def test_growth_after_fit():
    tuner = pg.FineTuner(LGBMClassifier(**TREES), forget=True, random_state=0).fit(*OLD)
    tuner.partial_fit(*NEW)
    assert growing(tuner)
    assert loss(tuner, LATER) < 0.7 * loss(tuner._stream.origin, LATER)


@pytest.mark.parametrize("copied", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy])
def test_copies_grow_as_the_original_does(copied):
    tuner = tuned().partial_fit(NEW[0][:200], NEW[1][:200])
    other = copied(tuner)
    for one in (tuner, other):
        one.partial_fit(NEW[0][200:], NEW[1][200:])
    assert tuner.stream_ == other.stream_
    np.testing.assert_array_equal(tuner.predict_proba(HELD[0]), other.predict_proba(HELD[0]))


def test_an_error_undoes_growth(monkeypatch):
    tuner = tuned(forget=True)
    before = [(one.net, one.copied()) for one in tuner._stream.learners]

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(growing(tuner)[-1], "grow", stop)
    with pytest.raises(KeyboardInterrupt):
        tuner.partial_fit(*NEW)
    assert tuner.stream_ == []
    for one, (net, values) in zip(tuner._stream.learners, before, strict=True):
        assert one.net is net
        assert all(torch.equal(one.values[name], values[name]) for name in values)


def test_a_library_that_refuses_ends_growth_and_not_the_stream(monkeypatch):
    tuner = tuned(forget=True)

    def refuse(*arguments, **options):
        raise ValueError("no more")

    monkeypatch.setattr(LGBMClassifier, "fit", refuse)
    with pytest.warns(pg.PipegradWarning, match="adds no more trees: ValueError: no more"):
        tuner.partial_fit(*NEW)
    assert len(tuner.stream_) == 1


# What forgetting is measured on


def test_old_rows_are_scored_by_fits_without_them():
    pipe = TunablePipeline(GradientBoostingClassifier(n_estimators=30, max_depth=6))
    fitted = pipe.fit(Samples(*OLD))
    sample = sample_of_old_rows(pipe, Samples(*OLD), 0)
    assert len(sample.samples.y) == 700
    assert len(sample_of_old_rows(pipe, Samples(*OLD), 0, 1).samples.y) == 140
    net = pg.to_torch(fitted)
    old = OldRows(BatchPreparer(net, None, ClassCounts()), sample.samples, sample.score)
    assert old.increase(net, net.trainable_parameters()) == 0
    # The fitted rows are predicted far better than others; the sample tells about others.
    assert loss(fitted, OLD) < 0.3 * loss(fitted, HELD)
    assert float(old.before.mean()) == pytest.approx(loss(fitted, HELD), rel=0.25)


def test_rows_are_encoded_once_for_each_network():
    net = pg.to_torch(LGBMClassifier(**TREES).fit(*OLD))
    arrival = Arrival(BatchPreparer(net, None, ClassCounts()), Samples(*NEW))
    assert arrival.rows(net) is arrival.rows(net)
    arrival.keep([])
    assert len(arrival.part(10, 30)) == 20
    assert len(arrival.rows(net)[1]) == 400
