"""Operators of skrub as steps."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import pipegrad as pg
from helpers import assert_round_trip, contract_of
from pipegrad.testing import CHECKS, DATASETS, Case

skrub = pytest.importorskip("skrub")


@contract_of("skrub.*")
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)


def test_constant_infinite_and_missing_entries():
    X, _ = DATASETS["regression"]()
    X[:, 1] = 4.0
    X[3:, 2] = np.where(np.arange(len(X) - 3) % 9 == 0, 7.0, 1.0)
    X[0, 0], X[1, 0], X[2, 1], X[5, 3] = np.inf, -np.inf, np.inf, np.nan
    scaler = skrub.SquashingScaler().fit(X)
    assert scaler.robust_cols_.any()
    assert scaler.minmax_cols_.any()
    assert scaler.zero_cols_.any()
    module = assert_round_trip(scaler, X, X[::-2])
    module(X)[6:].nan_to_num().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in module.trainable_parameters().values())


def test_a_tabular_pipeline():
    X, _ = DATASETS["categories_missing"]()
    y = np.random.default_rng(0).normal(size=len(X)) + (X["color"] == "red")
    pipe = skrub.tabular_pipeline(Ridge()).fit(X, y)
    module = pg.to_torch(pipe)
    assert module.graph["tablevectorizer"].status == "host"
    assert module.graph["squashingscaler"].status == "trainable"
    np.testing.assert_allclose(module.predict(X), pipe.predict(X), rtol=1e-5)
    module.fit(X, y, epochs=5, lr=1e-3, validation=None)
    np.testing.assert_allclose(module.predict(X), pg.from_torch(module).predict(X), rtol=1e-5)


def test_tables_run_once():
    X, _ = DATASETS["categories"]()
    vectorizer = skrub.TableVectorizer().fit(X)
    with pytest.raises(pg.UntranslatableError, match="takes a table of any columns, and runs once"):
        pg.to_torch(vectorizer)
