"""Learning from rows as they arrive."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import pipegrad as pg
from pipegrad.finetune import losses
from pipegrad.online.batches import ClassCounts
from pipegrad.online.prequential import FadingLosses
from pipegrad.online.stream import BASELINE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 6))
NUMBERS = X @ RNG.normal(size=6) + 0.1 * RNG.normal(size=600)
LABELS = np.array(["ant", "bee", "cow"])[np.digitize(NUMBERS, [-1.0, 1.0])]
WORDS = np.array(["red", "green", "blue", "fish", "bird", "tree", "sun", "moon"])
TEXTS = [" ".join(WORDS[RNG.integers(8, size=6)]) for _ in range(600)]
RED = np.array(["red" in text for text in TEXTS])

KINDS = {
    "pca": (make_pipeline(StandardScaler(), PCA(3), LogisticRegression()), X, LABELS),
    "one operator": (Ridge(), X, NUMBERS),
    "kernel": (make_pipeline(Nystroem(n_components=20, random_state=0), Ridge()), X, NUMBERS),
    "centers": (make_pipeline(StandardScaler(), KMeans(4, n_init=1, random_state=0)), X, None),
    "trees": (GradientBoostingRegressor(n_estimators=5, random_state=0), X, NUMBERS),
    "forest": (RandomForestClassifier(5, max_depth=3, random_state=0), X, LABELS),
    "texts": (make_pipeline(TfidfVectorizer(), LogisticRegression()), TEXTS, RED),
    "topics": (
        make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0), LogisticRegression()),
        TEXTS,
        RED,
    ),
    "counts": (make_pipeline(MinMaxScaler(), PoissonRegressor()), X, np.exp(NUMBERS / 2).round()),
    "several outputs": (make_pipeline(PCA(3), Ridge()), X, np.c_[NUMBERS, -NUMBERS]),
    "changed target": (
        TransformedTargetRegressor(
            make_pipeline(PCA(3), Ridge()), func=np.log1p, inverse_func=np.expm1
        ),
        X,
        np.exp(NUMBERS / 2),
    ),
}  # fmt: skip


def part(rows, first, last):
    return None if rows is None else rows[first:last]


def moved_by_force(tuner):
    """A tuner whose next rows make it keep the boldest learner."""
    tuner._stream.evidence.sums[:-1] += 1e6 * tuner._stream.evidence.weight
    return tuner


def streamed(tuner, X, y, first, last, size):
    for start in range(first, last, size):
        stop = min(start + size, last)
        tuner.partial_fit(part(X, start, stop), part(y, start, stop))
    return tuner


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pipeline_learns_and_is_written_back(kind):
    pipe, X, y = KINDS[kind]
    before = pickle.dumps(pipe)
    tuner = pg.FineTuner(pipe, random_state=0)
    streamed(tuner, X, y, 0, 500, 250)
    first = tuner.estimator_
    as_it_was = pickle.dumps(first)
    streamed(moved_by_force(tuner), X, y, 500, 510, 10)
    assert tuner.stream_[-1]["kept"] != BASELINE
    assert tuner.estimator_ is not first
    assert type(tuner.estimator_) is type(pipe)
    answer = "predict_proba" if hasattr(pipe, "predict_proba") else "predict"
    if y is None:
        answer = "transform"
    ours = getattr(tuner._stream.net, answer)(part(X, 500, 600))
    theirs = getattr(tuner.estimator_, answer)(part(X, 500, 600))
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    assert not np.allclose(getattr(first, answer)(part(X, 500, 600)), theirs, rtol=1e-8)
    # What the user held stays as it was.
    assert pickle.dumps(first) == as_it_was
    assert pickle.dumps(pipe) == before


def moving(rows=2000, seed=0):
    """Labels by one direction, and after 500 rows by another."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 5))
    old, new = X[:, 0] + X[:, 1], X[:, 3] - X[:, 4]
    return X, np.where(np.arange(rows) < 500, old, new) + 0.3 * rng.normal(size=rows) > 0


def bottleneck(**options):
    pipe = make_pipeline(StandardScaler(), PCA(3), LogisticRegression())
    return pg.FineTuner(pipe, random_state=0, **options)


@pytest.mark.slow
@pytest.mark.parametrize("size", [20, 100])
def test_it_follows_when_the_concept_moves(size):
    X, y = moving(3000)
    tuner = bottleneck().partial_fit(X[:500], y[:500])
    first = tuner.estimator_
    streamed(tuner, X, y, 500, 2500, size)
    assert first.score(X[2500:], y[2500:]) < 0.7
    assert tuner.score(X[2500:], y[2500:]) > 0.85
    assert {"rows", "loss", "losses", "kept"} == set(tuner.stream_[-1])
    assert tuner.stream_[-1]["losses"][BASELINE] > tuner.stream_[-1]["loss"]
    assert sum(row["rows"] for row in tuner.stream_) == 2000


@pytest.mark.parametrize("seed", range(3))
def test_on_noise_the_pipeline_as_it_was_is_kept(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(4000, 5)), rng.integers(0, 2, 4000)
    y[:2000] = rng.random(2000) < 1 / (1 + np.exp(-X[:2000, 0]))
    y[2000:] = rng.random(2000) < 1 / (1 + np.exp(-X[2000:, 0]))
    tuner = pg.FineTuner(LogisticRegression(), random_state=0).partial_fit(X[:2000], y[:2000])
    first = tuner.estimator_
    streamed(tuner, X, y, 2000, 4000, 200)
    kept = [row["kept"] for row in tuner.stream_]
    assert kept.count(BASELINE) >= 8
    assert tuner.estimator_ is first or kept[-1] != BASELINE


def test_fit_comes_first_or_not_at_all():
    X, y = moving()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = bottleneck(epochs=2).fit(X[:500], y[:500])
    fitted, report = tuner.estimator_, tuner.report_
    streamed(tuner, X, y, 500, 700, 100)
    assert tuner._stream.origin is fitted
    assert tuner._stream.fitted_rows == 500
    assert tuner.report_ is report
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner.fit(X[500:], y[500:])
    assert tuner._stream is None
    assert not hasattr(tuner, "stream_")
    assert not hasattr(clone(tuner), "_stream")


def test_what_the_user_sets_is_done():
    X, y = moving()
    tuner = bottleneck(optim=torch.optim.SGD, lr=0.1, epochs=2).partial_fit(X[:500], y[:500])
    streamed(tuner, X, y, 500, 900, 100)
    assert list(tuner.stream_[-1]["losses"]) == [BASELINE, "the settings given"]
    frozen = bottleneck(freeze=["pca"]).partial_fit(X[:500], y[:500])
    streamed(moved_by_force(streamed(frozen, X, y, 500, 600, 100)), X, y, 600, 700, 100)
    first = frozen._stream.origin
    np.testing.assert_array_equal(frozen.estimator_["pca"].components_, first["pca"].components_)
    assert (frozen.estimator_[-1].coef_ != first[-1].coef_).all()


@pytest.mark.parametrize("copied", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy])
def test_copies_go_on_as_the_original_does(copied):
    X, y = moving()
    tuner = streamed(bottleneck().partial_fit(X[:500], y[:500]), X, y, 500, 800, 50)
    other = copied(tuner)
    stays = copied(tuner).estimator_.decision_function(X)
    for one in (tuner, other):
        streamed(one, X, y, 800, 1100, 50)
    assert tuner.stream_ == other.stream_
    np.testing.assert_array_equal(tuner.decision_function(X), other.decision_function(X))
    assert (tuner.decision_function(X) != stays).any()


def test_single_rows_and_names_of_columns():
    X, y = moving()
    table = pd.DataFrame(X, columns=list("abcde"))
    labels = pd.Series(np.where(y, "yes", "no"))
    tuner = bottleneck().partial_fit(table[:500], labels[:500], classes=["yes", "no"])
    for row in range(500, 510):
        tuner.partial_fit(table[row : row + 1], labels[row : row + 1], classes=["no", "yes"])
    assert tuner.feature_names_in_.tolist() == list("abcde")
    assert tuner.classes_.tolist() == ["no", "yes"]
    with pytest.raises(ValueError, match="feature names"):
        tuner.partial_fit(table[list("bacde")][:5], labels[:5])


def test_weights_count_and_zero_leaves_out():
    X, y = moving()
    weight = np.ones(700)
    weight[::2] = 0
    whole = bottleneck().partial_fit(X[:500], y[:500], sample_weight=weight[:500] * 3)
    halves = bottleneck().partial_fit(X[:500:2][:0].tolist() + X[1:500:2].tolist(), y[1:500:2])
    whole.estimator_ = halves.estimator_ = whole._stream.origin
    halves._stream = copy.deepcopy(whole._stream)
    whole.partial_fit(X[500:700], y[500:700], sample_weight=weight[500:])
    halves.partial_fit(X[501:700:2], y[501:700:2])
    assert whole.stream_ == halves.stream_
    moved = [p.detach().clone() for p in moved_by_force(whole)._stream.learners[-1].values.values()]
    whole.partial_fit(X[:3], y[:3], sample_weight=[0.0, 0.0, 0.0])
    for value, now in zip(moved, whole._stream.learners[-1].values.values(), strict=True):
        assert torch.equal(value, now)
    # Weights are absolute: a call whose rows weigh little teaches little.
    _, rows = whole._stream.arrivals.take(X[:2], y[:2], [1e-9, 3e-9])
    assert rows.weight.tolist() == [1e-9, 3e-9]


def test_balanced_classes_count_all_rows_so_far():
    known = ClassCounts()
    known.add(4, np.array(["a", "a", "a", "b"]))
    known.add(2, np.array(["b", "b"]))
    known.add(2, np.array(["a", "a"]))
    assert known.rows == 8
    assert known.balanced() == [{"a": 8 / (2 * 5), "b": 8 / (2 * 3)}]
    X, y = moving()
    tuner = pg.FineTuner(LogisticRegression(class_weight="balanced"), random_state=0)
    streamed(tuner.partial_fit(X[:500], y[:500]), X, y, 500, 502, 1)
    _, rows = tuner._stream.arrivals.take(X[502:503], y[502:503], None)
    counts = np.bincount(y[:503])
    assert float(rows.weight) == pytest.approx(503 / (2 * counts[int(y[502])]))


def test_a_learner_without_finite_losses_is_left_out():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = rng.poisson(np.exp(X[:, 0]))
    tuner = pg.FineTuner(PoissonRegressor(), random_state=0).partial_fit(X, y)
    tuner.partial_fit(X[:50], y[:50])
    stream = tuner._stream
    with torch.no_grad():
        for value in stream.learners[-1].values.values():
            value.fill_(torch.nan)
    tuner.partial_fit(X[50:100], y[50:100])
    assert np.isnan(tuner.stream_[-1]["losses"]["rate 0.064"])
    assert tuner.stream_[-1]["kept"] != "rate 0.064"
    assert all(v.isfinite().all() for v in stream.learners[-1].values.values())
    tuner.partial_fit(X[100:150], y[100:150])
    assert np.isfinite(list(tuner.stream_[-1]["losses"].values())).all()


# Errors change nothing


def test_errors_come_before_anything_changes():
    X, y = moving()
    labels = np.where(y, "yes", "no")
    with pytest.raises(pg.ArgumentError, match="No row of the first call has the labels maybe"):
        bottleneck().partial_fit(X[:500], labels[:500], classes=["yes", "no", "maybe"])
    with pytest.raises(pg.ArgumentError, match="lacks: yes"):
        bottleneck().partial_fit(X[:500], labels[:500], classes=["no"])
    tuner = bottleneck().partial_fit(X[:500], labels[:500])
    streamed(tuner, X, labels, 500, 600, 100)
    before, history = pickle.dumps(tuner), list(tuner.stream_)
    calls = {
        "not fitted on: maybe": (X[:2], ["yes", "maybe"]),
        "3 features": (X[:2, :3], ["yes", "no"]),
        "X has 3 rows|inconsistent": (X[:3], ["yes", "no"]),
        "NaN": (np.full((2, 5), np.nan), ["yes", "no"]),
        "y is missing": (X[:2], None),
        "not what the pipeline was fitted on": (X[:2], ["yes", "no"], ["yes", "never"]),
        "negative": (X[:2], ["yes", "no"], None, [1.0, -1.0]),
    }
    for message, arguments in calls.items():
        with pytest.raises(ValueError, match=message):
            tuner.partial_fit(*arguments)
    assert tuner.stream_ == history
    assert pickle.dumps(tuner) == before
    with pytest.raises(pg.ArgumentError, match="not a classifier"):
        pg.FineTuner(Ridge()).partial_fit(X, X[:, 0], classes=[0, 1])
    with pytest.raises(pg.ArgumentError, match="every parameter is frozen"):
        bottleneck(freeze=["*"]).partial_fit(X, y)
    with pytest.raises(pg.UntranslatableError):
        pg.FineTuner(KNeighborsClassifier(weights=np.exp)).partial_fit(X, y)


def test_an_error_in_the_middle_of_learning_is_undone(monkeypatch):
    X, y = moving()
    tuner = streamed(bottleneck().partial_fit(X[:500], y[:500]), X, y, 500, 600, 100)
    values = [one.copied() for one in tuner._stream.learners]
    history, estimator = list(tuner.stream_), tuner.estimator_

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuner._stream.learners[-1].optimizer, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        tuner.partial_fit(X[600:700], y[600:700])
    assert tuner.stream_ == history
    assert tuner.estimator_ is estimator
    for one, kept in zip(tuner._stream.learners, values, strict=True):
        assert all(torch.equal(one.values[name], kept[name]) for name in kept)


# The evidence by itself


def test_evidence_prefers_the_calmer_of_equals():
    rng = np.random.default_rng(0)
    evidence = FadingLosses(3)
    losses = rng.exponential(size=(1, 500)).repeat(3, 0)
    losses[1:] += 0.1 * rng.normal(size=(2, 500))
    evidence.update(losses)
    assert evidence.best_conservative() == 0
    losses[1] -= 0.1
    losses[2] -= 0.101
    evidence.update(losses)
    assert evidence.best_conservative() == 1
    gap, error = evidence.gap_to(0)
    pooled = np.concatenate([losses[1] - losses[0] + 0.1, losses[1] - losses[0]])
    weights = np.repeat([0.5**0.5, 1.0], 500)
    assert gap[1] == pytest.approx(np.average(pooled, weights=weights))
    assert error[1] == pytest.approx(np.sqrt(np.cov(pooled, aweights=weights) / 970), rel=0.02)


def test_where_a_change_is_expected_the_usual_learner_comes_first():
    noise = np.random.default_rng(0).normal(size=400)
    noise -= noise.mean()
    evidence = FadingLosses(4)
    # The baseline is 1.5 standard errors behind, the second half of one, and the third two.
    start = [0.125 + noise, 0.075 + noise[::-1], 0.15 + noise, np.full(400, 0.05)]
    evidence.update(np.stack(start))
    assert evidence.best_conservative() == 0
    assert evidence.best_unless_within_noise(1) == 1
    assert evidence.best_unless_within_noise(2) == 3


def test_evidence_forgets():
    evidence = FadingLosses(2)
    good, bad = np.zeros(1000), np.ones(1000) + 1e-3 * np.arange(1000)
    for _ in range(3):
        evidence.update(np.stack([good, bad]))
    assert evidence.best_conservative() == 0
    for _ in range(3):
        evidence.update(np.stack([bad, good]))
    assert evidence.best_conservative() == 1


# Of a module


def test_a_module_takes_a_step_in_place():
    X, y = moving()
    pipe = make_pipeline(StandardScaler(), PCA(3), LogisticRegression()).fit(X[:500], y[:500])
    net = pg.to_torch(pipe)
    signs = 2.0 * torch.tensor(y[500:600]) - 1

    def loss():
        return torch.nn.functional.softplus(-signs * net(X[500:600])).mean().detach()

    before, state = float(loss()), torch.random.get_rng_state()
    assert net.partial_fit(X[500:600], y[500:600]) is net
    assert float(loss()) < before
    assert torch.equal(state, torch.random.get_rng_state())
    once = float(loss())
    net.partial_fit(X[500:600], y[500:600], optim=torch.optim.LBFGS, epochs=3)
    assert float(loss()) < once
    with pytest.raises(pg.ArgumentError, match="epochs"):
        net.partial_fit(X[:5], y[:5], epochs=0)
    with pytest.raises(pg.ArgumentError, match="lr= was given"):
        net.partial_fit(X[:5], y[:5], optim=torch.optim.Adam(net.parameters()), lr=0.1)


def test_a_module_stays_near_its_anchor_and_finite():
    net = pg.to_torch(Ridge().fit(X, NUMBERS))
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    with pytest.raises(pg.DivergedError, match="were restored"):
        net.partial_fit(X, 1e200 * NUMBERS, optim=torch.optim.SGD, lr=1e200)
    for name, p in net.named_parameters():
        assert torch.equal(p, start[name])
    far = []
    for anchor in (0.0, 100.0):
        one = copy.deepcopy(net).partial_fit(X, -NUMBERS, epochs=20, anchor=anchor)
        far.append(
            sum(float((p - start[n]).detach().abs().sum()) for n, p in one.named_parameters())
        )
    assert far[1] < 0.5 * far[0]


def test_an_optimizer_of_the_user_keeps_its_state():
    net = pg.to_torch(Ridge().fit(X, NUMBERS))
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    for start in range(0, 96, 32):
        net.partial_fit(X[start : start + 32], NUMBERS[start : start + 32], optim=adam)
    assert {int(state["step"]) for state in adam.state.values()} == {3}


def test_learners_of_the_last_step_leave_the_others():
    X, y = moving()
    tuner = streamed(bottleneck().partial_fit(X[:500], y[:500]), X, y, 500, 520, 20)
    (start, *_), learners = tuner._stream.learners, tuner._stream.learners
    alone = [one for one in learners if one.name.startswith("last step")]
    assert len(alone) == 2
    for one in alone:
        for name, value in one.values.items():
            assert torch.equal(value, start.values[name]) != ("logistic" in name)
    single = pg.FineTuner(Ridge()).partial_fit(X, X[:, 0])
    assert not any(one.name.startswith("last step") for one in single._stream.learners)


def test_weights_scale_losses_and_steps():
    X, y = moving()
    tuner = bottleneck().partial_fit(X[:500], y[:500])
    twice = copy.deepcopy(tuner).partial_fit(X[500:600], y[500:600], sample_weight=np.full(100, 2))
    tuner.partial_fit(X[500:600], y[500:600])
    assert twice.stream_[-1]["loss"] == pytest.approx(2 * tuner.stream_[-1]["loss"])
    steps = []
    for weight in (1.0, 2.0):
        net = pg.to_torch(Ridge().fit(X, X[:, 0]))
        before = net.predict(X)
        options = {"optim": torch.optim.SGD, "lr": 1e-2, "batch_size": 100}
        net.partial_fit(X[:100], X[:100, 1], sample_weight=np.full(100, weight), **options)
        steps.append(net.predict(X) - before)
    np.testing.assert_allclose(steps[1], 2 * steps[0])


def mean_square(score, target):
    return (score.reshape(-1) - target.reshape(-1)).square().mean()


def test_a_loss_that_is_one_number_is_as_noisy_as_its_rows():
    """What is told for many rows at once is one observation, however many rows it is of."""
    pipe = LinearRegression().fit(X[:200], NUMBERS[:200])
    evidence = {}
    for loss in ("squared_error", lambda s, t: 0.5 * mean_square(s, t)):
        stream = pg.FineTuner(pipe, loss=loss, random_state=0)._open_stream(pipe, ClassCounts(200))[
            0
        ]
        for start in range(200, 600, 100):
            stream.learn(X[start : start + 100], NUMBERS[start : start + 100])
        assert stream.history[-1]["rows"] == 100
        evidence[loss] = stream.evidence
    rows, parts = evidence.values()
    np.testing.assert_allclose(parts.sums, rows.sums, rtol=0.02)
    (_, noise), (_, noise_of_parts) = rows.gap_to(0), parts.gap_to(0)
    assert np.all(noise_of_parts[1:] > 0.3 * noise[1:])


def test_groups_cannot_be_compared_as_rows_arrive():
    loss = losses.GroupPenalty("log_loss", strength=1.0)
    tuner = pg.FineTuner(LogisticRegression(), loss=loss, random_state=0)
    with pytest.raises(pg.ArgumentError, match="partial_fit"):
        tuner.partial_fit(X, LABELS)
    assert not hasattr(tuner, "estimator_")
    net = pg.to_torch(LogisticRegression().fit(X, LABELS))
    with pytest.raises(pg.ArgumentError, match="partial_fit"):
        net.partial_fit(X, LABELS, loss=loss)


def test_a_rate_that_is_to_be_found_is_found_by_several_learners():
    tuner = pg.FineTuner(Ridge(), lr="auto", random_state=0).partial_fit(X[:300], NUMBERS[:300])
    tuner.partial_fit(X[300:], NUMBERS[300:])
    assert "rate 0.064" in tuner.stream_[-1]["losses"]
    assert tuner.frozen_ == []
