"""Every loss against scikit-learn's own figures, or against its formula."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn._loss import loss as sklearn_loss
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._sgd_fast import Hinge, ModifiedHuber, SquaredHinge
from sklearn.pipeline import make_pipeline

import pipegrad as pg
from pipegrad.finetune import losses
from pipegrad.losses import LOSSES, get_loss

RNG = np.random.default_rng(0)
N, K = 60, 4
F = RNG.normal(size=N) * 2
Y = np.abs(RNG.normal(size=N)) + 0.1
TABLE = RNG.normal(size=(N, K)) * 2
CLASS = RNG.integers(0, K, N)
BINARY = RNG.integers(0, 2, N)
LABELS = RNG.integers(0, 2, (N, K))
S = 2.0 * BINARY - 1
SIGNS = np.where(CLASS[:, None] == np.arange(K), 1.0, -1.0)


def value(name, score, target=None, **options):
    target = None if target is None else torch.as_tensor(target)
    out = get_loss(name)(torch.as_tensor(score), target, **options)
    assert out.shape == (len(score),)
    return out.numpy()


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


REGRESSION = {
    "squared_error": ({}, lambda: sklearn_loss.HalfSquaredError().loss(Y, F)),
    "absolute_error": ({}, lambda: sklearn_loss.AbsoluteError().loss(Y, F)),
    "pinball": ({"quantile": 0.3}, lambda: sklearn_loss.PinballLoss(quantile=0.3).loss(Y, F)),
    "huber": (
        {"delta": 0.7},
        lambda: np.where(np.abs(Y - F) <= 0.7, (Y - F) ** 2 / 2, 0.7 * (np.abs(Y - F) - 0.7 / 2)),
    ),
    "epsilon_insensitive": ({"epsilon": 0.4}, lambda: np.maximum(0, np.abs(Y - F) - 0.4)),
    "squared_epsilon_insensitive": (
        {"epsilon": 0.4},
        lambda: np.maximum(0, np.abs(Y - F) - 0.4) ** 2,
    ),
    "poisson": ({}, lambda: sklearn_loss.HalfPoissonLoss().loss(Y, F)),
    "gamma": ({}, lambda: sklearn_loss.HalfGammaLoss().loss(Y, F)),
}


@pytest.mark.parametrize("name", REGRESSION)
def test_losses_of_regressors(name):
    options, wanted = REGRESSION[name]
    close(value(name, F, Y, **options), wanted())


@pytest.mark.parametrize("power", [-1.0, 0, 1, 1.5, 1.9, 2, 3])
@pytest.mark.parametrize("link", ["log", "identity"])
def test_tweedie_is_half_the_deviance_up_to_a_constant(power, link):
    mean = np.exp(F)
    found = value("tweedie", F if link == "log" else mean, Y, power=power, link=link)
    constant = 0.0
    if power == 1:
        constant = Y * np.log(Y) - Y
    if power == 2:
        constant = -np.log(Y) - 1
    rows = [metrics.mean_tweedie_deviance([y], [m], power=power) for y, m in zip(Y, mean)]
    close(2 * (found + constant), rows)


def test_poisson_and_gamma_agree_with_the_metrics():
    mean = np.exp(F)
    deviance = 2 * (value("poisson", F, Y) + Y * np.log(Y) - Y).mean()
    close(deviance, metrics.mean_poisson_deviance(Y, mean))
    deviance = 2 * (value("gamma", F, Y) - np.log(Y) - 1).mean()
    close(deviance, metrics.mean_gamma_deviance(Y, mean))


def test_poisson_with_zero_counts():
    out = value("tweedie", np.ones(3), np.array([0.0, 1.0, 2.0]), power=1, link="identity")
    close(out, [1.0, 1.0, 1.0])


@pytest.mark.parametrize("name", [n for n in REGRESSION if n not in ("poisson", "gamma")])
def test_several_outputs_are_averaged(name):
    target = RNG.normal(size=(N, 3))
    score = RNG.normal(size=(N, 3))
    each = [value(name, score[:, j], target[:, j]) for j in range(3)]
    close(value(name, score, target), np.mean(each, 0))


def test_log_loss_of_two_classes():
    close(value("log_loss", F, BINARY), sklearn_loss.HalfBinomialLoss().loss(1.0 * BINARY, F))
    probability = 1 / (1 + np.exp(-2 * F))
    found = value("log_loss", F, BINARY, scale=2.0).mean()
    close(found, metrics.log_loss(BINARY, probability))


def test_log_loss_of_several_classes():
    wanted = sklearn_loss.HalfMultinomialLoss(n_classes=K).loss(1.0 * CLASS, TABLE)
    close(value("log_loss", TABLE, CLASS), wanted)


def test_one_against_the_rest():
    close(value("one_vs_rest_log_loss", TABLE, CLASS), np.log1p(np.exp(-SIGNS * TABLE)).sum(1))
    close(value("one_vs_rest_log_loss", F, BINARY), value("log_loss", F, BINARY))


def test_labels_are_summed():
    signs = 2.0 * LABELS - 1
    close(value("log_loss", TABLE, LABELS), np.log1p(np.exp(-signs * TABLE)).sum(1))
    close(value("hinge", TABLE, LABELS), np.maximum(0, 1 - signs * TABLE).sum(1))


MARGINS = {
    "hinge": lambda z: np.maximum(0, 1 - z),
    "squared_hinge": lambda z: np.maximum(0, 1 - z) ** 2,
    "perceptron": lambda z: np.maximum(0, -z),
    "modified_huber": lambda z: np.where(z >= 1, 0, np.where(z >= -1, (1 - z) ** 2, -4 * z)),
    "squared_error_on_signs": lambda z: (1 - z) ** 2 / 2,
    "huber_on_signs": lambda z: np.where(np.abs(1 - z) <= 1, (1 - z) ** 2 / 2, np.abs(1 - z) - 0.5),
    "epsilon_insensitive_on_signs": lambda z: np.maximum(0, np.abs(1 - z) - 0.1),
    "squared_epsilon_insensitive_on_signs": lambda z: np.maximum(0, np.abs(1 - z) - 0.1) ** 2,
}


@pytest.mark.parametrize("name", MARGINS)
def test_losses_of_a_margin(name):
    close(value(name, F, BINARY), MARGINS[name](S * F))
    close(value(name, TABLE, CLASS), MARGINS[name](SIGNS * TABLE).sum(1))


def _sgd(loss):
    call = getattr(loss, "py_loss", None) or loss.loss
    # The argument order of scikit-learn's private classes: prediction, then sign.
    return np.array([call(f, s) for f, s in zip(F, S)])


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("hinge", Hinge(1.0)),
        ("perceptron", Hinge(0.0)),
        ("squared_hinge", SquaredHinge(1.0)),
        ("modified_huber", ModifiedHuber()),
    ],
)
def test_margins_agree_with_the_losses_of_sgd(name, loss):
    if not hasattr(loss, "py_loss"):
        pytest.skip("this scikit-learn does not show its losses to Python")
    close(value(name, F, BINARY), _sgd(loss))


def test_hinge_agrees_with_the_metric():
    close(value("hinge", F, BINARY).mean(), metrics.hinge_loss(BINARY, F))
    # The metric takes the best of the other classes, as Crammer and Singer do.
    close(value("crammer_singer", TABLE, CLASS).mean(), metrics.hinge_loss(CLASS, TABLE))


def test_negative_log_likelihood_of_a_table_of_probabilities():
    table = np.exp(TABLE) / np.exp(TABLE).sum(1, keepdims=True)
    close(value("negative_log_likelihood", table, CLASS).mean(), metrics.log_loss(CLASS, table))
    certain = np.eye(K)[(CLASS + 1) % K]
    found = value("negative_log_likelihood", certain, CLASS)
    close(found, np.full(N, -np.log(np.finfo(float).eps)))


def test_an_outcome_of_probability_zero_can_become_possible():
    table = torch.tensor([[0.0, 1.0], [0.5, 0.5]], dtype=torch.float64, requires_grad=True)
    terms = get_loss("negative_log_likelihood")(table, torch.tensor([0, 0]))
    assert terms[0] == -np.log(np.finfo(float).eps)
    terms.sum().backward()
    close(table.grad, np.array([[-100.0, 0.0], [-2.0, 0.0]]))


def test_inertia_needs_no_target():
    distances = np.abs(TABLE)
    close(value("inertia", distances), distances.min(1) ** 2)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_the_right_gradient(name):
    loss = LOSSES[name]
    # tweedie, poisson and their kin want positive targets; none sits on a kink.
    target = {"value": torch.as_tensor(Y), "class": torch.as_tensor(CLASS), "none": None}
    score = torch.as_tensor(F if loss.target == "value" else TABLE).clone()
    if name in ("inertia", "negative_log_likelihood"):
        score = score.abs() + 0.1
    if name == "pairwise_auc":
        score, target["class"] = torch.as_tensor(F).clone(), torch.as_tensor(BINARY)
    if loss.pairwise:
        score = torch.as_tensor(RNG.normal(size=(N, K * (K - 1) // 2)))
    score.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, target[loss.target]), (score,))


def test_unknown_names_list_the_known_ones():
    with pytest.raises(pg.ArgumentError, match="squared_hinge"):
        get_loss("mse")


def test_signs_of_labels_and_classes():
    score = torch.zeros(2, 3)
    assert losses.signs(score, torch.tensor([0, 2])).tolist() == [[1, -1, -1], [-1, -1, 1]]
    labels = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert losses.signs(score, labels).tolist() == [[-1, 1, 1], [1, -1, -1]]


def test_focal_loss():
    p = 1 / (1 + np.exp(-F))
    chosen = np.where(BINARY == 1, p, 1 - p)
    close(value("focal", F, BINARY), -((1 - chosen) ** 2) * np.log(chosen))
    close(value("focal", F, BINARY, gamma=0.0), value("log_loss", F, BINARY))
    shares = np.exp(TABLE) / np.exp(TABLE).sum(1, keepdims=True)
    chosen = shares[np.arange(N), CLASS]
    close(value("focal", TABLE, CLASS, gamma=0.5), -((1 - chosen) ** 0.5) * np.log(chosen))
    sure = torch.tensor([800.0], dtype=torch.float64, requires_grad=True)
    get_loss("focal")(sure, torch.tensor([1]), gamma=0.5).sum().backward()
    assert torch.isfinite(sure.grad).all()


def test_ranking():
    gaps = np.log1p(np.exp(-(F[:, None] - F))) * (Y[:, None] > Y)
    gaps = gaps + gaps.T
    close(value("pairwise_logistic", F, Y), gaps.sum(1) / (N - 1))
    close(value("pairwise_logistic", F[:1], Y[:1]), [0.0])
    ahead = np.log1p(np.exp(-(F[BINARY == 1][:, None] - F[BINARY == 0])))
    found = value("pairwise_auc", F, BINARY)
    close(found[BINARY == 1], ahead.mean(1))
    close(found[BINARY == 0], ahead.mean(0))
    many = torch.arange(5000.0)
    assert get_loss("pairwise_logistic")(many, many).shape == (5000,)
    with pytest.raises(pg.ArgumentError, match="needs two classes"):
        value("pairwise_auc", TABLE, CLASS)
    close(value("pairwise_logistic", F[:, None], Y[:, None]), value("pairwise_logistic", F, Y))
    with pytest.raises(pg.ArgumentError, match="needs one number"):
        value("pairwise_logistic", TABLE, TABLE)


def test_a_pipeline_is_tuned_for_the_order_of_its_scores():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(900, 6))
    y = (X[:, 0] * X[:, 1] + 0.5 * X[:, 2] + 0.3 * rng.normal(size=900) > 1).astype(int)
    pipe = make_pipeline(Nystroem(n_components=15, random_state=0), LogisticRegression(C=0.1))
    pipe.fit(X[:400], y[:400])
    net = pg.to_torch(pipe)
    net.fit(
        X[:400],
        y[:400],
        loss="pairwise_auc",
        optim=torch.optim.LBFGS,
        validation=(X[400:600], y[400:600]),
        epochs=5,
    )
    better = pg.from_torch(net)
    areas = [metrics.roc_auc_score(y[600:], p.predict_proba(X[600:])[:, 1]) for p in (pipe, better)]
    assert areas[1] > areas[0] + 0.02


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("pinball", "quantile", 90),
        ("pinball", "quantile", float("nan")),
        ("focal", "gamma", -1),
        ("huber", "delta", 0),
        ("huber", "delta", "big"),
    ],
)
def test_numbers_that_make_no_loss_are_refused(name, option, value):
    with pytest.raises(pg.ArgumentError, match=f"{option} must be"):
        losses.named(name, **{option: value})
