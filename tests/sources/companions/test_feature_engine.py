"""Operators of feature_engine as steps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import pipegrad as pg
from helpers import contract_of
from pipegrad.testing import CHECKS, DATASETS, Case, perturb

imputation = pytest.importorskip("feature_engine.imputation")
scaling = pytest.importorskip("feature_engine.scaling")


@contract_of("feature_engine.*")
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)


def table() -> Any:
    X, y = DATASETS["missing"]()
    return pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])]), y


@pytest.mark.parametrize(
    "imputer",
    [
        imputation.MeanMedianImputer("mean"),
        imputation.ArbitraryNumberImputer(-9),
        imputation.EndTailImputer("iqr", "left"),
        imputation.EndTailImputer("max"),
        imputation.CategoricalImputer(fill_value=2.5, ignore_format=True),
    ],
    ids=str,
)
def test_imputers_and_scalers_train(imputer):
    X, y = table()
    pipe = make_pipeline(imputer, scaling.MeanNormalizationScaler(), Ridge(100.0)).fit(X, y)
    params = copy.deepcopy(vars(pipe[0]).get("imputer_dict"))
    module = pg.to_torch(pipe)
    module.fit(X, y, epochs=10, lr=0.02, validation=None, seed=0)
    assert module.history[-1]["train_loss"] < module.history[0]["train_loss"]
    back = pg.from_torch(module)
    for given in (X, X[X.columns[::-1]]):
        np.testing.assert_allclose(module.predict(given), back.predict(given), rtol=1e-9)
    assert back[0].imputer_dict_ != pipe[0].imputer_dict_
    assert vars(back[0]).get("imputer_dict") == params
    assert (np.array(list(back[1].range_.values())) > 0).all()
    assert isinstance(back[:-1].transform(X), pd.DataFrame)


def test_a_dict_of_numbers_stays():
    X, y = table()
    numbers = dict.fromkeys(X.columns, 1.5)
    pipe = make_pipeline(imputation.ArbitraryNumberImputer(imputer_dict=numbers), Ridge()).fit(X, y)
    module = pg.to_torch(pipe)
    perturb(module)
    back = pg.from_torch(module)[0]
    assert back.imputer_dict == numbers
    assert back.imputer_dict_ != numbers


def test_what_is_refused():
    X, y = table()
    some = imputation.MeanMedianImputer(variables=["c0"]).fit(X)
    with pytest.raises(pg.UntranslatableError, match="columns that it passes through"):
        pg.to_torch(some)
    pipe = make_pipeline(some, imputation.MeanMedianImputer(), Ridge()).fit(X, y)
    assert pg.to_torch(pipe).graph["meanmedianimputer-1"].status == "host"


@pytest.mark.parametrize("method", ["missing", "frequent"])
def test_text_is_filled_before_an_encoder(method):
    X, y = DATASETS["text_missing"]()
    imputer = imputation.CategoricalImputer(imputation_method=method)
    pipe = make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    module = pg.to_torch(pipe.fit(X, y))
    assert module.graph["categoricalimputer"].status == "host"
    assert "it fills text" in module.graph["categoricalimputer"].reason
    np.testing.assert_allclose(module.predict_proba(X), pipe.predict_proba(X), rtol=1e-9)
    perturb(module)
    back = pg.from_torch(module)
    np.testing.assert_allclose(module.predict_proba(X), back.predict_proba(X), rtol=1e-9)
    assert pg.to_torch(pipe[0]).transform(X).equals(pipe[0].transform(X))
    with pytest.raises(pg.ArgumentError, match=r"CategoricalImputer fills text .*\nHint: call net"):
        pg.to_torch(pipe[0])(X)
