"""Imputers of scikit-learn, beyond the contract's examples."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

import pipegrad as pg
from pipegrad import glue
from pipegrad.errors import UntranslatableError
from pipegrad.testing import DATASETS, assert_same_answers, identical, perturb

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Early stopping criterion not reached"),
    pytest.mark.filterwarnings("ignore:Skipping features without any observed values"),
    pytest.mark.filterwarnings("ignore:Currently, when `keep_empty_feature=False`"),  # 1.7
]
LOW, HIGH = [-5.0, -3.0, 1.0, -4.0, 0.0, -1.0], [5.0, 30.0, 3.0, 4.0, 90.0, 1.0]


def holes(columns=6, marker=np.nan):
    """Rows with missing entries, rows without any entry, and one row alone."""
    X, _ = DATASETS["missing"]()
    more = X.copy()
    more[np.random.default_rng(5).random(X.shape) < 0.3] = np.nan
    nothing = np.full((2, 6), np.nan)
    found = [X, more, np.vstack([more, nothing]), nothing, more[:1], X[:1]]
    return [np.where(np.isnan(rows), marker, rows) for rows in (r[:, :columns] for r in found)]


def empty_column(tables):
    tables = [rows.copy() for rows in tables]
    tables[0][:, 2] = np.nan
    return tables


def assert_both_ways(operator, tables):
    net = pg.to_torch(operator.fit(tables[0]))
    assert identical(vars(pg.from_torch(net)), vars(operator))
    for rows in tables:
        assert_same_answers(net, operator, rows, 1e-9)
    perturb(net)
    for rows in tables:
        assert_same_answers(net, pg.from_torch(net), rows, 1e-9)
    names = net.get_feature_names_out()
    np.testing.assert_array_equal(names, operator.get_feature_names_out())
    return net


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"estimator": Ridge(), "tol": 0.1},
        {"estimator": BayesianRidge(fit_intercept=False)},
        {"max_iter": 0},
        {"initial_strategy": "median"},
        {"initial_strategy": "most_frequent"},
        {"initial_strategy": "constant", "fill_value": 1.5},
        {"min_value": 0.0, "max_value": 3.0},
        {"min_value": LOW, "max_value": HIGH},
        {"imputation_order": "random", "random_state": 0},
        {"imputation_order": "roman"},
        {"imputation_order": "arabic"},
        {"imputation_order": "descending"},
        {"n_nearest_features": 2, "random_state": 0},
        {"skip_complete": True},
        {"add_indicator": True, "verbose": 0},
        {"keep_empty_features": False, "add_indicator": True, "max_iter": 0},
        {"estimator": DecisionTreeRegressor(max_depth=3, random_state=0), "max_iter": 1},
        {"estimator": KNeighborsRegressor(3), "max_iter": 1},
        {"estimator": make_pipeline(StandardScaler(), Ridge())},
    ],
    ids=str,
)
def test_rounds_of_estimators(params):
    assert_both_ways(IterativeImputer(**{"max_iter": 2, **params}), holes())


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"add_indicator": True},
        {"keep_empty_features": True},
        {"keep_empty_features": True, "initial_strategy": "constant", "fill_value": 2.0},
        {"initial_strategy": "constant", "fill_value": 2.0},
        {"min_value": LOW, "max_value": HIGH},
        {"keep_empty_features": True, "add_indicator": True, "skip_complete": True},
    ],
    ids=str,
)
def test_columns_without_any_entry(params):
    pytest.importorskip("sklearn", minversion="1.6")
    assert_both_ways(IterativeImputer(max_iter=2, **params), empty_column(holes()))


def test_other_markers_and_few_columns():
    assert_both_ways(IterativeImputer(max_iter=2, missing_values=-99), holes(6, -99.0))
    assert_both_ways(IterativeImputer(max_iter=2), holes(1))
    operator = IterativeImputer(max_iter=1, missing_values=-99).fit(holes(6, -99.0)[0])
    for owner in (operator, pg.to_torch(operator)):
        with pytest.raises(ValueError, match="NaN"):
            owner.transform(holes()[0])


def test_tables_keep_names_and_types():
    X = pd.DataFrame(holes()[1], columns=list("abcdef"))
    operator = IterativeImputer(max_iter=2, add_indicator=True).set_output(transform="pandas")
    net = pg.to_torch(operator.fit(X))
    pd.testing.assert_frame_equal(net.transform(X), operator.transform(X))
    with pytest.raises(ValueError, match="feature names"):
        net.transform(X[list("fedcba")])
    narrow = X.to_numpy().astype(np.float32)
    operator.set_output(transform="default")
    net = pg.to_torch(IterativeImputer(max_iter=2).fit(X.to_numpy()))
    assert net.transform(narrow).dtype == np.float32


def test_initial_values_and_estimators_train_with_the_steps_around_them():
    X, y = DATASETS["missing"]()
    pipeline = make_pipeline(StandardScaler(), IterativeImputer(max_iter=2), Ridge()).fit(X, y)
    net = pg.to_torch(pipeline)
    before = ((pipeline.predict(X) - y) ** 2).mean()
    net.fit(X, y, epochs=15, lr=0.02, validation=None)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < 0.95 * before
    imputer, then = tuned[1], pipeline[1]
    assert (imputer.initial_imputer_.statistics_ != then.initial_imputer_.statistics_).any()
    for one, other in zip(imputer.imputation_sequence_, then.imputation_sequence_, strict=True):
        # The last column has no missing entries.
        assert (one.estimator.coef_ != other.estimator.coef_).all() == (one.feat_idx != 5)
    assert_same_answers(net, tuned, X, 1e-9)
    for parameter in net.trainable_parameters().values():
        assert torch.isfinite(parameter).all()


def test_draws_at_random_are_refused():
    X = holes()[0]
    drawn = IterativeImputer(max_iter=1, sample_posterior=True, random_state=0)
    with pytest.raises(UntranslatableError, match="draws the values at random"):
        pg.to_torch(drawn.fit(X))


def test_steps_of_rounds_run_without_torch():
    operator = IterativeImputer(max_iter=2, add_indicator=True).fit(holes()[0])
    graph = pg.to_torch(operator).graph
    for rows in holes():
        values = {"input": rows}
        for step in graph:
            inputs = [values.get(name, rows) for name in step.inputs]
            if isinstance(step.operator, glue.Glue):
                values[step.name] = step.operator.run(*inputs)
            else:
                values[step.name] = getattr(step.operator, step.method)(*inputs)
        np.testing.assert_allclose(values[graph.output], operator.transform(rows))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("count", [1, 4, 1000])
@pytest.mark.parametrize("add_indicator", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_nearest_donors(weights, count, add_indicator, keep):
    params = {"weights": weights, "n_neighbors": count, "keep_empty_features": keep}
    for tables in (holes(), empty_column(holes())):
        net = pg.to_torch(KNNImputer(add_indicator=add_indicator, **params).fit(tables[0]))
        for rows in tables:
            before = rows.copy()
            np.testing.assert_array_equal(net.transform(rows), net.source.transform(rows.copy()))
            np.testing.assert_array_equal(rows, before)
            if weights == "uniform":  # Rounding errors of distances near zero weigh much.
                near = net.step_module(net.graph.output).smooth(torch.tensor(rows), soft=False)
                np.testing.assert_allclose(near, net.transform(rows), rtol=1e-9)
            assert torch.isfinite(net(torch.tensor(rows, requires_grad=True))).all()


def test_equal_distances_are_broken_as_by_the_source():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (60, 4)).astype(float)
    X[rng.random(X.shape) < 0.3] = np.nan
    for dtype in (np.float64, np.float32):
        for weights in ("uniform", "distance"):
            rows = (0.1 * X).astype(dtype)
            operator = KNNImputer(n_neighbors=3, weights=weights).fit(rows)
            np.testing.assert_array_equal(
                pg.to_torch(operator).transform(rows), operator.transform(rows)
            )


@pytest.mark.parametrize("copied", [False, True])
def test_imputation_by_inverse_distances_has_its_own_gradient(copied):
    X, _ = DATASETS["missing"]()
    X = StandardScaler().fit_transform(X)
    operator = KNNImputer(n_neighbors=4, weights="distance", copy=copied).fit(X[:60])
    rows = torch.tensor(X[60:], requires_grad=True)
    cotangent = np.random.default_rng(1).normal(size=X[60:].shape)
    (pg.to_torch(operator)(rows) * torch.tensor(cotangent)).sum().backward()
    grad = rows.grad.nan_to_num(0.0).numpy()
    step = 1e-6 * np.random.default_rng(0).normal(size=grad.shape)
    above, below = (operator.transform(X[60:] + s * step) for s in (1, -1))
    moved = ((above - below) * cotangent).sum(1)
    np.testing.assert_allclose(moved, 2 * (grad * step).sum(1), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_a_step_before_nearest_donors_trains(weights):
    X, y = DATASETS["missing"]()
    pipeline = make_pipeline(StandardScaler(), KNNImputer(weights=weights), Ridge()).fit(X, y)
    net = pg.to_torch(pipeline)
    before = ((pipeline.predict(X) - y) ** 2).mean()
    net.fit(X, y, epochs=20, lr=0.005, validation=None)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < before
    assert (tuned[0].scale_ != pipeline[0].scale_).any()
    assert_same_answers(net, tuned, X, 1e-9)
    assert_same_answers(copy.deepcopy(net), tuned, X, 1e-9)


def test_python_code_in_nearest_donors_is_refused():
    X = holes()[0]
    for reason, params in {
        "weights is Python code": {"weights": lambda gaps: gaps},
        "metric='of_nothing' is Python code": {"metric": of_nothing},
    }.items():
        with pytest.raises(UntranslatableError, match=reason):
            pg.to_torch(KNNImputer(**params).fit(X))


def of_nothing(a, b, missing_values=np.nan):
    return 0.0


@pytest.mark.parametrize("translate", ["trainable", "all"])
def test_text_is_filled_on_the_host_and_its_holes_are_flagged(translate):
    table, y = DATASETS["categories_missing"]()
    table["size"] = table["size"].where(table["size"].notna(), None)
    names, none = ["color", "size"], {"missing_values": None}
    filled = {
        "frequent": {"strategy": "most_frequent"},
        "constant": {"strategy": "constant", "fill_value": "?"},
    }
    columns = ColumnTransformer(
        [
            *(
                (name, make_pipeline(SimpleImputer(**params, **none), OneHotEncoder()), names)
                for name, params in filled.items()
            ),
            ("flags", MissingIndicator(features="all", **none), names),
            ("grade", KNNImputer(n_neighbors=2, add_indicator=True), ["grade"]),
        ]
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, y)
    net = pg.to_torch(pipeline, translate=translate)
    assert_same_answers(net, pipeline, table, 1e-9)
    perturb(net)
    assert_same_answers(net, pg.from_torch(net), table, 1e-9)


def test_flags_of_objects_and_the_numbers_among_them_are_encoded_apart():
    rows = np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, 4.0]] * 4, dtype=object)
    parts = [("flags", MissingIndicator(features="all")), ("filled", KNNImputer(n_neighbors=2))]
    pipeline = make_pipeline(FeatureUnion(parts), Ridge()).fit(rows, np.arange(12.0))
    for translate in ("trainable", "all"):
        net = pg.to_torch(pipeline, translate=translate)
        assert_same_answers(net, pipeline, rows, 1e-9)


def text(marker=None):
    """Objects with missing entries, also a column of numbers and one without any entry."""
    table, _ = DATASETS["categories_missing"]()
    table = table.assign(nothing=np.nan).astype(object)
    return table.where(table.notna(), marker)


FILLS_TEXT = [
    {"strategy": "most_frequent"},
    {"strategy": "constant"},
    {"strategy": "constant", "fill_value": "?"},
]


@pytest.mark.parametrize("params", FILLS_TEXT, ids=str)
@pytest.mark.parametrize("marker", [np.nan, None, "red", 2.0], ids=str)
@pytest.mark.parametrize("add_indicator", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_text_alone_is_filled_as_by_the_source(params, marker, add_indicator, keep):
    table = text(marker)
    more = {"add_indicator": add_indicator, "keep_empty_features": keep, "missing_values": marker}
    for rows in (table, table.to_numpy(), table.to_numpy().tolist()):
        operator = SimpleImputer(**params, **more).fit(rows)
        net = pg.to_torch(operator)
        for part in (rows, rows[:1], rows[3:9]):
            before, desired = copy.deepcopy(part), operator.transform(part)
            answer = net.transform(part)
            assert desired.dtype == object
            assert identical(answer, desired)
            assert identical(part, before)
        again = pg.from_torch(net)
        assert again is not operator
        assert identical(vars(again), vars(operator))
        assert net.get_feature_names_out().tolist() == operator.get_feature_names_out().tolist()
        assert not net.trainable_parameters()
    tables = net.source.set_output(transform="pandas").fit(table)
    answer = pg.to_torch(tables).transform(table[::2])
    pd.testing.assert_frame_equal(answer, tables.transform(table[::2]))


def test_filled_text_has_no_tensor():
    table = text()[["color", "size"]]
    operator = SimpleImputer(strategy="most_frequent", missing_values=None, add_indicator=True)
    net = pg.to_torch(operator.fit(table))
    for call in (net, net.encode):
        with pytest.raises(pg.ArgumentError, match=r"SimpleImputer fills text .*\nHint: call net"):
            call(table)
    with pytest.raises(ValueError, match="feature names"):
        net.transform(table[["size", "color"]])
    [step] = pg.inspect(operator)
    reason = "is the last step; runs in its own library: it fills text or other objects, which"
    assert step.reason == f"{reason} tensors cannot hold"


def test_numbers_that_are_objects_stay_objects():
    rows = np.array([[1, 2], [3, -1], [1, -1]])
    operator = SimpleImputer(strategy="most_frequent", missing_values=-1).fit(rows.astype(object))
    net = pg.to_torch(operator)
    for given in (rows, rows.astype(object), rows.astype(np.float32), torch.tensor(rows)):
        answer, desired = net.transform(given), operator.transform(given)
        assert desired.dtype == object
        assert identical(answer, desired)
    with pytest.raises(pg.ArgumentError, match="must be numbers"):
        net(torch.tensor(rows, dtype=torch.float64))
    pipeline = make_pipeline(SimpleImputer(missing_values=-1, strategy="most_frequent"), Ridge())
    pipeline.fit(rows.astype(object), [1.0, 2.0, 4.0])
    for translate in ("trainable", "all"):
        net = pg.to_torch(pipeline, translate=translate)
        assert_same_answers(net, pipeline, rows.astype(object), 1e-9)


@pytest.mark.parametrize("translate", ["trainable", "all"])
@pytest.mark.parametrize("params", FILLS_TEXT, ids=str)
def test_what_follows_filled_text_trains(translate, params):
    table, y = DATASETS["text_missing"]()
    first = SimpleImputer(missing_values=None, add_indicator=True, **params)
    second = SimpleImputer(strategy="constant", missing_values="red", fill_value="blue")
    pipeline = make_pipeline(first, second, OneHotEncoder(), LogisticRegression(C=0.1))
    net = pg.to_torch(pipeline.fit(table, y), translate=translate)
    reasons = {step.name: step.reason for step in net.graph}
    reason = "runs once: it fills text or other objects, which tensors cannot hold"
    assert reasons["simpleimputer-1"] == reasons["simpleimputer-2"] == reason
    assert_same_answers(net, pipeline, table, 1e-9)
    net.fit(table, y, epochs=10, lr=0.1, validation=None)
    tuned = pg.from_torch(net)
    assert (tuned[-1].coef_ != pipeline[-1].coef_).any()
    assert identical(vars(tuned[0]), vars(first))
    assert_same_answers(net, tuned, table, 1e-9)
    filled = pipeline[:2]
    assert identical(
        pg.to_torch(filled, translate=translate).transform(table), filled.transform(table)
    )


@pytest.mark.parametrize("translate", ["trainable", "all"])
def test_filled_text_among_other_columns_is_returned(translate):
    table = text(np.nan)[["color", "size", "grade"]].astype({"grade": float})
    names = ["color", "size"]
    fill = SimpleImputer(strategy="most_frequent")
    for columns in (
        ColumnTransformer([("text", fill, names)]),
        ColumnTransformer([("text", fill, names)], remainder=make_pipeline(StandardScaler())),
        FeatureUnion([("one", fill), ("other", SimpleImputer(strategy="constant"))]),
        make_pipeline(ColumnTransformer([("text", make_pipeline(fill), names)])),
    ):
        net = pg.to_torch(columns.fit(table), translate=translate)
        desired = columns.transform(table)
        assert desired.dtype == object
        assert identical(net.transform(table), desired)
        perturb(net)
        assert identical(net.transform(table), pg.from_torch(net).transform(table))


@pytest.mark.parametrize("translate", ["trainable", "all"])
def test_steps_before_text_is_filled_stay_on_the_host(translate):
    table = text(np.nan)[["color", "size", "grade"]].astype({"grade": float})
    scaled = ColumnTransformer([("scaled", StandardScaler(), ["grade"])], remainder="passthrough")
    pipeline = make_pipeline(scaled, SimpleImputer(strategy="most_frequent")).fit(table)
    net = pg.to_torch(pipeline, translate=translate)
    assert identical(net.transform(table), pipeline.transform(table))
    assert {step.status for step in net.graph if step.name != net.graph.output} == {"host"}


def test_missing_text_alone_is_flagged():
    for marker in (None, "red", np.nan, 2.0):
        table = text(marker)
        for params in ({}, {"features": "all", "sparse": False}, {"sparse": True}):
            operator = MissingIndicator(missing_values=marker, **params).fit(table)
            assert_same_answers(pg.to_torch(operator), operator, table, 0.0)
