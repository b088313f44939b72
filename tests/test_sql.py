"""Queries that orbital makes of tuned pipelines, answered by DuckDB: `make test-sql`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from pipegrad.testing import perturb

orbital = pytest.importorskip("orbital")
duckdb = pytest.importorskip("duckdb")
ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {"a": RNG.normal(size=300), "b": RNG.normal(size=300), "color": RNG.choice(["r", "g"], 300)}
)
Y = 2 * X.a + X.b**2 + (X.color == "r")
COLUMNS = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["color"]))


def query_answers(tuned: Any, rows: pd.DataFrame) -> pd.DataFrame:
    double, text = orbital.types.DoubleColumnType(), orbital.types.StringColumnType()
    kinds = {name: text if name == "color" else double for name in rows}
    parsed = orbital.parse_pipeline(tuned, features=kinds)
    query = orbital.export_sql("rows", parsed, dialect="duckdb")
    with duckdb.connect() as connection:
        connection.register("given", rows)
        connection.execute('CREATE TABLE "rows" AS SELECT * FROM given')
        return connection.execute(query).df()


def tune(pipe: Any, rows: pd.DataFrame, y: Any) -> Any:
    net = pg.to_torch(pipe.fit(rows, y))
    perturb(net)
    tuned = pg.from_torch(net)
    method = "predict_proba" if hasattr(tuned, "predict_proba") else "predict"
    assert not np.allclose(getattr(tuned, method)(rows), getattr(pipe, method)(rows), rtol=1e-6)
    return tuned


@pytest.mark.parametrize(
    ("pipe", "tolerance"),
    [
        (make_pipeline(SimpleImputer(), StandardScaler(), PCA(2), Ridge()), 1e-12),
        (make_pipeline(RandomForestRegressor(5, max_depth=3, random_state=0)), 1e-6),
    ],
)
def test_numbers(pipe: Any, tolerance: float) -> None:
    rows = X[["a", "b"]]
    tuned = tune(pipe, rows, Y)
    found = query_answers(tuned, rows)["variable"]
    np.testing.assert_allclose(found, tuned.predict(rows), rtol=tolerance, atol=tolerance)


def test_columns_of_text() -> None:
    tuned = tune(make_pipeline(COLUMNS, Ridge()), X, Y)
    np.testing.assert_allclose(query_answers(tuned, X)["variable"], tuned.predict(X), rtol=1e-10)


@pytest.mark.parametrize(
    ("last", "tolerance"),
    [
        (LogisticRegression(), 1e-12),
        (DecisionTreeClassifier(max_depth=3), 1e-6),
        (GradientBoostingClassifier(n_estimators=5, random_state=0), 1e-6),
    ],
)
def test_probabilities(last: Any, tolerance: float) -> None:
    rows, labels = X[["a", "b"]], (Y > 1).astype(int)
    tuned = tune(make_pipeline(StandardScaler(), last), rows, labels)
    found = query_answers(tuned, rows)
    shares = found[["output_probability.0", "output_probability.1"]].to_numpy(float)
    same = np.abs(shares - tuned.predict_proba(rows)).max(axis=1) < tolerance
    assert same.mean() > (0.99 if tolerance > 1e-9 else 1 - 1e-9)
    assert (found["output_label"].astype(int) == tuned.predict(rows))[same].all()


def test_the_code_of_the_page_runs() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    (block,) = re.findall(r"```python needs=orbital,duckdb\n(.*?)```", text, re.DOTALL)
    exec(compile(block, "deploy.md", "exec"), {})
