"""What `FineTuner` keeps of a fit that the user interrupts (Ctrl-C)."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

import pipegrad as pg
from helpers import shorten_candidates
from pipegrad.finetune import recipe, single_run

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 4))
y = X[:, 0] + X[:, 1] + 0.1 * rng.normal(size=300)
ATTRIBUTES = ("estimator_", "improved_", "history_", "report_", "frozen_")
SINGLE = {"epochs": 3, "batch_size": 50}


class Stops(Callback):
    """Interrupts the n-th epoch of all runs."""

    def __init__(self, number):
        self.number, self.count = number, 0

    def on_epoch_end(self, *args, **kwargs):
        self.count += 1
        if self.count == self.number:
            raise KeyboardInterrupt


class Step(TransformerMixin, BaseEstimator):
    """A step whose n-th fit is interrupted."""

    count, stop = 0, 0

    def fit(self, X, y=None):
        Step.count += 1
        if Step.count == Step.stop:
            raise KeyboardInterrupt
        return self

    def transform(self, X):
        return X


def pipeline():
    return make_pipeline(Step(), StandardScaler(), Ridge(300.0))


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_candidates(monkeypatch)
    monkeypatch.setattr(Step, "count", 0)
    monkeypatch.setattr(Step, "stop", 0)


def interrupted(tuner):
    with pytest.raises(KeyboardInterrupt):
        tuner.fit(X, y)
    return tuner


def assert_usable(tuner, left_out):
    assert all(hasattr(tuner, name) for name in ATTRIBUTES)
    assert tuner.report_.left_out[0] == left_out
    assert f"interrupted (Ctrl-C) before {left_out}" in tuner.report_.why
    assert left_out in str(tuner.report_)
    assert left_out in tuner.report_.to_html()
    assert tuner.predict(X).shape == y.shape
    pickle.loads(pickle.dumps(tuner)).partial_fit(X[:30], y[:30])


def test_an_interrupt_of_the_first_fit_of_the_pipeline_leaves_nothing(monkeypatch):
    for settings in ({}, SINGLE):
        monkeypatch.setattr(Step, "stop", Step.count + 1)
        tuner = interrupted(pg.FineTuner(pipeline(), random_state=0, **settings))
        assert not any(hasattr(tuner, name) for name in ATTRIBUTES)
        with pytest.raises(NotFittedError, match="not fitted yet"):
            tuner.predict(X)


def test_an_interrupt_of_another_fit_leaves_the_tuner_as_it_was(monkeypatch):
    tuner = pg.FineTuner(pipeline(), random_state=0).fit(X[:200], y[:200])
    before = dict(vars(tuner))
    monkeypatch.setattr(Step, "stop", Step.count + 1)
    interrupted(tuner)
    assert vars(tuner) == before
    assert all(vars(tuner)[name] is before[name] for name in ATTRIBUTES)


@pytest.mark.parametrize("moment", ["fit on a split", "candidate"])
def test_an_interrupted_comparison_keeps_the_pipeline_as_fitted(moment, monkeypatch):
    tuner = pg.FineTuner(pipeline(), random_state=0).fit(X[:200], y[:200])
    if moment == "candidate":
        tuner.set_params(callbacks=[Stops(3)])
    else:
        monkeypatch.setattr(Step, "stop", Step.count + 2)
    interrupted(tuner)
    assert_usable(tuner, "the comparison of training strategies")
    assert not tuner.improved_
    assert tuner.history_ is None
    assert np.array_equal(tuner.predict(X), pipeline().fit(X, y).predict(X))


def after(monkeypatch, module, name):
    """Interrupt where a function of a module is called."""

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, stop)


def test_an_interrupted_training_on_all_rows_keeps_the_pipeline_as_fitted(monkeypatch):
    after(monkeypatch, recipe, "_reached_reference_loss")
    tuner = interrupted(pg.FineTuner(pipeline(), random_state=0))
    assert_usable(tuner, "the training on all rows")
    assert tuner.report_.left_out == ("the training on all rows", "the report")
    assert not tuner.improved_
    assert np.array_equal(tuner.predict(X), pipeline().fit(X, y).predict(X))


def test_an_interrupted_report_keeps_the_trained_pipeline(monkeypatch):
    whole = pg.FineTuner(pipeline(), random_state=0).fit(X, y)
    assert whole.improved_
    after(monkeypatch, recipe, "_report")
    tuner = interrupted(pg.FineTuner(pipeline(), random_state=0))
    assert_usable(tuner, "the report")
    assert tuner.improved_
    assert np.array_equal(tuner.predict(X), whole.predict(X))
    assert tuner.report_.chosen == whole.report_.chosen
    assert tuner.report_.gain == whole.report_.gain


def test_an_interrupted_sample_of_old_rows_keeps_the_result(monkeypatch):
    whole = pg.FineTuner(pipeline(), random_state=0, forget=False).fit(X, y)
    after(monkeypatch, pg.FineTuner, "_old_rows")
    tuner = interrupted(pg.FineTuner(pipeline(), random_state=0, forget=False))
    assert np.array_equal(tuner.predict(X), whole.predict(X))
    assert "forgetting" in tuner.report_.left_out[-1]


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_single_run_keeps_its_best_epoch(epoch):
    best = pg.FineTuner(pipeline(), random_state=0, epochs=epoch, batch_size=50).fit(X, y)
    tuner = interrupted(
        pg.FineTuner(pipeline(), random_state=0, callbacks=[Stops(epoch)], **SINGLE)
    )
    assert_usable(tuner, "the training")
    assert tuner.improved_
    assert len(tuner.history_) == epoch + 1
    assert np.array_equal(tuner.predict(X), best.predict(X))
    assert "Improved" in str(tuner.report_)


def test_a_single_run_interrupted_before_any_epoch_keeps_the_pipeline(monkeypatch):
    after(monkeypatch, single_run, "_train")
    tuner = interrupted(pg.FineTuner(pipeline(), random_state=0, **SINGLE))
    assert_usable(tuner, "the training")
    assert not tuner.improved_


def test_a_fit_after_an_interrupted_one_is_as_new():
    whole = pg.FineTuner(pipeline(), random_state=0).fit(X, y)
    tuner = interrupted(pg.FineTuner(pipeline(), random_state=0, callbacks=[Stops(2)]))
    tuner.set_params(callbacks=None).fit(X, y)
    assert np.array_equal(tuner.predict(X), whole.predict(X))
    assert tuner.report_.left_out == ()
    assert set(vars(tuner)) == set(vars(whole))


def test_a_failed_partial_fit_leaves_learners_and_their_optimizers_alone(monkeypatch):
    tuner = pg.FineTuner(pipeline(), random_state=0).partial_fit(X[:100], y[:100])
    tuner.partial_fit(X[100:150], y[100:150])
    other, before = copy.deepcopy(tuner), pickle.dumps(tuner)
    for learner in tuner._stream.learners[2:]:
        with monkeypatch.context() as patch:
            after(patch, learner, "take_steps")
            with pytest.raises(KeyboardInterrupt):
                tuner.partial_fit(X[150:200], y[150:200])
    after_all = pickle.dumps(tuner)
    assert after_all == before
    with monkeypatch.context() as patch:
        after(patch, type(tuner._pipeline()), "write_back")
        try:
            tuner.partial_fit(X[150:200], y[150:200])
        except KeyboardInterrupt:
            assert pickle.dumps(tuner) == before
        else:
            assert not tuner._stream.moved
            tuner = pickle.loads(before)
    for one in (tuner, other):
        one.partial_fit(X[150:200], y[150:200])
        one.partial_fit(X[200:250], y[200:250])
    values = [
        [v for one in t._stream.learners for v in one.copied().values()] for t in (tuner, other)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*values, strict=True))
    assert str(tuner.stream_) == str(other.stream_)
