"""The arguments and methods that LightGBM, XGBoost and CatBoost add to those of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pipegrad as pg
from pipegrad.testing import identical, perturb

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
CLASSES = {2: (X[:, 0] + X[:, 1] > 0).astype(int)}
CLASSES[3] = CLASSES[2] + (X[:, 2] > 0.5)

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def assert_same_calls(source: Any, calls: list[Call]) -> None:
    """The module answers as its source does, and once changed as the changed source does."""
    net = pg.to_torch(source)
    for changed in (False, True):
        if changed:
            perturb(net)
            source = pg.from_torch(net)
        for name, arguments, options in calls:
            ours = getattr(net, name)(X, *arguments, **options)
            assert identical(ours, getattr(source, name)(X, *arguments, **options)), (name, options)


@pytest.mark.parametrize("count", CLASSES)
def test_lightgbm(count: int) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(X, CLASSES[count])
    calls: list[Call] = [
        ("predict", (), {"raw_score": True}),
        ("predict", (True,), {}),
        ("predict", (), {"pred_leaf": True}),
        ("predict", (), {"pred_contrib": True}),
        ("predict_proba", (), {"start_iteration": 1, "num_iteration": 2}),
    ]
    assert_same_calls(model, calls)
    assert_same_calls(model.booster_, calls[:4])


@pytest.mark.parametrize("count", CLASSES)
def test_xgboost(count: int) -> None:
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(X, CLASSES[count])
    calls: list[Call] = [
        ("predict", (), {"output_margin": True}),
        ("predict_proba", (), {"iteration_range": (0, 2)}),
        ("apply", (), {}),
        ("apply", (), {"iteration_range": (0, 2)}),
    ]
    assert_same_calls(model, calls)


def test_xgboost_booster_takes_what_its_module_takes() -> None:
    xgboost = pytest.importorskip("xgboost")
    matrix = xgboost.DMatrix(X)
    params = {"objective": "binary:logistic", "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(X, CLASSES[2]), 3)
    net = pg.to_torch(booster)
    for options in ({"output_margin": True}, {"pred_leaf": True}, {"pred_contribs": True}):
        expected = booster.predict(matrix, **options)
        for rows in (X, matrix, torch.as_tensor(X)):
            assert identical(net.predict(rows, **options), expected)


@pytest.mark.parametrize("count", CLASSES)
def test_catboost(count: int) -> None:
    catboost = pytest.importorskip("catboost")
    model = catboost.CatBoostClassifier(
        iterations=5, verbose=0, allow_writing_files=False, thread_count=1
    ).fit(X, CLASSES[count])
    calls: list[Call] = [
        ("predict", ("Probability",), {}),
        ("predict", (), {"prediction_type": "RawFormulaVal"}),
        ("predict_proba", (), {"ntree_end": 2}),
        ("calc_leaf_indexes", (), {}),
    ]
    assert_same_calls(model, calls)
