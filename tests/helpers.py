"""What several test files share: fitted sources and their comparison with modules."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from pipegrad.finetune import portfolio
from pipegrad.testing import CHECKS, DATASETS, assert_close, cases, identical, perturb

PREDICTIONS = ("predict", "predict_proba", "decision_function")
# Before scikit-learn 1.6, the default of AdaBoost is another algorithm; later there is no other.
SAMME = {"algorithm": "SAMME"} if parse_version(sklearn.__version__) < parse_version("1.6") else {}
# Options of an operator seldom change whether these hold, and together they take half of the time.
SELDOM_BY_OPTION = {"export", "inference", "methods", "nothing_is_shared", "state"}


def contract_of(pattern: str) -> pytest.MarkDecorator:
    """Every example of the rows of a pattern with the name of every check."""
    pairs = []
    for case in cases(pattern):
        for name in CHECKS:
            marks = [pytest.mark.slow] if name in SELDOM_BY_OPTION and case.number else []
            pairs.append(pytest.param(case, name, marks=marks, id=f"{case}-{name}"))
    return pytest.mark.parametrize(("case", "check"), pairs)


def first_examples(quick: Collection[str]) -> pytest.MarkDecorator:
    """The first example of every row for other libraries; slow but for the rows named."""
    found = [case for case in cases() if case.number == 0 and not case.name.startswith("pipegrad.")]
    marked = [
        pytest.param(case, id=case.name, marks=() if case.name in quick else pytest.mark.slow)
        for case in found
    ]
    return pytest.mark.parametrize("case", marked)


def dense(values: Any) -> Any:
    return values.toarray() if sparse.issparse(values) else np.asarray(values)


def shorten_candidates(monkeypatch: Any) -> None:
    """Let the candidates of the recipe train for a few steps only."""
    monkeypatch.setattr(portfolio, "_MIN_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MAX_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MIN_EPOCHS", 2)
    monkeypatch.setattr(portfolio, "_MAX_EPOCHS", 4)
    monkeypatch.setattr(portfolio, "_MAX_ITERATIONS", 12)


def fitted(estimator: Any, X: Any, y: Any = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


def answers(source: Any, X: Any, methods: tuple[str, ...] | None = None) -> dict[str, Any]:
    if methods is None:
        methods = PREDICTIONS if hasattr(source, "predict") else ("transform",)
    found = {m: getattr(source, m)(X) for m in methods if hasattr(source, m)}
    return {m: np.hstack(value) if isinstance(value, list) else value for m, value in found.items()}


def assert_alike(net: pg.PipelineModule, source: Any, X: Any, tolerance: float = 1e-9) -> None:
    theirs = answers(source, X)
    ours = answers(net, X, tuple(theirs))
    assert ours.keys() == theirs.keys()
    for method, desired in theirs.items():
        assert type(ours[method]) is type(desired), method
        if hasattr(desired, "columns"):
            assert list(ours[method].columns) == list(desired.columns)
            assert ours[method].index.equals(desired.index)
        assert_close(ours[method], desired, tolerance, method)


def assert_round_trip(
    source: Any, X: Any, other: Any = None, tolerance: float = 1e-9, **options: Any
) -> Any:
    """Parity, untouched and perturbed round trip of a fitted source; gives its module."""
    answers(source, X)  # some composites of scikit-learn note names when they first answer
    before, X_before = copy.deepcopy(source), copy.deepcopy(X)
    net = pg.to_torch(source, **options)
    assert_alike(net, source, X, tolerance)
    if other is not None:
        assert_alike(net, source, other, tolerance)
    assert identical(source, pg.from_torch(net))
    if net.trainable_parameters():
        first = answers(net, X)
        perturb(net)
        moved = answers(net, X)
        floats = [m for m in first if not isinstance(first[m], np.ndarray) or m != "predict"]
        same = [np.array_equal(dense(first[m]), dense(moved[m])) for m in floats]
        assert not floats or not all(same)
        changed = pg.from_torch(net)
        assert type(changed) is type(source)
        assert_alike(net, changed, X, tolerance)
        assert not identical(source, changed)
    assert identical(before, source), "the user's object changed"
    same = X.equals(X_before) if hasattr(X, "equals") else identical(X, X_before)
    assert same, "the user's data changed"
    return net


def table(rows: int = 80, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "a": rng.normal(size=rows),
            "b": rng.normal(3, 10, rows),
            "color": rng.choice(["red", "green", "blue"], rows),
            "c": rng.exponential(size=rows),
            "count": rng.integers(0, 9, rows),
            "note": rng.choice(["big red bus", "small boat", "red boat by night"], rows),
        },
        index=np.arange(rows) + 100,
    )


def target(X: pd.DataFrame, kind: str = "regression") -> Any:
    y = X["a"] - 0.2 * X["b"] + (X["color"] == "red") + 0.3 * X["count"]
    y = y.to_numpy() + np.random.default_rng(1).normal(size=len(X)) * 0.1
    if kind == "binary":
        return np.where(y > np.median(y), "yes", "no")
    if kind == "multiclass":
        return np.array(["ant", "bee", "cat"])[np.digitize(y, np.quantile(y, [0.33, 0.66]))]
    return y


def fit_on(name: str, estimator: Any) -> tuple[Any, Any]:
    X, y = DATASETS[name]()
    return fitted(estimator, X, y), X
