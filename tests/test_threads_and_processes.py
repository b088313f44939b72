"""Many fits and predictions at once: in threads, in forks and in other processes."""

import copy
import gc
import os
import pickle
import random
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler

import joblib
import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, StackingRegressor
from sklearn.linear_model import Ridge, SGDRegressor
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional

import pipegrad as pg
from helpers import shorten_candidates
from pipegrad import write_back
from pipegrad.training.seeding import isolated_numpy_rng, own_generator
from pipegrad.warning_filters import ignored_warnings

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4))
y = X[:, 0] + X[:, 1] ** 2 + 0.3 * rng.normal(size=120)
HELD = (X[80:], y[80:])
PIPE = make_pipeline(StandardScaler(), PCA(3), Ridge(30.0)).fit(X[:80], y[:80])
TREES = GradientBoostingRegressor(n_estimators=4, random_state=0).fit(X[:80], y[:80])
MEMBERS = [("a", Ridge()), ("b", make_pipeline(StandardScaler(), SGDRegressor()))]
STACK = StackingRegressor(MEMBERS, final_estimator=Ridge()).fit(X[:80], y[:80])


def random_loss(score, target):
    noise = 0.1 * torch.randn_like(score) + functional.dropout(torch.ones_like(score), 0.3)
    return (score - target - noise).square()


class Noise(Callback):
    """Adds noise to the parameters."""

    def on_batch_end(self, net, *args, **kwargs):
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter.add_(1e-3 * torch.randn(parameter.shape, dtype=parameter.dtype))


class NoisySGD(torch.optim.SGD):
    """Adds noise to the gradients."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.add_(torch.normal(0.0, 0.01, parameter.shape))
        return super().step(closure)


def noisy_sgd(parameters):
    return NoisySGD(parameters, lr=1e-3)


def numbers(net):
    return [parameter.detach().numpy().copy() for parameter in net.parameters()]


def fitted(source=PIPE, seed=0, made=None, **options):
    net = pg.to_torch(source, **(made or {}))
    arguments = {"epochs": 3, "batch_size": 20, "validation": HELD, "seed": seed, **options}
    return numbers(net.fit(X[:80], y[:80], **arguments))


def tuned(**options):
    tuner = pg.FineTuner(make_pipeline(StandardScaler(), Ridge(300.0)), **options)
    return [tuner.fit(X, y).predict(X)]


def streamed(seed):
    tuner = pg.FineTuner(PIPE, loss=random_loss, random_state=seed).partial_fit(X[:80], y[:80])
    tuner.partial_fit(X[80:100], y[80:100]).partial_fit(X[100:], y[100:])
    return [v.numpy() for one in tuner._stream.learners for v in one.copied().values()]


RUNS = {
    "loss": lambda seed: fitted(seed=seed, loss=random_loss),
    "callback": lambda seed: fitted(seed=seed, callbacks=[Noise()]),
    "optimizer": lambda seed: fitted(seed=seed, optim=noisy_sgd),
    "rate": lambda seed: fitted(seed=seed, lr="auto", loss=random_loss),
    "soft trees": lambda seed: fitted(TREES, seed, {"trees": "soft"}, loss=random_loss),
    "out-of-fold features": lambda seed: fitted(STACK, seed, validation=None, batch_size=80),
    "partial_fit": lambda seed: numbers(
        pg.to_torch(PIPE).partial_fit(X, y, seed=seed, loss=random_loss, optim=noisy_sgd)
    ),
    "random weights": lambda seed: numbers(pg.to_torch(PIPE, init="random")),
    "recipe": lambda seed: tuned(random_state=seed),
    "single run": lambda seed: tuned(
        random_state=np.random.RandomState(seed), epochs=2, callbacks=[Noise()]
    ),
    "stream": streamed,
}


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def global_state():
    drawn = np.random.get_state()  # noqa: NPY002
    return (
        torch.get_rng_state().tolist(),
        (drawn[1].tolist(), *drawn[2:]),
        random.getstate(),
        (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()),
        list(warnings.filters),
    )


@pytest.fixture
def frequent_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("quiet")
def test_runs_in_threads_give_the_numbers_of_runs_one_after_another(name, monkeypatch):
    shorten_candidates(monkeypatch)
    run = RUNS[name]
    wanted = [run(seed) for seed in range(2)]
    *before, filters = global_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, [0, 1] * (1 if name == "recipe" else 3)))
    assert all(same(one, wanted[place % 2]) for place, one in enumerate(found))
    *after, filters_after = global_state()
    assert after == before
    # scikit-learn cross-fits in `warnings.catch_warnings`, which threads cannot share.
    if name != "out-of-fold features":
        assert filters_after == filters
    if name not in ("random weights", "recipe"):
        assert not same(*wanted)


@pytest.mark.usefixtures("quiet")
def test_runs_that_wait_for_each_other():
    """Two runs whose steps alternate, and a third thread that draws between them."""
    meeting = threading.Barrier(2, timeout=20)

    class Meets(Noise):
        def on_batch_end(self, net, *args, **kwargs):
            super().on_batch_end(net)
            if meeting.parties == 2:
                meeting.wait()

    wanted = [fitted(seed=seed, callbacks=[Noise()], loss=random_loss) for seed in range(2)]
    torch.manual_seed(5)
    drawn = torch.rand(20)
    torch.manual_seed(5)
    with ThreadPoolExecutor(2) as pool:
        tasks = [
            pool.submit(fitted, seed=seed, callbacks=[Meets()], patience=None, loss=random_loss)
            for seed in range(2)
        ]
        found = [task.result() for task in tasks]
    assert all(map(same, found, wanted))
    assert torch.equal(torch.rand(20), drawn)


# Random numbers


def draws():
    ones = torch.ones(3, 4)
    shapes = [torch.rand, torch.randn]
    yield from (draw(3) for draw in shapes)
    yield torch.randint(0, 9, (3,))
    yield torch.randperm(5)
    yield torch.normal(0.0, 1.0, (2,))
    yield torch.normal(ones, 1.0)
    yield torch.bernoulli(ones / 2)
    yield torch.multinomial(ones, 2)
    yield torch.poisson(ones)
    yield torch.binomial(4 * ones, ones / 2)
    yield from (draw(ones) for draw in (torch.rand_like, torch.randn_like))
    yield torch.randint_like(ones, 5)
    yield from (f(ones) for f in (functional.dropout, nn.Dropout(0.3), functional.gumbel_softmax))
    yield functional.alpha_dropout(ones, 0.5, True)
    yield functional.rrelu(-ones, training=True)
    yield functional.scaled_dot_product_attention(ones, ones, ones, dropout_p=0.5)
    for name in ("uniform_", "normal_", "exponential_", "cauchy_", "log_normal_", "random_"):
        yield getattr(torch.empty(3), name)()
    yield torch.empty(3).geometric_(0.3)
    yield torch.empty(3).bernoulli_(0.5)
    for name in ("normal_", "uniform_", "xavier_normal_", "kaiming_uniform_", "orthogonal_"):
        yield getattr(nn.init, name)(torch.empty(3, 3))
    yield torch.distributions.Normal(0.0, 1.0).rsample((2,))
    yield torch.distributions.Gamma(2.0, 1.0).sample((2,))
    yield torch.distributions.Dirichlet(torch.ones(3)).sample()
    yield nn.Linear(3, 2).weight.detach()
    yield nn.GRU(3, 4, 2, dropout=0.5)(torch.ones(2, 2, 3))[0].detach()


def test_an_own_generator_serves_every_function_that_draws():
    torch.manual_seed(5)
    wanted = list(draws())
    torch.manual_seed(9)
    before = torch.get_rng_state()
    with own_generator(5):
        found = list(draws())
        assert torch.equal(torch.get_rng_state(), before)
    for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert torch.equal(one, other), place
    with own_generator(1), own_generator(5):
        assert all(map(torch.equal, draws(), wanted))
    torch.manual_seed(5)
    with own_generator():
        assert all(map(torch.equal, draws(), wanted))
    assert torch.equal(next(iter(draws())), wanted[0])


def test_a_callback_that_seeds_torch_does_so_for_its_run_only():
    class Seeds(Callback):
        def on_epoch_begin(self, *args, **kwargs):
            torch.manual_seed(123)
            np.random.seed(3)  # noqa: NPY002

    before = torch.get_rng_state()
    fitted(callbacks=[Seeds()])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_last_of_several_runs_gives_back_the_state_of_numpy():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = isolated_numpy_rng(0), isolated_numpy_rng(1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    np.random.normal()  # noqa: NPY002
    second.__exit__(None, None, None)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_random_weights_leave_the_global_generator_as_it_was():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for source, options in ((PIPE, {}), (TREES, {}), (TREES, {"trees": "soft"}), (STACK, {})):
        one, other = (pg.to_torch(source, init="random", **options) for _ in range(2))
        assert torch.equal(torch.get_rng_state(), before)
        assert same(numbers(one), numbers(other))
    torch.manual_seed(1)
    assert not same(numbers(one), numbers(pg.to_torch(STACK, init="random")))


# Warnings


def test_threads_that_ignore_warnings_in_turns_leave_the_filters_as_they_were():
    before, filters = list(warnings.filters), warnings.filters
    one, other = ignored_warnings(), ignored_warnings("some")
    one.__enter__()
    warnings.warn("nobody sees this", UserWarning, stacklevel=1)
    other.__enter__()
    one.__exit__(None, None, None)
    warnings.warn("something", UserWarning, stacklevel=1)
    with pytest.raises(UserWarning), ThreadPoolExecutor(1) as pool:
        # Filters of pytest make an error of it: other threads keep theirs.
        pool.submit(warnings.warn, "something", UserWarning).result()
    other.__exit__(None, None, None)
    assert list(warnings.filters) == before
    with ignored_warnings():
        pass
    with ignored_warnings():
        warnings.filterwarnings("ignore", "added meanwhile")
    assert len(warnings.filters) == len(before) + 1
    warnings.filters[:] = before
    warnings.filters = filters


def test_filters_that_a_caller_saved_come_back_without_ours():
    before = list(warnings.filters)
    ours, theirs = ignored_warnings(), warnings.catch_warnings()
    ours.__enter__()
    theirs.__enter__()
    ours.__exit__(None, None, None)
    assert list(warnings.filters) == before
    theirs.__exit__(None, None, None)
    assert list(warnings.filters) == before


# Predictions


@pytest.mark.usefixtures("frequent_switches", "quiet")
def test_predictions_of_other_rows_at_the_same_time():
    rows = [rng.normal(size=(count, 4)) for count in (1, 7, 50, 333)]
    clusters = KMeans(3, n_init=1, random_state=0).fit(X)
    for source, options in ((PIPE, {}), (TREES, {"trees": "soft"}), (STACK, {}), (clusters, {})):
        net = pg.to_torch(source, **options)

        def ask(place, net=net):
            return net.predict(rows[place]), net.score(rows[place], np.arange(len(rows[place])))

        wanted = [ask(place) for place in range(4)]
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(ask, [0, 1, 2, 3] * 16))
        for place, (prediction, score) in enumerate(found):
            assert np.array_equal(prediction, wanted[place % 4][0])
            assert score == wanted[place % 4][1] or np.isnan(score)


# Processes


def in_fork(call):
    """Whether a call succeeds in a forked process, within 20 seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Newer Python warns of forks of threads.
        child = os.fork()
    if child == 0:
        gc.freeze()  # What the parent left may have threads, which are not here to be ended.
        try:
            os._exit(0 if call() else 1)
        finally:
            os._exit(2)
    for _ in range(2000):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(2000, 2000).sum()  # OpenMP has threads now, which a fork has not.
    yield
    torch.set_num_threads(before)


@forks
@pytest.mark.usefixtures("two_threads", "quiet")
def test_forks_after_torch_used_several_threads():
    net, many = pg.to_torch(PIPE), rng.normal(size=(20_000, 4))
    wanted = net.predict(many)
    assert in_fork(lambda: np.allclose(net.predict(many), wanted, rtol=1e-12))
    assert in_fork(lambda: bool(torch.isfinite(pg.to_torch(PIPE)(many).sum())))
    assert in_fork(lambda: len(fitted(optim=torch.optim.LBFGS)) > 0)
    assert in_fork(lambda: len(fitted(TREES, made={"trees": "soft"})) > 0)
    assert torch.get_num_threads() == 2


@forks
@pytest.mark.usefixtures("quiet")
def test_forks_while_other_threads_hold_locks():
    from pipegrad.training.seeding import _NUMPY, _TORCH

    net = pg.to_torch(PIPE)
    with write_back._LOCK, _TORCH.lock, _NUMPY.lock:
        assert in_fork(lambda: net.score(X, y) > 0)
        assert in_fork(lambda: len(fitted(loss=random_loss)) > 0)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
@pytest.mark.usefixtures("quiet")
def test_joblib(backend, monkeypatch):
    if backend == "multiprocessing" and not hasattr(os, "fork"):
        pytest.skip("The processes would have to import all of this.")
    wanted = [fitted(seed=seed, loss=random_loss) for seed in range(2)]
    parallel = joblib.Parallel(2, backend=backend)
    found = parallel(joblib.delayed(fitted)(seed=seed, loss=random_loss) for seed in range(2))
    assert all(map(same, found, wanted))
    tuner = pg.FineTuner(PIPE, random_state=0, epochs=2, loss=random_loss)
    wanted = cross_val_score(tuner, X, y, cv=2)
    with joblib.parallel_backend(backend):
        assert np.array_equal(cross_val_score(tuner, X, y, cv=2, n_jobs=2), wanted)


@pytest.mark.usefixtures("quiet")
def test_other_processes_get_copies():
    net = pg.to_torch(PIPE)
    tuner = pg.FineTuner(PIPE, random_state=0).partial_fit(X[:80], y[:80])
    tuner.partial_fit(X[80:], y[80:])
    for sent in (net, tuner, [net, {"tuner": tuner}]):
        received = pickle.loads(ForkingPickler.dumps(sent))
        again = pickle.dumps(received)
        assert type(received) is type(sent)
        assert again
    assert not any(parameter.is_shared() for parameter in net.parameters())
    values = [v for one in tuner._stream.learners for v in one.values.values()]
    assert not any(value.is_shared() for value in values)
    received = pickle.loads(ForkingPickler.dumps(net))
    before = numbers(net)
    received.fit(X[:80], y[:80], validation=HELD, epochs=2)
    assert same(numbers(net), before)


def test_memory_that_a_user_shares_stays_shared():
    net = copy.deepcopy(pg.to_torch(PIPE)).share_memory()
    received = pickle.loads(ForkingPickler.dumps(net))
    with torch.no_grad():
        next(iter(received.parameters())).fill_(7.0)
    assert (next(iter(net.parameters())) == 7.0).all()
