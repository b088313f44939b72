"""`FineTuner` on tables that are read in pieces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
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


def _written(frame, path, **wrong):
    """The rows in two files, some values of the last replaced."""
    frame = frame.copy()
    for name, value in wrong.items():
        frame.loc[frame.index[-100], name] = value
    path.mkdir()
    half = len(frame) // 2
    frame[:half].to_parquet(path / "0.parquet", row_group_size=500)
    frame[half:].to_parquet(path / "1.parquet", row_group_size=500)
    return path


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("y", np.nan, "a missing"), ("y", np.inf, "an infinite"), ("label", None, "a missing")],
)
def test_targets_are_checked_before_any_work(frame, tmp_path, name, value, what):
    path = _written(frame[["x", "code", name]], tmp_path / "rows", **{name: value})
    tuner = pg.FineTuner(pipeline(Ridge() if name == "y" else LogisticRegression()))
    told = rf"1\.parquet, row group 7, row 400: the target '{name}' has {what} value"
    with pytest.raises(pg.ArgumentError, match=told):
        tuner.fit(path, name)
    assert not hasattr(tuner, "estimator_")


def test_what_is_read_once_and_losses_of_all_rows_are_refused(frame, folder):
    tuner = pg.FineTuner(pipeline(Ridge()))
    with pytest.raises(pg.ArgumentError, match="a generator can be read only once"):
        tuner.fit((frame[["x", "code", "y"]] for _ in range(2)), "y")
    penalized = pg.FineTuner(pipeline(Ridge()), loss=pg.losses.GroupPenalty())
    with pytest.raises(pg.ArgumentError, match="group penalty compares all rows"):
        penalized.fit(folder, "y", groups="g")
    assert not hasattr(tuner, "estimator_")
    assert not hasattr(penalized, "estimator_")


def _opened(frame, path, groups=None):
    frame.to_parquet(path, row_group_size=500)
    own = pg.FineTuner(pipeline(LogisticRegression()))._pipeline()
    return large_tables.LargeTable.open(own, path, "label", None, groups, 0)


def test_a_label_of_held_out_rows_alone_is_in_the_sample(frame, tmp_path):
    rows = frame[["x", "code", "label"]].copy()
    plain = _opened(rows.assign(label="once"), tmp_path / "plain.parquet")
    (batch,) = pa.Table.from_pandas(rows.assign(label="once")).combine_chunks().to_batches()
    held, _ = plain._drawn(batch, plain.share, 0.1)
    rows.loc[np.flatnonzero(held)[0], "label"] = "once"
    samples, _ = _opened(rows, tmp_path / "once.parquet").sample(True)
    assert (samples.y == "once").sum() == 1
    assert samples.y[-1] == "once"


def test_the_sample_has_its_size_whatever_the_groups_are(frame, tmp_path):
    rows = frame[["x", "code", "label"]].assign(g=np.arange(ROWS) % 20)
    table = _opened(rows, tmp_path / "groups.parquet", "g")
    samples, count = table.sample(True)
    assert count == ROWS
    assert 400 < len(samples.X) < 700
    one = _opened(rows.assign(g=0), tmp_path / "one.parquet", "g")
    with pytest.raises(pg.ArgumentError, match="so few groups in 'g' that none are"):
        one.sample(True)
