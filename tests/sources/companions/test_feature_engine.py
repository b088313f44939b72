"""Operators of feature_engine as steps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

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
    text = imputation.CategoricalImputer(ignore_format=True).fit(X)
    objects = imputation.CategoricalImputer(fill_value=1.0, ignore_format=True, return_object=True)
    for imputer, reason in (
        (some, "columns that it passes through"),
        (text, "its fill values are not numbers"),
        (objects.fit(X), "return_object=True"),
    ):
        with pytest.raises(pg.UntranslatableError, match=reason):
            pg.to_torch(imputer)
    pipe = make_pipeline(some, imputation.MeanMedianImputer(), Ridge()).fit(X, y)
    assert pg.to_torch(pipe).graph["meanmedianimputer-1"].status == "host"
