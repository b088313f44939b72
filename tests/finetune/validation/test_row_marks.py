"""Dates in order and columns that may name groups, in the containers of users."""

import datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from pipegrad.finetune.validation.row_marks import GroupColumn, group_columns, is_used, time_order
from pipegrad.training.samples import Samples

DAYS = pd.date_range("2020-01-01", periods=60, freq="D")
ROWS = np.arange(60)


def table(**columns):
    return pd.DataFrame({"x": np.sin(ROWS), **columns})


@pytest.mark.parametrize(
    "X",
    [
        table().set_index(DAYS),
        table().set_index(DAYS.tz_localize("UTC")),
        table().set_index(DAYS.to_period("D")),
        table(day=DAYS),
        table(day=DAYS.tz_localize("Europe/Paris")),
        table(day=DAYS.repeat(2)[:60]),
        table(day=pd.array(DAYS, dtype="timestamp[ns][pyarrow]")),
        table(day=list(DAYS.date)),
        pd.concat([table(), table(day=DAYS)], axis=1),
        DAYS.to_numpy().reshape(-1, 1),
    ],
)
def test_dates_that_rise_are_found(X):
    found = time_order(X, None, ROWS)
    assert found is not None
    assert not found.reverse
    assert time_order(X[::-1], None, ROWS).reverse


def test_the_index_of_the_target_counts_too():
    y = pd.Series(np.sin(ROWS), index=DAYS)
    assert time_order(np.zeros((60, 1)), y, ROWS).name == "the index of dates"


@pytest.mark.parametrize(
    "X",
    [
        table(),
        table(day=DAYS[np.random.default_rng(0).permutation(60)]),
        table(day=[DAYS[0]] * 60),
        table(day=[*DAYS[:59], pd.NaT]),
        table(wait=pd.to_timedelta(ROWS, unit="s")),
        np.arange(60.0).reshape(-1, 1),
        table(day=[*DAYS.date[:59], None]),
        table(day=[f"{day:%Y-%m-%d}" for day in DAYS]),
        [["a"]] * 60,
    ],
)
def test_other_rows_have_no_order_of_dates(X):
    assert time_order(X, None, ROWS) is None


def test_rows_of_weight_zero_do_not_disturb_the_order():
    X = table(day=DAYS).copy()
    X.loc[7, "day"] = DAYS[0] - datetime.timedelta(days=3)
    assert time_order(X, None, ROWS) is None
    assert time_order(X, None, np.delete(ROWS, 7)) is not None


@pytest.mark.parametrize("name", ["id", "patient_id", "userId", "customerID", "uuid", "shop id"])
def test_names_of_identifiers(name):
    assert GroupColumn(name, 0, ROWS, True).is_identifier
    for other in (name + "le", "paid", "grid", "humid", "0", "identity"):
        assert not GroupColumn(other, 0, ROWS, True).is_identifier


def test_columns_of_many_values_that_repeat_may_name_groups():
    rng = np.random.default_rng(0)
    person = rng.integers(25, size=500)
    X = pd.DataFrame(
        {
            "number": person,
            "label": [f"p{i}" for i in person],
            "few": person % 3,
            "unique": np.arange(500),
            "real": rng.normal(size=500),
            "float": person.astype(float),
        }
    )
    assert [c.name for c in group_columns(X)] == ["number", "label", "float"]
    assert [c.place for c in group_columns(X.to_numpy(dtype=object)[:, [0, 4]].astype(float))] == [
        0
    ]
    twice = pd.concat([X[["real"]], X[["real", "label"]]], axis=1)
    assert [c.place for c in group_columns(twice)] == [2]
    assert not list(group_columns(np.tile(X[["number"]], 200)))  # As wide as images are.
    found = next(iter(group_columns(X[["label"]])))
    assert len(np.unique(found.of(X[["label"]]))) == 25


@pytest.mark.parametrize("remainder", ["drop", "passthrough"])
@pytest.mark.parametrize("as_array", [False, True])
def test_a_pipeline_is_asked_whether_it_uses_a_column(remainder, as_array):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=300), "id": rng.integers(30, size=300)})
    X = X.to_numpy() if as_array else X
    first = [0] if as_array else ["x"]
    pipe = make_pipeline(
        make_column_transformer(("passthrough", first), remainder=remainder), Ridge()
    ).fit(X, rng.normal(size=300))
    (column,) = group_columns(X)
    assert is_used(pipe, Samples(X), column, 0) == (remainder == "passthrough")
