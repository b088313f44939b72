"""Wrong input gives its clear error before work starts, and changes nothing."""

from __future__ import annotations

import copy
import re
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

import pipegrad as pg
from helpers import fit_on, fitted, table, target
from pipegrad.modules import SparseRows
from pipegrad.partition import partition
from pipegrad.testing import DATASETS, identical


@contextmanager
def unchanged(*things: Any):
    """Whatever happens inside, the user's objects stay as they were."""
    before = copy.deepcopy(things)
    yield
    for then, now in zip(before, things, strict=True):
        same = then.equals(now) if hasattr(then, "equals") else identical(then, now)
        assert same, f"{type(now).__name__} changed"


def standard() -> tuple[Any, Any]:
    return fit_on("regression", make_pipeline(StandardScaler(), PCA(3), Ridge()))


class Untold(TransformerMixin, BaseEstimator):
    """A transformer that the table does not know; it learns nothing."""

    def fit(self, X: Any, y: Any = None) -> Untold:
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X) * 2


class OurScaler(StandardScaler):
    """A subclass of an operator that has a row."""


class OurUnion(FeatureUnion):
    """A subclass of a composite that has a row."""


# -- what is translated --------------------------------------------------------------------------

UNFITTED = [
    Ridge(),
    StandardScaler(),
    make_pipeline(StandardScaler(), Ridge()),
    make_union(StandardScaler(), PCA(2)),
    make_column_transformer((StandardScaler(), [0])),
    StackingRegressor([("a", Ridge())]),
    VotingClassifier([("a", LogisticRegression())]),
    TransformedTargetRegressor(Ridge()),
    GridSearchCV(Ridge(), {"alpha": [1.0]}),
    pg.Featurizer(Ridge()),
    Pipeline([("a", StandardScaler()), ("b", "passthrough")]),
]


@pytest.mark.parametrize("source", UNFITTED, ids=lambda s: type(s).__name__)
def test_unfitted(source):
    for call in (pg.to_torch, pg.inspect):
        with unchanged(source), pytest.raises(NotFittedError, match="is not fitted yet"):
            call(source)


def test_unfitted_in_the_middle():
    X, y = DATASETS["regression"]()
    half = Pipeline([("scale", StandardScaler()), ("last", Ridge().fit(X, y))])
    with unchanged(half), pytest.raises(NotFittedError, match="StandardScaler at 'scale'"):
        pg.to_torch(half)


@pytest.mark.parametrize(
    "source", [Ridge, make_pipeline, None, "ridge", 3, [], {"a": 1}, Ridge.fit]
)
def test_no_estimator(source):
    for call in (pg.to_torch, pg.inspect):
        with pytest.raises(pg.ArgumentError, match="fitted pipeline"):
            call(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": ["pcaa"]}, "train='pcaa' names no step. The steps are 'standardscaler', 'pca'"),
        ({"freeze": ["x/*"]}, "freeze='x/.' names no step"),
        ({"train": "nothing"}, "train='nothing' names no step"),
        ({"translate": "some"}, "translate must be 'trainable' or 'all', got 'some'"),
        ({"translate": None}, "translate must be 'trainable' or 'all', got None"),
        ({"init": "zeros"}, "init must be 'fitted' or 'random', got 'zeros'"),
        ({"data": (1, 2)}, "data="),
    ],
)
def test_arguments(options, message):
    source, _ = standard()
    with unchanged(source), pytest.raises(pg.ArgumentError, match=message):
        pg.to_torch(source, **options)


def test_from_torch_of_something_else():
    source, _ = standard()
    for thing in (source, None, pg.to_torch(source).steps["pca"]):
        with pytest.raises(pg.ArgumentError, match="the result of to_torch"):
            pg.from_torch(thing)


# -- what cannot be translated -------------------------------------------------------------------


def problems(source: Any, **options: Any) -> pg.UntranslatableError:
    with unchanged(source), pytest.raises(pg.UntranslatableError) as caught:
        pg.to_torch(source, **options)
    assert {s.name for s in pg.inspect(source, **options) if s.status == "refused"} == {
        name for name, _, _ in caught.value.problems
    }
    return caught.value


def test_subclasses():
    error = problems(fit_on("regression", make_pipeline(PCA(3), OurScaler(), Ridge()))[0])
    assert [name for name, _, _ in error.problems] == ["ourscaler"]
    expected = "it is a subclass of StandardScaler, whose translation serves that exact class only"
    assert expected in str(error)
    union = OurUnion([("a", StandardScaler())])
    error = problems(fit_on("regression", make_pipeline(PCA(3), union, Ridge()))[0])
    assert "subclass of FeatureUnion" in str(error)


def test_every_problem_is_named():
    union = make_union(Untold(), OurScaler(), MinMaxScaler())
    source, _ = fit_on(
        "regression", make_pipeline(PCA(3), union, Untold(), StandardScaler(), Ridge())
    )
    error = problems(source)
    assert [name for name, _, _ in error.problems] == [
        "featureunion/untold",
        "featureunion/ourscaler",
        "untold",
    ]
    assert str(error).startswith("3 of 8 steps cannot be translated.")
    assert "it follows the trainable step 'pca'" in str(error)


def test_the_hint_works():
    source, X = fit_on("regression", make_pipeline(PCA(3), StandardScaler(), Untold(), Ridge()))
    error = problems(source)
    freeze = re.search(r"freeze=(\[.*?\])", error.hint)
    assert freeze is not None
    assert freeze.group(1) == "['pca', 'standardscaler']"
    net = pg.to_torch(source, freeze=["pca", "standardscaler"])
    assert np.allclose(net.predict(X), source.predict(X))


def test_fine_before_anything_that_trains():
    source, X = fit_on("regression", make_pipeline(Untold(), OurScaler(), PCA(3), Ridge()))
    net = pg.to_torch(source)
    assert [step.status for step in net.graph][:2] == ["host", "host"]
    assert np.allclose(net.predict(X), source.predict(X))


@pytest.mark.parametrize("translate", ["trainable", "all"])
def test_the_last_step_has_no_row(translate):
    class Constant(LinearRegression):
        pass

    error = problems(fit_on("regression", Constant())[0], translate=translate)
    assert "subclass of LinearRegression" in str(error)
    source, _ = fit_on("regression", make_pipeline(StandardScaler(), Constant()))
    error = problems(source, translate=translate)
    assert [name for name, _, _ in error.problems] == ["constant"]


def test_encoders_after_what_trains():
    """They take raw values; what a module gives them would be misread as codes."""
    for encoder in (OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder(), TargetEncoder(cv=2)):
        union = make_union(encoder, MinMaxScaler())
        source, X = fit_on("regression", make_pipeline(PCA(2), union, Ridge()))
        error = problems(source)
        assert [kind.rpartition(".")[2] for _, kind, _ in error.problems] == [
            type(encoder).__name__
        ]
        assert "it takes raw values, not the output of a module" in str(error)
        net = pg.to_torch(source, freeze=["pca"])
        assert np.allclose(net.predict(X), source.predict(X))
        # Where gradients end at the encoder, what stands before it does not train.
        source, X = fit_on("regression", make_pipeline(PCA(2), encoder, Ridge()))
        net = pg.to_torch(source)
        assert net.graph["pca"].status == "host"
        assert np.allclose(net.predict(X), source.predict(X))


def test_text_columns_after_what_trains():
    columns = ColumnTransformer([("one", OneByOne(), 0), ("two", PCA(1), [1, 2])])
    error = problems(fit_on("regression", make_pipeline(StandardScaler(), columns, Ridge()))[0])
    assert any("one/columns" in name for name, _, _ in error.problems)


class OneByOne(TransformerMixin, BaseEstimator):
    """Takes one-dimensional values."""

    def fit(self, X: Any, y: Any = None) -> OneByOne:
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X).reshape(-1, 1)


_COLUMNS = "its translation returns transformed columns and does not support"


@pytest.mark.parametrize(
    ("operator", "method", "reason"),
    [
        (StandardScaler(), "predict", f"{_COLUMNS} 'predict'"),
        (StandardScaler(), "features", f"{_COLUMNS} 'features'"),
        (Ridge(), "transform", "its translation returns predictions and has no 'transform'"),
        (Ridge(), "rest_proba", "its translation does not support 'predict_proba'"),
        (make_pipeline(Ridge()), "strange", "its expansion does not support 'strange'"),
    ],
)
def test_methods_that_a_row_does_not_serve(operator, method, reason):
    operator, _ = fit_on("regression", operator)
    step = pg.Step("it", "kind", ("input",), method=method, operator=operator)
    assert partition(pg.Graph((step,), "it"))["it"].reason == reason


def test_targets_without_an_inverse():
    backwards = FunctionTransformer(np.cbrt, lambda y: y**3)
    inner = TransformedTargetRegressor(Ridge(), transformer=backwards, check_inverse=False)
    voting = VotingRegressor([("one", inner), ("two", Ridge())])
    source, X = fit_on("positive", inner)
    assert np.allclose(pg.to_torch(source).predict(X), source.predict(X))
    source, X = fit_on("positive", voting)
    try:
        net = pg.to_torch(source)
    except pg.UntranslatableError as error:
        assert "inverse" in str(error)  # noqa: PT017
    else:
        assert np.allclose(net.predict(X), source.predict(X))


def test_searches_without_a_best_estimator():
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2, refit=False)
    error = problems(fit_on("regression", search)[0])
    assert "refit=False" in str(error)


# -- what is predicted ---------------------------------------------------------------------------


@pytest.mark.parametrize("translate", ["trainable", "all"])
def test_widths(translate):
    source, X = standard()
    net = pg.to_torch(source, translate=translate)
    for wrong in (
        X[:, :-1],
        np.hstack([X, X]),
        X[0],
        X[None],
        X[:0],
        [[]],
        [],
        X.astype(str) + "a",
    ):
        with pytest.raises((ValueError, TypeError)):
            source.predict(wrong)
        with unchanged(wrong), pytest.raises((ValueError, TypeError)):
            net.predict(wrong)
    with pytest.raises(ValueError, match="X has 5 features, but StandardScaler is expecting 6"):
        net.predict(X[:, :-1])


@pytest.mark.parametrize("translate", ["trainable", "all"])
def test_names(translate):
    X = table()[["a", "b", "c"]]
    source = fitted(make_pipeline(StandardScaler(), Ridge()), X, target(table()))
    net = pg.to_torch(source, translate=translate)
    for wrong in (X[["b", "a", "c"]], X.rename(columns={"a": "z"}), X[["a", "b"]], X.assign(z=0)):
        with pytest.raises(ValueError) as theirs:
            source.predict(wrong)
        with unchanged(wrong), pytest.raises(ValueError) as ours:
            net.predict(wrong)
        assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_at_the_entry(bad):
    X, y = DATASETS["regression"]()
    wrong = X.copy()
    wrong[3, 2] = bad
    for source in (
        fitted(PCA(3), X),
        fitted(Ridge(), X, y),
        fitted(make_union(PCA(2), StandardScaler()), X),
        fitted(make_pipeline(make_union(PCA(2), MinMaxScaler()), Ridge()), X, y),
    ):
        net = pg.to_torch(source)
        method = "predict" if hasattr(source, "predict") else "transform"
        for model in (source, net):
            with unchanged(wrong), pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
                getattr(model, method)(wrong)


@pytest.mark.parametrize("last", [PCA(2), Ridge(), make_pipeline(MinMaxScaler(), PCA(2))])
def test_nan_between_steps(last):
    """StandardScaler lets NaN pass, what follows does not."""
    source, X = fit_on("regression", make_pipeline(StandardScaler(), last))
    net = pg.to_torch(source)
    wrong = X.copy()
    wrong[3, 2] = np.nan
    method = "predict" if hasattr(source, "predict") else "transform"
    for model in (source, net):
        with unchanged(wrong), pytest.raises(ValueError, match="contains NaN"):
            getattr(model, method)(wrong)


def test_nan_passes_where_the_source_lets_it():
    X, y = DATASETS["missing"]()
    source = fitted(make_pipeline(StandardScaler(), MinMaxScaler(), SimpleImputer(), Ridge()), X, y)
    assert np.allclose(pg.to_torch(source).predict(X), source.predict(X))
    source = fitted(make_pipeline(StandardScaler(), MinMaxScaler()), X)
    net = pg.to_torch(source)
    assert np.array_equal(np.isnan(net.transform(X)), np.isnan(X))


def test_strings_for_numbers():
    source, X = standard()
    net = pg.to_torch(source)
    frame = pd.DataFrame(X).astype(object)
    frame.iloc[2, 1] = "seven"
    with pytest.raises(ValueError):
        source.predict(frame)
    with unchanged(frame), pytest.raises(ValueError):
        net.predict(frame)


def test_methods_that_the_source_lacks():
    source, _ = standard()
    net = pg.to_torch(source)
    for method in ("transform", "predict_proba", "decision_function", "predict_log_proba"):
        assert not hasattr(source, method)
        assert not hasattr(net, method)
    net = pg.to_torch(source[:-1])
    assert not hasattr(net, "predict")
    with pytest.raises(AttributeError):
        _ = net.classes_


# -- targets -------------------------------------------------------------------------------------


def test_labels_that_were_never_seen():
    source, _ = fit_on("multiclass", make_pipeline(StandardScaler(), LogisticRegression()))
    net = pg.to_torch(source)
    with pytest.raises(pg.ArgumentError, match=r"not fitted on: dog, eel\. It knows ant, bee, cat"):
        net.encode_target(["ant", "eel", "dog", "bee"])
    with unchanged(source), pytest.raises(pg.ArgumentError, match="not fitted on: dog"):
        net.fit(np.ones((2, 6)), ["ant", "dog"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_that_are_not_finite(bad):
    source, X = standard()
    net = pg.to_torch(source)
    y = np.full(len(X), 1.0)
    y[3] = bad
    with unchanged(X, y), pytest.raises(pg.ArgumentError, match="y contains NaN or infinity"):
        net.fit(X, y)
    assert identical(source, pg.from_torch(net))


def test_gradients_that_cannot_reach_the_input():
    source, X = fit_on("regression", make_pipeline(make_union(StandardScaler(), Untold()), Ridge()))
    net = pg.to_torch(source)
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, requires_grad=True)
    with pytest.raises(pg.ArgumentError, match="X must not require a gradient, since step"):
        net(x)
    assert np.allclose(net(x.detach()).detach(), source.predict(X))
    assert np.allclose(net(net.encode(X)).detach(), source.predict(X))


def test_sparse_rows_where_several_blocks_enter():
    source, X = fit_on("regression", make_pipeline(make_union(StandardScaler(), Untold()), Ridge()))
    torch = pytest.importorskip("torch")
    with pytest.raises(pg.ArgumentError, match="2 blocks enter"):
        pg.to_torch(source)(SparseRows.from_dense(torch.tensor(X)))


def test_rows_of_datetimes():
    source, X = fit_on("regression", Ridge())
    days = np.full(X.shape, np.datetime64("2020-01-01"))
    with pytest.raises(TypeError):
        source.predict(days)
    with pytest.raises(TypeError, match="X must hold numbers, got datetime64"):
        pg.to_torch(source).predict(days)


def test_numbers_that_are_not_finite_are_not_written_back():
    torch = pytest.importorskip("torch")
    source, _ = standard()
    net = pg.to_torch(source)
    with torch.no_grad():
        next(iter(net.trainable_parameters().values()))[0] = float("nan")
    with unchanged(source), pytest.raises(pg.WriteBackError, match="nothing was written"):
        pg.from_torch(net)
