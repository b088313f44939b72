"""Settings by rule: what is chosen, and that nothing is harmed."""

import pickle
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_regression
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from pipegrad.finetune import portfolio, recipe
from pipegrad.finetune.comparison import Comparison
from pipegrad.finetune.portfolio import default_candidates
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.finetune.selection import Selection, critical_value, select_candidate
from pipegrad.training.optimizers import magnitudes
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples
from pipegrad.training.schedules import one_cycle
from pipegrad.training.splitting import folds

quietly = pytest.mark.filterwarnings("ignore:Fine-tuning kept the fitted pipeline")


@pytest.fixture
def short(monkeypatch):
    """Short runs, for tests of what happens around them."""
    monkeypatch.setattr(portfolio, "_MIN_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MAX_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MIN_EPOCHS", 2)
    monkeypatch.setattr(portfolio, "_MAX_EPOCHS", 4)
    monkeypatch.setattr(portfolio, "_MAX_ITERATIONS", 12)


@pytest.fixture(scope="module")
def numbers():
    X, y = make_regression(500, 6, n_informative=6, noise=1.0, random_state=0)
    return X, y / 50


def bottleneck():
    return make_pipeline(StandardScaler(), PCA(2), Ridge(alpha=1.0))


def tuned(pipe, X, y, seed=0, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pg.FineTuner(pipe, random_state=seed, **options).fit(X, y)


def made_by_rule():
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    return pg.FineTuner(pipe, random_state=0)


if parse_version(sklearn.__version__) >= parse_version("1.6"):
    conventions = parametrize_with_checks([made_by_rule()])
else:
    conventions = pytest.mark.parametrize(
        ("estimator", "check"), list(check_estimator(made_by_rule(), True))
    )


# The choice by itself


def test_a_clear_gain_is_chosen():
    rng = np.random.default_rng(0)
    start = rng.exponential(1.0, 600)
    losses = np.stack([[start * 0.8, start * 1.2], [start * 0.9, start * 1.1]])
    choice = select_candidate(start, losses, 0)
    assert choice.significant
    assert choice.best == (0, 0)
    assert choice.gain == pytest.approx(0.2 * start.mean())
    assert choice.gain > 2 * choice.error > 0


def test_of_two_equal_gains_the_surer_one_is_chosen():
    draw = np.random.default_rng(0)
    start = draw.normal(10.0, 1.0, size=400)
    noise = draw.normal(size=400)
    noise -= noise.mean()
    sure, loose = start - 0.1 - 0.01 * noise, start - 0.101 - noise
    assert select_candidate(start, np.stack([loose, sure])[:, None], 0).best == (1, 0)


def test_chance_is_not_chosen():
    clear = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        start = rng.exponential(1.0, 400)
        losses = start + rng.normal(0.0, 0.3, (4, 25, 400))
        clear += select_candidate(start, losses, seed).significant
    # The best of a hundred looks better than the start by two standard errors nearly always.
    assert clear <= 3


def test_ties_go_to_the_original():
    start = np.linspace(0.0, 1.0, 500)
    assert not select_candidate(start, np.broadcast_to(start, (2, 3, 500)), 0).significant
    assert not select_candidate(
        start, np.broadcast_to(start * (1 - 1e-5), (2, 3, 500)), 0
    ).significant


def test_what_is_not_finite_is_never_chosen():
    start = np.ones(400)
    losses = np.full((2, 2, 400), 0.5)
    losses[0, 0, 3] = np.inf
    losses[0, 1, 5] = np.nan
    assert select_candidate(start, losses, 0).best == (1, 0)
    nothing = select_candidate(start, np.full((1, 1, 400), np.inf), 0)
    assert nothing.best is None
    assert not nothing.significant


@pytest.mark.parametrize("weighted", [False, True])
def test_one_row_is_not_all_that_is_compared(weighted):
    """A probability of nothing counts as in scikit-learn's log_loss."""
    X = np.array([[-1000.0], [-3.0], [2.0]])
    fitted = LogisticRegression().fit(X, [0, 0, 1])
    fitted.coef_[:], fitted.intercept_[:] = 1.0, 0.0
    y, weight = np.array([1, 1, 1]), np.array([0.5, 1.0, 1.5]) if weighted else None
    net = pg.to_torch(fitted)
    task = TrainingProblem.of(net, Samples(X, y, weight), Samples(X, y, weight), Options())
    way = default_candidates(task.training, task.options, 1.0)[0]
    losses = task.run(replace(way, epochs=1)).losses_[0]
    shares = fitted.predict_proba(X)
    expected = [log_loss(y[i : i + 1], shares[i : i + 1], labels=[0, 1]) for i in range(3)]
    np.testing.assert_allclose(losses, np.array(expected) * (1.0 if weight is None else weight))
    assert 36 < expected[0] < 37


def test_few_rows_have_to_say_more():
    assert critical_value(100) > critical_value(10_000)


def test_no_row_validates_twice():
    classes = np.repeat([0, 1, 2], [70, 29, 1])
    parts = list(folds(100, 0.2, np.random.default_rng(0), classes))
    assert len(parts) == 5
    held = np.concatenate([valid for _, valid in parts])
    assert sorted(held) == list(range(99))  # The only row of its class always trains.
    for train, valid in parts:
        assert not set(train) & set(valid)
        assert set(classes[train]) == {0, 1, 2}


def test_one_cycle_rises_and_falls():
    assert one_cycle(0.0) < 0.1
    assert one_cycle(0.3) == pytest.approx(1.0)
    assert one_cycle(1.0) == pytest.approx(0.0)


# With pipelines


@pytest.mark.parametrize("seed", [0, 1])
def test_it_takes_a_clear_gain(numbers, seed):
    X, y = numbers
    tuner = tuned(bottleneck(), X[:400], y[:400], seed)
    assert tuner.improved_
    plain = clone(tuner.estimator).fit(X[:400], y[:400])
    assert tuner.score(X[400:], y[400:]) > plain.score(X[400:], y[400:]) + 0.1
    assert tuner.report_.chosen in [tried.name for tried in tuner.report_.tried]
    assert tuner.report_.interval[0] > 0
    assert tuner.report_.after < tuner.report_.before
    # What is kept was fitted on all rows.
    assert tuner.estimator_[0].n_samples_seen_ == 400


@pytest.mark.slow
def test_it_leaves_noise_alone(short):
    improved = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(200, 4)), rng.integers(0, 2, 200)
        pipe = make_pipeline(StandardScaler(), PCA(2), LogisticRegression(C=0.01))
        tuner = tuned(pipe, X, y, seed)
        improved += tuner.improved_
        if not tuner.improved_:
            plain = clone(pipe).fit(X, y)
            np.testing.assert_array_equal(tuner.predict_proba(X), plain.predict_proba(X))
    assert improved <= 1


def test_the_original_is_fitted_on_all_rows_and_says_so(numbers, short):
    X, _ = numbers
    noise = np.random.default_rng(0).normal(size=len(X))
    with pytest.warns(pg.PipegradWarning, match="kept the fitted pipeline: "):
        tuner = pg.FineTuner(bottleneck(), random_state=0).fit(X, noise)
    assert not tuner.improved_
    assert tuner.report_.chosen is None
    assert tuner.report_.why
    assert tuner.estimator_[0].n_samples_seen_ == len(X)


@quietly
def test_too_few_rows_to_tell(numbers):
    X, y = numbers
    tuner = pg.FineTuner(bottleneck()).fit(X[:30], y[:30])
    assert not tuner.improved_
    assert tuner.history_ is None
    assert "30 rows are too few" in str(tuner.report_)


def test_seeds_make_it_repeatable(numbers, short):
    X, y = numbers
    first, second = (tuned(bottleneck(), X, y, 3) for _ in range(2))
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    assert first.report_.gain == second.report_.gain
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    assert str(again.report_) == str(first.report_)


def test_settings_of_ones_own_turn_it_off(numbers):
    X, y = numbers
    for options in ({"epochs": 2}, {"lr": 0.01, "epochs": 2}, {"optim": torch.optim.LBFGS}):
        tuner = tuned(bottleneck(), X, y, **options)
        assert tuner.report_.tried == ()
        assert tuner.estimator_[0].n_samples_seen_ == 400
    assert tuner.report_.chosen == "the settings given"
    assert tuned(bottleneck(), X, y, recipe=None, patience=1).report_.tried == ()
    with pytest.raises(pg.ArgumentError, match="recipe must be 'auto' or None, got 'best'"):
        pg.FineTuner(bottleneck(), recipe="best").fit(X, y)


def test_the_report_prints(numbers, short):
    X, y = numbers
    text = str(tuned(bottleneck(), X, y).report_)
    for part in (
        "Selected: ",
        "Validation mean squared error: ",
        "95% confidence interval",
        "L-BFGS",
        "Adam",
        "seconds",
    ):
        assert part in text


@pytest.mark.slow
def test_losses_of_ones_own_and_weights(numbers, short):
    X, y = numbers
    mean = lambda score, target: (score - target).abs().mean()  # noqa: E731
    tuner = tuned(bottleneck(), X, y, loss=mean)
    assert 0 < tuner.report_.before < 10
    assert tuner.report_.metrics[0].name == "R2"
    weight = np.where(X[:, 0] > 0, 1.0, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = pg.FineTuner(bottleneck(), random_state=0)
        tuner.fit(X, np.where(weight > 0, y, 1e6), sample_weight=weight)
    assert tuner.report_.before < 10
    assert tuner.estimator_[0].n_samples_seen_ == weight.sum()


def test_large_data_train_in_batches(numbers, short, monkeypatch):
    monkeypatch.setattr(portfolio, "_MAX_FULL_BATCH_VALUES", 100)
    X, y = numbers
    names = [tried.name for tried in tuned(bottleneck(), X, y).report_.tried]
    assert names == ["Adam, scaled", "Adam, relative rates"]


def test_a_candidate_that_diverges_is_no_harm(numbers, short, monkeypatch):
    X, y = numbers
    monkeypatch.setattr(portfolio, "LEARNING_RATE", 1e200)
    tuner = tuned(bottleneck(), X, y)
    assert tuner.report_.chosen not in ("Adam, scaled", "Adam, relative rates")
    assert np.isfinite(tuner.predict(X)).all()


@conventions
def test_it_follows_the_conventions(estimator, check, request, short):
    if "sample_weight" in check.func.__name__:
        pytest.skip("which rows validate depends on how many there are")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


# Anchors


def test_an_anchor_holds_the_parameters(numbers):
    X, y = numbers
    pipe = bottleneck().fit(X[:300], y[:300])

    def moved(strength):
        net = pg.to_torch(pipe)
        start = [p.detach().clone() for p in net.trainable_parameters().values()]
        net.fit(X[:300], y[:300], validation=None, epochs=5, anchor=strength)
        return sum(
            float((p.detach() - s).square().sum())
            for p, s in zip(net.trainable_parameters().values(), start, strict=True)
        )

    assert moved(100.0) < 0.5 * moved(1.0)
    assert moved(1.0) < moved(0.0)
    tuner = tuned(pipe, X, y, anchor=1e9, epochs=5)
    np.testing.assert_allclose(tuner.predict(X), tuner.estimator_.predict(X))


@pytest.mark.parametrize("anchor", [-1.0, "strong", float("nan")])
def test_anchors_are_numbers(numbers, anchor):
    pipe = bottleneck().fit(*numbers)
    with pytest.raises(pg.ArgumentError, match="anchor must be a non-negative number, got"):
        pg.to_torch(pipe).fit(*numbers, anchor=anchor)
    with pytest.raises(pg.ArgumentError, match="anchor must be a non-negative number, got"):
        pg.FineTuner(pipe, anchor=anchor).fit(*numbers)


@pytest.mark.slow
@pytest.mark.parametrize("unit", [0.1, 1e-6, 1e-12])
def test_the_unit_of_the_target_does_not_matter(unit):
    """Optimizers take changes of the loss below 1e-9 for nothing."""
    X, y = make_regression(400, 6, n_informative=6, noise=1.0, random_state=0)
    y = y / y.std()
    plain, small = (tuned(bottleneck(), X, y * scale) for scale in (1.0, unit))
    assert plain.improved_
    assert small.improved_
    score = plain.score(X, y)
    assert small.score(X, unit * y) == pytest.approx(score, abs=0.02)


def test_small_targets_train_in_a_run_of_ones_own(numbers):
    X, y = numbers
    net = pg.to_torch(bottleneck().fit(X, 1e-7 * y))
    net.fit(X, 1e-7 * y, validation=None, epochs=30)
    assert net.history[-1, "train_loss"] < 0.3 * net.history[0, "train_loss"]


def test_steps_that_depend_on_the_unit_of_the_loss_are_as_given(numbers):
    X, y = numbers
    ridge = Ridge().fit(X, 1e-3 * y)
    net = pg.to_torch(ridge)
    slow = lambda p: torch.optim.SGD(p, lr=1e-6)  # noqa: E731
    net.fit(X, 1e-3 * y + 1e-3, optim=slow, validation=None, epochs=1)
    np.testing.assert_allclose(pg.from_torch(net).coef_, ridge.coef_, rtol=1e-3)


def test_what_the_loss_does_not_depend_on_is_left_alone(numbers):
    """The order of rows says nothing of the intercept; rounding errors are no gradient."""
    X, y = numbers
    net = pg.to_torch(bottleneck().fit(X, y))
    task = TrainingProblem.of(net, Samples(X, y), None, Options(loss="pairwise_logistic"))
    parameters = net.trainable_parameters()
    (bias,) = (name for name in parameters if name.endswith("bias"))
    lengths = dict(zip(parameters, task.scales, strict=True))
    own = dict(zip(parameters, magnitudes(list(parameters.values())), strict=True))
    assert lengths[bias] == pytest.approx(own[bias])


# The training on all rows


def with_history(monkeypatch, change):
    """FineTuner on plain numbers, with the losses of the last training changed."""
    run = recipe.TrainingProblem.run

    def changed(task, candidate, loss_target=None, **options):
        trained = run(task, candidate, loss_target, **options)
        if loss_target is not None:
            change(trained)
        return trained

    monkeypatch.setattr(recipe.TrainingProblem, "run", changed)
    X, y = make_regression(500, 6, n_informative=6, noise=1.0, random_state=0)
    return tuned(bottleneck(), X, y / 50)


def test_training_on_all_rows_has_to_go_as_it_went_on_fewer(short, monkeypatch):
    def nothing_came_of_it(trained):
        for row in trained.minimized_:
            row["train_loss"] = trained.reference_loss_

    tuner = with_history(monkeypatch, nothing_came_of_it)
    assert not tuner.improved_
    assert "trained on all rows" in tuner.report_.why


def test_a_pipeline_that_starts_nearer_need_not_fall_as_far(short, monkeypatch):
    def started_near_the_end(trained):
        losses = trained.minimized_
        losses[0]["train_loss"] = losses[-1]["train_loss"] + 1e-6

    assert with_history(monkeypatch, started_near_the_end).improved_


@pytest.mark.parametrize("broken", ["no progress", "no number"])
def test_where_the_best_fails_on_all_rows_one_that_is_as_good_takes_its_place(
    short, monkeypatch, broken
):
    first = []

    def fails_once(trained):
        first.append(trained.candidate.name)
        if len(first) == 1 and broken == "no number":
            raise pg.DivergedError("no number")
        if len(first) == 1:
            for row in trained.minimized_:
                row["train_loss"] = trained.reference_loss_

    tuner = with_history(monkeypatch, fails_once)
    report = tuner.report_
    assert tuner.improved_
    assert report.chosen == first[1] != first[0]
    tried = {t.name: t for t in report.tried}
    best, second = (tried[name] for name in first)
    assert second.gain <= best.gain
    # The report is of what was kept.
    assert report.gain == pytest.approx(second.gain, rel=0.2)
    assert report.steps


def test_a_last_step_anew_has_to_come_farther_than_where_the_pipeline_was_fitted(
    short, monkeypatch
):
    """Most of what it falls from the mean is no progress at all."""

    class Anew(recipe.CandidateRun):
        def __init__(self, losses, fallen_from):
            self.minimized_ = [{"train_loss": loss} for loss in losses]
            self.reference_loss_, self.diverged_ = fallen_from, False
            self.out_of_time_ = False

    def alike(fold, whole, gain=0.01, reset_head=True):
        candidate = portfolio.Candidate("way", "scaled", 1, 3, reset_head=reset_head)
        choice = Selection((0, 1), gain, gain / 9, 2.4, 1.0)
        found = Comparison([candidate], [], choice, None)
        monkeypatch.setattr(task, "run", lambda *_: Anew(whole, 1.0))
        return recipe._reached_reference_loss(task, found, choice, [Anew(fold, 1.0)])

    task = SimpleNamespace(training=range(9), run=None)
    assert alike([0.10, 0.3, 0.05], [0.10, 0.3, 0.06])
    assert not alike([0.10, 0.3, 0.05], [0.10, 0.3, 0.08])
    assert not alike([0.10, 0.3, 0.05], [0.10, 0.3, 0.11])
    # Fitted on all rows, it starts nearer to the end.
    assert alike([0.10, 0.3, 0.05], [0.07, 0.3, 0.06])
    # Or farther from it, and falls as far.
    assert alike([0.10, 0.3, 0.05], [0.14, 0.3, 0.08])
    # It may stop before it knows the training rows as well as the pipeline does.
    assert alike([0.02, 0.3, 0.05], [0.02, 0.3, 0.06])
    assert not alike([0.02, 0.3, 0.05], [0.02, 0.3, 0.08])
    assert alike([0.05, 0.3, 0.05], [0.05, 0.3, 0.054])
    assert not alike([0.05, 0.3, 0.05], [0.05, 0.3, 0.056])
    # Where nothing begins anew, a loss that was not to fall says nothing.
    assert alike([0.05, 0.3, 0.051], [0.05, 0.3, 0.09], reset_head=False)


# Which candidates


@pytest.mark.parametrize(
    ("pipe", "points"),
    [
        (make_pipeline(StandardScaler(), Ridge()), False),
        (make_pipeline(StandardScaler(), PCA(2), Ridge()), False),
        (make_pipeline(KMeans(3, n_init=1, random_state=0), Ridge()), True),
        (make_pipeline(StandardScaler(), Nystroem(n_components=5, random_state=0), Ridge()), True),
    ],
    ids=["linear", "pca", "kmeans", "nystroem"],
)
def test_relative_rates_are_for_centers_and_landmarks(numbers, pipe, points):
    X, y = numbers
    net = pg.to_torch(clone(pipe).fit(X, y))
    task = TrainingProblem.of(net, Samples(X, y), None, Options())
    names = [candidate.name for candidate in task.portfolio()]
    assert ("Adam, relative rates" in names) is points
    assert "Adam, scaled" in names


def test_relative_rates_stay_where_there_is_no_full_batch(numbers):
    X, y = numbers
    net = pg.to_torch(DecisionTreeRegressor(max_depth=3).fit(X, y), trees="soft")
    task = TrainingProblem.of(net, Samples(X, y), None, Options())
    names = [candidate.name for candidate in task.portfolio()]
    assert names == ["Adam, scaled", "Adam, relative rates"]
