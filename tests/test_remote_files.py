"""Paths on other machines: models and tables through fsspec, here in its memory."""

from __future__ import annotations

import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

import pipegrad as pg
from pipegrad import remote_files

DATA = Path(__file__).parent / "data"


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    with zipfile.ZipFile(DATA / "spark" / "poisson.spark") as archive:
        for name in archive.namelist():
            files.pipe(f"/bucket/model/{name}", archive.read(name))
    for name in ("poisson.spark", "poisson.parquet"):
        files.pipe(f"/bucket/{name}", (DATA / "spark" / name).read_bytes())
    files.pipe("/bucket/figure1.zip", (DATA / "mlnet" / "figure1.zip").read_bytes())
    table = pd.read_parquet(DATA / "spark" / "poisson.parquet")
    files.pipe("/bucket/rows.csv", table[["u", "v", "w"]].to_csv(index=False).encode())
    yield files
    files.store.clear()


def test_models_and_tables_are_read(memory, tmp_path):
    wanted = pd.read_parquet(DATA / "spark" / "poisson.parquet").prediction
    for path in (
        "memory://bucket/model",
        "memory://bucket/model/",
        "memory://bucket/poisson.spark",
    ):
        net = pg.to_torch(path)
        for rows in ("memory://bucket/poisson.parquet", "memory://bucket/rows.csv"):
            np.testing.assert_allclose(net.predict(rows), wanted, rtol=1e-9)
    assert len(pg.inspect("memory://bucket/figure1.zip"))
    pg.from_torch(net, tmp_path / "tuned")
    assert pg.FineTuner("memory://bucket/model", train=["generalized*"]).estimator


def test_targets_are_on_this_machine(memory):
    net = pg.to_torch("memory://bucket/model")
    with pytest.raises(pg.ArgumentError, match="path must be on this machine") as found:
        pg.from_torch(net, "memory://bucket/tuned")
    assert "'memory'" in str(found.value)
    assert not memory.exists("/bucket/tuned")


def test_paths_without_a_model(memory, monkeypatch):
    with pytest.raises(FileNotFoundError, match="none: there is no such file"):
        pg.to_torch("memory://bucket/none")
    with pytest.raises(pg.ArgumentError, match="nosuch://a cannot be opened"):
        pg.to_torch("nosuch://a")
    with pytest.raises(pg.ModelFileError, match="no 'metadata'"):
        pg.to_torch("memory://bucket")
    monkeypatch.setattr(remote_files, "_LARGEST", 100)
    with pytest.raises(pg.ModelFileError, match="are too much"):
        pg.to_torch("memory://bucket/model")
    with pytest.raises(pg.ModelFileError, match="are too much"):
        pg.to_torch("memory://bucket/figure1.zip")
