"""Time limits of training: what is stopped, and what is kept."""

import time
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

import pipegrad as pg
from clocks import clock
from pipegrad.training.deadline import Deadline, Pace, TimeLimitReached, projected_seconds

__all__ = ["clock"]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    return X, X[:, 0] + np.sin(2 * X[:, 1]) + 0.1 * rng.normal(size=600)


def slow_loss(clock, seconds):
    """Half squared errors that take so many seconds for 600 rows."""

    def loss(score, y):
        clock.advance(seconds * len(score) / 600)
        return (score - y).square() / 2

    return loss


def trained(pipe, X, y, **options):
    """The module after training on 400 rows that it was fitted on, with 200 others held out."""
    net = pg.to_torch(pipe.fit(X[:400], y[:400]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(X[:400], y[:400], validation=(X[400:], y[400:]), **options)
    return net, [str(warning.message) for warning in caught]


def centers():
    return make_pipeline(StandardScaler(), KMeans(5, n_init=1, random_state=0), Ridge())


# The clock


def test_a_deadline_without_seconds_has_no_end(clock):
    deadline = Deadline.after(None)
    clock.advance(1e9)
    deadline.check(1e9)
    assert deadline.left == np.inf
    assert deadline.sooner(1.0) is deadline


def test_a_deadline_comes_closer(clock):
    deadline = Deadline.after(10)
    clock.advance(4)
    assert deadline.left == 6
    assert deadline.sooner(2).left == 2
    assert deadline.sooner(60).left == 6
    deadline.check(5)
    with pytest.raises(TimeLimitReached):
        deadline.check(6)


def test_repeated_work_stops_before_the_repetition_that_would_be_late(clock):
    pace = Pace(Deadline.after(10))

    def work():
        with pace:
            clock.advance(3)

    for _ in range(3):
        work()
    with pytest.raises(TimeLimitReached):
        work()


def test_the_time_for_many_rows_is_that_for_few_of_them(clock):
    def run(count):
        clock.advance(0.5 + 0.001 * count)  # a constant cost, too

    # A part of 256 rows says 295 seconds, one of 2,048 rows says 124, one of 16,384 says 103.
    assert projected_seconds(run, 100_000, Deadline.after(1000)) == pytest.approx(295.3, abs=0.1)
    assert projected_seconds(run, 100_000, Deadline.after(150)) < 130
    assert projected_seconds(run, 100_000, Deadline()) == 0


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "10", True])
def test_a_limit_is_a_positive_number(rows, value):
    net = pg.to_torch(Ridge().fit(*rows))
    with pytest.raises(pg.ArgumentError, match="max_seconds must be a positive number or None"):
        net.fit(*rows, max_seconds=value)
    with pytest.raises(pg.ArgumentError, match="max_seconds must be a positive number or None"):
        pg.FineTuner(Ridge(), max_seconds=value).fit(*rows)


# net.fit


@pytest.mark.slow
@pytest.mark.parametrize("optim", [torch.optim.Adam, torch.optim.LBFGS, torch.optim.SGD])
@pytest.mark.parametrize("seconds", [5, 20, 60])
def test_training_ends_in_time(rows, clock, optim, seconds):
    X, y = rows
    began = clock.now
    net, told = trained(
        centers(), X, y, optim=optim, loss=slow_loss(clock, 1.0), max_seconds=seconds
    )
    assert clock.now - began <= seconds
    assert net.history[-1]["time_limit"]
    assert any(f"max_seconds={seconds}" in message for message in told)


@pytest.mark.parametrize("optim", [torch.optim.Adam, torch.optim.LBFGS])
def test_what_was_learned_by_then_is_kept(rows, clock, optim):
    X, y = rows
    # Ten seconds suffice for neither all steps of an epoch nor for one step of L-BFGS.
    net, _ = trained(centers(), X, y, optim=optim, loss=slow_loss(clock, 1.0), max_seconds=12)
    losses = net.history[:, "valid_loss"]
    assert len(losses) > 1
    assert min(losses) < losses[0]
    kept = np.mean((net.predict(X[400:]) - y[400:]) ** 2) / 2
    assert kept == pytest.approx(min(losses))


def test_an_interrupted_line_search_keeps_the_lowest_loss(rows, clock):
    X, y = rows
    found = []
    for seconds in range(4, 14):
        net, _ = trained(
            centers(),
            X,
            y,
            optim=torch.optim.LBFGS,
            loss=slow_loss(clock, 1.0),
            max_seconds=seconds,
            epochs=1,
        )
        if len(net.history) > 1:
            found.append(net.history[-1, "valid_loss"])
    assert len(set(found)) > 3
    # Later stops have lower losses, up to small differences between training and validation rows.
    assert all(later <= earlier * 1.05 for earlier, later in pairwise(found))


def test_no_time_at_all_changes_nothing(rows, clock):
    X, y = rows
    pipe = centers().fit(X[:400], y[:400])
    began = clock.now
    net, told = trained(pipe, X, y, loss=slow_loss(clock, 600.0), max_seconds=5)
    assert any("left no time to train" in message for message in told)
    assert len(net.history) == 0
    np.testing.assert_array_equal(pg.from_torch(net).predict(X), pipe.predict(X))
    # The loss of a few rows is computed in any case.
    assert clock.now - began < 20


def test_rows_that_take_too_long_to_encode_are_not_encoded(rows, clock):
    X, y = rows
    seen = []

    def slowly(block):
        seen.append(len(block))
        clock.advance(0.1 * len(block))
        return block

    pipe = make_pipeline(FunctionTransformer(slowly), Ridge()).fit(X[:400], y[:400])
    net = pg.to_torch(pipe)
    seen.clear()
    with pytest.warns(pg.PipegradWarning, match="left no time to train"):
        net.fit(X[:400], y[:400], validation=(X[400:], y[400:]), max_seconds=50)
    assert seen == [256]
    began = clock.now
    net.fit(X[:400], y[:400], validation=(X[400:], y[400:]), max_seconds=100)
    assert clock.now - began <= 100
    assert len(net.history) > 1


class SlowTree(DecisionTreeRegressor):
    clock = None

    def fit(self, X, y, sample_weight=None):
        self.clock.advance(10)
        return super().fit(X, y, sample_weight)


def test_cross_fitting_stops_between_members(rows, clock, monkeypatch):
    X, y = rows
    monkeypatch.setattr(SlowTree, "clock", clock)
    members = [(f"tree{i}", SlowTree(max_depth=2)) for i in range(4)]
    stack = StackingRegressor(members, LinearRegression(), cv=2).fit(X, y)
    net, began = pg.to_torch(stack), clock.now
    with pytest.warns(pg.PipegradWarning, match="left no time to train"):
        net.fit(X, y, validation=(X, y), max_seconds=50)
    assert clock.now - began == 40


@pytest.mark.slow
def test_a_search_for_the_rate_leaves_time_to_train(rows, clock):
    X, y = rows
    began = clock.now
    net, _ = trained(
        make_pipeline(StandardScaler(), PCA(2), Ridge()),
        X,
        y,
        lr="auto",
        loss=slow_loss(clock, 1.0),
        max_seconds=60,
    )
    assert clock.now - began <= 66
    assert len(net.history) > 1


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [20, 100])
def test_soft_splits_leave_time_for_the_leaves(rows, clock, seconds):
    X, y = rows
    tree = DecisionTreeRegressor(max_depth=3, random_state=0).fit(X[:400], y[:400])
    net, began = pg.to_torch(tree, trees="soft"), clock.now
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(
            X[:400],
            y[:400],
            validation=(X[400:], y[400:]),
            loss=slow_loss(clock, 1.0),
            max_seconds=seconds,
        )
    assert clock.now - began <= seconds


@pytest.mark.slow
def test_without_a_limit_or_far_from_it_nothing_changes(rows):
    X, y = rows
    results = [
        trained(centers(), X, y, optim=optim, epochs=3, **options)[0].predict(X)
        for optim in (torch.optim.Adam, torch.optim.LBFGS)
        for options in ({}, {"max_seconds": 1000})
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[2], results[3])


@pytest.mark.slow
def test_real_time(rows):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 40))
    y = np.sin(X[:, 0])
    pipe = make_pipeline(StandardScaler(), KMeans(50, n_init=1, random_state=0), Ridge())
    trained(centers(), X[:600, :5], y[:600], epochs=1)  # loads libraries
    net = pg.to_torch(pipe.fit(X[:1000], y[:1000]))
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(
            X,
            y,
            validation=(X, y),
            optim=torch.optim.LBFGS,
            epochs=1000,
            patience=None,
            max_seconds=2,
        )
    # The bound is generous, as other work may run at the same time.
    assert time.perf_counter() - began < 6
    assert net.history[-1]["time_limit"]
