"""FineTuner with a time limit: what is left out, what is reserved, and what comes back."""

import time
import warnings

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

import pipegrad as pg
from clocks import clock
from pipegrad.finetune import portfolio
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.training.deadline import Deadline
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples

__all__ = ["clock"]

# The candidates for fewer than 2,000 rows with a linear last operator.
CANDIDATES = 6


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 4))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=1000)


@pytest.fixture
def slow(clock, monkeypatch):
    """Makes losses, encoding and fits take time: seconds for 1,000 rows of each."""
    monkeypatch.setattr(portfolio, "_MAX_ITERATIONS", 12)
    monkeypatch.setattr(portfolio, "_MIN_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MAX_EPOCHS", 4)

    def tuner(seconds, loss=0.0, encode=0.0, fit=0.0, **options):
        def criterion(score, y):
            clock.advance(loss * len(score) / 1000)
            return (score - y).square() / 2

        class SlowFit(FunctionTransformer):
            def fit(self, X, y=None):
                clock.advance(fit * len(X) / 1000)
                return super().fit(X, y)

        def slowly(X):
            clock.advance(encode * len(X) / 1000)
            return X

        centers = KMeans(5, n_init=1, random_state=0)
        pipe = make_pipeline(SlowFit(slowly), StandardScaler(), centers, Ridge())
        return pg.FineTuner(pipe, loss=criterion, max_seconds=seconds, random_state=0, **options)

    return tuner


def fitted(tuner, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuner.fit(X, y)


@pytest.mark.parametrize("seconds", [10, 30, 100, 300])
@pytest.mark.parametrize(
    "costs",
    [
        {"loss": 1.0},
        {"loss": 0.1, "encode": 2.0},
        {"loss": 0.1, "fit": 2.0},
        {"loss": 0.05, "encode": 1.0, "fit": 1.0},
    ],
    ids=["loss", "encoding", "fitting", "all"],
)
def test_the_fit_ends_in_time(rows, slow, clock, seconds, costs):
    began = clock.now
    tuner = fitted(slow(seconds, **costs), *rows)
    assert clock.now - began <= 1.1 * seconds
    assert tuner.report_.max_seconds == seconds
    assert tuner.report_.left_out or seconds > 10
    assert np.isfinite(tuner.predict(rows[0])).all()


@pytest.mark.slow
def test_more_time_leaves_out_less(rows, slow):
    splits, trained, improved = [], [], []
    for seconds in (5, 20, 60, 400):
        report = fitted(slow(seconds, loss=0.5), *rows).report_
        splits.append(report.splits)
        trained.append(sum(tried.rows > 0 for tried in report.tried))
        improved.append(report.chosen is not None)
        assert f"{seconds} seconds, which left out" in str(report)
        assert not report.curves or f"{seconds} seconds, which left out" in report.to_html()
    assert splits == sorted(splits)
    assert trained == sorted(trained)
    assert improved[-1]
    assert trained[-1] == CANDIDATES


@pytest.mark.slow
def test_enough_time_changes_nothing(rows, slow):
    X, y = rows
    free, limited = (fitted(slow(seconds, loss=0.01), X, y) for seconds in (None, 1e6))
    np.testing.assert_array_equal(free.predict(X), limited.predict(X))
    assert free.report_.left_out == limited.report_.left_out == ()
    assert free.report_.max_seconds is None
    assert "Time limit: 1e+06 seconds, which left out nothing." in str(limited.report_)
    assert "Time limit" not in str(free.report_)


def test_a_fit_that_takes_all_the_time_is_the_result(rows, slow, clock):
    X, y = rows
    tuner = slow(10, fit=30.0)
    with pytest.warns(pg.PipegradWarning, match="left no time to compare"):
        tuner.fit(X, y)
    began = clock.now
    plain = tuner.estimator.fit(X, y)
    assert clock.now - began == 30
    np.testing.assert_array_equal(tuner.predict(X), plain.predict(X))
    assert not tuner.improved_
    assert tuner.history_ is None
    assert tuner.report_.left_out == ("all training",)
    assert "which left out all training" in str(tuner.report_)


def test_the_own_fit_on_a_split_has_to_fit_in(rows, slow, clock):
    began = clock.now
    fitted(slow(10, fit=6.0), *rows)
    # A second fit would take about as long as the first one.
    assert clock.now - began == 6


@pytest.mark.slow
def test_time_for_training_on_all_rows_is_kept(rows, slow, clock):
    X, y = rows
    for seconds in (40, 60, 80, 120):
        tuner = fitted(slow(seconds, loss=0.4), X, y)
        assert "the training on all rows" not in tuner.report_.left_out
    assert tuner.improved_
    assert tuner.report_.gain > 0


@pytest.mark.slow
def test_a_split_is_not_started_without_time_for_all_of_it(rows, slow):
    X, y = rows
    # Splits of one's own are all used.
    whole = fitted(slow(None, loss=0.1, cv=5), X, y).report_
    some = fitted(slow(30, loss=0.1, cv=5), X, y).report_
    assert whole.splits == 5 > some.splits >= 1
    assert any(left.startswith("splits after") for left in some.left_out)


class SlowTree(DecisionTreeRegressor):
    clock = None

    def fit(self, X, y, sample_weight=None):
        self.clock.advance(10)
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("seconds", [50, 100, 200, 400])
def test_cross_fitting_ends_in_time(rows, clock, monkeypatch, seconds):
    monkeypatch.setattr(SlowTree, "clock", clock)
    members = [("first", SlowTree(max_depth=2)), ("second", SlowTree(max_depth=3))]
    stack = StackingRegressor(members, Ridge(), cv=2)
    began = clock.now
    tuner = fitted(pg.FineTuner(stack, random_state=0, max_seconds=seconds), *rows)
    # The stack itself takes 60 seconds.
    assert clock.now - began <= max(60, 1.1 * seconds)
    assert tuner.report_.left_out


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [5, 20, 60])
def test_own_settings_end_in_time_too(rows, slow, clock, seconds):
    began = clock.now
    tuner = slow(seconds, loss=1.0, fit=2.0, optim=torch.optim.Adam, epochs=100)
    fitted(tuner, *rows)
    assert clock.now - began <= 1.1 * seconds
    (left,) = tuner.report_.left_out
    assert left.startswith("epochs after epoch")
    assert tuner.history_[-1]["time_limit"]


def test_own_settings_without_time_keep_the_pipeline(rows, slow):
    tuner = slow(5, loss=600.0, optim=torch.optim.Adam, epochs=3)
    fitted(tuner, *rows)
    assert not tuner.improved_
    assert tuner.report_.why == "after the pipeline's own fit, the time limit left no time to train"


@pytest.mark.slow
def test_real_time():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 60))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    pipe = make_pipeline(StandardScaler(), KMeans(60, n_init=1, random_state=0), Ridge())
    fitted(pg.FineTuner(pipe, max_seconds=2), X[:100], y[:100])  # loads libraries
    began = time.perf_counter()
    report = fitted(pg.FineTuner(pipe, max_seconds=2, random_state=0), X, y).report_
    # The bound is generous, as other work may run at the same time.
    assert time.perf_counter() - began < 6
    assert report.left_out
    spent = report.times.fitting + report.times.comparing + report.times.training
    assert spent == pytest.approx(report.seconds, rel=0.1)


# The time left


class Display:
    """Collects what would be shown."""

    def __init__(self, clock):
        self.clock, self.stages, self.ends = clock, [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def tell(self, stage):
        self.stages.append(stage)

    def expect(self, seconds):
        self.ends.append((self.clock.now, self.clock.now + seconds))


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.1, 0.7, 100.0])
@pytest.mark.parametrize(
    "costs", [{"loss": 0.1}, {"encode": 5.0, "fit": 20.0, "loss": 0.01}], ids=["loss", "fit"]
)
def test_the_time_left_is_right_within_a_factor_of_two(slow, clock, monkeypatch, noise, costs):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 4))
    y = np.sin(2 * X[:, 0]) + X[:, 1] + noise * rng.normal(size=1000)
    display = Display(clock)
    monkeypatch.setattr("pipegrad.training.progress_bar.ShowStages", lambda: display)
    report = fitted(slow(None, verbose=1, **costs), X, y).report_
    assert len(display.ends) == report.splits
    for now, end in display.ends:
        assert (clock.now - now) / 2 <= max(end - now, 1e-9)
        assert end - now <= 2 * max(clock.now - now, 1e-9)
    assert display.stages[0] == "fitting the pipeline on all rows"
    assert "split 1 of at most 5: L-BFGS, scaled" in display.stages


def test_a_cycle_without_time_for_its_steps_ends_at_rest(rows, slow, clock):
    X, y = rows
    net = pg.to_torch(make_pipeline(StandardScaler(), Ridge()).fit(X, y))

    def loss(score, target):
        clock.advance(1.0)
        return (score - target).square() / 2

    options = Options(loss=loss)
    task = TrainingProblem.of(net, Samples(X, y), Samples(X, y), options)
    adam = next(one for one in task.portfolio() if one.kind == "adam")
    shares = {}
    for seconds in (None, 1e6, 40):
        run = task.run(adam, deadline=Deadline.after(seconds))
        shares[seconds] = run.optimizer.param_groups[0]["lr"] / run._rates[0]
        assert run.out_of_time_ is (seconds == 40)
    assert shares[None] == shares[1e6] < 0.01
    assert shares[40] < 0.1
