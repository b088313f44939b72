"""Random pipelines built from the table: the same answers, exact round trips.

``PIPEGRAD_EXAMPLES=1000 pytest tests/test_random_pipelines.py`` searches further, elsewhere each
time.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, note, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import ArpackError
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import RadiusNeighborsTransformer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler

import pipegrad as pg
from helpers import answers
from pipegrad.registry import translation
from pipegrad.testing import assert_close, cases, identical, perturb

EXAMPLES = os.environ.get("PIPEGRAD_EXAMPLES")
SETTINGS = settings(
    max_examples=int(EXAMPLES or 25),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
# Slow to fit, and alike to others that are quick.
SLOW = ("CV", "SequentialFeatureSelector", "TheilSenRegressor", "RANSACRegressor")
# Rounding in the source's own sums is this small, relative to a column; what a pipeline makes of
# it says how exactly its answers are determined at all.
ROUNDING, DETERMINED, TOLERANCE = 1e-13, 1e-8, 1e-6
ROWS, WIDTH = 50, 5


@cache
def data(task: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(ROWS, WIDTH)) * [1, 10, 0.1, 3, 1] + [0, 5, 1, -2, 0]
    signal = (X - X.mean(0)) / X.std(0) @ rng.normal(size=WIDTH)
    if task == "regression":
        return X, signal + rng.normal(size=ROWS) * 0.3
    cuts = [0.0] if task == "binary" else [-0.7, 0.7]
    return X, np.array(["ant", "bee", "cat"])[np.digitize(signal, cuts)]


def quietly(function: Any, *args: Any) -> Any:
    # Random pipelines are seldom sensible ones; scikit-learn has much to say about them.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*args)


@cache
def pool(task: str) -> list[Any]:
    """Operators of the table that take dense numbers: predictors of a task, or transformers."""
    # Texts are no numbers, and counts of terms are not negative.
    found = []
    for case in cases("sklearn.*"):
        if (
            case.row.on_host
            or case.example.data == "text_missing"
            or case.name.endswith((*SLOW, "TfidfTransformer"))
            or (case.example.data or case.row.data) in OTHER_DATA
        ):
            continue
        operator = quietly(case.fitted)
        if case.row.no_numbers(operator) is not None:
            continue
        fresh = clone(operator)
        head = translation(operator).head(operator)
        if (task == "transform") != (head is None and hasattr(operator, "transform")):
            continue
        if task != "transform" and _task(head) != _task_of(task):
            continue
        X, y = data("regression" if head is None else task)
        try:
            fitted = quietly(copy.deepcopy(fresh).fit, X, y)
            one_number = head is None or (
                hasattr(fitted, "predict") and quietly(fitted.predict, X).ndim == 1
            )
        except (ValueError, TypeError):
            continue
        # With some options LassoLars answers (n, 1) to a target (n,), of which ensembles make
        # nonsense.
        if one_number:
            found.append(fresh)
    return found


OTHER_DATA = {"categories", "labels", "sparse", "sparse_multiclass", "multioutput", "multilabel"}


def _task(head: Any) -> str:
    return "" if head is None else head.task


def _task_of(task: str) -> str:
    return "regression" if task == "regression" else "classification"


def first_half(X: Any) -> list[int]:
    return list(range((X.shape[1] + 1) // 2))


def last_half(X: Any) -> list[int]:
    return list(range(X.shape[1] // 2, X.shape[1]))


def every_other(X: Any) -> list[int]:
    return list(range(0, X.shape[1], 2))


def leaf(task: str) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: st.integers(0, len(pool(task)) - 1).map(
        lambda i: clone(pool(task)[i])))  # fmt: skip


@st.composite
def unions(draw: Any, parts: Any) -> Any:
    chosen = draw(st.lists(parts | st.just("passthrough"), min_size=1, max_size=3))
    steps = [(f"part {i}", part) for i, part in enumerate(chosen)]
    weights = draw(st.none() | st.floats(-3, 3).map(lambda w: {"part 0": round(w, 2) or 1.0}))
    return FeatureUnion(steps, transformer_weights=weights)


@st.composite
def columns(draw: Any, parts: Any) -> Any:
    chosen = draw(st.lists(parts | st.just("passthrough"), min_size=1, max_size=2))
    pick = st.sampled_from([first_half, last_half, every_other])
    return ColumnTransformer(
        [(f"block {i}", part, draw(pick)) for i, part in enumerate(chosen)],
        remainder=draw(st.sampled_from(["drop", "passthrough"])),
    )


def chains(parts: Any) -> Any:
    return st.lists(parts, min_size=1, max_size=2).map(lambda steps: make_pipeline(*steps))


def transformers() -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf("transform"), lambda p: chains(p) | unions(p) | columns(p), max_leaves=4
    )


@st.composite
def ensembles(draw: Any, parts: Any, task: str) -> Any:
    chosen = [
        (f"learner {i}", part)
        for i, part in enumerate(draw(st.lists(parts, min_size=1, max_size=2)))
    ]
    weights = draw(st.none() | st.just([1.0, 2.5][: len(chosen)]))
    stacks = draw(st.booleans())
    if task == "regression":
        if stacks:
            return StackingRegressor(chosen, Ridge(), cv=2, passthrough=draw(st.booleans()))
        return VotingRegressor(chosen, weights=weights)
    if stacks:
        last = make_pipeline(StandardScaler(), LogisticRegression())
        return StackingClassifier(chosen, last, cv=2, passthrough=draw(st.booleans()))
    return VotingClassifier(chosen, weights=weights)


@st.composite
def after_transformers(draw: Any, parts: Any, task: str) -> Any:
    last = draw(parts)
    if task == "regression" and draw(st.integers(0, 4)) == 0:
        last = TransformedTargetRegressor(last, transformer=MinMaxScaler())
    return make_pipeline(StandardScaler(), draw(transformers()), last)


def predictors(task: str) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf(task), lambda p: after_transformers(p, task) | ensembles(p, task), max_leaves=3
    )


def _fit(source: Any, task: str) -> tuple[Any, Any]:
    # One after the other they would fill the memory.
    wide = [p for p in source.get_params().values() if type(p) is PolynomialFeatures]
    assume(len(wide) <= 1)
    X, y = data(task)
    try:
        return quietly(copy.deepcopy(source).fit, X, y), X
    except (ValueError, TypeError, ArithmeticError, ArpackError):
        # Too few columns for an operator, a logarithm of negative numbers, and so on.
        event("scikit-learn refuses to fit it")
        assume(False)
        raise


def _determined(source: Any, X: Any) -> bool:
    """Whether rounding errors, in the rows or in what was learned, leave the answers alone."""
    rng = np.random.default_rng(0)
    try:
        expected = quietly(answers, source, X)
        for twin, rows in ((source, _rounded(X, rng)), (_with_rounded_numbers(source, rng), X)):
            actual = quietly(answers, twin, rows)
            for method, value in expected.items():
                assert_close(actual[method], value, DETERMINED)
    except (AssertionError, ValueError):
        return False
    return True


def _rounded(values: Any, rng: Any) -> Any:
    return values * (1 + ROUNDING * rng.choice([-1, 1], values.shape))


def _with_rounded_numbers(source: Any, rng: Any) -> Any:
    # Noise in the rows ends at a step that rounds, such as a graph of neighbours; what divides by
    # next to nothing behind it is found by noise in what that step learned.
    source = copy.deepcopy(source)
    for estimator in _estimators(source):
        for name, value in vars(estimator).items():
            if name.endswith("_") and isinstance(value, np.ndarray) and value.dtype.kind == "f":
                setattr(estimator, name, _rounded(value, rng))
    return source


def _estimators(thing: Any) -> Iterator[Any]:
    if isinstance(thing, BaseEstimator):
        yield thing
        thing = list(vars(thing).values())
    if isinstance(thing, dict):
        thing = list(thing.values())
    if isinstance(thing, list | tuple) or (isinstance(thing, np.ndarray) and thing.dtype == object):
        for part in thing:
            yield from _estimators(part)


def test_what_divides_by_next_to_nothing_is_not_determined():
    X, y = data("regression")
    alike = RadiusNeighborsTransformer(mode="connectivity", radius=300.0)
    for whiten, expected in ((False, True), (True, False)):
        pca = PCA(3, svd_solver="covariance_eigh", whiten=whiten)
        source = make_pipeline(alike, pca, GaussianProcessRegressor(alpha=1.0))
        assert _determined(quietly(source.fit, X, y), X) == expected


def _alike(net: Any, source: Any, X: Any) -> None:
    theirs = quietly(answers, source, X)
    ours = quietly(answers, net, X, tuple(theirs))
    assert ours.keys() == theirs.keys()
    for method, desired in theirs.items():
        assert_close(ours[method], desired, TOLERANCE, method)


def _holds(source: Any, task: str, translate: Any) -> None:
    source, X = _fit(source, task)
    note(f"{source}")
    assume(_determined(source, X))
    before = copy.deepcopy(source)
    net = quietly(lambda: pg.to_torch(source, translate=translate))
    assert identical(before, pg.from_torch(net)), "an untouched round trip changed something"
    _alike(net, source, X)
    perturb(net, size=0.01)
    changed = pg.from_torch(net)
    assert type(changed) is type(source)
    if _determined(changed, X):
        event("perturbed")
        _alike(net, changed, X)


TRANSLATE = st.sampled_from(["trainable", "all"])


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass", "transform"])
def test_the_table_gives_operators(task):
    assert len(pool(task)) >= 5


@SETTINGS
@given(transformers(), TRANSLATE)
def test_transformers(source, translate):
    _holds(source, "regression", translate)


@SETTINGS
@given(predictors("regression"), TRANSLATE)
def test_regressors(source, translate):
    _holds(source, "regression", translate)


@SETTINGS
@given(predictors("binary"), TRANSLATE)
def test_classifiers_of_two_classes(source, translate):
    _holds(source, "binary", translate)


@SETTINGS
@given(predictors("multiclass"), TRANSLATE)
def test_classifiers_of_several_classes(source, translate):
    _holds(source, "multiclass", translate)
