"""One way to train by itself: when it ends; and which splits follow."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import make_regression
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

import pipegrad as pg
from pipegrad.finetune import candidate_run, portfolio
from pipegrad.finetune.candidate_run import EXTRA_CHECKPOINTS, CandidateRun
from pipegrad.finetune.comparison import (
    Comparison,
    Fold,
    _active_mask,
    _select,
    is_conclusive,
    is_futile,
    rank_significant,
    summary,
)
from pipegrad.finetune.portfolio import LARGE_SAMPLE, default_candidates
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.finetune.selection import Selection
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples


@pytest.fixture
def patient(monkeypatch):
    """No run ends for lack of progress."""
    monkeypatch.setattr(portfolio, "_PATIENCE", 1000)
    monkeypatch.setattr(candidate_run, "_PLATEAU_GAIN", -math.inf)


@pytest.fixture(scope="module")
def task():
    X, y = make_regression(400, 8, n_informative=8, noise=1.0, random_state=0)
    y = np.tanh(y / 100) + X[:, 0] * X[:, 1]
    pipe = make_pipeline(StandardScaler(), PCA(3), Ridge()).fit(X[:300], y[:300])
    parts = Samples(X[:300], y[:300]), Samples(X[300:], y[300:])
    return TrainingProblem.of(pg.to_torch(pipe), *parts, Options())


@pytest.fixture(scope="module")
def ways(task):
    found = default_candidates(task.training, task.options, task.loss())
    return {c.kind: c for c in found if not c.anchor}


@pytest.fixture(scope="module")
def anew(task):
    found = default_candidates(task.training, task.options, task.loss(), reset_head=True)
    return next(c for c in found if c.reset_head)


def fallen(run):
    """By how much the training loss fell up to each checkpoint."""
    losses = np.array([row["train_loss"] for row in run.minimized_])
    return losses[0] - losses[1:]


# The loss_target of training on all rows


@pytest.mark.parametrize("kind", ["lbfgs", "scaled"])
def test_a_run_ends_when_the_loss_fell_as_far(task, ways, patient, kind):
    free = fallen(task.run(ways[kind]))
    place = int(np.argmax(free > 0.9 * free.max()))
    assert 5 < place < len(free) - 5
    run = task.run(ways[kind], loss_target=(place + 5, free[place]))
    np.testing.assert_allclose(fallen(run), free[: place + 1])
    # Once there were as many checkpoints, nearly as far will do.
    nearly = free[place] / 0.95
    assert len(fallen(task.run(ways[kind], loss_target=(place + 1, nearly)))) == place + 1
    assert len(fallen(task.run(ways[kind], loss_target=(place + 2, nearly)))) > place + 1


def test_what_is_never_reached_ends_anyway(task, ways, patient):
    run = task.run(ways["lbfgs"], loss_target=(4, math.inf))
    assert len(fallen(run)) == 4 + EXTRA_CHECKPOINTS
    assert len(fallen(task.run(ways["lbfgs"]))) == ways["lbfgs"].epochs


def test_rates_are_in_scaled_coordinates(task, ways):
    parameters = list(task.net.trainable_parameters().values())
    groups = ways["adam"].optimizer(parameters, task.scales).param_groups
    rates = [group["lr"] for group in groups]
    assert rates == pytest.approx([1e-2 * length for length in task.scales])
    assert max(rates) > 2 * min(rates)


def shares(task, way, monkeypatch, loss_target=None):
    """What the rates are multiplied with at each step, and the run."""
    step, seen = CandidateRun.train_step, []

    def watched(run, batch, **kwargs):
        result = step(run, batch, **kwargs)
        seen.append(run.optimizer.param_groups[0]["lr"] / run._rates[0])
        return result

    monkeypatch.setattr(CandidateRun, "train_step", watched)
    run = task.run(way, loss_target=loss_target)
    monkeypatch.setattr(CandidateRun, "train_step", step)
    return np.array(seen), run


def test_a_cycle_counts_its_passes_and_ends_at_rest(task, ways, monkeypatch):
    way = ways["adam"]
    free, run = shares(task, way, monkeypatch)
    assert len(fallen(run)) == way.epochs > 7
    assert free.max() == pytest.approx(1, abs=1e-2)
    assert free[-1] < 1e-2
    # However far the loss fell; and whole, where it had passed its top by then.
    passes = round(0.6 * way.epochs)
    found, run = shares(task, way, monkeypatch, loss_target=(passes, 0.0))
    assert len(fallen(run)) == passes
    assert found.max() == pytest.approx(1, abs=1e-2)
    assert found[-1] < 1e-2


def test_a_cycle_that_had_not_risen_far_stays_low(task, ways, monkeypatch):
    free, _ = shares(task, ways["adam"], monkeypatch)
    found, run = shares(task, ways["adam"], monkeypatch, loss_target=(1, 0.0))
    assert len(fallen(run)) == 1
    assert found.max() == pytest.approx(free[len(found)], rel=0.1)
    assert found[-1] < 0.2 * found.max()


# A last operator without weights


def test_a_run_anew_starts_from_the_mean(task, anew, patient):
    run = task.run(replace(anew, epochs=1))
    plain = task.run(replace(anew, reset_head=False, epochs=1))
    # What it is compared with is the fitted pipeline.
    np.testing.assert_array_equal(run.losses_[0], plain.losses_[0])
    start, after = (row["train_loss"] for row in run.minimized_)
    assert start == plain.minimized_[0]["train_loss"]
    # What it falls from is what the mean leaves: half the variance.
    y = task.training.target[task.training.index].numpy()
    assert run.reference_loss_ == pytest.approx(y.var() / 2, rel=1e-6)
    assert start < after < run.reference_loss_


def test_a_run_anew_ends_when_the_loss_fell_as_far(task, anew, patient):
    free = task.run(anew)
    fallen = free.reference_loss_ - np.array([row["train_loss"] for row in free.minimized_[1:]])
    run = task.run(anew, loss_target=(15, fallen[9]))
    assert len(run.history) == 11


def test_lengths_are_those_of_the_start(anew):
    """Fitted to the end, nothing of the loss is left, and every length would be huge."""
    X = np.random.default_rng(0).normal(size=(200, 3))
    y = (X[:, 0] > 0).astype(int)
    net = pg.to_torch(LogisticRegression(C=1e8).fit(X, y))
    task = TrainingProblem.of(net, Samples(X, y), Samples(X, y), Options())
    run = task.run(replace(anew, batch_size=200, epochs=1))
    assert list(run.optimizer_.scales) == list(net.trainable_parameters().values())
    for fitted, length in zip(task.scales, run.optimizer_.scales.values(), strict=True):
        # A probability of a half leaves gradients of a half, times the feature; so about 2.
        assert 1.0 < length * run._unit < 4.0
        assert fitted > 10 * length


def test_it_may_begin_far_behind(anew, monkeypatch):
    """Patience counts from its own best: nothing beats a model that is at its optimum."""
    monkeypatch.setattr(candidate_run, "_WARMUP_ITERATIONS", 0)
    monkeypatch.setattr(portfolio, "_PATIENCE", 2)
    X, y = make_regression(300, 20, n_informative=20, noise=1.0, random_state=0)
    X *= np.geomspace(1, 100, 20)
    net = pg.to_torch(Ridge(alpha=1e-6).fit(X[:200], y[:200]))
    train, valid = Samples(X[:200], y[:200]), Samples(X[200:], y[200:])
    task = TrainingProblem.of(net, train, valid, Options())
    losses = [one.mean() for one in task.run(anew).losses_]
    assert min(losses[1:5]) > 10 * losses[0]
    assert losses[-1] < 2 * losses[0]


@pytest.mark.parametrize(
    ("last", "there"),
    [(Ridge(), True), (DecisionTreeRegressor(max_depth=2), False)],
    ids=lambda value: type(value).__name__,
)
def test_only_a_linear_map_has_weights_to_leave_out(last, there):
    X, y = make_regression(60, 3, random_state=0)
    net = pg.to_torch(make_pipeline(StandardScaler(), last).fit(X, y))
    assert (candidate_run.last_linear(net) is not None) == there
    frozen = pg.to_torch(make_pipeline(StandardScaler(), Ridge()).fit(X, y), freeze=["ridge"])
    assert candidate_run.last_linear(frozen) is None


def test_whoever_pulls_towards_the_start_does_not_leave_it(task):
    found = default_candidates(
        task.training, replace(task.options, anchor=0.1), task.loss(), reset_head=True
    )
    assert not any(c.reset_head for c in found)


def test_what_learned_too_much_is_learned_anew():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 150))
    y = (X[:, 0] + X[:, 1] + rng.logistic(size=600) > 0).astype(int)
    tuner = pg.FineTuner(LogisticRegression(C=1e6, max_iter=1000), random_state=0)
    tuner.fit(X[:400], y[:400])
    assert tuner.report_.chosen == "L-BFGS, reset head"
    assert type(tuner.estimator_) is LogisticRegression
    fitted = tuner.estimator.fit(X[:400], y[:400])
    losses = [log_loss(y[400:], m.predict_proba(X[400:])) for m in (fitted, tuner)]
    assert losses[1] < 0.6 * losses[0]


# Many iterations


def long_run(task, way, losses, monkeypatch):
    """How many checkpoints a run makes whose losses are told, one after the other."""
    told = iter(losses)

    def measured(self):
        CandidateRun._evaluate(self, self.train, "train")
        self.record_loss("valid", next(told))
        self.losses_.append(np.zeros(2))

    monkeypatch.setattr(CandidateRun, "_measure", measured)
    return len(task.run(way).history) - 1


@pytest.mark.parametrize(("step", "long"), [(0.02, True), (0.004, False)])
def test_many_iterations_have_to_pay(task, ways, monkeypatch, step, long):
    few = int(np.argmax(np.cumsum(portfolio._plan()) >= candidate_run._PLATEAU_ITERATIONS)) + 1
    # A gain of one until then; after that so much at each checkpoint.
    losses = [3.0, *np.linspace(2.5, 2.0, few), *(2.0 - step * np.arange(1, 50))]
    made = long_run(task, ways["lbfgs"], losses, monkeypatch)
    assert made == (ways["lbfgs"].epochs if long else few + 2)


# Rivals


def competitor(task, way, ahead):
    """A run whose every row has a lower loss by ``ahead``."""
    run = task.run(way)
    run.losses_ = [losses - ahead for losses in run.losses_]
    return run


def test_a_run_gives_up_behind_a_rival(task, ways, patient):
    run = task.run(ways["lbfgs"], competitors=[competitor(task, ways["scaled"], 1.0)])
    assert run.reason_ == "L-BFGS, scaled is ahead"
    made = sum(run._iterations[: run.steps_])
    assert 60 <= made < 80


@pytest.mark.parametrize("ahead", [-1.0, 0.0])
def test_it_goes_on_beside_one_that_is_not_ahead(task, ways, patient, ahead):
    run = task.run(ways["lbfgs"], competitors=[competitor(task, ways["lbfgs"], ahead)])
    assert run.reason_ == "the last epoch"


def test_being_ahead_by_chance_is_not_enough(task, ways, patient):
    own, other = task.run(ways["lbfgs"]), task.run(ways["scaled"])
    noise = np.random.default_rng(0).normal(size=len(own.losses_[0]))
    noise -= noise.mean()
    for errors, gives_up in ((1.5, False), (3.0, True)):
        ahead = errors * noise.std() / math.sqrt(len(noise))
        other.losses_ = [losses - noise - ahead for losses in own.losses_]
        run = task.run(ways["lbfgs"], competitors=[other])
        assert (run.reason_ == "L-BFGS, scaled is ahead") == gives_up


def test_a_rival_that_ended_early_is_met_where_it_ended(task, ways, patient):
    other = competitor(task, ways["scaled"], 1.0)
    del other.losses_[3:]
    assert task.run(ways["lbfgs"], competitors=[other]).reason_ == "L-BFGS, scaled is ahead"


def test_a_cycle_has_no_rivals(task, ways):
    run = task.run(ways["adam"], competitors=[competitor(task, ways["lbfgs"], 100.0)])
    assert len(fallen(run)) == ways["adam"].epochs


# Further splits


def choice(gain, error=1.0, wanted=2.4, best=(0, 0), **more):
    return Selection(best, gain, error, wanted, 10.0, **more)


def test_few_rows_ask_for_another_split_unless_the_gain_is_large():
    assert not is_conclusive(choice(0.0), LARGE_SAMPLE - 1)
    assert not is_conclusive(choice(2.5), LARGE_SAMPLE - 1)
    assert not is_conclusive(choice(3.9), LARGE_SAMPLE - 1)
    assert is_conclusive(choice(4.1), LARGE_SAMPLE - 1)
    assert not is_conclusive(choice(4.1, wanted=3.0), LARGE_SAMPLE - 1)


def test_many_rows_ask_only_where_it_is_between():
    assert is_conclusive(choice(0.4), LARGE_SAMPLE)
    assert not is_conclusive(choice(0.6), LARGE_SAMPLE)
    assert not is_conclusive(choice(2.3), LARGE_SAMPLE)
    assert is_conclusive(choice(2.5), LARGE_SAMPLE)


def test_splits_end_where_a_gain_can_hardly_become_significant():
    # One split of five: nothing is lost yet, unless the losses grew.
    assert not is_futile(choice(0.0), 1000, 1)
    assert not is_futile(choice(-1.0), 1000, 1)
    assert is_futile(choice(-1.5), 1000, 1)
    # The same gain in standard errors, the later the less it can grow.
    for splits, enough in ((2, -0.3), (3, 0.3), (4, 1.2)):
        assert is_futile(choice(enough - 0.5), 1000 * splits, splits)
        assert not is_futile(choice(enough), 1000 * splits, splits)
        assert is_conclusive(choice(-1.5), 100 * splits, splits)
    assert not is_futile(choice(0.4), 3000, 3)
    assert is_futile(choice(0.4), 4000, 4)
    # No half of the rows showed a gain.
    assert is_futile(choice(0.0, error=0.0, best=None), 1000, 3)
    # What is significant is not futile, and the last split is the last one.
    assert not is_futile(choice(2.5), 400, 4)
    assert not is_futile(choice(0.0), 5000, 5)


def test_a_small_gain_is_seldom_given_up():
    """Of gains that five splits find significant, few show nothing after three."""
    draw = np.random.default_rng(0)
    steps = draw.normal(3 / math.sqrt(5), 1.0, size=(4000, 5))
    z = steps.cumsum(axis=1) / np.sqrt(np.arange(1, 6))
    found = z[:, 4] > 2.4
    given_up = np.array(
        [any(is_futile(choice(z[i, k - 1]), 1000 * k, k) for k in range(1, 5)) for i in range(4000)]
    )
    assert (found & given_up).mean() < 0.02
    assert 0.6 < found.mean() < 0.8
    nothing = steps - 3 / math.sqrt(5)
    z = nothing.cumsum(axis=1) / np.sqrt(np.arange(1, 6))
    ended = [is_futile(choice(row[2]), 3000, 3) for row in z]
    assert np.mean(ended) > 0.5


class Past:
    """A run that is over: losses of each checkpoint and row."""

    diverged_ = False

    def __init__(self, losses):
        self.losses_ = [np.zeros(losses.shape[1]), *losses]


def over(losses, start=1.0):
    """Candidates with such losses, and the fold on which they had them."""
    start = np.full(losses[0].shape[1], start)
    runs = [Past(one) for one in losses]
    candidates = [portfolio.Candidate("way", "adam", 1, len(one)) for one in losses]
    return candidates, [Fold(None, start, runs, [0.0] * len(runs))]


def racing(*losses, start=1.0):
    candidates, folds = over(losses, start)
    return _active_mask(folds, candidates)


def test_what_cannot_win_runs_no_more():
    noise = np.random.default_rng(0).normal(size=400)
    noise -= noise.mean()
    best = np.full((3, 400), 0.5)
    error = noise.std() / 20
    close, behind = best + noise + 0.9 * error, best + noise + 1.1 * error
    assert racing(best, close, behind) == [True, True, False]
    # Not better than the original by a thousandth at its best.
    worse, same = np.full((3, 400), 1.2), np.full((3, 400), 0.9995)
    assert racing(worse, same) == [False, False]
    broken = best.copy()
    broken[:, 0] = np.inf
    assert racing(best, broken) == [True, False]
    # exp(score) - 0 * score, of a score beyond all bounds.
    for row in (0, slice(None)):
        broken[:, row] = np.nan
        assert racing(best, broken) == [True, False]
    assert racing(broken) == [False]
    broken[:2] = best[:2]
    assert racing(best, broken) == [True, True]


def test_two_candidates_go_on():
    best = np.full((3, 400), 0.5)
    noise = np.random.default_rng(0).normal(size=400)
    noise -= noise.mean()
    # All within their standard errors, in the order of their losses.
    others = [best + noise + place / 1000 for place in (3, 1, 2)]
    assert racing(*others, best) == [False, True, False, True]


def test_what_is_clear_by_itself_comes_after_the_best():
    noise = np.random.default_rng(0).normal(size=400)
    noise -= noise.mean()
    best = np.full((3, 400), 0.5)
    close, behind = best + noise + 0.1, best + noise + 0.2
    late = np.stack([best[0] + 1, best[0] + 1, best[0] + noise / 2])
    # Good on average: most rows lost what some gained.
    unclear = best + 20 * noise + 1e-6
    broken = np.full((3, 400), np.nan)
    candidates, folds = over([behind, close, best, unclear, late, broken])
    choice = _select(candidates, folds, 0, False)
    assert choice.best == (2, 0)
    found = list(rank_significant(Comparison(candidates, folds, choice, None), Options()))
    assert [one.best for one in found] == [(2, 0), (4, 2), (1, 0), (0, 0)]
    assert found[0] is choice
    # Each tells of itself.
    assert found[2].gain == pytest.approx(0.4)


def test_what_has_no_finite_loss_is_told_without_a_number():
    better, broken = np.full((3, 40), 0.5), np.full((3, 40), np.nan)
    candidates, folds = over([better, broken, better])
    folds[0].runs[2] = None
    told = summary(candidates, folds)
    assert (told[0].gain, told[0].epochs, told[0].rows) == (0.5, 1, 40)
    assert [(t.epochs, t.rows) for t in told[1:]] == [(0, 40), (0, 0)]
    assert all(math.isnan(t.gain) and math.isnan(t.error) for t in told[1:])


def test_a_run_that_ended_early_goes_on_as_it_ended_and_one_that_diverged_does_not():
    def ran(*levels, diverged=False):
        told = [np.full(3, level) for level in levels]
        return SimpleNamespace(losses_=told, diverged_=diverged)

    runs = [ran(9, 2, 1), ran(9, 2, diverged=True), None]
    losses = Fold(None, np.full(3, 9.0), runs, [0.0] * 3).losses([4, 3, 2])
    assert losses[0, :, 0].tolist() == [2, 1, 1, 1]
    assert losses[1, :, 0].tolist() == [2, np.inf, np.inf, np.inf]
    assert np.isinf(losses[2]).all()


@pytest.mark.parametrize(
    ("fallen_from", "start", "now", "steps", "arrived"),
    [
        (0.10, 0.10, 0.049, 3, True),
        (0.10, 0.10, 0.051, 3, False),
        # As many steps as wanted: nine tenths of the way will do.
        (0.10, 0.10, 0.0549, 4, True),
        (0.10, 0.10, 0.0551, 4, False),
        # A last step anew begins far up; where it is to pass the pipeline's own loss, from there.
        (1.00, 0.10, 0.049, 3, True),
        (1.00, 0.10, 0.0549, 4, True),
        (1.00, 0.10, 0.0551, 4, False),
        # Where it is to end before that, from where it begins.
        (1.00, 0.04, 0.144, 3, False),
        (1.00, 0.04, 0.144, 4, True),
        (1.00, 0.04, 0.146, 4, False),
    ],
)
def test_nearly_is_measured_from_where_progress_begins(fallen_from, start, now, steps, arrived):
    run = SimpleNamespace(
        loss_target=(4, fallen_from - 0.05),
        candidate=SimpleNamespace(full=True),
        minimized_=[{"train_loss": loss} for loss in (start, 0.3, now)],
        reference_loss_=fallen_from,
        steps_=steps,
    )
    assert CandidateRun._reached_target(run) is arrived
