"""Composites unfold, answer as their source does, and come back as the same kind of object."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import KMeans
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from helpers import assert_alike, assert_round_trip, fit_on, fitted, table, target
from pipegrad.testing import DATASETS, assert_close, identical

SKLEARN = parse_version(sklearn.__version__)


def kept(X: Any) -> Any:
    """A function that no module knows; it stays on the host."""
    return X


def tens(X: Any) -> Any:
    return np.asarray(X, dtype=float) * 10


def by_name(*columns: str) -> Callable[[Any], list[str]]:
    return lambda X: list(columns)


# -- Pipeline ------------------------------------------------------------------------------------

PIPELINES: dict[str, tuple[str, Callable[[], Any]]] = {
    "three steps": ("regression", lambda: make_pipeline(StandardScaler(), PCA(3), Ridge())),
    "passthrough first": (
        "regression",
        lambda: Pipeline([("a", "passthrough"), ("b", StandardScaler()), ("c", Ridge())]),
    ),
    "passthrough between": (
        "binary_strings",
        lambda: Pipeline([("b", StandardScaler()), ("a", None), ("c", LogisticRegression())]),
    ),
    "passthrough last": (
        "regression",
        lambda: Pipeline([("a", StandardScaler()), ("b", PCA(2)), ("c", "passthrough")]),
    ),
    "passthrough alone": ("regression", lambda: Pipeline([("a", "passthrough"), ("b", None)])),
    "nested": (
        "multiclass",
        lambda: make_pipeline(
            make_pipeline(make_pipeline(MinMaxScaler()), make_pipeline(PCA(4), StandardScaler())),
            Pipeline([("x", None), ("y", make_pipeline(LogisticRegression()))]),
        ),
    ),
    "transformers only": ("regression", lambda: make_pipeline(StandardScaler(), PCA(3))),
    "one step": ("regression", lambda: make_pipeline(Ridge())),
    "clusters": ("regression", lambda: make_pipeline(StandardScaler(), KMeans(3, n_init=1))),
    "distances to centers feed a model": (
        "regression",
        lambda: make_pipeline(StandardScaler(), KMeans(4, n_init=1), Ridge()),
    ),
    "several targets": ("multioutput", lambda: make_pipeline(StandardScaler(), Ridge())),
    "counts": ("counts", lambda: make_pipeline(StandardScaler(), PoissonRegressor())),
    "several yes or no": ("multilabel", lambda: make_pipeline(MinMaxScaler(), RidgeClassifier())),
    "sparse": ("sparse", lambda: make_pipeline(MaxAbsScaler(), TruncatedSVD(3), Ridge())),
    "sparse multiclass": (
        "sparse_multiclass",
        lambda: make_pipeline(MaxAbsScaler(), LogisticRegression()),
    ),
    "missing values": (
        "missing",
        lambda: make_pipeline(StandardScaler(), SimpleImputer(), PCA(3), Ridge()),
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline(name):
    data, make = PIPELINES[name]
    assert_round_trip(*fit_on(data, make()))


@pytest.mark.filterwarnings("ignore:Persisting input arguments")  # on a busy machine
def test_pipeline_with_memory(tmp_path):
    pipe = make_pipeline(StandardScaler(), PCA(2), Ridge(), memory=str(tmp_path))
    net = assert_round_trip(*fit_on("regression", pipe))
    assert pg.from_torch(net).memory == str(tmp_path)


def test_slices_of_a_pipeline():
    pipe, X = fit_on("regression", make_pipeline(StandardScaler(), PCA(3), Ridge()))
    assert_round_trip(pipe[:-1], X)
    assert_round_trip(pipe[1:], pipe[:1].transform(X))
    assert_round_trip(pipe[:1], X)
    assert_round_trip(pipe[-1], pipe[:-1].transform(X))


def test_refitting_the_pipeline_that_came_back():
    pipe, X = fit_on("regression", make_pipeline(StandardScaler(), Ridge()))
    again = pg.from_torch(pg.to_torch(pipe))
    _, y = DATASETS["regression"]()
    assert identical(fitted(clone(again), X, y), pipe)


# -- FeatureUnion --------------------------------------------------------------------------------

UNIONS: dict[str, tuple[str, Callable[[], Any]]] = {
    "plain": ("regression", lambda: make_union(StandardScaler(), PCA(3))),
    "weights": (
        "regression",
        lambda: FeatureUnion(
            [("s", StandardScaler()), ("p", PCA(3)), ("m", MinMaxScaler())],
            transformer_weights={"p": 2.5, "s": 0.1},
        ),
    ),
    "weight of a passthrough": (
        "regression",
        lambda: FeatureUnion(
            [("s", StandardScaler()), ("p", "passthrough")], transformer_weights={"p": -3}
        ),
    ),
    "drop": (
        "regression",
        lambda: FeatureUnion([("s", StandardScaler()), ("d", "drop"), ("p", PCA(2))]),
    ),
    "passthrough alone": ("regression", lambda: FeatureUnion([("p", "passthrough")])),
    "a pipeline inside": (
        "regression",
        lambda: make_union(make_pipeline(StandardScaler(), PCA(2)), MinMaxScaler()),
    ),
    "a union inside": (
        "regression",
        lambda: make_union(make_union(PCA(2), StandardScaler()), make_pipeline(MinMaxScaler())),
    ),
    "sparse": ("sparse", lambda: make_union(MaxAbsScaler(), StandardScaler(with_mean=False))),
    "sparse and dense": (
        "sparse",
        lambda: FeatureUnion(
            [("m", MaxAbsScaler()), ("s", TruncatedSVD(2)), ("p", "passthrough")],
            transformer_weights={"s": 2.0, "p": 0.5},
        ),
    ),
}


@pytest.mark.parametrize("name", UNIONS)
def test_union(name):
    data, make = UNIONS[name]
    assert_round_trip(*fit_on(data, make()))


@pytest.mark.parametrize("name", UNIONS)
def test_union_before_a_predictor(name):
    data, make = UNIONS[name]
    assert_round_trip(*fit_on(data, make_pipeline(MaxAbsScaler(), make(), Ridge())))


@pytest.mark.parametrize("name", UNIONS)
def test_union_translated_as_far_as_possible(name):
    data, make = UNIONS[name]
    assert_round_trip(*fit_on(data, make_pipeline(make(), Ridge())), translate="all")


# -- ColumnTransformer ---------------------------------------------------------------------------

NUMBERS = ["a", "b", "c"]
COLUMNS: dict[str, Callable[[], Any]] = {
    "names": lambda: make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(), ["color"])
    ),
    "names turned": lambda: make_column_transformer((StandardScaler(), ["c", "a"])),
    "indices": lambda: make_column_transformer((StandardScaler(), [3, 0]), (PCA(1), [1, -2])),
    "slice of indices": lambda: make_column_transformer((StandardScaler(), slice(0, 2))),
    "slice of names": lambda: make_column_transformer((OneHotEncoder(), slice("color", "color"))),
    "mask": lambda: make_column_transformer(
        (StandardScaler(), [True, True, False, False, True, False])
    ),
    "array mask": lambda: make_column_transformer(
        (StandardScaler(), np.array([True, False, False, True, False, False]))
    ),
    "callable": lambda: make_column_transformer((StandardScaler(), by_name("b", "c"))),
    "selector of types": lambda: make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(pattern="color")),
    ),
    "text": lambda: make_column_transformer(
        (TfidfVectorizer(), "note"), (StandardScaler(), NUMBERS)
    ),
    "text by index": lambda: make_column_transformer(
        (CountVectorizer(), 5), (StandardScaler(), [0])
    ),
    "text by callable": lambda: make_column_transformer(
        (CountVectorizer(), lambda X: "note"), (StandardScaler(), NUMBERS)
    ),
    "remainder passes": lambda: ColumnTransformer(
        [("s", StandardScaler(), ["a", "b"]), ("d", "drop", ["note", "color"])],
        remainder="passthrough",
    ),
    "remainder is transformed": lambda: ColumnTransformer(
        [("o", OneHotEncoder(), ["color"]), ("d", "drop", ["note"])], remainder=StandardScaler()
    ),
    "passthrough": lambda: ColumnTransformer(
        [("p", "passthrough", ["count", "c"]), ("s", StandardScaler(), ["a", "c"])]
    ),
    "weights": lambda: ColumnTransformer(
        [("s", StandardScaler(), NUMBERS), ("p", "passthrough", ["count"])],
        transformer_weights={"s": 0.5, "p": 3},
    ),
    "nothing selected": lambda: ColumnTransformer(
        [("e", StandardScaler(), []), ("s", MinMaxScaler(), NUMBERS)]
    ),
    "always sparse": lambda: ColumnTransformer(
        [("o", OneHotEncoder(), ["color"]), ("s", StandardScaler(), NUMBERS)], sparse_threshold=1.0
    ),
    "never sparse": lambda: ColumnTransformer(
        [("o", OneHotEncoder(), ["color"]), ("t", TfidfVectorizer(), "note")], sparse_threshold=0
    ),
    "a pipeline inside": lambda: ColumnTransformer(
        [("n", make_pipeline(SimpleImputer(), StandardScaler(), PCA(2)), NUMBERS)]
    ),
    "a union inside": lambda: ColumnTransformer(
        [("n", make_union(StandardScaler(), PolynomialFeatures(2)), NUMBERS)]
    ),
    "a column transformer inside": lambda: ColumnTransformer(
        [
            (
                "n",
                ColumnTransformer([("s", StandardScaler(), ["b", "a"]), ("m", PCA(1), ["a", "c"])]),
                NUMBERS,
            )
        ],
    ),
    "short names": lambda: ColumnTransformer(
        [("s", StandardScaler(), ["a"]), ("p", "passthrough", ["c"])],
        verbose_feature_names_out=False,
    ),
}
# scikit-learn gives no tables of these.
WITH_SPARSE_BLOCKS = {
    "names", "slice of names", "selector of types", "text", "text by index", "text by callable",
    "remainder is transformed", "always sparse", "never sparse",
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_column_transformer(name):
    X = table()
    source = fitted(COLUMNS[name](), X, target(X))
    assert_round_trip(source, X, table(20, seed=5))


@pytest.mark.parametrize("kind", ["regression", "multiclass"])
@pytest.mark.parametrize("name", COLUMNS)
def test_column_transformer_before_a_predictor(name, kind):
    X = table()
    last = Ridge() if kind == "regression" else LogisticRegression()
    source = fitted(make_pipeline(COLUMNS[name](), MaxAbsScaler(), last), X, target(X, kind))
    assert_round_trip(source, X, table(20, seed=5))


@pytest.mark.parametrize("name", COLUMNS)
def test_column_transformer_translated_as_far_as_possible(name):
    X = table()
    source = fitted(make_pipeline(COLUMNS[name](), Ridge()), X, target(X))
    assert_round_trip(source, X, translate="all", freeze=["ridge"])


@pytest.mark.parametrize("name", [n for n in COLUMNS if n not in WITH_SPARSE_BLOCKS])
def test_column_transformer_that_gives_tables(name):
    X = table()
    columns = COLUMNS[name]()
    source = fitted(columns.set_output(transform="pandas"), X, target(X))
    assert_round_trip(source, X, table(20, seed=5))
    pipe = make_pipeline(COLUMNS[name](), StandardScaler()).set_output(transform="pandas")
    assert_round_trip(fitted(pipe, X), X)
    pipe = make_pipeline(COLUMNS[name](), StandardScaler(), Ridge())
    assert_round_trip(fitted(pipe.set_output(transform="pandas"), X, target(X)), X)


def test_extra_and_turned_columns():
    X = table()
    columns = make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(), ["color"]))
    source = fitted(make_pipeline(columns, Ridge()), X, target(X))
    net = pg.to_torch(source)
    turned = X[X.columns[::-1]].assign(extra="?")
    assert_alike(net, source, turned)
    assert_close(net.predict(turned), net.predict(X), 1e-12)
    # What no transformer takes may be missing.
    assert_alike(net, source, X.drop(columns=["note"]))


@pytest.mark.parametrize("translate", ["trainable", "all"])
@pytest.mark.parametrize("missing", ["a", "color"])
def test_missing_columns(missing, translate):
    X = table()
    columns = make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(), ["color"]))
    source = fitted(make_pipeline(columns, Ridge()), X, target(X))
    net = pg.to_torch(source, translate=translate)
    for model in (source, net):
        with pytest.raises(ValueError, match=f"columns are missing: {{'{missing}'}}"):
            model.predict(X.drop(columns=[missing]))


@pytest.mark.parametrize("remainder", ["drop", "passthrough", StandardScaler()])
def test_column_transformer_of_arrays(remainder):
    columns = ColumnTransformer(
        [("s", StandardScaler(), [0, 2]), ("m", MinMaxScaler(), slice(1, 3))], remainder=remainder
    )
    source, X = fit_on("regression", make_pipeline(columns, Ridge()))
    net = assert_round_trip(source, X)
    assert_alike(net, pg.from_torch(net), X.tolist())
    assert_alike(net, pg.from_torch(net), pd.DataFrame(X))
    for wrong in (X[:, :-1], np.hstack([X, X]), X[0]):
        with pytest.raises((ValueError, TypeError, IndexError)):
            source.predict(wrong)
        with pytest.raises((ValueError, TypeError)):
            net.predict(wrong)


def test_lists_with_missing_values_in_a_column_transformer():
    X, y = DATASETS["missing"]()
    columns = ColumnTransformer([("s", make_pipeline(SimpleImputer(), StandardScaler()), [0, 2])])
    source = fitted(make_pipeline(columns, Ridge()), X, y)
    assert_alike(pg.to_torch(source), source, X.tolist())


def test_table_in_training_and_array_later():
    X = table()[NUMBERS]
    columns = make_column_transformer((StandardScaler(), [0, 2]), (MinMaxScaler(), [1]))
    source = fitted(make_pipeline(columns, Ridge()), X, target(table()))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        assert_alike(pg.to_torch(source), source, X.to_numpy())
    columns = make_column_transformer((StandardScaler(), NUMBERS))
    source = fitted(make_pipeline(columns, Ridge()), X, target(table()))
    for model in (source, pg.to_torch(source)):
        with pytest.raises(ValueError, match="columns"):
            model.predict(X.to_numpy())


def test_column_transformer_of_sparse_input():
    columns = ColumnTransformer(
        [("m", MaxAbsScaler(), [0, 3, 7]), ("s", StandardScaler(with_mean=False), slice(4, 9))],
        remainder="passthrough",
    )
    source, X = fit_on("sparse", make_pipeline(MaxAbsScaler(), columns, Ridge()))
    assert_round_trip(source, X)
    source, X = fit_on("sparse", clone(columns))
    assert_round_trip(source, X)


def test_column_transformer_after_a_trainable_step():
    columns = ColumnTransformer(
        [("p", PCA(2), [0, 1, 2]), ("m", MinMaxScaler(), [5, 0])], remainder="passthrough"
    )
    assert_round_trip(*fit_on("regression", make_pipeline(StandardScaler(), columns, Ridge())))


# -- stacking ------------------------------------------------------------------------------------


def learners(kind: str) -> list[tuple[str, Any]]:
    if kind == "regression":
        return [
            ("ridge", make_pipeline(StandardScaler(), Ridge())),
            ("linear", LinearRegression()),
            ("pca", make_pipeline(StandardScaler(), PCA(2), Ridge(2.0))),
        ]
    return [
        ("logistic", make_pipeline(StandardScaler(), LogisticRegression())),
        ("sgd", make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0))),
        ("pca", make_pipeline(StandardScaler(), PCA(3), LogisticRegression(C=0.1))),
    ]


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("method", ["auto", "predict_proba", "decision_function", "predict"])
@pytest.mark.parametrize("data", ["binary", "binary_strings", "multiclass"])
def test_stacking_classifier(data, method, passthrough):
    source = StackingClassifier(
        learners(data),
        make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cg")),
        stack_method=method,
        passthrough=passthrough,
        cv=2,
    )
    assert_round_trip(*fit_on(data, source))


@pytest.mark.parametrize("data", ["binary_strings", "multiclass"])
def test_stacking_of_learners_with_and_without_probabilities(data):
    learning = [*learners(data), ("ridge", RidgeClassifier()), ("svc", LinearSVC())]
    source = StackingClassifier(learning, LogisticRegression(), cv=2)
    assert_round_trip(*fit_on(data, make_pipeline(StandardScaler(), source)))
    assert_round_trip(*fit_on(data, make_pipeline(MinMaxScaler(), source)), translate="all")


@pytest.mark.parametrize("passthrough", [False, True])
def test_stacking_regressor(passthrough):
    source = StackingRegressor(learners("regression"), Ridge(), passthrough=passthrough, cv=2)
    assert_round_trip(*fit_on("regression", source))
    assert_round_trip(
        *fit_on("regression", make_pipeline(StandardScaler(), source)), translate="all"
    )


@pytest.mark.parametrize("data", ["binary_strings", "multiclass"])
def test_stacking_without_dropped_learners(data):
    source = StackingClassifier(learners(data), LogisticRegression(), cv=2).fit(*DATASETS[data]())
    source.set_params(sgd="drop").fit(*DATASETS[data]())
    net = assert_round_trip(source, DATASETS[data]()[0])
    assert not any("sgd" in step.name for step in net.graph)


@pytest.mark.parametrize("method", ["auto", "predict"])
@pytest.mark.parametrize("data", ["binary", "binary_strings", "multiclass"])
def test_stacking_of_learners_that_were_fitted_before(data, method):
    X, y = DATASETS[data]()
    learning = [(name, fitted(learner, X, y)) for name, learner in learners(data)]
    if method == "predict" and data != "binary":
        y = np.searchsorted(np.unique(y), y) * 10 + 10
        learning = [(name, fitted(learner, X, y)) for name, learner in learners(data)]
    source = StackingClassifier(learning, LogisticRegression(), stack_method=method, cv="prefit")
    assert_round_trip(fitted(source, X, y), X)
    assert_round_trip(fitted(source, X, y), X, translate="all")


def test_stacking_regressor_of_learners_that_were_fitted_before():
    X, y = DATASETS["regression"]()
    learning = [(name, fitted(learner, X, y)) for name, learner in learners("regression")]
    assert_round_trip(fitted(StackingRegressor(learning, Ridge(), cv="prefit"), X, y), X)


@pytest.mark.parametrize("data", ["regression", "binary_strings", "multiclass"])
def test_stacking_inside_a_pipeline(data):
    if data == "regression":
        stack = StackingRegressor(learners(data), Ridge(), cv=2)
    else:
        stack = StackingClassifier(learners(data), LogisticRegression(), cv=2)
    assert_round_trip(*fit_on(data, make_pipeline(MinMaxScaler(), stack)))


def test_stacking_as_a_transformer():
    stack = StackingClassifier(learners("multiclass"), LogisticRegression(), cv=2)
    assert_round_trip(
        *fit_on("multiclass", make_pipeline(stack, StandardScaler(), LogisticRegression()))
    )
    stack = StackingRegressor(learners("regression"), Ridge(), cv=2, passthrough=True)
    assert_round_trip(*fit_on("regression", make_pipeline(stack, StandardScaler(), Ridge())))


def test_stacking_passes_a_table_on():
    X = table()[NUMBERS]
    y = target(table())
    source = StackingRegressor(learners("regression"), Ridge(), passthrough=True, cv=2)
    assert_round_trip(fitted(source, X, y), X)


def test_stacking_passes_sparse_rows_on():
    learning = [("ridge", Ridge()), ("svd", make_pipeline(TruncatedSVD(3), LinearRegression()))]
    source = StackingRegressor(learning, Ridge(), passthrough=True, cv=2)
    net = assert_round_trip(*fit_on("sparse", source))
    assert net.graph["final_estimator"].status == "trainable"


@pytest.mark.parametrize("method", ["predict_proba", "predict", "decision_function"])
@pytest.mark.parametrize("translate", ["trainable", "all"])
@pytest.mark.parametrize("data", ["binary", "multiclass"])
def test_stacking_in_a_stacking(data, translate, method):
    inner = StackingClassifier(learners(data)[:2], LogisticRegression(), cv=2)
    learning = [("inner", inner), ("logistic", LogisticRegression())]
    outer = StackingClassifier(learning, LogisticRegression(), stack_method=method, cv=2)
    assert_round_trip(*fit_on(data, make_pipeline(StandardScaler(), outer)), translate=translate)


@pytest.mark.parametrize("translate", ["trainable", "all"])
@pytest.mark.parametrize(
    "inner",
    [
        StackingClassifier(learners("multiclass")[:2], LogisticRegression(), cv=2),
        VotingClassifier(learners("multiclass")[:2]),
        VotingClassifier(learners("multiclass")[:2], voting="soft"),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=["stacking", "hard", "soft", "pipeline"],
)
def test_labels_of_the_user_between_layers(inner, translate):
    X, y = DATASETS["multiclass"]()
    y = np.searchsorted(np.unique(y), y) * 10 + 10
    outer = StackingClassifier(
        [("inner", fitted(clone(inner), X, y))],
        make_pipeline(StandardScaler(), LogisticRegression()),
        stack_method="predict",
        cv="prefit",
    )
    assert_round_trip(fitted(outer, X, y), X, translate=translate)


# -- voting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, [1, 2.5, 0.5]])
@pytest.mark.parametrize("voting", ["hard", "soft"])
@pytest.mark.parametrize("data", ["binary_strings", "multiclass"])
def test_voting_classifier(data, voting, weights):
    source = VotingClassifier(learners(data), voting=voting, weights=weights)
    assert_round_trip(*fit_on(data, source))
    assert_round_trip(*fit_on(data, make_pipeline(MinMaxScaler(), source)))
    assert_round_trip(*fit_on(data, make_pipeline(MinMaxScaler(), source)), translate="all")


@pytest.mark.parametrize("data", ["binary", "multiclass"])
def test_hard_votes_of_learners_without_probabilities(data):
    learning = [*learners(data), ("ridge", RidgeClassifier()), ("svc", LinearSVC())]
    assert_round_trip(*fit_on(data, make_pipeline(StandardScaler(), VotingClassifier(learning))))


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_voting_without_dropped_learners(voting):
    source = VotingClassifier(learners("multiclass"), voting=voting, weights=[1, 2, 3])
    net = assert_round_trip(*fit_on("multiclass", source.set_params(sgd="drop")))
    assert not any("sgd" in step.name for step in net.graph)


@pytest.mark.parametrize("flat", [True, False])
def test_voting_classifier_predicts_whatever_its_columns_look_like(flat):
    source = VotingClassifier(learners("multiclass"), voting="soft", flatten_transform=flat)
    assert_round_trip(*fit_on("multiclass", source))


@pytest.mark.parametrize("translate", ["trainable", "all"])
@pytest.mark.parametrize("voting", ["hard", "soft"])
@pytest.mark.parametrize("data", ["binary_strings", "multiclass"])
def test_voting_as_a_transformer(data, voting, translate):
    votes = VotingClassifier(learners(data), voting=voting)
    source = make_pipeline(votes, StandardScaler(), LogisticRegression())
    assert_round_trip(*fit_on(data, source), translate=translate)


@pytest.mark.parametrize("weights", [None, [1, 2.5, 0.5]])
def test_voting_regressor(weights):
    source = VotingRegressor(learners("regression"), weights=weights)
    assert_round_trip(*fit_on("regression", source))
    assert_round_trip(*fit_on("regression", make_pipeline(source, StandardScaler(), Ridge())))
    assert_round_trip(*fit_on("regression", clone(source).set_params(linear="drop")))


def test_voting_in_a_voting():
    inner = VotingRegressor(learners("regression")[:2])
    assert_round_trip(
        *fit_on("regression", VotingRegressor([("in", inner), ("ridge", Ridge())], weights=[2, 1]))
    )
    inner = VotingClassifier(learners("multiclass")[:2], voting="soft", weights=[2, 1])
    outer = VotingClassifier([("in", inner), ("one", LogisticRegression())])
    assert_round_trip(*fit_on("multiclass", make_pipeline(StandardScaler(), outer)))
    inner = VotingClassifier(learners("multiclass")[:2])
    outer = VotingClassifier([("in", inner), ("one", LogisticRegression())])
    assert_round_trip(*fit_on("multiclass", make_pipeline(StandardScaler(), outer)))


# -- transformed targets -------------------------------------------------------------------------


def targets() -> dict[str, Any]:
    regressor = make_pipeline(StandardScaler(), Ridge())
    return {
        "functions": TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp),
        "log1p": TransformedTargetRegressor(regressor, func=np.log1p, inverse_func=np.expm1),
        "transformer": TransformedTargetRegressor(regressor, transformer=StandardScaler()),
        "range": TransformedTargetRegressor(regressor, transformer=MinMaxScaler()),
        "identity": TransformedTargetRegressor(regressor),
        "pipeline": TransformedTargetRegressor(
            regressor,
            transformer=make_pipeline(FunctionTransformer(np.log, np.exp), StandardScaler()),
        ),
        "count model": TransformedTargetRegressor(
            make_pipeline(StandardScaler(), PoissonRegressor()), transformer=MinMaxScaler()
        ),
    }


@pytest.mark.parametrize("name", targets())
def test_transformed_target(name):
    assert_round_trip(*fit_on("positive", targets()[name]))


@pytest.mark.parametrize("name", targets())
def test_transformed_target_inside(name):
    inner = targets()[name]
    assert_round_trip(*fit_on("positive", make_pipeline(StandardScaler(), inner)))
    voting = VotingRegressor([("one", inner), ("two", LinearRegression())])
    stacking = StackingRegressor([("one", inner), ("two", LinearRegression())], Ridge(), cv=2)
    assert_round_trip(*fit_on("positive", voting))
    assert_round_trip(*fit_on("positive", make_pipeline(MinMaxScaler(), stacking)))
    assert_round_trip(
        *fit_on("positive", make_pipeline(pg.Featurizer(inner), StandardScaler(), Ridge()))
    )


@pytest.mark.parametrize("name", targets())
def test_transformed_target_in_a_transformed_target(name):
    outer = TransformedTargetRegressor(targets()[name], func=np.sqrt, inverse_func=np.square)
    assert_round_trip(*fit_on("positive", outer))


def test_transformed_target_with_a_composite_as_regressor():
    voting = VotingRegressor(learners("regression"), weights=[1, 2, 3])
    assert_round_trip(
        *fit_on("positive", TransformedTargetRegressor(voting, transformer=StandardScaler()))
    )
    stacking = StackingRegressor(learners("regression"), Ridge(), cv=2)
    assert_round_trip(
        *fit_on("positive", TransformedTargetRegressor(stacking, func=np.log, inverse_func=np.exp))
    )


@pytest.mark.parametrize("width", [1, 3])
def test_several_transformed_targets(width):
    X, y = DATASETS["multioutput"]()
    inner = TransformedTargetRegressor(Ridge(), transformer=StandardScaler())
    source = fitted(make_pipeline(StandardScaler(), inner), X, y[:, :width])
    assert source.predict(X).shape == y[:, :width].shape
    net = assert_round_trip(source, X)
    assert net.encode_target(y[:, :width]).shape == net(X).shape


def test_score_and_target_are_on_the_transformed_scale():
    X, y = DATASETS["positive"]()
    source = fitted(TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp), X, y)
    net = pg.to_torch(source)
    assert_close(net(X).detach(), np.log(source.predict(X)), 1e-9)
    assert_close(net.encode_target(y), np.log(y), 1e-12)


# -- wrappers ------------------------------------------------------------------------------------


@pytest.mark.skipif(parse_version("1.6") > SKLEARN, reason="FrozenEstimator came with 1.6")
def test_frozen_estimator():
    from sklearn.frozen import FrozenEstimator

    X, y = DATASETS["multiclass"]()
    scaler = fitted(make_pipeline(StandardScaler(), PCA(3)), X)
    source = fitted(
        make_pipeline(FrozenEstimator(scaler), MinMaxScaler(), LogisticRegression()), X, y
    )
    net = assert_round_trip(source, X)
    host = {step.name for step in net.graph if step.status == "host"}
    assert host == {"frozenestimator/standardscaler", "frozenestimator/pca"}
    source = fitted(
        make_pipeline(MinMaxScaler(), FrozenEstimator(scaler), LogisticRegression()), X, y
    )
    net = assert_round_trip(source, X)
    assert net.graph["frozenestimator/pca"].status == "translated"
    last = FrozenEstimator(fitted(LogisticRegression(), X, y))
    assert_round_trip(fitted(make_pipeline(StandardScaler(), last), X, y), X)
    # A name that train= gives counts more than the wrapper.
    net = pg.to_torch(source, train=["frozenestimator"])
    assert net.graph["frozenestimator/pca"].status == "trainable"


def searches(estimator: Any, grid: dict[str, Any]) -> list[Any]:
    common = {"cv": 2}
    return [
        GridSearchCV(estimator, grid, **common),
        RandomizedSearchCV(estimator, grid, n_iter=1, random_state=0, **common),
        HalvingGridSearchCV(estimator, grid, random_state=0, min_resources=40, **common),
        HalvingRandomSearchCV(estimator, grid, random_state=0, min_resources=40, **common),
    ]


@pytest.mark.parametrize("place", range(4))
def test_search(place):
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    source = searches(pipe, {"logisticregression__C": [0.1, 1.0]})[place]
    assert_round_trip(*fit_on("multiclass", source))
    assert_round_trip(*fit_on("binary_strings", source))
    inner = searches(Ridge(), {"alpha": [0.1, 1.0]})[place]
    assert_round_trip(*fit_on("regression", make_pipeline(StandardScaler(), inner)))


def test_search_in_other_composites():
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2)
    voting = VotingRegressor([("search", search), ("linear", LinearRegression())])
    assert_round_trip(*fit_on("regression", make_pipeline(StandardScaler(), voting)))
    target_too = TransformedTargetRegressor(search, transformer=StandardScaler())
    assert_round_trip(
        *fit_on("regression", GridSearchCV(target_too, {"regressor__cv": [2, 3]}, cv=2))
    )


@pytest.mark.parametrize(
    ("data", "make", "goal"),
    [
        ("regression", Ridge, None),
        ("multioutput", Ridge, None),
        ("counts", PoissonRegressor, None),
        ("regression", LogisticRegression, lambda y: y > np.median(y)),
        ("binary_strings", LogisticRegression, None),
        ("multiclass", LogisticRegression, None),
        ("multiclass", LinearSVC, None),
        ("multilabel", RidgeClassifier, None),
        ("multiclass", lambda: VotingClassifier(learners("c"), voting="soft"), None),
        ("binary", lambda: StackingClassifier(learners("c"), LogisticRegression(), cv=2), None),
        ("regression", lambda: VotingRegressor(learners("regression")), None),
        ("regression", lambda: make_pipeline(StandardScaler(), Ridge()), None),
        ("regression", lambda: KMeans(3, n_init=1, random_state=0), None),
    ],
)
def test_featurizer(data, make, goal):
    featurizer = pg.Featurizer(make(), target=goal)
    assert_round_trip(*fit_on(data, make_pipeline(StandardScaler(), featurizer)))
    last = LogisticRegression() if data in ("binary_strings", "multiclass") else Ridge()
    union = make_union(featurizer, StandardScaler())
    assert_round_trip(*fit_on(data, make_pipeline(MinMaxScaler(), union, StandardScaler(), last)))


def test_featurizer_gives_tables():
    X = table()[NUMBERS]
    y = target(table(), "multiclass")
    union = make_union(pg.Featurizer(LogisticRegression()), StandardScaler())
    assert_round_trip(fitted(union.set_output(transform="pandas"), X, y), X)


# -- places, names, depth ------------------------------------------------------------------------


def test_one_object_in_two_places():
    X, y = DATASETS["regression"]()
    scaler = fitted(StandardScaler(), X)
    learning = [
        ("one", Pipeline([("s", scaler), ("m", Ridge().fit(scaler.transform(X), y))])),
        ("two", Pipeline([("s", scaler), ("m", LinearRegression().fit(scaler.transform(X), y))])),
    ]
    source = fitted(StackingRegressor(learning, Ridge(), cv="prefit"), X, y)
    net = assert_round_trip(source, X)
    assert net.graph["one/s"].status == net.graph["two/s"].status == "trainable"
    changed = pg.from_torch(net)
    first, second = (learner.named_steps["s"] for learner in changed.estimators_)
    assert first is second
    # 6 shifts and 6 scales, once.
    assert sum(p.numel() for p in net.steps["one/s"].parameters()) == 12
    assert len({id(p) for p in net.parameters()}) == len(list(net.parameters()))


def shared() -> tuple[Any, Any]:
    X, y = DATASETS["multiclass"]()
    scaler = fitted(StandardScaler(), X)
    model = fitted(LogisticRegression(), scaler.transform(X), y)
    other = fitted(LogisticRegression(C=0.1), scaler.transform(X), y)
    learning = [
        ("one", Pipeline([("s", scaler), ("m", model)])),
        ("two", Pipeline([("s", scaler), ("m", other)])),
    ]
    return fitted(StackingClassifier(learning, LogisticRegression(), cv="prefit"), X, y), X


@pytest.mark.parametrize("patterns", [{"freeze": ["one/s"]}, {"freeze": ["two/s"]}])
def test_one_object_frozen_in_one_place_is_frozen_everywhere(patterns):
    source, X = shared()
    net = assert_round_trip(source, X, **patterns)
    assert net.graph["one/s"].status != "trainable"
    assert net.graph["two/s"].status != "trainable"


@pytest.mark.parametrize("patterns", [{"train": ["one/s"]}, {"train": ["two/s"]}])
def test_one_object_trained_in_one_place_is_trained_everywhere(patterns):
    source, X = shared()
    net = assert_round_trip(source, X, **patterns)
    assert net.graph["one/s"].status == "trainable"
    assert net.graph["two/s"].status == "trainable"


def test_one_object_that_gradients_reach_in_one_place_alone():
    X, y = DATASETS["binary"]()
    scaler = fitted(StandardScaler(), X)
    model = fitted(LogisticRegression(), scaler.transform(X), y)
    learning = [
        ("hard", Pipeline([("s", scaler), ("m", model)])),
        ("smooth", Pipeline([("s", scaler), ("r", fitted(Ridge(), scaler.transform(X), y))])),
    ]
    source = StackingClassifier(learning, LogisticRegression(), stack_method="predict", cv="prefit")
    # A regressor answers "predict" smoothly, a classifier does not.
    source = fitted(source, X, y)
    assert_round_trip(source, X)


ODD_NAMES = [
    "with.dot", "with space", "with%2Edot", "with%dot", "ünïcödé", "a-b", "input", "keys", "items",
    "values", "type", "train", "forward", "parameters", "training", "concatenate", "0", "*", "[x]",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(name):
    pipe = Pipeline([(name, StandardScaler()), ("last", Ridge())])
    net = assert_round_trip(*fit_on("regression", pipe))
    assert any(key.startswith("steps.") for key in net.state_dict())
    union = FeatureUnion([(name, StandardScaler()), ("other", MinMaxScaler())])
    columns = ColumnTransformer([(name, StandardScaler(), [0, 1]), ("other", PCA(1), [2, 3])])
    assert_round_trip(*fit_on("regression", make_pipeline(union, Ridge())))
    assert_round_trip(*fit_on("regression", make_pipeline(columns, Ridge())))
    fresh = pg.to_torch(fit_on("regression", pipe)[0])
    fresh.load_state_dict(net.state_dict())


def test_names_that_look_alike():
    union = FeatureUnion([("a.b", StandardScaler()), ("a%2Eb", MinMaxScaler())])
    net = assert_round_trip(*fit_on("regression", make_pipeline(union, Ridge())))
    assert len(net.steps) == len(net.graph)
    outer = Pipeline([("a/b", StandardScaler()), ("a", Pipeline([("b", MinMaxScaler())])),
                      ("r", Ridge())])  # fmt: skip
    net = assert_round_trip(*fit_on("regression", outer))
    assert [step.name for step in net.graph] == ["a/b", "a/b#2", "r"]


def test_deep_nesting():
    inner: Any = StandardScaler()
    for depth in range(4):
        inner = make_pipeline(make_union(inner, PCA(2)), MinMaxScaler() if depth % 2 else None)
    assert_round_trip(*fit_on("regression", make_pipeline(inner, Ridge())))
    columns = ColumnTransformer([("x", inner, [0, 1, 2]), ("y", clone(inner), [3, 4, 5])])
    stack = StackingClassifier(
        [
            ("deep", make_pipeline(columns, LogisticRegression())),
            ("vote", VotingClassifier(learners("multiclass"), voting="soft")),
        ],
        VotingClassifier(learners("multiclass"), voting="soft", weights=[1, 2, 1]),
        passthrough=True,
        cv=2,
    )
    assert_round_trip(*fit_on("multiclass", make_pipeline(StandardScaler(), stack)), tolerance=1e-8)


def figure_1() -> Any:
    """The pipeline of the paper's Figure 1."""
    categories = ["season", "weather"]
    numbers = ["temperature", "humidity", "wind"]
    features = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), categories), ("passthrough", numbers)
    )
    both = FeatureUnion(
        [
            ("logistic", pg.Featurizer(LogisticRegression(), target=lambda y: y > np.median(y))),
            ("sgd", pg.Featurizer(SGDClassifier(loss="log_loss", random_state=0),
                                  target=lambda y: y > np.median(y))),
            ("features", "passthrough"),
        ]
    )  # fmt: skip
    return Pipeline(
        [
            ("encode", features),
            ("pca", PCA(5, svd_solver="full")),
            ("range", MinMaxScaler()),
            ("classifiers", both),
            ("poisson", PoissonRegressor(max_iter=300)),
        ]
    )


def rentals(rows: int, seed: int) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "season": rng.choice(["winter", "spring", "summer", "fall"], rows),
            "weather": rng.choice(["clear", "mist", "rain"], rows),
            "temperature": rng.uniform(0, 1, rows),
            "humidity": rng.uniform(0, 1, rows),
            "wind": rng.uniform(0, 1, rows),
        }
    )
    rate = np.exp(2 + X["temperature"] - X["humidity"] + (X["season"] == "summer"))
    return X, rng.poisson(rate)


def test_figure_1():
    X, y = rentals(200, 0)
    source = figure_1()
    if parse_version("1.5") > SKLEARN:
        source.set_params(encode__sparse_threshold=0)
    source = fitted(source, X, y)
    net = assert_round_trip(source, X, rentals(30, 1)[0])
    status = {step.name: step.status for step in net.graph}
    assert status["encode/onehotencoder"] == status["encode/concatenate"] == "host"
    assert {n for n, s in status.items() if s == "trainable"} == {
        "pca", "range", "classifiers/logistic", "classifiers/sgd", "poisson",
    }  # fmt: skip
    # Columns by name, unknown categories, in any order.
    other = rentals(30, 2)[0].assign(extra=1)
    other.loc[3, "season"] = "monsoon"
    assert_alike(pg.to_torch(source), source, other[other.columns[::-1]])


# -- what has no row -----------------------------------------------------------------------------


class Doubled(TransformerMixin, BaseEstimator):
    """A transformer that the table does not know."""

    def fit(self, X: Any, y: Any = None) -> Doubled:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return X * 2 if not sparse.issparse(X) else X.multiply(2).tocsr()


def test_unknown_operators_before_anything_that_trains():
    assert_round_trip(*fit_on("regression", make_pipeline(Doubled(), StandardScaler(), Ridge())))
    assert_round_trip(
        *fit_on("regression", make_pipeline(Doubled(), FunctionTransformer(kept), Ridge()))
    )
    union = make_union(Doubled(), make_pipeline(Doubled(), StandardScaler()))
    assert_round_trip(*fit_on("regression", make_pipeline(union, Ridge())))
    assert_round_trip(*fit_on("sparse", make_pipeline(Doubled(), MaxAbsScaler(), Ridge())))


@pytest.mark.parametrize("translate", ["trainable", "all"])
def test_a_table_between_host_steps(translate):
    X = table()
    columns = make_column_transformer(
        (OneHotEncoder(), ["color"]), (StandardScaler(), NUMBERS), (CountVectorizer(), "note")
    )
    source = make_pipeline(FunctionTransformer(kept), columns, Ridge())
    assert_round_trip(fitted(source, X, target(X)), X, translate=translate)


def test_kernel_features_and_targets_together():
    inner = make_pipeline(RBFSampler(n_components=5, random_state=0), Ridge())
    stack = StackingRegressor(
        [("kernel", TransformedTargetRegressor(inner, transformer=StandardScaler()))],
        PoissonRegressor(),
        passthrough=True,
        cv=2,
    )
    assert_round_trip(*fit_on("positive", make_pipeline(MinMaxScaler(), stack)))
