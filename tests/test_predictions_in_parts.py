"""Many rows are evaluated part by part, and shortcuts answer as the source's own code does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import pipegrad as pg
from pipegrad import row_parts
from pipegrad.modules import evaluation_view
from pipegrad.sources.sklearn import encoders

rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 6))
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
TABLE = pd.DataFrame(X[:, :3], columns=list("abc"))
TABLE["d"] = rng.choice(["red", "green", "blue"], len(X))


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(row_parts, "_PART", 600)


def calls_of(net):
    """The number of rows of each call of the last step, as they come."""
    found = []
    own = net._scored

    def noted(blocks, *others, **named):
        found.append(len(next(iter(blocks.values()))) if blocks else 0)
        return own(blocks, *others, **named)

    net._scored = noted
    return found


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "pipe",
    [
        make_pipeline(StandardScaler(), PCA(3), LogisticRegression()),
        RandomForestClassifier(5, max_depth=4, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, early_stopping=False),
    ],
)
def test_parts_give_the_answers_of_the_whole(small_parts, pipe, threads):
    net = pg.to_torch(pipe.fit(X, Y))
    calls = calls_of(net)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = net.predict_proba(X)
    finally:
        torch.set_num_threads(before)
    assert len(calls) >= 30
    assert sum(calls) == len(X)
    np.testing.assert_allclose(found, pipe.predict_proba(X), rtol=1e-12, atol=1e-15)


def test_sparse_blocks_pass_in_parts(small_parts):
    columns = make_column_transformer((OneHotEncoder(), ["d"]), (StandardScaler(), ["a", "b", "c"]))
    pipe = make_pipeline(columns, LogisticRegression()).fit(TABLE, Y)
    net = pg.to_torch(pipe)
    calls = calls_of(net)
    np.testing.assert_allclose(net.predict_proba(TABLE), pipe.predict_proba(TABLE), rtol=1e-12)
    assert len(calls) > 5


def test_who_watches_a_module_sees_all_rows(small_parts):
    net = pg.to_torch(make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y))
    seen = []
    net.step_module("standardscaler").register_forward_hook(
        lambda module, given, out: seen.append(len(out))
    )
    net.predict(X)
    assert seen == [len(X)]


def test_an_error_between_steps_is_that_of_all_rows_at_once(small_parts):
    logs = make_pipeline(StandardScaler(), FunctionTransformer(np.log), LinearRegression())
    positive = X - X.min() + 1
    logs[:2].fit(positive)
    pipe = make_pipeline(FunctionTransformer(np.log), LinearRegression()).fit(positive, Y)
    net = pg.to_torch(pipe)
    wrong = positive.copy()
    wrong[2500, 1] = -1.0
    with np.errstate(all="ignore"):
        with pytest.raises(ValueError, match="NaN") as theirs:
            pipe.predict(wrong)
        with pytest.raises(ValueError, match="NaN") as ours:
            net.predict(wrong)
    assert "NaN" in str(theirs.value)
    assert "NaN" in str(ours.value)


def test_views_of_trees_share_their_parameters():
    net = pg.to_torch(RandomForestClassifier(3, max_depth=3).fit(X, Y)).train()
    module = net.step_module(net.graph.output)
    view = evaluation_view(module)
    assert module.training
    assert not view.training
    assert not view.body.training
    mine = dict(view.named_parameters())
    assert mine
    assert all(mine[name] is p for name, p in module.named_parameters())


# -- rows that need no checks ------------------------------------------------------------------


def numbers(what):
    rows = X[:4].copy()
    if what == "NaN":
        rows[1, 1] = np.nan
    elif what == "infinity":
        rows[1, 1] = -np.inf
    elif what == "both infinities":
        rows[1, :2] = np.inf, -np.inf
    elif what == "sum overflows":
        rows[:, :] = 1e308
    elif what == "narrow":
        return rows[:, :5]
    elif what == "no rows":
        return rows[:0]
    elif what == "flat":
        return rows[0]
    elif what == "objects":
        return rows.astype(object)
    elif what == "other byte order":
        return rows.astype(">f8")
    elif what == "read only":
        rows.flags.writeable = False
    return rows


KINDS = ["usual", "NaN", "infinity", "both infinities", "sum overflows", "narrow", "no rows"]
KINDS += ["flat", "objects", "other byte order", "read only"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:X does not have valid feature names")
@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("last", [LinearRegression(), RandomForestClassifier(3, random_state=0)])
def test_arrays_are_taken_or_refused_as_by_the_source(what, named, last):
    names = [f"n{i}" for i in range(6)]
    pipe = make_pipeline(StandardScaler(), last)
    pipe.fit(pd.DataFrame(X, columns=names) if named else X, Y)
    net, rows = pg.to_torch(pipe), numbers(what)
    if named and rows.ndim == 2:
        rows = pd.DataFrame(rows, columns=names[: rows.shape[1]])
    try:
        expected = pipe.predict(rows)
    except ValueError as error:
        words = ("NaN", "infinity", "feature", "minimum of 1", "2D array")
        with pytest.raises(ValueError, match=next(word for word in words if word in str(error))):
            net.predict(rows)
    else:
        found = net.predict(rows)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c", "e"]])
def test_names_of_columns_are_checked(order):
    scaler = StandardScaler().fit(TABLE[["a", "b", "c"]])
    net, rows = pg.to_torch(scaler), TABLE[:3].assign(e=1.0)[order]
    try:
        expected = scaler.transform(rows)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)[:30]):
            net.transform(rows)
    else:
        np.testing.assert_array_equal(net.transform(rows), expected)


# -- categories --------------------------------------------------------------------------------

CATEGORIES = {
    "known": ["red", "blue"],
    "unknown": ["red", "pink"],
    "missing": ["red", None],
    "not a number": ["red", np.nan],
    "number": ["red", 3],
    "subclass of str": [np.str_("red"), "blue"],
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", CATEGORIES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"handle_unknown": "ignore"},
        {"handle_unknown": "ignore", "sparse_output": False},
        {"drop": "first"},
        {"drop": "if_binary", "dtype": np.float32},
        {"drop": ["green"], "handle_unknown": "ignore"},
        {"min_frequency": 0.4, "handle_unknown": "infrequent_if_exist"},
        {"categories": [["blue", "green", "red"]]},
    ],
)
def test_categories_have_the_columns_of_the_source(kind, options):
    encoder = OneHotEncoder(**options).fit(TABLE[["d"]])
    rows = pd.DataFrame({"d": pd.Series(CATEGORIES[kind], dtype=object)})
    row = encoders.OneHotEncoder()
    found = row.transformed(encoder, rows)
    if kind == "known" and "min_frequency" not in options:
        assert found is not None
    if found is None:
        return
    expected = encoder.transform(rows)
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    found, expected = (v.toarray() if hasattr(v, "toarray") else v for v in (found, expected))
    np.testing.assert_array_equal(found, expected)


def test_categories_of_a_new_fit_count():
    encoder = OneHotEncoder().fit(TABLE[["d"]])
    row, rows = encoders.OneHotEncoder(), pd.DataFrame({"d": ["red"]})
    before = row.transformed(encoder, rows)
    encoder.fit(pd.DataFrame({"d": ["red", "white", "amber"]}))
    after = row.transformed(encoder, rows)
    np.testing.assert_array_equal(before.toarray(), [[0, 0, 1]])
    np.testing.assert_array_equal(after.toarray(), encoder.transform(rows).toarray())


def test_a_table_stays_a_table_where_the_user_asked_for_one():
    encoder = OneHotEncoder(sparse_output=False).set_output(transform="pandas").fit(TABLE[["d"]])
    assert encoders.OneHotEncoder().transformed(encoder, TABLE[["d"]][:2]) is None
