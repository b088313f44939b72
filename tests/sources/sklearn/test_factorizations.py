"""Non-negative factorizations and topics, beyond the contract's examples."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import NMF, LatentDirichletAllocation, MiniBatchNMF
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.modules import Factorization, Inference, NonNegativeWeights, SparseRows, TopicShares
from pipegrad.testing import DATASETS, assert_close, assert_same_answers

RULES = {"slope": 1e-13, "loss": 0.0, "change": 0.0}
BETAS = [2.0, 1.0, 0.0, 0.5, 1.5, 3.0]


def counts(rows=40, words=12, topics=3, seed=0):
    rng = np.random.default_rng(seed)
    shares, chances = rng.dirichlet(np.ones(topics), rows), rng.dirichlet(np.ones(words), topics)
    X = rng.poisson(30 * shares @ chances).astype(float)
    return X, shares @ np.linspace(-3, 3, topics) + 0.05 * rng.normal(size=rows)


def factorized(x, components, beta, rule):
    problem = Factorization(beta, 0.02, 0.01, 1000, RULES[rule], rule)
    module = NonNegativeWeights(components.detach(), problem)
    return torch.func.functional_call(module, {"components.weight": components}, (x,))


@pytest.mark.parametrize(("beta", "rule"), [(2.0, "slope"), *((beta, "change") for beta in BETAS)])
def test_gradients_of_weights_are_those_of_finite_differences(beta, rule):
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.rand(*shape, generator=generator) + 0.1 for shape in ((4, 6), (3, 6))]
    x, components = (part.double().requires_grad_() for part in drawn)

    def weights(x, components):
        return factorized(x, components, beta, rule)

    inputs = x, components
    assert torch.autograd.gradcheck(weights, inputs, eps=1e-5, atol=1e-3, fast_mode=True)


@pytest.mark.parametrize("beta", [2.0, 1.0, 1.5])
def test_gradients_of_sparse_rows_are_those_of_dense_rows(beta):
    X, _ = counts(6)
    components = torch.rand(3, 12, generator=torch.Generator().manual_seed(0)).double()
    found = []
    for form in ("dense", "sparse"):
        free = components.clone().requires_grad_()
        x = torch.from_numpy(X).requires_grad_()
        rows = x if form == "dense" else SparseRows.from_dense(x)
        factorized(rows, free, beta, "loss" if beta == 2 else "change").square().sum().backward()
        found.append((x.grad, free.grad))
    for one, other in zip(*found, strict=True):
        assert_close(one, other, 1e-7)


def test_gradients_of_topics_are_those_of_finite_differences():
    X, _ = counts(5, 8)
    words = torch.rand(3, 8, generator=torch.Generator().manual_seed(0)).double() + 0.2
    module = TopicShares(words, Inference(0.3, 500, 1e-13))
    change = torch.zeros_like(words).requires_grad_()

    def shares(x, change):
        return torch.func.functional_call(module, {"words.log_ratio": change}, (x,))

    x = torch.from_numpy(X + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(shares, (x, change), atol=1e-4, fast_mode=True)
    sparse_rows = SparseRows.from_dense(x)
    assert_close(shares(sparse_rows, change).detach(), shares(x, change).detach(), 1e-9)
    dense_slope, sparse_slope = (
        torch.autograd.grad(shares(rows, change).square().sum(), (x, change))
        for rows in (x, sparse_rows)
    )
    for one, other in zip(dense_slope, sparse_slope, strict=True):
        assert_close(one, other, 1e-8)


MODELS = [
    NMF(3, max_iter=500, random_state=0),
    NMF(3, solver="mu", beta_loss="kullback-leibler", max_iter=500, random_state=0),
    MiniBatchNMF(3, beta_loss="kullback-leibler", random_state=0),
    LatentDirichletAllocation(3, max_iter=3, random_state=0),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_components_train_with_the_step_after_them(model):
    X, y = counts()
    for rows in (X, sparse.csr_matrix(X)):
        pipeline = make_pipeline(model, Ridge()).fit(rows, y)
        net = pg.to_torch(pipeline)
        before = ((pipeline.predict(rows) - y) ** 2).mean()
        net.fit(rows, y, optim=lambda p: torch.optim.Adam(p, lr=0.1), epochs=6, validation=None)
        tuned = pg.from_torch(net)
        assert ((tuned.predict(rows) - y) ** 2).mean() < 0.95 * before
        assert_same_answers(net, tuned, rows, 1e-9)
        assert (tuned[0].components_ >= 0).all()


def test_what_depends_on_trained_topics_follows_them():
    X, _ = counts()
    operator = LatentDirichletAllocation(3, max_iter=3, random_state=0).fit(X)
    net = pg.to_torch(operator)
    with torch.no_grad():
        net.trainable_parameters()["steps.latentdirichletallocation.words.log_ratio"].add_(
            torch.linspace(-1, 1, 12).double()
        )
    tuned = pg.from_torch(net)
    assert not np.allclose(tuned.components_, operator.components_)
    again = tuned.exp_dirichlet_component_.sum(1)
    assert (again < 1).all()
    assert_same_answers(net, tuned, X, 1e-9)
    assert tuned.perplexity(X) != operator.perplexity(X)
    assert net.score(X) == tuned.score(X)


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
@pytest.mark.parametrize("beta", [1.0, 0.5, 2.5])
def test_partial_fit_goes_on_from_trained_components(beta):
    X, _ = DATASETS["positive"]()
    operator = MiniBatchNMF(3, beta_loss=beta, random_state=0, max_iter=20).fit(X)
    net = pg.to_torch(operator)
    for parameter in net.trainable_parameters().values():
        parameter.data.mul_(1.5)
    tuned = pg.from_torch(net)
    quotient = tuned._components_numerator / tuned._components_denominator
    assert_close(quotient**tuned._gamma, tuned.components_, 1e-9)
    tuned.partial_fit(X[:20])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_rows_of_zeros_and_negative_numbers(model):
    X, _ = counts()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        operator = model.fit(X)
        empty = X.copy()
        empty[3] = 0
        net = pg.to_torch(operator)
        for rows in (empty, sparse.csr_matrix(empty), X[:1]):
            assert_same_answers(net, operator, rows, 1e-9)
        net(empty).sum().backward()
        for parameter in net.trainable_parameters().values():
            assert parameter.grad.isfinite().all()
        for bad in (-X, sparse.csr_matrix(-X)):
            with pytest.raises(ValueError, match="Negative values"):
                net.transform(bad)


def test_zeros_where_the_divergence_is_not_defined_are_an_error():
    X, _ = DATASETS["positive"]()
    operator = NMF(2, solver="mu", beta_loss="itakura-saito", max_iter=500).fit(X)
    X[3, 1] = 0
    with pytest.raises(ValueError, match="contains zeros"):
        operator.transform(X)
    with pytest.raises(ValueError, match=r"contains zeros.*\nHint: add small"):
        pg.to_torch(operator).transform(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", [MODELS[1], MODELS[2]], ids=lambda model: type(model).__name__)
def test_columns_of_csc_matrices_are_an_error(model):
    X, _ = counts()
    net = pg.to_torch(model.fit(X))
    with pytest.raises(TypeError, match=r"mixes up.*\nHint: pass X.tocsr"):
        net.transform(sparse.csc_matrix(X))


@pytest.mark.filterwarnings("ignore")
def test_a_shuffle_that_nobody_can_repeat_is_refused():
    X, _ = counts()
    with pytest.raises(UntranslatableError, match="shuffle=True without a number"):
        pg.to_torch(NMF(3, shuffle=True).fit(X))
    assert pg.to_torch(NMF(3, shuffle=True, solver="mu").fit(X))


def test_shares_of_a_single_topic_are_one():
    X, _ = counts()
    operator = LatentDirichletAllocation(1, max_iter=2).fit(X)
    net = pg.to_torch(operator)
    assert_same_answers(net, operator, X, 1e-9)
    assert (net.transform(X) == 1).all()


def test_inverse_transformations_use_the_trained_components():
    X, _ = counts()
    operator = NMF(3, max_iter=500, random_state=0).fit(X)
    net = pg.to_torch(operator)
    for parameter in net.trainable_parameters().values():
        parameter.data.mul_(2)
    weights = net.transform(X)
    assert_close(net.inverse_transform(weights), weights @ (2 * operator.components_), 1e-9)
