"""Operators of category_encoders as steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import pipegrad as pg
from helpers import contract_of
from pipegrad.testing import CHECKS, DATASETS, Case, perturb

encoders = pytest.importorskip("category_encoders", minversion="2.11")

# The library silences a warning that pandas no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:.future.no_silent_downcasting:DeprecationWarning")


@contract_of("category_encoders.*")
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)


def made(encoder: Any) -> tuple[Any, Any, Any]:
    X, y = DATASETS["categories_missing"]()
    return make_pipeline(encoder, SimpleImputer(), LogisticRegression()).fit(X, y), X, y


@pytest.mark.parametrize("name", ["TargetEncoder", "JamesSteinEncoder", "CountEncoder"])
def test_tables_train_with_the_pipeline(name):
    params = {"normalize": True} if name == "CountEncoder" else {}
    pipe, X, y = made(getattr(encoders, name)(**params))
    module = pg.to_torch(pipe)
    module.fit(X, y, epochs=20, lr=0.02, validation=None, seed=0)
    assert module.history[-1]["train_loss"] < module.history[0]["train_loss"]
    back = pg.from_torch(module)
    np.testing.assert_allclose(back.predict_proba(X), module.predict_proba(X), rtol=1e-9)
    before, after = pipe[0].mapping["color"], back[0].mapping["color"]
    assert before.index.equals(after.index)
    assert not np.allclose(before.dropna(), after.dropna())


def test_unknown_and_missing_categories():
    pipe, X, _ = made(encoders.TargetEncoder())
    module = pg.to_torch(pipe)
    new = X.head(4).assign(color=["mauve", None, "blue", np.nan])
    np.testing.assert_allclose(module.predict_proba(new), pipe.predict_proba(new), rtol=1e-9)
    perturb(module)
    back = pg.from_torch(module)
    np.testing.assert_allclose(module.predict_proba(new), back.predict_proba(new), rtol=1e-9)


def test_whole_numbers_stay():
    for encoder in (encoders.OrdinalEncoder(), encoders.OneHotEncoder(), encoders.CountEncoder()):
        pipe, X, _ = made(encoder)
        module = pg.to_torch(pipe)
        first = type(encoder).__name__.lower()
        assert module.graph[first].status == "host"
        np.testing.assert_allclose(module.predict_proba(X), pipe.predict_proba(X), rtol=1e-9)


def test_what_is_refused():
    X, y = DATASETS["categories_missing"]()
    y = (y == "yes").astype(int)
    joined = encoders.TargetEncoder(composite_cols=[("color", "size")]).fit(X, y)
    partly = encoders.TargetEncoder(cols=["color"]).fit(X, y)
    for encoder, reason in ((joined, "composite_cols joins"), (partly, "something else than num")):
        with pytest.raises(pg.UntranslatableError, match=reason):
            pg.to_torch(encoder)


def test_an_encoder_within_a_column_transformer():
    X, y = DATASETS["categories_missing"]()
    parts = [("c", encoders.TargetEncoder(), ["color", "size"]), ("n", SimpleImputer(), ["grade"])]
    pipe = make_pipeline(ColumnTransformer(parts), LogisticRegression()).fit(X, y)
    module = pg.to_torch(pipe)
    assert module.graph["columntransformer/c"].status == "trainable"
    perturb(module)
    back = pg.from_torch(module)
    np.testing.assert_allclose(module.predict_proba(X), back.predict_proba(X), rtol=1e-9)
