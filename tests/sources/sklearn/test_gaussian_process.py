"""Gaussian processes, where the contract's examples do not reach."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process import kernels as sk
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.finetune.losses import get_loss
from pipegrad.modules._gaussian_process import solve_factored
from pipegrad.registry import lookup
from pipegrad.sources.sklearn.gaussian_process import covariance
from pipegrad.testing import DATASETS, assert_same_answers, perturb

ORDERS = (0.3, 1.2, 7.5)
KERNELS = [
    sk.ConstantKernel(2.0),
    sk.WhiteKernel(0.5),
    sk.RBF(1.5),
    sk.RBF([1.0, 2.0, 0.5]),
    *[sk.Matern(1.5, nu=nu) for nu in (0.5, 1.5, 2.5, *ORDERS, np.inf)],
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
    # The source itself finds these gradients by differences.
    by_differences = "PairwiseKernel" in str(kernel) or getattr(kernel, "nu", 0.5) in ORDERS
    tolerance = 1e-3 if by_differences else 1e-6
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


def test_other_kernels_are_refused():
    X, target = DATASETS["similarities"]()
    for reason, kernel in (
        ("Matern with nu=25.0 overflows", sk.Matern(1.0, nu=25.0)),
        ("takes covariances instead", sk.PairwiseKernel(metric="precomputed")),
        ("its kernel Own has no module", sk.WhiteKernel() + Own(1.0)),
        ("a function as its metric", sk.PairwiseKernel(metric=lambda a, b, **_: float(a @ b))),
    ):
        fitted = GaussianProcessRegressor(kernel, optimizer=None, alpha=1.0).fit(X, target)
        with pytest.raises(UntranslatableError, match=reason):
            pg.to_torch(fitted)


@pytest.mark.parametrize(
    ("name", "votes", "warm_start"),
    [
        ("binary_strings", "one_vs_one", False),
        ("multiclass", "one_vs_rest", True),
        ("multiclass", "one_vs_one", False),
    ],
)
def test_training_moves_the_modes_of_classifiers(name, votes, warm_start):
    X, y = scaled(name)
    kernel = sk.ConstantKernel(0.1) * sk.RBF(np.full(6, 9.0)) + 0.01 * sk.DotProduct()
    operator = GaussianProcessClassifier(
        kernel, optimizer=None, multi_class=votes, warm_start=warm_start
    )
    operator.fit(X[::2], y[::2])
    net = pg.to_torch(operator)
    assert (net.predict(X) == operator.predict(X)).all()
    before = loss_of(net, X, y)
    net.fit(X, y, epochs=5, lr=0.2, validation=None)
    tuned = pg.from_torch(net)
    assert loss_of(pg.to_torch(tuned), X, y) < before - 0.02
    assert (net.predict(X) == tuned.predict(X)).all()
    if hasattr(net, "predict_proba") and (votes == "one_vs_rest" or name != "multiclass"):
        np.testing.assert_allclose(net.predict_proba(X), tuned.predict_proba(X), atol=1e-9)
    parts, own = binary_parts(tuned), []
    for part in parts:
        again = clone(part).set_params(kernel=part.kernel_, warm_start=False)
        again.fit(part.X_train_, part.y_train_)
        for name in ("pi_", "W_sr_", "L_", "log_marginal_likelihood_value_"):
            np.testing.assert_allclose(getattr(part, name), getattr(again, name), atol=1e-6)
        own.append(part.log_marginal_likelihood_value_)
    assert tuned.log_marginal_likelihood_value_ == np.mean(own)
    assert tuned.kernel_ != operator.kernel_


def binary_parts(operator):
    return getattr(operator.base_estimator_, "estimators_", [operator.base_estimator_])


def loss_of(net, X, y):
    with torch.no_grad():
        loss = get_loss(net.objective.name)
        return float(loss(net(X), net.encode_target(y)).mean())


def test_the_gradient_of_the_mode_is_that_of_differences():
    X, y = scaled("binary")
    gp = GaussianProcessClassifier(2.0 * sk.RBF(2.0), optimizer=None).fit(X[:12], y[:12])
    module = lookup(type(gp)).to_torch(gp)
    names, values = zip(*module.named_parameters(), strict=True)

    def shares(*numbers):
        given = dict(zip(names, numbers, strict=True))
        return torch.func.functional_call(module, given, (torch.tensor(X[12:15]),))

    assert len(values) == 2
    points = [torch.full_like(value, 0.3, requires_grad=True) for value in values]
    assert torch.autograd.gradcheck(shares, points, eps=1e-5, atol=1e-6)


def test_solutions_have_the_derivatives_of_the_inverse():
    draw = np.random.default_rng(0)
    root, columns = torch.tensor(draw.normal(size=(4, 4))), torch.tensor(draw.normal(size=(4, 2)))

    def solved(root, columns):
        table = root @ root.T + torch.eye(4)
        return solve_factored(table, torch.linalg.cholesky(table), columns)

    torch.testing.assert_close(
        solved(root, columns), torch.linalg.solve(root @ root.T + torch.eye(4), columns)
    )
    points = [root.requires_grad_(), columns.requires_grad_()]
    assert torch.autograd.gradcheck(solved, points)
    assert torch.autograd.gradgradcheck(solved, points)


def test_the_gradient_of_classifiers_passes_to_rows_and_kernel():
    X, y = scaled("binary")
    gp = GaussianProcessClassifier(2.0 * sk.RBF(2.0), optimizer=None).fit(X[:12], y[:12])
    module = lookup(type(gp)).to_torch(gp)
    rows = torch.tensor(X[12:15], requires_grad=True)
    assert torch.autograd.gradcheck(module, (rows,), eps=1e-5, atol=1e-6)
    module.requires_grad_(False)
    assert torch.autograd.gradcheck(module, (rows,), eps=1e-5, atol=1e-6)


def test_without_probabilities_votes_answer_as_the_source():
    X, y = scaled("multiclass")
    operator = GaussianProcessClassifier(optimizer=None, multi_class="one_vs_one").fit(X, y)
    net = pg.to_torch(operator)
    with pytest.raises(ValueError, match="does not support"):
        net.predict_proba(X)
    decisions = operator.base_estimator_.decision_function(X)
    np.testing.assert_allclose(net(X).detach(), decisions, rtol=1e-9)


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
