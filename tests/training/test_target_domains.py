"""Targets that the fit of the source refuses are refused before training, and no others."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.finetune import losses
from pipegrad.testing import Case, cases

pytestmark = pytest.mark.filterwarnings("ignore")
VALUES = (-2.0, -0.5, 0.0, 0.5, 2.0, np.nan, np.inf)


@cache
def known() -> tuple[list[Case], list[Case]]:
    """One case for each objective of each regressor, and one for each classifier."""
    regressors: dict[Any, Case] = {}
    classifiers: dict[str, Case] = {}
    for case in cases():
        kind = case.name.rpartition(".")[2]
        if case.name.startswith("skorch."):
            continue  # Its fit takes any numbers, NaN as well.
        if kind.endswith(("Classifier", "SVC", "Logistic", "Perceptron", "RegressionCV")) or (
            kind == "LogisticRegression"
        ):
            classifiers.setdefault(case.name, case)
        elif kind.endswith(("Regressor", "Regression", "SVR", "Ridge", "RidgeCV", "Lasso")):
            params = case.example.params
            names = ("loss", "objective", "loss_function", "criterion", "power", "link")
            told = tuple(str(params.get(name)) for name in names)
            regressors.setdefault((case.name, told), case)
    return list(regressors.values()), list(classifiers.values())


def accepts(call: Any) -> bool:
    """Whether a call does not refuse its arguments; each library has an error of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except Exception:
            return False
    return True


@pytest.mark.parametrize("case", known()[0], ids=str)
def test_each_objective_has_the_domain_of_its_source(case: Case) -> None:
    operator, net = case.module()
    if not is_regressor(operator) or net.objective is None or net.head.task != "regression":
        pytest.skip("no regression with a loss")
    if not net.trainable_parameters():
        pytest.skip("nothing to train")
    X, y = case.data()
    for value in VALUES:
        changed = np.array(y, dtype=float)
        changed[7] = value
        wanted = accepts(lambda y=changed: clone(operator).fit(X, y, **case.example.fit))
        fresh = pg.to_torch(operator)
        before = [p.detach().clone() for p in fresh.parameters()]
        for method, options in (("fit", {"epochs": 1, "validation": None}), ("partial_fit", {})):
            got = accepts(lambda: getattr(fresh, method)(X, changed, **options))  # noqa: B023
            assert got == wanted, f"{method}: {value} is {'accepted' if got else 'refused'}"
        if not wanted:
            assert all(map(torch.equal, before, fresh.parameters()))
            with pytest.raises(pg.ArgumentError, match=r"y (must be|contains)"):
                fresh.fit(X, changed, epochs=1)


@pytest.mark.parametrize("case", known()[1], ids=str)
def test_one_class_is_refused_where_the_source_refuses_it(case: Case) -> None:
    operator, net = case.module()
    if not is_classifier(operator) or net.head.task != "classification":
        pytest.skip("no classes")
    if not net.trainable_parameters():
        pytest.skip("nothing to train")
    X, y = case.data()
    one = np.full_like(np.asarray(y), np.asarray(y)[0])
    wanted = accepts(lambda: clone(operator).fit(X, one, **case.example.fit))
    before = [p.detach().clone() for p in net.parameters()]
    assert accepts(lambda: net.fit(X, one, epochs=1, validation=None)) == wanted
    if not wanted:
        assert all(map(torch.equal, before, net.parameters()))
        with pytest.raises(pg.ArgumentError, match=r"are of one class only, which the fit of .*\n"):
            net.fit(X, one)
    net.partial_fit(X, one)  # Rows of a stream may be of any class.


X = np.random.default_rng(0).normal(size=(40, 3))
COUNTS = np.random.default_rng(1).poisson(2.0, 40).astype(float)
ZEROS = [
    "sklearn.ensemble.HistGradientBoostingRegressor",
    "sklearn.tree.DecisionTreeRegressor",
    "sklearn.ensemble.RandomForestRegressor",
    "sklearn.linear_model.PoissonRegressor",
    "lightgbm.LGBMRegressor",
    "xgboost.XGBRegressor",
]


@pytest.mark.parametrize("name", ZEROS)
def test_counts_that_are_all_zero(name: str) -> None:
    found = [c for c in known()[0] if c.name == name and "oisson" in str(dict(c.example.params))]
    case = found[0] if found else next(c for c in known()[0] if c.name == name)
    operator, net = case.module()
    rows, _ = case.data()
    zeros = np.zeros(len(rows))
    wanted = accepts(lambda: clone(operator).fit(rows, zeros))
    assert accepts(lambda: net.fit(rows, zeros, epochs=1, validation=None)) == wanted
    net.partial_fit(rows, zeros)


def test_the_same_number_for_all_rows() -> None:
    catboost = pytest.importorskip("catboost")
    model = catboost.CatBoostRegressor(iterations=2, verbose=0, allow_writing_files=False)
    net = pg.to_torch(model.fit(X, COUNTS))
    assert not accepts(lambda: clone(model).fit(X, np.ones(40)))
    with pytest.raises(pg.ArgumentError, match="The targets are all equal, which the fit of CatBo"):
        net.fit(X, np.ones(40))


def test_members_of_an_ensemble_and_steps_of_a_pipeline() -> None:
    labels = (COUNTS > 1).astype(int)
    members = [("a", LogisticRegression()), ("b", LogisticRegression(C=0.1))]
    for source in (
        VotingClassifier(members, voting="soft"),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ):
        net = pg.to_torch(source.fit(X, labels))
        with pytest.raises(pg.ArgumentError, match="one class only"):
            net.fit(X, labels * 0)


@pytest.mark.parametrize(
    ("source", "y", "match"),
    [
        (PoissonRegressor(), -1.0, "y must be non-negative with the loss 'poisson', got -1"),
        (GammaRegressor(), 0.0, "y must be positive with the loss 'gamma', got 0"),
    ],
)
def test_validation_rows_have_the_same_domain(source: Any, y: float, match: str) -> None:
    net = pg.to_torch(source.fit(X, COUNTS + 1))
    with pytest.raises(pg.ArgumentError, match=match):
        net.fit(X, np.full(40, y))
    with pytest.raises(pg.ArgumentError, match=f"validation: {match}"):
        net.fit(X, COUNTS + 1, validation=(X, np.full(40, y)))


@pytest.mark.parametrize(
    ("loss", "inside", "outside"),
    [
        ("poisson", 0.0, -1e-9),
        ("gamma", 1e-9, 0.0),
        (losses.named("tweedie", power=1.5), 0.0, -1.0),
        (losses.named("tweedie", power=2.5), 0.1, 0.0),
        (losses.named("tweedie", power=0), -1.0, np.nan),
        ("squared_log_error", -0.99, -1.0),
        ("cross_entropy", 1.0, 1.01),
        ("cross_entropy", 0.0, -0.01),
        ("squared_error", -5.0, np.inf),
        ("pinball", -5.0, np.nan),
    ],
)
def test_losses_given_by_name_or_object(loss: Any, inside: float, outside: float) -> None:
    y = np.linspace(0.1, 0.9, 40)
    source = Ridge().fit(X, y)
    for given in (loss, losses.Sum((loss, 1.0), ("absolute_error", 1.0))):
        y[3] = outside
        with pytest.raises(pg.ArgumentError, match=r"y (must be|contains)"):
            pg.to_torch(source).partial_fit(X, y, loss=given)
        y[3] = inside
        pg.to_torch(source).partial_fit(X, y, loss=given)


def test_lightgbm_takes_any_number_above_zero_for_the_second_class() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMRegressor(objective="binary", n_estimators=3, verbose=-1, n_jobs=1)
    labels = (COUNTS > 1).astype(float)
    net = pg.to_torch(model.fit(X, labels))
    shares, numbers = net(X), np.where(labels > 0, 3.5, -2.0)
    one, other = (pg.to_torch(model.fit(X, labels)).partial_fit(X, y) for y in (labels, numbers))
    assert not torch.equal(one(X), shares)
    assert torch.equal(one(X), other(X))
    assert np.array_equal(clone(model).fit(X, numbers).predict(X), model.predict(X))
