"""`FineTuner` on tables that are read in pieces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pipegrad as pg
from pipegrad.finetune import large_tables
from pipegrad.streaming import stream_fit

ROWS = 8000
CODES = 40


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(stream_fit, "IN_MEMORY", 0)
    monkeypatch.setattr(large_tables, "SAMPLE_ROWS", 600)


@pytest.fixture(scope="module")
def frame():
    """Many categories, of which a sample says little."""
    rng = np.random.default_rng(0)
    code = rng.integers(CODES, size=ROWS)
    x = rng.normal(size=ROWS)
    effect = rng.normal(size=CODES) * 2
    score = effect[code] + x + rng.normal(size=ROWS) * 0.3
    return pd.DataFrame({
        "x": x, "code": [f"c{i}" for i in code], "y": score, "w": rng.uniform(0.5, 2, ROWS),
        "label": np.where(score > 0, "up", "down"), "g": rng.integers(50, size=ROWS),
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows")
    for part in range(4):
        rows = frame.iloc[part * 2000 : (part + 1) * 2000]
        rows.to_parquet(path / f"{part}.parquet", row_group_size=500)
    return path


def pipeline(last):
    columns = make_column_transformer(
        (StandardScaler(), ["x"]), (OneHotEncoder(handle_unknown="ignore"), ["code"])
    )
    return make_pipeline(columns, last)


@pytest.mark.filterwarnings("ignore:Fine-tuning kept the fitted pipeline")
def test_all_rows_teach_more_than_a_sample(frame, folder):
    read = frame[["x", "code", "y"]]
    path = folder.parent / "numbers.parquet"
    read.to_parquet(path, row_group_size=500)
    tuner = pg.FineTuner(pipeline(Ridge(alpha=5.0)), random_state=0).fit(path, "y")
    assert tuner.improved_
    assert "sample of" in tuner.report_.validation
    assert "Training on all rows ended after" in tuner.report_.validation
    part = read.sample(600, random_state=0)
    small = pg.FineTuner(pipeline(Ridge(alpha=5.0)), random_state=0)
    small.fit(part[["x", "code"]], part["y"])
    rows = read[["x", "code"]]
    errors = [np.mean((t.predict(rows) - read["y"]) ** 2) for t in (tuner, small)]
    assert errors[0] < 0.95 * errors[1]
    assert type(tuner.estimator_) is type(small.estimator_)
    assert tuner.history_[-1]["rows"] > ROWS / 2


@pytest.mark.filterwarnings("ignore:Fine-tuning kept the fitted pipeline")
def test_labels_weights_and_groups(folder):
    tuner = pg.FineTuner(
        pipeline(LogisticRegression(C=0.1)), random_state=0, validation_split="grouped"
    )
    tuner.fit(folder, "label", sample_weight="w", groups="g")
    assert tuner.classes_.tolist() == ["down", "up"]
    assert set(tuner.feature_names_in_) == {"x", "code", "y"}


@pytest.mark.filterwarnings("ignore:Training did not lower")
def test_settings_of_the_user(frame, folder):
    path = folder.parent / "own.parquet"
    frame[["x", "code", "y"]].to_parquet(path, row_group_size=500)
    tuner = pg.FineTuner(
        pipeline(Ridge(alpha=5.0)), optim=torch.optim.Adam, epochs=3, random_state=0
    ).fit(path, "y")
    assert "Training on all rows ended after" in tuner.report_.validation


def test_rare_classes_are_in_the_sample(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(large_tables, "SAMPLE_ROWS", 100)
    rare = frame[["x", "code"]].assign(label="common")
    rare.loc[rare.index[::400], "label"] = "rare"
    rare.to_parquet(tmp_path / "rare.parquet", row_group_size=500)
    pipe = pg.FineTuner(pipeline(LogisticRegression()), random_state=0)
    table = large_tables.LargeTable.open(
        pipe._pipeline(), tmp_path / "rare.parquet", "label", None, None, 0
    )
    samples, count = table.sample(True)
    assert count == ROWS
    assert 10 <= (samples.y == "rare").sum() <= 20
    assert 70 < (samples.y == "common").sum() < 200
    again, _ = table.sample(True)
    pd.testing.assert_frame_equal(samples.X, again.X)


@pytest.mark.filterwarnings("ignore:Fine-tuning kept the fitted pipeline")
def test_small_tables_are_read(frame, folder, monkeypatch):
    monkeypatch.setattr(stream_fit, "IN_MEMORY", 1 << 30)
    path = folder.parent / "small.parquet"
    frame[["x", "code", "y"]][:500].to_parquet(path)
    tuner = pg.FineTuner(pipeline(Ridge(alpha=5.0)), random_state=0).fit(path, "y")
    own = pg.FineTuner(pipeline(Ridge(alpha=5.0)), random_state=0)
    own.fit(frame[["x", "code"]][:500], frame["y"][:500])
    rows = frame[["x", "code"]]
    np.testing.assert_array_equal(tuner.predict(rows), own.predict(rows))


def test_what_needs_all_rows_is_refused(folder):
    for options in ({"cv": 3}, {"validation_split": "ordered"}):
        tuner = pg.FineTuner(pipeline(Ridge()), **options)
        with pytest.raises(pg.ArgumentError, match="need all rows in memory"):
            tuner.fit(folder, "y")
    with pytest.raises(pg.ArgumentError, match="y='none' is not a column of"):
        pg.FineTuner(pipeline(Ridge())).fit(folder, "none")
    with pytest.raises(pg.ArgumentError, match="y must be the name of a column"):
        pg.FineTuner(pipeline(Ridge())).fit(folder, np.zeros(ROWS))
