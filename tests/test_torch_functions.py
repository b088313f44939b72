"""`torch.compile` and the transforms of `torch.func` on the modules of pipelines."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, stack_module_state, vmap

import pipegrad as pg
from pipegrad.testing import DATASETS, assert_close

# Of networks that stop early, and of torch's own compiler about itself.
pytestmark = pytest.mark.filterwarnings("ignore")

X, Y = DATASETS["multiclass"]()
ROWS = torch.from_numpy(X)
MODELS = {
    "linear": make_pipeline(StandardScaler(), LogisticRegression()),
    "network": make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=20, random_state=0)),
    "kernel": make_pipeline(StandardScaler(), SVC()),
    "forest": RandomForestClassifier(3, max_depth=3, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5),
}
SMOOTH = ("linear", "network", "kernel")
QUICK = ("linear", "forest")


def module(name):
    return pg.to_torch(MODELS[name].fit(X, Y))


def parameters(net):
    return {name: p.detach() for name, p in net.named_parameters()}


# -- torch.compile -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", MODELS)
def test_compiled_modules_give_the_same_scores_and_gradients(name, backend):
    net = module(name)
    compiled = torch.compile(net, backend=backend, fullgraph=True)
    blocks, expected = net.encode(X).blocks, net(ROWS).detach()
    assert_close(compiled(blocks).detach(), expected, 1e-12)
    cotangent = torch.linspace(-1, 1, net(ROWS).numel(), dtype=ROWS.dtype).reshape(-1, 3)
    ours = torch.autograd.grad((compiled(blocks) * cotangent).sum(), list(net.parameters()))
    theirs = torch.autograd.grad((net(ROWS) * cotangent).sum(), list(net.parameters()))
    for one, other in zip(ours, theirs):
        assert_close(one, other, 1e-12)


@pytest.mark.slow
def test_a_compiled_module_takes_rows_and_answers():
    net = module("linear")
    compiled = torch.compile(net, backend="eager")
    assert_close(compiled(ROWS).detach(), net(ROWS).detach(), 0)
    assert (compiled.predict(X) == net.predict(X)).all()
    assert (pg.from_torch(compiled._orig_mod).predict(X) == net.predict(X)).all()


@pytest.mark.slow
def test_a_module_compiled_in_place_trains_as_before():
    one, other = module("linear"), module("linear")
    one.compile(backend="aot_eager")
    for net in (one, other):
        net.fit(X, Y, epochs=2, lr=0.01, validation=None, seed=0)
    assert_close(one(ROWS).detach(), other(ROWS).detach(), 1e-9)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("name", QUICK)
def test_machine_code_gives_the_same_scores(name):
    net = module(name)
    compiled = torch.compile(net)
    assert_close(compiled(net.encode(X).blocks).detach(), net(ROWS).detach(), 1e-12)


# -- torch.func ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_given_parameters_replace_those_of_the_module(name):
    net = module(name)
    given = parameters(net)
    before = net(ROWS).detach()
    assert_close(functional_call(net, given, (ROWS,)).detach(), before, 0)
    given = {key: value + 0.1 for key, value in given.items()}
    assert not torch.equal(functional_call(net, given, (ROWS,)), before)
    assert torch.equal(net(ROWS), before)


@pytest.mark.parametrize("name", MODELS)
def test_many_sets_of_parameters_run_at_once(name):
    net = module(name)
    sets = [parameters(net), {key: value + 0.1 for key, value in parameters(net).items()}]
    stacked = {key: torch.stack([one[key] for one in sets]) for key in sets[0]}
    together = vmap(lambda given: functional_call(net, given, (ROWS,)))(stacked)
    for ours, given in zip(together, sets):
        assert_close(ours, functional_call(net, given, (ROWS,)).detach(), 1e-12)


def test_an_ensemble_of_pipelines_is_one_call():
    nets = [
        pg.to_torch(make_pipeline(StandardScaler(), LogisticRegression()).fit(X[i::3], Y[i::3]))
        for i in range(3)
    ]
    stacked = stack_module_state(nets)
    together = vmap(lambda *given: functional_call(nets[0], given, (ROWS,)))(*stacked)
    for ours, net in zip(together, nets):
        assert_close(ours.detach(), net(ROWS).detach(), 1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_backward(name):
    net = module(name)
    loss = lambda given: functional_call(net, given, (ROWS,)).square().mean()  # noqa: E731
    found = grad(loss)(parameters(net))
    net(ROWS).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert_close(found[key], parameter.grad, 1e-12, key)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_rows_agree_with_differences(name):
    net = module(name).requires_grad_(False)
    score = lambda row: net(row[None])[0]  # noqa: E731
    row = ROWS[0]
    step = 1e-5 * torch.eye(len(row), dtype=row.dtype) * row.abs()
    size = step.diagonal()
    difference = torch.stack([(score(row + d) - score(row - d)).detach() for d in step], 1)
    slope = jacrev(score)(row)
    assert_close(slope, difference / (2 * size), 1e-6)
    assert_close(jacfwd(score)(row), slope, 1e-12)
    many = vmap(jacrev(score))(ROWS[:4])
    assert_close(many[0], slope, 1e-12)
    total = lambda row: score(row).square().sum()  # noqa: E731
    curvature = hessian(total)(row)
    assert_close(curvature, jacrev(jacrev(total))(row), 1e-9)
    change = torch.stack([grad(total)(row + d) - grad(total)(row - d) for d in step], 1)
    assert_close(curvature, change / (2 * size), 1e-5)


@pytest.mark.parametrize("name", ["forest", "boosting"])
def test_scores_of_trees_are_flat(name):
    """And transforms leave nothing in the module that ends with them."""
    net, other = module(name), module(name)  # not called before
    total = lambda row: net(row[None])[0].square().sum()  # noqa: E731
    for _ in range(2):
        assert (hessian(total)(ROWS[0]) == 0).all()
        assert (jacrev(jacrev(total))(ROWS[0]) == 0).all()
    assert torch.equal(net(ROWS), other(ROWS))


@pytest.mark.parametrize("name", MODELS)
def test_second_derivatives_of_parameters(name):
    net = module(name)
    given = parameters(net)
    key = min(given, key=lambda one: (given[one].numel(), one))
    loss = lambda value: functional_call(net, {**given, key: value}, (ROWS,)).square().mean()  # noqa: E731
    curvature = jacrev(jacrev(loss))(given[key])
    assert curvature.shape == (*given[key].shape, *given[key].shape)
    if name in SMOOTH:
        assert_close(hessian(loss)(given[key]), curvature, 1e-9)


def test_what_torch_cannot_differentiate_twice_says_so():
    rows, y = DATASETS["regression"]()
    net = pg.to_torch(GaussianProcessRegressor(alpha=0.1).fit(rows, y))
    row = torch.from_numpy(rows[0])
    assert torch.isfinite(jacrev(lambda row: net(row[None])[0])(row)).all()
    with pytest.raises(NotImplementedError, match="_cdist"):
        hessian(lambda row: net(row[None])[0])(row)


def test_rows_that_a_host_step_reads_have_no_gradient():
    table = np.round(X[:, :2])
    net = pg.to_torch(make_pipeline(OneHotEncoder(), LogisticRegression()).fit(table, Y))
    row = torch.from_numpy(table[0])
    with pytest.raises((pg.ArgumentError, RuntimeError)):
        jacrev(lambda row: net(row[None])[0])(row)
