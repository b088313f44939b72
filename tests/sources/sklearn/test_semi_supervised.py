"""Propagated labels: kernels and neighbors, rows without any weight, and training."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

import pipegrad as pg
from helpers import assert_alike
from pipegrad.errors import UntranslatableError
from pipegrad.testing import DATASETS, assert_close, identical, perturb
from pipegrad.testing.comparison import learned

KINDS = [LabelPropagation, LabelSpreading]
KERNELS = [{"kernel": "rbf", "gamma": 0.7}, {"kernel": "knn", "n_neighbors": 4}]
pytestmark = pytest.mark.filterwarnings(
    "ignore:invalid value encountered:RuntimeWarning",
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning",
)


def scaled():
    X, y = DATASETS["partly_labeled"]()
    return StandardScaler().fit_transform(X), y


def round_trip(model, X):
    """As for other sources, without the number of calls, which a tree of neighbors counts."""
    net = pg.to_torch(model)
    assert_alike(net, model, X)
    assert identical(learned(pg.from_torch(net)), learned(model))
    perturb(net)
    again = pg.from_torch(net)
    assert_alike(net, again, X)
    assert not identical(learned(again), learned(model))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_rows_of_every_form(kind, kernel, form):
    X, y = scaled()
    X = form(np.where(np.abs(X) < 0.3, 0, X))
    model = kind(**kernel).fit(X, y)
    round_trip(model, X)
    assert_alike(pg.to_torch(model), model, X[:7])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_single_precision_and_whole_numbers(kind, kernel):
    X, y = scaled()
    model = kind(**kernel).fit(X.astype(np.float32), y)
    net = pg.to_torch(model)
    assert_alike(net, model, X.astype(np.float32), 1e-5)
    perturb(net)
    assert_alike(net, pg.from_torch(net), X, 1e-5)
    whole = np.round(2 * X).astype(int)
    round_trip(kind(**kernel).fit(whole, y), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_ties_of_neighbors(kind):
    X, y = scaled()
    whole = np.round(X[:, :2])
    round_trip(kind(kernel="knn", n_neighbors=3).fit(whole, y), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_far_from_all_others_have_no_probabilities(kind):
    X, y = scaled()
    model = kind().fit(X, y)
    far = np.vstack([X[:3], 1000 + X[:3]])
    assert np.isnan(model.predict_proba(far)[3:]).all()
    net = pg.to_torch(model)
    assert_alike(net, model, far)
    assert (net.predict(far)[3:] == model.classes_[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_stored_rows_without_a_share_stay_without(kind):
    X, y = scaled()
    X[4] += 1000  # No label reaches it.
    assert y[4] == -1
    model = kind(gamma=0.7).fit(X, y)
    assert not model.label_distributions_[4].any()
    net = pg.to_torch(model)
    perturb(net, 1.0)
    again = pg.from_torch(net)
    assert not again.label_distributions_[4].any()
    assert_close(np.delete(again.label_distributions_.sum(1), 4), np.ones(len(y) - 1), 1e-12)
    assert_alike(net, again, X)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_training_lowers_the_loss_and_the_transduction_follows(kind, kernel):
    X, y = scaled()
    truth = np.unique(DATASETS["multiclass"]()[1], return_inverse=True)[1]
    pipe = make_pipeline(PCA(4), kind(**kernel)).fit(X, y)
    net = pg.to_torch(pipe)
    net.fit(X, truth, epochs=60, validation=None)
    before = log_loss(pipe, X, truth)
    again = pg.from_torch(net)
    assert log_loss(again, X, truth) < before - 0.05
    assert not identical(again[0], pipe[0])
    assert_alike(net, again, X)
    model = again[-1]
    most = model.classes_[model.label_distributions_.argmax(1)]
    assert (model.transduction_ == most).all()
    assert (model.transduction_ != pipe[-1].transduction_).any()


def log_loss(model, X, y):
    return -np.log(model.predict_proba(X)[np.arange(len(y)), y].clip(1e-12)).mean()


def test_functions_as_kernels_are_refused():
    X, y = scaled()
    model = LabelSpreading(kernel=lambda a, b: np.exp(-((a[:, None] - b) ** 2).sum(2))).fit(X, y)
    with pytest.raises(UntranslatableError, match="is Python code"):
        pg.to_torch(model)


def test_too_many_sparse_rows_for_neighbors_are_refused(monkeypatch):
    X, y = scaled()
    monkeypatch.setattr("pipegrad.sources.sklearn.semi_supervised.MOST_NUMBERS", 100)
    model = LabelSpreading(kernel="knn").fit(sparse.csr_matrix(X), y)
    with pytest.raises(UntranslatableError, match="GB as dense ones"):
        pg.to_torch(model)
