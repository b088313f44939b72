"""Losses made of other losses: options by name, weights for targets, sums."""

import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from pipegrad.finetune import portfolio
from pipegrad.losses import LOSSES, Sum, Weighted, get_loss, named
from pipegrad.training.criterion import make_criterion

RNG = np.random.default_rng(0)
N = 120
X = RNG.normal(size=(N, 4))
TWO = np.c_[X[:, 0] + X[:, 1], np.exp(X[:, 2] / 2)] + 0.1 * RNG.normal(size=(N, 2))
BINARY = (X[:, 0] + 0.5 * RNG.normal(size=N) > 0).astype(int)
LABELS = np.c_[BINARY, (X[:, 1] > 0.3).astype(int), (X[:, 2] > 0).astype(int)]


@pytest.fixture
def short(monkeypatch):
    """Short runs, for tests of what happens around them."""
    monkeypatch.setattr(portfolio, "_MIN_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MAX_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MIN_EPOCHS", 2)
    monkeypatch.setattr(portfolio, "_MAX_EPOCHS", 4)
    monkeypatch.setattr(portfolio, "_MAX_ITERATIONS", 12)


def of(estimator, loss, y, X=X):
    """The loss of each row of a fitted pipeline, and the module."""
    net = pg.to_torch(estimator)
    function, _ = make_criterion(loss, net.objective, net.head)
    return function(net(X), net.encode_target(y)), net


def square(score, target):
    return (score - target).square()


# Options by name


def test_named_gives_options_to_a_loss():
    rows, net = of(Ridge().fit(X, TWO[:, 0]), named("pinball", quantile=0.9), TWO[:, 0])
    short = TWO[:, 0] - net.predict(X)
    wanted = np.where(short > 0, 0.9 * short, -0.1 * short)
    np.testing.assert_allclose(rows.detach(), wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pinbal", {}, "is not known"),
        ("pinball", {"alpha": 0.9}, "its options are quantile"),
        ("hinge", {"margin": 1}, "it has no options"),
    ],
)
def test_named_refuses_what_is_not_there(name, options, message):
    with pytest.raises(pg.ArgumentError, match=message):
        named(name, **options)


def test_options_leave_the_weights_of_classes():
    pipe = LogisticRegression(class_weight={0: 1, 1: 5}).fit(X, BINARY)
    net = pg.to_torch(pipe)
    for loss in ("focal", named("focal"), Sum("focal")):
        assert make_criterion(loss, net.objective, net.head)[1].class_weight == {0: 1, 1: 5}
    own = pg.Objective("focal", {}, "balanced")
    assert make_criterion(own, net.objective, net.head)[1].class_weight == "balanced"


# Weights for targets


def test_numbers_are_averaged_with_their_weights():
    pipe = Ridge().fit(X, TWO)
    each = (pipe.predict(X) - TWO) ** 2 / 2
    rows, _ = of(pipe, Weighted("squared_error", [1, 5]), TWO)
    assert rows.shape == (N,)
    np.testing.assert_allclose(rows.detach(), (each[:, 0] + 5 * each[:, 1]) / 2, rtol=1e-9)
    plain, _ = of(pipe, "squared_error", TWO)
    ones, _ = of(pipe, Weighted(None, [1, 1]), TWO)
    np.testing.assert_allclose(ones.detach(), plain.detach(), rtol=1e-12)


def test_each_target_may_have_its_own_loss():
    pipe = Ridge().fit(X, TWO)
    error = pipe.predict(X) - TWO
    rows, _ = of(pipe, Weighted([square, "absolute_error"], [2.0, 0.5]), TWO)
    wanted = (2 * error[:, 0] ** 2 + 0.5 * np.abs(error[:, 1])) / 2
    np.testing.assert_allclose(rows.detach(), wanted, rtol=1e-9)
    assert Weighted(["huber", "huber"], [1, 2]) == Weighted(("huber", "huber"), (1.0, 2.0))


def test_labels_are_added_with_their_weights():
    pipe = RidgeClassifier().fit(X, LABELS)
    score = pg.to_torch(pipe)(X).detach().numpy()
    each = np.log1p(np.exp(-(2 * LABELS - 1) * score))
    rows, _ = of(pipe, Weighted("log_loss", [1, 0, 3]), LABELS)
    np.testing.assert_allclose(rows.detach(), each[:, 0] + 3 * each[:, 2], rtol=1e-9)
    plain, _ = of(pipe, None, LABELS)
    ones, _ = of(pipe, Weighted(None, [1, 1, 1]), LABELS)
    np.testing.assert_allclose(ones.detach(), plain.detach().sum(1), rtol=1e-12)


@pytest.mark.parametrize("loss", [None, "negative_log_likelihood"])
def test_several_classifications_are_added_with_their_weights(loss):
    y = np.c_[BINARY, np.digitize(X[:, 1], [-0.5, 0.5])]
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y)
    tables = [t[np.arange(N), c] for t, c in zip(tree.predict_proba(X), y.T)]
    each = -np.log(np.maximum(tables, np.finfo(float).eps))
    rows, _ = of(tree, Weighted(loss, [1, 4]), y)
    np.testing.assert_allclose(rows.detach(), each[0] + 4 * each[1], rtol=1e-9)


def test_a_single_column_is_one_target():
    rows, _ = of(Ridge().fit(X, TWO[:, :1]), Weighted("squared_error", [2]), TWO[:, :1])
    plain, _ = of(Ridge().fit(X, TWO[:, :1]), "squared_error", TWO[:, :1])
    np.testing.assert_allclose(rows.detach(), 2 * plain.detach(), rtol=1e-12)


def test_the_gradient_of_each_target_has_its_weight():
    pipe = Ridge().fit(X, TWO)
    grads = []
    for weights in ([1, 1], [1, 5]):
        rows, net = of(pipe, Weighted("squared_error", weights), TWO + 1)
        rows.sum().backward()
        grads.append(next(p.grad for p in net.parameters() if p.shape == (2,)))
    torch.testing.assert_close(grads[1], grads[0] * torch.tensor([1.0, 5.0]).double())
    assert (grads[0] != 0).all()


@pytest.mark.parametrize(
    ("loss", "weights", "message"),
    [
        ("squared_error", [1, -1], "must be finite and non-negative"),
        ("squared_error", [1, np.nan], "must be finite and non-negative"),
        ("squared_error", ["a", 1], "must be finite and non-negative"),
        ("squared_error", [0, 0], "weights must contain a positive number"),
        ("squared_error", [], "weights must contain a positive number"),
        (["squared_error"], [1, 2], "1 losses and 2 weights"),
    ],
)
def test_weights_are_checked(loss, weights, message):
    with pytest.raises(pg.ArgumentError, match=message):
        Weighted(loss, weights)


def test_a_wrong_number_of_weights_is_refused_before_anything_is_fitted(monkeypatch):
    def fit(*_):
        raise AssertionError("it was fitted")

    monkeypatch.setattr(Ridge, "fit", fit)
    for loss in (Weighted("huber", [1, 2, 3]), Sum((Weighted("huber", [1, 2, 3]), 1.0))):
        with pytest.raises(pg.ArgumentError, match="3 weights, y has 2 targets"):
            pg.FineTuner(Ridge(), loss=loss).fit(X, TWO)
    with pytest.raises(pg.ArgumentError, match="2 weights, y has 1 targets"):
        pg.FineTuner(Ridge(), loss=Weighted("huber", [1, 2])).fit(X, TWO[:, 0])
    with pytest.raises(pg.ArgumentError, match="is not known"):
        pg.FineTuner(Ridge(), loss=Weighted("huge", [1, 2])).fit(X, TWO)


def test_one_classification_has_no_targets_to_weigh():
    net = pg.to_torch(LogisticRegression().fit(X, BINARY))
    with pytest.raises(pg.ArgumentError, match="class_weight="):
        net.fit(X, BINARY, loss=Weighted("log_loss", [1.0]))


def test_a_score_of_other_width_is_refused():
    loss = Weighted("squared_error", [1, 2])
    function, _ = make_criterion(loss, None, pg.to_torch(Ridge().fit(X, TWO)).head)
    with pytest.raises(pg.ArgumentError, match="the pipeline predicts 3"):
        function(torch.zeros(5, 3), torch.zeros(5, 2))


# Sums


def test_a_sum_adds_its_terms():
    pipe = LogisticRegression().fit(X, BINARY)
    rows, net = of(pipe, Sum("log_loss", (named("focal", gamma=1.0), 0.3)), BINARY)
    score, target = net(X), net.encode_target(BINARY)
    wanted = get_loss("log_loss")(score, target) + 0.3 * get_loss("focal")(score, target, gamma=1.0)
    torch.testing.assert_close(rows, wanted)


def test_a_sum_keeps_the_scale_of_each_loss():
    # The score of this regressor is a logarithm; a squared error is one of its means.
    y = np.round(np.exp(TWO[:, 0]))
    pipe = PoissonRegressor().fit(X, y)
    mean = pipe.predict(X)
    rows, _ = of(pipe, Sum((None, 2.0), ("squared_error", 0.5)), y)
    wanted = 2 * (mean - y * np.log(mean)) + 0.25 * (mean - y) ** 2
    np.testing.assert_allclose(rows.detach(), wanted, rtol=1e-8)


def test_sums_and_weights_nest():
    pipe = Ridge().fit(X, TWO)
    both = Sum((Weighted("squared_error", [1, 5]), 2.0), square)
    error = pipe.predict(X) - TWO
    rows, _ = of(pipe, both, TWO)
    wanted = error[:, 0] ** 2 / 2 + 5 * error[:, 1] ** 2 / 2 + (error**2).sum(1)
    np.testing.assert_allclose(rows.detach(), wanted, rtol=1e-9)
    inside = Weighted(Sum("squared_error", (square, 2.0)), [1, 0])
    rows, _ = of(pipe, inside, TWO)
    np.testing.assert_allclose(rows.detach(), 1.25 * error[:, 0] ** 2, rtol=1e-9)


def test_one_number_is_no_part():
    net = pg.to_torch(Ridge().fit(X, TWO[:, 0]))
    with pytest.raises(pg.ArgumentError, match=r"gave shape \(\) for 16 rows"):
        net.fit(X, TWO[:, 0], loss=Sum(lambda score, y: (score - y).abs().mean()))
    with pytest.raises(pg.ArgumentError, match="gave float"):
        net.fit(X, TWO[:, 0], loss=Sum(lambda score, y: 1.0))


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ((), "needs a loss with a positive factor"),
        ((("hinge", 0.0),), "needs a loss with a positive factor"),
        ((("hinge", -1.0),), "must be finite and non-negative"),
        ((("hinge", 1.0, 2.0),), "pairs"),
    ],
)
def test_sums_are_checked(terms, message):
    with pytest.raises(pg.ArgumentError, match=message):
        Sum(*terms)


def test_losses_of_the_wrong_kind_are_refused_inside():
    net = pg.to_torch(Ridge().fit(X, TWO[:, 0]))
    with pytest.raises(pg.ArgumentError, match="is for classification"):
        net.fit(X, TWO[:, 0], loss=Sum("squared_error", "hinge"))


# As parts of an estimator


@pytest.mark.parametrize(
    "loss",
    [
        Weighted("squared_error", [1, 20]),
        Weighted([square, "huber"], [1, 2]),
        Sum("squared_error", (square, 0.5)),
        named("huber", delta=2.0),
    ],
    ids=["weighted", "each", "sum", "named"],
)
def test_tuners_copy_and_pickle(loss):
    tuner = pg.FineTuner(Ridge(), loss=loss)
    for again in (clone(tuner), pickle.loads(pickle.dumps(tuner))):
        assert again.loss == loss
        assert repr(again) == repr(tuner)


def test_a_tuner_minds_the_weights(short):
    # One column for both targets: what it is good for depends on who counts.
    y = np.c_[X[:, 0], X[:, 1]] + 0.05 * RNG.normal(size=(N, 2))
    net = pg.to_torch(make_pipeline(StandardScaler(), Ridge(alpha=300)).fit(X, y))
    net.fit(X, y, loss=Weighted(None, [0, 1]), optim=torch.optim.LBFGS, validation=None)
    before = (
        (make_pipeline(StandardScaler(), Ridge(alpha=300)).fit(X, y).predict(X) - y) ** 2
    ).mean(0)
    after = ((net.predict(X) - y) ** 2).mean(0)
    assert after[1] < 0.05 * before[1]
    assert after[0] > 0.5 * before[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = pg.FineTuner(
            make_pipeline(StandardScaler(), Ridge(alpha=300)),
            loss=Weighted("squared_error", [1, 5]),
            random_state=0,
        ).fit(X, y)
    assert tuner.improved_
    assert ((tuner.predict(X) - y) ** 2).mean() < 0.5 * before.mean()


def test_the_page_lists_every_loss():
    page = (Path(__file__).parents[2] / "docs" / "losses.md").read_text("utf-8")
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", rows)) == set(LOSSES)
