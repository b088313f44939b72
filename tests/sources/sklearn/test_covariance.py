"""Covariance estimates: matrices without an inverse, zeros of the precision, and training."""

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.covariance import (
    OAS,
    EllipticEnvelope,
    EmpiricalCovariance,
    GraphicalLasso,
    LedoitWolf,
    MinCovDet,
    ShrunkCovariance,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.modules import PatternedPrecision
from pipegrad.testing import DATASETS, assert_close, identical, perturb
from pipegrad.testing.promises import shake

X = DATASETS["correlated"]()[0]
ESTIMATES = [
    EmpiricalCovariance(),
    EmpiricalCovariance(store_precision=False),
    LedoitWolf(),
    OAS(),
    ShrunkCovariance(),
    GraphicalLasso(alpha=0.2),
    MinCovDet(random_state=0),
    EllipticEnvelope(random_state=0),
]


def assert_consistent(net, rows):
    again = pg.from_torch(net)
    assert_close(net.mahalanobis(rows), again.mahalanobis(rows), 1e-9)
    assert net.score(rows, np.ones(len(rows))) == again.score(rows, np.ones(len(rows)))
    product = again.covariance_ @ again.get_precision() @ again.covariance_
    assert_close(product, again.covariance_, 1e-8)
    return again


@pytest.mark.parametrize("estimate", ESTIMATES, ids=str)
def test_covariance_and_precision_stay_inverse(estimate):
    net = pg.to_torch(estimate.fit(X))
    assert_close(net.mahalanobis(X), estimate.mahalanobis(X), 1e-9)
    shake(net)
    again = assert_consistent(net, X)
    assert linalg.eigvalsh(again.get_precision())[0] > 0


@pytest.mark.parametrize("estimate", ESTIMATES[:5], ids=str)
def test_fewer_rows_than_columns_and_constant_columns(estimate):
    rows = X[:4].copy()
    rows[:, 2] = 3.0
    estimate = estimate.fit(rows)
    net = pg.to_torch(estimate)
    assert_close(net.mahalanobis(X), estimate.mahalanobis(X), 1e-9)
    assert identical(pg.from_torch(net), estimate)
    perturb(net)
    assert_consistent(net, X)
    net.fit(rows, epochs=2, validation=None)
    assert np.isfinite(net.mahalanobis(X)).all()


def test_one_row_has_no_spread():
    with pytest.warns(UserWarning, match="Only one sample"):
        estimate = EmpiricalCovariance().fit(X[:1])
    assert_close(pg.to_torch(estimate).mahalanobis(X), np.zeros(len(X)), 0.0)


@pytest.mark.parametrize("estimate", ESTIMATES, ids=str)
def test_single_precision(estimate):
    estimate = estimate.fit(X.astype(np.float32))
    net = pg.to_torch(estimate)
    assert_close(net.mahalanobis(X), estimate.mahalanobis(X), 1e-9)
    perturb(net)
    again = pg.from_torch(net)
    assert again.covariance_.dtype == estimate.covariance_.dtype
    assert_close(net.mahalanobis(X), again.mahalanobis(X), 1e-4)


@pytest.mark.parametrize("estimate", ESTIMATES[:6], ids=str)
def test_training_lowers_the_loss_on_other_rows(estimate):
    pipe = make_pipeline(StandardScaler(), estimate).fit(X[:20])
    net = pg.to_torch(pipe, freeze=["standardscaler"])
    assert float(-net(X)[:, 0].mean().detach()) == pytest.approx(-pipe.score(X))
    net.fit(X, epochs=60, validation=None)
    again = pg.from_torch(net)
    assert again.score(X) > pipe.score(X) + 0.1
    assert float(-net(X)[:, 0].mean().detach()) == pytest.approx(-again.score(X))


def test_outliers_train_on_a_loss_of_the_user():
    detector = EllipticEnvelope(random_state=0).fit(X)
    net = pg.to_torch(detector)
    assert_close(net.decision_function(X), detector.decision_function(X), 1e-9)
    wanted = np.where(np.arange(len(X)) % 2, 1.0, -1.0)
    before = np.maximum(0, 1 - wanted * detector.decision_function(X)).mean()
    net.fit(X, wanted, loss=lambda s, y: torch.relu(1 - y * s), epochs=40, validation=None)
    again = pg.from_torch(net)
    assert np.maximum(0, 1 - wanted * again.decision_function(X)).mean() < before
    assert again.offset_ != detector.offset_
    assert_close(net.decision_function(X), again.decision_function(X), 1e-9)
    assert (net.predict(X) == again.predict(X)).all()
    assert_close(net.score_samples(X), again.score_samples(X), 1e-9)


def test_zeros_of_the_precision_stay():
    estimate = GraphicalLasso(alpha=0.4).fit(X)
    zero = estimate.precision_ == 0
    assert zero.any()
    net = pg.to_torch(estimate)
    shake(net)
    again = pg.from_torch(net)
    assert not again.precision_[zero].any()
    assert (again.precision_[~zero] != estimate.precision_[~zero]).all()


def test_entries_that_would_make_a_matrix_indefinite_shrink():
    initial = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 3.0]], dtype=torch.float64)
    module = PatternedPrecision(initial)
    with torch.no_grad():
        module.entries.fill_(5.0)
    matrix = module()
    assert torch.linalg.eigvalsh(matrix)[0] > 0
    assert matrix[0, 2] == 0
    (-module.log_volume()).backward()
    assert torch.isfinite(module.entries.grad).all()
    assert (module.entries.grad > 0).all()  # A smaller entry makes room.
