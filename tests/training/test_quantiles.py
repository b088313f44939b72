"""Training warns when it makes the quantiles of a model cross."""

import warnings

import numpy as np
import pytest
import torch

import pipegrad as pg
from pipegrad.errors import PipegradWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 3))
Y = X[:, 0] + (0.3 + np.abs(X[:, 1])) * RNG.normal(size=len(X))
LEVELS = [0.1, 0.5, 0.9]


def pinball(score, y):
    level, gap = torch.tensor(LEVELS), y[:, None] - score
    return torch.maximum(level * gap, (level - 1) * gap).mean(1)


def catboost():
    library = pytest.importorskip("catboost")
    loss = "MultiQuantile:alpha=" + ",".join(map(str, LEVELS))
    fixed = {"iterations": 30, "depth": 4, "verbose": 0, "allow_writing_files": False}
    return library.CatBoostRegressor(loss_function=loss, thread_count=1, **fixed)


def xgboost():
    library = pytest.importorskip("xgboost")
    fixed = {"n_estimators": 8, "max_depth": 4, "n_jobs": 1}
    return library.XGBRegressor(objective="reg:quantileerror", quantile_alpha=LEVELS, **fixed)


def crossing(model):
    return (np.diff(np.asarray(model.predict(X)), axis=1) < 0).any(1)


@pytest.mark.slow
@pytest.mark.parametrize("make", [catboost, xgboost])
def test_rows_that_cross_only_after_training_are_counted(make):
    model = make().fit(X, Y)
    net = pg.to_torch(model)
    before = crossing(model)
    with pytest.warns(PipegradWarning, match="Quantiles cross in") as record:
        net.fit(X, Y, loss=pinball, epochs=40, lr=0.05, batch_size=100, validation=None)
    count = int((crossing(pg.from_torch(net)) & ~before).sum())
    assert count > 0
    assert f"in {count} of {len(X)} training rows" in str(record[0].message)
    assert f"({int(before.sum())} crossed before)" in str(record[0].message)


def test_a_single_quantile_and_careful_training_are_silent():
    model = catboost().fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pg.to_torch(model).fit(X, Y, loss=pinball, epochs=1, lr=1e-5, validation=None)
