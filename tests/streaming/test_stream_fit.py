"""Training on tables that are read in pieces, compared with training in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as arrow_dataset
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch.utils.data import DataLoader, TensorDataset

import pipegrad as pg
from pipegrad.named import read_table
from pipegrad.streaming import stream_fit

SPARK = Path(__file__).parents[1] / "data" / "spark"

ROWS, WIDTH = 6000, 5

pytestmark = pytest.mark.filterwarnings("ignore:The validation rows may be")


@pytest.fixture(autouse=True)
def _read_in_pieces(monkeypatch):
    monkeypatch.setattr(stream_fit, "IN_MEMORY", 0)


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, WIDTH)) * [1, 3, 0.2, 10, 1]
    score = X[:, 0] - X[:, 1] / 3 + np.sin(2 * X[:, 2]) + rng.normal(size=ROWS)
    table = pd.DataFrame(X, columns=[f"x{i}" for i in range(WIDTH)])
    table["kind"] = rng.choice(["a", "b", "c"], size=ROWS)
    table["label"] = np.where(score > 0, "yes", "no")
    table["amount"] = score
    table["weight"] = rng.uniform(0.5, 2, size=ROWS)
    return table


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("table")
    for part in range(6):
        rows = frame.iloc[part * 1000 : (part + 1) * 1000]
        rows.to_parquet(path / f"part-{part}.parquet", row_group_size=300)
    return str(path)


def features(frame):
    return frame[[f"x{i}" for i in range(WIDTH)]]


def pipeline(frame):
    steps = (StandardScaler(), PCA(3, random_state=0), LogisticRegression(C=0.01))
    return make_pipeline(*steps).fit(features(frame)[:300], frame["label"][:300])


def losses(net, column="train_loss"):
    return [row[column] for row in net.history]


@pytest.mark.parametrize("weight", [None, "weight"])
def test_lbfgs_out_of_core_is_lbfgs_in_memory(frame, folder, weight):
    pipe = pipeline(frame)
    held = (features(frame)[:500], frame["label"][:500])
    options = {"optim": torch.optim.LBFGS, "epochs": 2, "validation": held}
    streamed = pg.to_torch(pipe).fit(folder, "label", sample_weight=weight, **options)
    own = None if weight is None else frame[weight]
    whole = pg.to_torch(pipe).fit(features(frame), frame["label"], sample_weight=own, **options)
    assert losses(streamed, "valid_loss") == pytest.approx(losses(whole, "valid_loss"), rel=1e-6)
    assert losses(streamed) == pytest.approx(losses(whole), rel=1e-6)
    assert losses(whole, "valid_loss")[-1] < losses(whole, "valid_loss")[0]


def test_steps_on_batches_learn_what_training_in_memory_learns(frame, folder):
    pipe = pipeline(frame)
    streamed = pg.to_torch(pipe).fit(folder, "label", epochs=20)
    whole = pg.to_torch(pipe).fit(features(frame), frame["label"], epochs=20)
    assert min(losses(streamed, "valid_loss")) == pytest.approx(
        min(losses(whole, "valid_loss")), rel=0.05
    )
    again = pg.to_torch(pipe).fit(folder, "label", epochs=20)
    for one, other in zip(streamed.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert streamed.history[-1, "rows"] > ROWS


def test_each_training_row_is_seen_once_in_an_epoch(frame, folder):
    net = pg.to_torch(pipeline(frame)).fit(folder, "label", epochs=1)
    seen = net.history[-1, "rows"]
    assert seen == pytest.approx(0.8 * ROWS, rel=0.05)
    net = pg.to_torch(pipeline(frame)).fit(folder, "label", epochs=1, validation=None)
    assert net.history[-1, "rows"] == ROWS


def other_forms(frame, folder, tmp_path):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    yield "a data set of Arrow", arrow_dataset.dataset(folder)
    yield "batches", table.to_batches(max_chunksize=500)
    yield "a generator", (frame[i : i + 500] for i in range(0, ROWS, 500))
    frame.to_csv(tmp_path / "table.csv", index=False)
    yield "CSV", str(tmp_path / "table.csv")
    frame.to_feather(tmp_path / "table.arrow")
    yield "a file of Arrow", tmp_path / "table.arrow"
    yield "files", [f"{folder}/part-{i}.parquet" for i in range(6)]


def test_other_forms_of_the_same_rows_give_the_same(frame, folder, tmp_path):
    pipe = pipeline(frame)
    options = {"optim": torch.optim.LBFGS, "epochs": 1, "validation": None}
    wanted = losses(pg.to_torch(pipe).fit(folder, "label", **options))
    for name, rows in other_forms(frame, folder, tmp_path):
        found = losses(pg.to_torch(pipe).fit(rows, "label", **options))
        assert found == pytest.approx(wanted, rel=1e-6), name


def test_a_loader_of_torch(frame):
    X, y = features(frame).to_numpy(copy=True), frame["amount"].to_numpy(copy=True)
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=1e4)).fit(X[:300], y[:300])
    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), batch_size=64)
    net = pg.to_torch(ridge).fit(loader, epochs=5)
    assert losses(net, "valid_loss")[-1] < losses(net, "valid_loss")[0]


def test_host_steps_run_once_and_their_output_is_cached(frame, folder, tmp_path):
    columns = make_column_transformer(
        (StandardScaler(), [f"x{i}" for i in range(WIDTH)]), (OneHotEncoder(), ["kind"])
    )
    rows = frame.drop(columns=["label", "amount", "weight"])
    pipe = make_pipeline(columns, LogisticRegression(C=0.01)).fit(rows[:300], frame["label"][:300])
    cache = tmp_path / "cache"
    first = pg.to_torch(pipe).fit(folder, "label", epochs=3, cache=cache)
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert files
    second = pg.to_torch(pipe).fit(folder, "label", epochs=3, cache=cache)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files
    assert losses(first) == losses(second)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_texts(tmp_path):
    texts = [f"{'good' if i % 2 else 'bad'} word {i}" for i in range(2000)]
    labels = [i % 2 for i in range(2000)]
    pd.DataFrame({"text": texts, "label": labels}).to_parquet(tmp_path / "t.parquet")
    pipe = make_pipeline(CountVectorizer(), LogisticRegression(C=1e-4)).fit(texts[:50], labels[:50])
    net = pg.to_torch(pipe).fit(tmp_path / "t.parquet", "label", epochs=3)
    assert losses(net, "valid_loss")[-1] < losses(net, "valid_loss")[0]


@pytest.mark.filterwarnings("ignore:The model leaves out")
@pytest.mark.parametrize("cached", [False, True])
def test_rows_that_a_model_of_spark_skips_are_not_trained_on(cached, tmp_path, monkeypatch):
    rows = read_table(SPARK / "skips.rows.parquet")
    table = pd.concat([rows] * 30, ignore_index=True)
    table["u"] += np.linspace(0, 0.1, len(table))
    net = pg.to_torch(SPARK / "skips.spark")
    kept = len(net.kept_rows(table))
    assert 0 < kept < len(table)
    table.to_parquet(tmp_path / "rows.parquet", row_group_size=100)
    if not cached:  # as a small table
        monkeypatch.setattr(stream_fit, "IN_MEMORY", 1 << 30)
    net.fit([tmp_path / "rows.parquet"], epochs=1, validation=None)
    assert len(net.history) == 2
    if cached:
        assert net.history[-1, "rows"] == kept
