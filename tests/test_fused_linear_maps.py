"""Linear maps in a row are multiplied with each other while they train, and only then."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import pipegrad as pg
from pipegrad.finetune import Configuration, race
from pipegrad.host import Encoded
from pipegrad.modules import Kernel, KernelFeatures, Linear, Projection
from pipegrad.modules._linear import Deferred
from pipegrad.sources.arrays import to_block

_ROWS, _COLUMNS = 80, 6


def _random(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.4


def _maps():
    weight, row = _random(_COLUMNS, 4), _random(4)
    yield "plain", Linear(weight)
    yield "bias", Linear(weight, row)
    yield "offset", Linear(weight, offset=row)
    yield "all", Linear(weight, row, _random(_COLUMNS), nonnegative=True, offset=2 * row)
    yield "shift", Projection(weight, _random(_COLUMNS))
    yield "whitened", Projection(weight, _random(_COLUMNS), row**2)
    yield "whitened, no shift", Projection(weight, variance=row**2)
    yield "kernel", KernelFeatures(_random(5, _COLUMNS), _random(5, 4), Kernel())


MAPS = dict(_maps())


@pytest.mark.parametrize("outputs", [1, 3, 40])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", MAPS)
def test_a_map_that_waits_gives_the_same_product_and_gradients(name, sparse, outputs):
    first, second = MAPS[name], Linear(_random(4, outputs), _random(outputs))
    table = np.where(_random(_ROWS, _COLUMNS) > 0.2, _random(_ROWS, _COLUMNS), 0.0)
    x = to_block(sp.csr_array(table) if sparse else table, torch.float64, torch.device("cpu"))
    parameters = [*first.parameters(), *second.parameters()]
    found = []
    for columns in (first(x), first.deferred(x)):
        out = second(columns)
        gradients = torch.autograd.grad((out**2).sum(), parameters)
        found.append([out, *gradients])
    for apart, joined in zip(*found, strict=True):
        assert_allclose(joined.detach(), apart.detach(), rtol=1e-9, atol=1e-10)


def test_maps_come_first_where_that_is_less_work(monkeypatch):
    taken = []
    matmul = torch.Tensor.matmul
    monkeypatch.setattr(
        torch.Tensor, "matmul", lambda a, b: (taken.append((*a.shape, b.shape[1])), matmul(a, b))[1]
    )
    rows = _random(_ROWS, _COLUMNS)
    Deferred(rows, _random(_COLUMNS, 4)).matmul(_random(4, 1))
    assert taken == [(_ROWS, _COLUMNS, 1)]
    taken.clear()
    Deferred(rows, _random(_COLUMNS, 4)).matmul(_random(4, 40))
    assert taken == [(_ROWS, _COLUMNS, 4), (_ROWS, 4, 40)]


def _data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(_ROWS, _COLUMNS))
    return X, np.digitize(X[:, 0] * X[:, 1] + X[:, 2], [-0.5, 0.5])


def _pipelines():
    nystroem = Nystroem(n_components=20, random_state=0)
    yield make_pipeline(nystroem, LogisticRegression()), 1
    yield make_pipeline(PCA(3, whiten=True), Ridge()), 1
    yield make_pipeline(TruncatedSVD(3), PCA(2), LinearRegression()), 2
    yield make_pipeline(PCA(3), StandardScaler(), Ridge()), 0
    yield make_pipeline(PCA(3), MinMaxScaler(), LogisticRegression()), 0
    yield make_pipeline(PCA(3), make_union(PCA(1), PCA(2)), Ridge()), 1
    # Read by more than linear maps.
    yield make_pipeline(PCA(3), make_union("passthrough", PCA(2)), Ridge()), 0


@pytest.mark.parametrize(("pipe", "count"), list(_pipelines()))
def test_a_pipeline_scores_alike_either_way(pipe, count):
    X, y = _data()
    net = pg.to_torch(pipe.fit(X, y))
    assert len(net._fusable) == count, net._fusable
    encoded = net.encode(X)
    found = []
    for joined in (False, True):
        net.zero_grad()
        if joined:
            with net.fused_linear_maps():
                score = net(encoded)
        else:
            score = net(encoded)
        (score**2).sum().backward()
        found.append([score.detach(), *(p.grad.clone() for p in net.parameters())])
    for apart, together in zip(*found, strict=True):
        assert_allclose(together, apart, rtol=1e-7, atol=1e-8 * float(apart.abs().max()))


def test_what_is_added_to_columns_is_added_first():
    X, y = _data()
    net = pg.to_torch(make_pipeline(PCA(3), Ridge()).fit(X, y))
    blocks = {**net.encode(X).blocks, "+pca": torch.ones(_ROWS, 3, dtype=torch.float64)}
    apart = net(Encoded(blocks))
    with net.fused_linear_maps():
        joined = net(Encoded(blocks))
    assert_allclose(joined.detach(), apart.detach(), rtol=1e-12)
    assert not np.allclose(apart.detach(), net(X).detach())


def _watched(net, monkeypatch):
    """Whether each pass through the module joined its maps."""
    seen = []
    deferred = KernelFeatures.deferred
    forward = KernelFeatures.forward
    monkeypatch.setattr(
        KernelFeatures, "deferred", lambda m, x: (seen.append(True), deferred(m, x))[1]
    )
    monkeypatch.setattr(
        KernelFeatures, "forward", lambda m, x: (seen.append(False), forward(m, x))[1]
    )
    return seen


def test_maps_join_while_training_and_at_no_other_time(monkeypatch):
    X, y = _data()
    net = pg.to_torch(make_pipeline(Nystroem(n_components=20), LogisticRegression()).fit(X, y))
    seen = _watched(net, monkeypatch)
    net(X), net.predict(X)
    assert not any(seen)
    seen.clear()
    net.fit(X, y, epochs=1, batch_size=_ROWS, validation=None)
    assert sum(seen) == 1, "one step"
    assert len(seen) > 1, "and the loss is measured as predictions are made"
    seen.clear()
    net.train()
    net(X), net.predict(X)
    assert not any(seen)


def _partial(net, X, y, seen):
    net.partial_fit(X, y, batch_size=_ROWS)


def _stream(net, X, y, seen):
    tuner = pg.FineTuner(net.source, random_state=0).partial_fit(X, y)
    seen.clear()
    tuner.partial_fit(X, y)


def _race(net, X, y, seen):
    rates = [Configuration(lr=1e-3), Configuration(lr=1e-2)]
    steps = []
    for epochs in (1, 2):
        seen.clear()
        found = race(net, X, y, rates, validation=(X, y), epochs=epochs, batch_size=_ROWS)
        assert found.batched
        steps.append(sum(seen))
    assert steps[1] == steps[0] + 1, "beside those that try whether a batch is possible"


@pytest.mark.parametrize("train", [_partial, _stream, _race])
def test_maps_join_however_they_train(train, monkeypatch):
    X, y = _data()
    net = pg.to_torch(make_pipeline(Nystroem(n_components=20), LogisticRegression()).fit(X, y))
    seen = _watched(net, monkeypatch)
    train(net, X, y, seen)
    assert any(seen)
    assert not net._fusing


def test_maps_no_longer_join_after_a_training_that_failed(monkeypatch):
    X, y = _data()
    net = pg.to_torch(make_pipeline(Nystroem(n_components=20), LogisticRegression()).fit(X, y))
    calls = []

    def loss(score, target):
        calls.append(score)
        if len(calls) > 3:
            raise RuntimeError("stop")
        return torch.nn.functional.cross_entropy(score, target, reduction="none")

    with pytest.raises(RuntimeError, match="stop"):
        net.fit(X, y, loss=loss, validation=None)
    assert not net._fusing
