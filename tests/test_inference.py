"""Inference changes nothing: neither for good nor for a moment, whatever other threads do."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.cluster import KMeans
from sklearn.datasets import make_friedman1
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from torch import nn

import pipegrad as pg
from pipegrad.modules import evaluation_view, preserved_modes

X, y = make_friedman1(300, 8, random_state=0)
CODES, HIGH = (X * 4).astype(int), y > 14
THREADS = 16


def forest():
    return RandomForestClassifier(30, max_depth=4, random_state=0).fit(X, HIGH)


def boosted():
    return make_pipeline(
        PCA(6), GradientBoostingRegressor(n_estimators=30, max_depth=3, random_state=0)
    ).fit(X, y)


SERVED = {
    "soft trees": (lambda: pg.to_torch(boosted(), trees="soft"), "predict", X),
    "straight-through": (
        lambda: pg.to_torch(boosted(), trees="straight-through"),
        "predict",
        X,
    ),
    "precomputed bounds": (lambda: pg.to_torch(forest()), "predict_proba", X),
    "linear": (
        lambda: pg.to_torch(make_pipeline(StandardScaler(), PCA(3), Ridge()).fit(X, y)),
        "predict",
        X,
    ),
    "sparse": (
        lambda: pg.to_torch(
            make_pipeline(OneHotEncoder(), LogisticRegression()).fit(CODES, y > 14)
        ),
        "predict_proba",
        CODES,
    ),
    "centers": (
        lambda: pg.to_torch(make_pipeline(StandardScaler(), KMeans(8, n_init=1)).fit(X)),
        "transform",
        X,
    ),
}


@pytest.mark.parametrize("name", SERVED)
def test_sixteen_threads_at_once(name):
    make, method, rows = SERVED[name]
    net = make()
    expected = {n: getattr(net, method)(rows[:n]) for n in (1, 7, 300)}
    relaxed = net(rows[:50]).detach()
    trained, stop = [], threading.Event()

    def call_in_training_mode():
        while not stop.is_set():
            trained.append(net(rows[:50]).detach())

    def serve(n):
        return n, getattr(net, method)(rows[:n])

    beside = threading.Thread(target=call_in_training_mode)
    beside.start()
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(serve, [1, 7, 300] * 32))
    stop.set()
    beside.join()
    for n, answer in found:
        assert_array_equal(answer, expected[n])
    assert trained
    for out in trained:
        assert torch.equal(out, relaxed)
    assert all(part.training for part in net.modules())


def test_threads_with_rows_of_other_precision():
    # Bounds depend on the dtype of the rows, and the last ones are cached.
    net = pg.to_torch(DecisionTreeRegressor(max_depth=6, random_state=0).fit(X, y))
    trees = net.step_module("decisiontreeregressor")
    rows = {d: torch.tensor(X, dtype=d) for d in (torch.float32, torch.float64)}
    with torch.no_grad():
        expected = {d: trees(x) for d, x in rows.items()}
        with ThreadPoolExecutor(THREADS) as pool:
            kinds = list(rows) * 200
            found = list(pool.map(lambda d: trees(rows[d]), kinds))
    assert all(torch.equal(out, expected[d]) for d, out in zip(kinds, found, strict=True))


def test_answers_do_not_set_modes_even_for_a_moment():
    net = pg.to_torch(boosted(), trees="soft")
    changed = []

    class Watched(nn.Module):
        def __setattr__(self, name, value):
            if name == "training" and "_modules" in self.__dict__:
                changed.append(value)
            super().__setattr__(name, value)

    net.steps["watched"] = Watched()
    net.predict(X)
    assert not changed


def test_evaluation_mode_of_the_user_keeps_its_meaning():
    net = pg.to_torch(boosted(), trees="soft")
    soft = net(X).detach()
    net.eval()
    hard = net(X).detach()
    assert not torch.equal(soft, hard)
    assert_array_equal(net.predict(X), hard)
    assert not any(part.training for part in net.modules())


def test_fit_preserves_the_mode_of_each_module():
    net = pg.to_torch(make_pipeline(StandardScaler(), Ridge()).fit(X, y))
    net.step_module("standardscaler").eval()
    before = [part.training for part in net.modules()]
    net.fit(X, y, epochs=2, validation=(X, y), optim=lambda p: torch.optim.SGD(p, lr=1e-6))
    net.partial_fit(X, y)
    assert [part.training for part in net.modules()] == before


def test_copies_start_without_cached_bounds():
    net = pg.to_torch(forest())
    fresh = pickle.dumps(net)
    net.predict(X)
    assert pickle.dumps(net) == fresh
    assert_array_equal(copy.deepcopy(net).predict(X), net.predict(X))


class OwnMode(nn.Module):
    def train(self, mode=True):
        super().train(mode)
        self.scale = 2.0 if mode else 1.0
        return self

    def forward(self, x):
        return x * self.scale


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)),
        lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)),
        lambda: nn.Sequential(OwnMode().train()),
        lambda: torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)),
    ],
    ids=["dropout", "batch norm", "own train", "script", "parametrized"],
)
def test_views_of_any_module(make):
    torch.manual_seed(0)
    module, x = make(), torch.randn(5, 3)
    before = copy.deepcopy(module.state_dict())
    out = evaluation_view(module)(x)
    assert all(part.training for part in module.modules())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(out, module.eval()(x))
    assert evaluation_view(module) is module


def test_views_share_parameters_and_hooks():
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    seen = []
    module[0].register_forward_hook(lambda *_: seen.append(1))
    view = evaluation_view(module)
    view(torch.ones(4, 3)).sum().backward()
    assert seen == [1]
    assert module[0].weight.grad is not None
    assert list(map(id, view.parameters())) == list(map(id, module.parameters()))


def test_modes_are_restored_after_errors():
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5).eval())
    with pytest.raises(TypeError), preserved_modes(module):
        module.train().forward()
    assert [part.training for part in module] == [True, False]
