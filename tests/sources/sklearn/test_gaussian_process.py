"""Gaussian processes, where the contract's examples do not reach."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process import kernels as sk
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.registry import lookup
from pipegrad.sources.sklearn.gaussian_process import covariance
from pipegrad.testing import DATASETS, assert_same_answers, perturb

KERNELS = [
    sk.ConstantKernel(2.0),
    sk.WhiteKernel(0.5),
    sk.RBF(1.5),
    sk.RBF([1.0, 2.0, 0.5]),
    *[sk.Matern(1.5, nu=nu) for nu in (0.5, 1.5, 2.5, np.inf)],
    sk.RationalQuadratic(1.5, 0.7),
    sk.ExpSineSquared(1.2, 3.0),
    sk.DotProduct(1.3),
    *[
        sk.PairwiseKernel(0.4, metric=metric)
        for metric in ("linear", "poly", "rbf", "laplacian", "sigmoid", "cosine", "chi2")
    ],
    sk.PairwiseKernel(
        0.4, metric="polynomial", pairwise_kernels_kwargs={"degree": 2, "coef0": 0.5}
    ),
    sk.PairwiseKernel(metric="additive_chi2"),
    2.0 * sk.RBF(1.5) + sk.WhiteKernel(0.5) * sk.DotProduct(),
    (sk.RBF(1.5) + sk.DotProduct()) ** 3,
]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_every_kernel_is_that_of_the_source(kernel):
    rng = np.random.default_rng(0)
    X, Y = np.abs(rng.normal(size=(7, 3))), np.abs(rng.normal(size=(5, 3)))
    module, rows, others = covariance(kernel), torch.tensor(X), torch.tensor(Y)
    with torch.no_grad():
        np.testing.assert_allclose(module(rows, others), kernel(X, Y), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(module(rows), kernel(X), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(module.diagonal(rows), kernel.diag(X), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_every_kernel_has_the_gradient_of_the_source(kernel):
    X = np.abs(np.random.default_rng(0).normal(size=(6, 3)))
    _, expected = kernel(X, eval_gradient=True)
    module = covariance(kernel)
    ratios = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not ratios:
        assert not used(expected).size
        return
    found = torch.autograd.functional.jacobian(
        lambda *values: torch.func.functional_call(
            module, dict(zip(ratios, values, strict=True)), (torch.tensor(X),)
        ),
        tuple(ratios.values()),
    )
    columns = np.concatenate([np.asarray(part).reshape(6, 6, -1) for part in found], 2)
    assert sorted_columns(columns).shape == sorted_columns(used(expected)).shape
    # The source itself finds the gradient of pairwise kernels by differences.
    tolerance = 1e-3 if "PairwiseKernel" in str(kernel) else 1e-6
    np.testing.assert_allclose(
        sorted_columns(columns), sorted_columns(used(expected)), atol=tolerance
    )


def used(gradient):
    """The columns of parameters on which the kernel depends."""
    return gradient[:, :, np.abs(gradient).max((0, 1)) > 0]


def sorted_columns(gradient):
    order = np.argsort(np.abs(gradient).sum((0, 1)))
    return gradient[:, :, order]


def scaled(name):
    X, y = DATASETS[name]()
    return StandardScaler().fit_transform(X), y


def test_training_changes_all_that_follows_from_the_kernel():
    X, y = scaled("regression")
    kernel = sk.ConstantKernel(1.0) * sk.RBF(np.full(6, 5.0)) + sk.WhiteKernel(1.0)
    operator = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True)
    operator.fit(X[::2], y[::2])
    net = pg.to_torch(operator)
    before = ((operator.predict(X[1::2]) - y[1::2]) ** 2).mean()
    net.fit(X[1::2], y[1::2], epochs=30, lr=0.05, validation=None)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X[1::2]) - y[1::2]) ** 2).mean() < 0.9 * before
    assert_same_answers(net, tuned, X, 1e-7)
    # The source finds the same after a fit with these parameters.
    again = GaussianProcessRegressor(tuned.kernel_, optimizer=None, normalize_y=True)
    again.fit(X[::2], y[::2])
    for part, other in zip(
        tuned.predict(X, return_std=True), again.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_allclose(part, other, rtol=1e-7, atol=1e-9)
    for name in ("log_marginal_likelihood_value_", "L_", "alpha_"):
        np.testing.assert_allclose(getattr(tuned, name), getattr(again, name), rtol=1e-7, atol=1e-9)


def test_training_on_the_own_rows_recovers_from_noise():
    X, y = scaled("regression")
    operator = GaussianProcessRegressor(sk.RBF(2.0) + sk.WhiteKernel(0.5)).fit(X, y)
    net = pg.to_torch(operator)
    before = ((operator.predict(X) - y) ** 2).mean()
    perturb(net, 0.5)
    net.fit(X, y, epochs=40, lr=0.05, validation=None)
    assert ((net.predict(X) - y) ** 2).mean() <= 1.01 * before


def test_an_interpolating_process_keeps_its_own_weights():
    X, y = scaled("regression")
    operator = GaussianProcessRegressor(sk.RBF(3.0), optimizer=None).fit(X, y)
    assert np.linalg.cond(operator.L_) > 100
    net = pg.to_torch(operator)
    assert_same_answers(net, operator, X, 1e-9)
    # Gradients, too, start from these weights, and not from those of another decomposition.
    module = lookup(type(operator)).to_torch(operator)
    np.testing.assert_array_equal(module.present_weights().detach(), operator.alpha_)


def test_parameters_with_fixed_bounds_stay():
    X, y = scaled("regression")
    kernel = sk.ConstantKernel(2.0, "fixed") * sk.RBF(1.5) + sk.WhiteKernel(0.5, "fixed")
    net = pg.to_torch(GaussianProcessRegressor(kernel, optimizer=None).fit(X, y))
    perturb(net)
    tuned = pg.from_torch(net).kernel_
    assert tuned.k1.k1.constant_value == 2.0
    assert tuned.k2.noise_level == 0.5
    assert tuned.k1.k2.length_scale != 1.5
    fixed = GaussianProcessRegressor(sk.RBF(1.5, "fixed")).fit(X, y)
    assert not pg.to_torch(fixed).trainable_parameters()


@pytest.mark.parametrize("name", ["binary_strings", "multiclass"])
def test_gradients_pass_through_classifiers(name):
    X, y = scaled(name)
    X = X[:, :4] * [1, 10, 100, 1]
    gp = GaussianProcessClassifier(2.0 * sk.RBF(2.0), optimizer=None)
    pipeline = make_pipeline(StandardScaler(), gp).fit(X, y)
    net = pg.to_torch(pipeline)
    before = pipeline[-1].base_estimator_
    net.fit(X, y, epochs=5, lr=0.02, validation=None)
    tuned = pg.from_torch(net)
    assert np.abs(tuned[0].scale_ - pipeline[0].scale_).max() > 0
    assert type(tuned[-1].base_estimator_) is type(before)
    assert_same_answers(net, tuned, X, 1e-7)


def test_a_latent_mean_of_zero_is_the_first_class():
    X = np.array([[-1.0], [1.0]])
    operator = GaussianProcessClassifier(1.0 * sk.RBF(1.0), optimizer=None).fit(X, ["a", "b"])
    net = pg.to_torch(operator)
    for row in (0.0, 1e-12, -1e-12, 1e-9, -1e-9):
        assert net.predict([[row]]) == operator.predict([[row]])


class Own(sk.RBF):
    """A kernel of the user."""


def test_other_kernels_and_votes_are_refused():
    X, y = scaled("multiclass")
    target = scaled("regression")[1]
    for reason, kernel in (
        ("Matern with nu=0.7 needs Bessel functions", sk.Matern(1.0, nu=0.7)),
        ("its kernel Own has no module", sk.WhiteKernel() + Own(1.0)),
        ("a function as its metric", sk.PairwiseKernel(metric=lambda a, b, **_: float(a @ b))),
    ):
        fitted = GaussianProcessRegressor(kernel, optimizer=None, alpha=1.0).fit(X, target)
        with pytest.raises(UntranslatableError, match=reason):
            pg.to_torch(fitted)
    votes = GaussianProcessClassifier(optimizer=None, multi_class="one_vs_one").fit(X, y)
    with pytest.raises(UntranslatableError, match="multi_class='one_vs_one' has no probabilities"):
        pg.to_torch(votes)


def test_negative_rows_are_refused_where_the_kernel_takes_none():
    X, y = DATASETS["positive"]()
    kernel = sk.PairwiseKernel(1.0, metric="chi2")
    net = pg.to_torch(GaussianProcessRegressor(kernel, optimizer=None, alpha=1.0).fit(X, y))
    with pytest.raises(ValueError, match="negative"):
        net.predict(-X)


@pytest.mark.parametrize("targets", [None, 1, 3])
@pytest.mark.parametrize("kernel", [None, sk.RBF(), sk.RBF() + sk.WhiteKernel()], ids=str)
def test_a_process_that_is_not_fitted_answers_from_its_prior(kernel, targets):
    rows = np.arange(8.0).reshape(4, 2)
    model = GaussianProcessRegressor(kernel, n_targets=targets)
    net = pg.to_torch(model)
    for given in (rows, rows[:1]):
        np.testing.assert_array_equal(net.predict(given), model.predict(given))
        ours = net.predict(given, return_std=True)
        for one, other in zip(ours, model.predict(given, return_std=True), strict=True):
            np.testing.assert_array_equal(one, other)
    assert net(torch.tensor(rows)).shape == model.predict(rows).shape
    assert not net.trainable_parameters()
    assert pg.from_torch(net).get_params().keys() == model.get_params().keys()
