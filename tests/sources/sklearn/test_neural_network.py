"""Perceptrons and Boltzmann machines, where the contract's examples do not reach."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import pipegrad as pg
from pipegrad.testing import DATASETS, assert_same_answers, perturb


def small(kind, **params):
    return kind(hidden_layer_sizes=(5,), max_iter=30, random_state=0, **params)


def fitted(operator, X, y=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return operator.fit(X, y)


def data(name):
    X, y = DATASETS[name]()
    return StandardScaler().fit_transform(X), y


def test_saturated_probabilities_choose_the_class_that_the_source_chooses():
    X, y = data("multiclass")
    net = fitted(small(MLPClassifier, activation="identity"), X, y)
    net.intercepts_[-1][:] = [1e17, 1e17 + 16, 0.0]  # equal as numbers, or as probabilities
    module = pg.to_torch(net)
    np.testing.assert_array_equal(module.predict(X), net.predict(X))
    assert set(net.predict(X)) == {"ant"} or set(net.predict(X)) == {"bee"}


def test_a_probability_of_one_half_is_the_first_class():
    X, y = data("binary_strings")
    net = fitted(small(MLPClassifier), X, y)
    net.coefs_[-1][:] = 0.0
    for bias in (0.0, 1e-17, 1e-15, -1e-15):
        net.intercepts_[-1][:] = bias
        module = pg.to_torch(net)
        np.testing.assert_array_equal(module.predict(X), net.predict(X))
        np.testing.assert_array_equal(module.predict_proba(X), net.predict_proba(X))


def test_labels_of_a_sparse_matrix_are_predicted_as_one():
    X, Y = data("multilabel")
    net = fitted(small(MLPClassifier), X, sparse.csr_matrix(Y))
    module = pg.to_torch(net)
    assert_same_answers(module, net, X, 1e-9)
    assert sparse.issparse(module.predict(X))
    module.fit(X, Y, epochs=2, validation=None)
    assert sparse.issparse(pg.from_torch(module).predict(X))


@pytest.mark.parametrize("kind", [sparse.csc_array, sparse.coo_matrix, sparse.csr_matrix])
def test_sparse_rows_of_every_kind_of_index(kind):
    X, y = DATASETS["sparse"]()
    net = fitted(small(MLPRegressor), X, y)
    given = kind(X)
    if given.format == "csr":
        given.indices, given.indptr = given.indices.astype(np.int64), given.indptr.astype(np.int64)
    np.testing.assert_allclose(pg.to_torch(net).predict(given), net.predict(X), rtol=1e-9)


def test_a_network_that_was_fitted_on_float32_answers_in_float32():
    X, y = data("multiclass")
    narrow = X.astype(np.float32)
    net = fitted(small(MLPClassifier), narrow, y)
    module = pg.to_torch(net)
    assert module.predict_proba(narrow).dtype == net.predict_proba(narrow).dtype == np.float32
    np.testing.assert_allclose(module.predict_proba(narrow), net.predict_proba(narrow), atol=1e-6)
    perturb(module)
    assert all(coef.dtype == np.float32 for coef in pg.from_torch(module).coefs_)


def test_the_fit_goes_on_from_the_trained_numbers():
    X, y = data("regression")
    net = fitted(small(MLPRegressor, warm_start=True, early_stopping=True), X, y)
    module = pg.to_torch(net)
    perturb(module, 0.5)
    tuned = pg.from_torch(module)
    trained = [coef.copy() for coef in tuned.coefs_]
    tuned.set_params(learning_rate_init=1e-300, n_iter_no_change=1)
    fitted(tuned, X, y)
    np.testing.assert_allclose(tuned.coefs_[0], trained[0])
    other = fitted(small(MLPRegressor), X, y)
    module = pg.to_torch(other)
    perturb(module, 0.5)
    before, tuned = module.predict(X), pg.from_torch(module)
    tuned.set_params(learning_rate_init=1e-12)
    tuned._optimizer.learning_rate_init = 1e-12
    tuned.partial_fit(X, y)
    np.testing.assert_allclose(tuned.predict(X), before, rtol=1e-6, atol=1e-6)


def test_gradients_reach_the_steps_before_and_the_layers_train_with_them():
    X, y = DATASETS["regression"]()
    pipe = fitted(make_pipeline(StandardScaler(), small(MLPRegressor, solver="lbfgs")), X, y)
    net = pg.to_torch(pipe)
    before = ((net.predict(X) - y) ** 2).mean()
    net.fit(X, y, optim=torch.optim.LBFGS, validation=None, epochs=20)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < before
    assert not np.array_equal(tuned[0].mean_, pipe[0].mean_)


def test_a_boltzmann_machine_trains_on_the_loss_of_what_follows():
    X, y = DATASETS["regression"]()
    machine = BernoulliRBM(n_components=4, n_iter=3, random_state=0)
    pipe = fitted(make_pipeline(MinMaxScaler(), machine, Ridge(alpha=1e-3)), X, y)
    net = pg.to_torch(pipe)
    before = ((net.predict(X) - y) ** 2).mean()
    net.fit(X, y, validation=None, epochs=30)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < 0.9 * before
    np.testing.assert_array_equal(tuned[1].intercept_visible_, pipe[1].intercept_visible_)
    alone = pg.to_torch(tuned[1])
    inside = tuned[0].transform(X)
    np.testing.assert_allclose(alone.score_samples(inside), tuned[1].score_samples(inside))
