"""Settings of torch that a caller may have changed: devices, autocast, modes, default dtypes."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    PolynomialFeatures,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)

import pipegrad as pg

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 5))
y = X[:, 0] * X[:, 1] + X[:, 2]


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "device context": lambda: torch.device("meta"),
    "default device": lambda: default_device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "deterministic": deterministic,
}
SOURCES = {
    "linear": make_pipeline(StandardScaler(), PCA(3), Ridge(10.0)),
    "boosting": make_pipeline(PCA(4), GradientBoostingRegressor(n_estimators=5, random_state=0)),
    "forest": RandomForestRegressor(4, max_depth=4, random_state=0),
    "splines": make_pipeline(SplineTransformer(), Ridge(10.0)),
    "quantiles": make_pipeline(QuantileTransformer(n_quantiles=20), Ridge(10.0)),
    "function": make_pipeline(StandardScaler(), FunctionTransformer(np.tanh), Ridge(10.0)),
    "products": make_pipeline(StandardScaler(), PolynomialFeatures(), Ridge(10.0)),
    "centers": make_pipeline(StandardScaler(), KMeans(4, n_init=1, random_state=0), Ridge(10.0)),
}


def course(source, trees):
    """All that one does with a module, and the numbers of each stage."""
    net = pg.to_torch(source, trees=trees)
    statuses = [step.status for step in pg.inspect(source, trees=trees)]
    stages = [net.predict(X), pg.from_torch(net).predict(X)]
    slow = lambda p: torch.optim.SGD(p, lr=1e-5)  # noqa: E731
    net.fit(X, y, optim=slow, validation=(X, y), epochs=2)
    stages.append(net.predict(X))
    net.partial_fit(X, y)
    return net, statuses, [*stages, net.predict(X), pg.from_torch(net).predict(X)]


@pytest.mark.parametrize("trees", ["leaves", "soft"])
@pytest.mark.parametrize("name", SOURCES)
def test_settings_of_the_caller_change_nothing(name, trees):
    source = SOURCES[name].fit(X, y)
    _, statuses, desired = course(source, trees)
    for title, settings in SETTINGS.items():
        with settings():
            net, mine, stages = course(source, trees)
        assert mine == statuses, title
        for found, expected in zip(stages, desired, strict=True):
            assert_array_equal(found, expected, title)
        net(X).sum().backward()
        assert any(p.grad is not None for p in net.parameters()), title


def test_the_tuner_ignores_them_too():
    desired = pg.FineTuner(Ridge(10.0), epochs=2, random_state=0).fit(X, y).predict(X)
    for title, settings in SETTINGS.items():
        with settings():
            found = pg.FineTuner(Ridge(10.0), epochs=2, random_state=0).fit(X, y).predict(X)
        assert_array_equal(found, desired, title)


def test_the_callers_settings_hold_afterwards():
    net = pg.to_torch(SOURCES["linear"].fit(X, y))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        net.predict(X)
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert torch.ones(1).device.type == "meta"


def test_calls_follow_the_gradient_settings_of_the_caller():
    net = pg.to_torch(SOURCES["linear"].fit(X, y))
    with torch.no_grad():
        assert not net(X).requires_grad
    with torch.inference_mode():
        assert net(X).is_inference()
        made = torch.tensor(X)
    net(made).sum().backward()
    with torch.device("meta"):
        assert net(X).device.type == "cpu"


def test_modules_cast_in_inference_mode_name_the_cause():
    with torch.inference_mode():
        net = pg.to_torch(SOURCES["linear"].fit(X, y)).to(torch.float32)
    assert net.predict(X).dtype == np.float64
    for train in (net.fit, net.partial_fit):
        with pytest.raises(pg.ArgumentError, match="inference mode"):
            train(X, y)
