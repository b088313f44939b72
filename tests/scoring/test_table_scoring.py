"""Predictions of tables in files are those in memory, in their order, and are not made twice."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad import scoring
from pipegrad.cli import main
from pipegrad.named import read_table

DATA = Path(__file__).parents[1] / "data"
ROWS = 1000


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(ROWS, 3)), columns=["x", "y", "z"])
    table["key"] = np.arange(ROWS)
    table["label"] = np.where(table["x"] > 0, "yes", "no")
    return table


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows")
    for part in range(4):
        rows = frame.iloc[part * 250 : (part + 1) * 250]
        rows.to_parquet(path / f"{part}.parquet", row_group_size=100)
    return path


@pytest.fixture(scope="module")
def model(frame):
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    return pipe.fit(frame[["x", "y", "z"]], frame["label"])


def expected(model, rows):
    return scoring.predictions_of(model, rows)


@pytest.mark.parametrize("form", ["estimator", "module", "compiled"])
def test_predictions_are_those_in_memory(form, model, frame, folder, tmp_path):
    own = {"estimator": model, "module": pg.to_torch(model), "compiled": pg.compile(model)}[form]
    done = pg.score(own, folder, tmp_path / "out", keep=["key"])
    assert done.rows == ROWS
    assert [path.name for path in done.files] == [f"part-{i:06}.parquet" for i in range(12)]
    found = pd.read_parquet(tmp_path / "out")
    assert found["key"].tolist() == frame["key"].tolist()
    wanted = expected(own, frame[["x", "y", "z"]])
    assert list(found) == ["key", *wanted]
    for name in wanted:
        if wanted[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, atol=1e-15)
        else:
            assert found[name].tolist() == wanted[name].tolist()


def test_arrays_and_texts(frame, tmp_path):
    X = frame[["x", "y", "z"]].to_numpy()
    line = LinearRegression().fit(X, X[:, 0])
    frame[["key", "x", "y", "z"]].to_csv(tmp_path / "rows.csv", index=False)
    pg.score(line, tmp_path / "rows.csv", tmp_path / "line", keep=["key"])
    found = pd.read_parquet(tmp_path / "line")
    np.testing.assert_allclose(found["prediction"], line.predict(X), rtol=1e-9, atol=1e-12)
    texts = ["good day", "bad day", "good night", "bad night"]
    words = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "texts.parquet")
    pg.score(words, tmp_path / "texts.parquet", tmp_path / "words")
    assert pd.read_parquet(tmp_path / "words")["prediction"].tolist() == [1, 0, 1, 0]


def test_models_of_spark_leave_out_what_they_skip(tmp_path):
    rows = DATA / "spark" / "skips.rows.parquet"
    pg.score(DATA / "spark" / "skips.spark", rows, tmp_path, keep=["u"])
    found, answer = pd.read_parquet(tmp_path), read_table(DATA / "spark" / "skips.parquet")
    assert found["u"].tolist() == answer["u"].tolist()
    assert found["prediction"].tolist() == answer["prediction"].tolist()


def test_a_repeated_call_does_what_is_missing(model, folder, tmp_path, monkeypatch):
    first = pg.score(model, folder, tmp_path)
    assert first.skipped == 0
    first.files[3].unlink()
    again = pg.score(model, folder, tmp_path)
    assert (again.skipped, again.rows) == (11, 100)
    assert pg.score(model, folder, tmp_path).rows == 0


def test_other_predictions_are_not_mixed(model, frame, folder, tmp_path):
    pg.score(model, folder, tmp_path)
    other = make_pipeline(LogisticRegression()).fit(frame[["x", "y", "z"]], frame["label"])
    with pytest.raises(pg.ArgumentError, match="predictions of another model or of other rows"):
        pg.score(other, folder, tmp_path)
    pg.score(other, folder, tmp_path, overwrite=True)
    with pytest.raises(pg.ArgumentError, match="of other predictions, such as part-000003"):
        pg.score(other, [folder / "0.parquet"], tmp_path)


def test_a_damaged_row_group_keeps_the_files_before_it(model, frame, tmp_path):
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path, row_group_size=200, compression="zstd")
    content = bytearray(path.read_bytes())
    column = parquet.ParquetFile(path).metadata.row_group(3).column(0)
    place = column.dictionary_page_offset or column.data_page_offset
    content[place : place + 200] = b"\xff" * 200
    path.write_bytes(bytes(content))
    with pytest.raises(pg.ArgumentError, match=r"row group 3 cannot be read after 0 rows"):
        pg.score(model, path, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"part-{i:06}.parquet" for i in range(3)
    ]


def test_rows_that_the_model_refuses_are_named(model, frame, tmp_path):
    frame.assign(x=frame["x"].where(frame["key"] != 150)).to_parquet(
        tmp_path / "rows.parquet", row_group_size=100
    )
    with pytest.raises(pg.ArgumentError, match=r"row group 1, rows from 0 on: .*NaN"):
        pg.score(model, tmp_path / "rows.parquet", tmp_path / "out")


def test_arguments(model, frame, folder, tmp_path):
    for options, match in [
        ({"processes": 0}, "processes must be a positive integer"),
        ({"keep": ["none"]}, "has no column 'none'"),
        ({"device": "cpu"}, "is for modules, and Pipeline is none"),
    ]:
        with pytest.raises(pg.ArgumentError, match=match):
            pg.score(model, folder, tmp_path / "out", **options)
    frame.drop(columns="x").to_parquet(tmp_path / "less.parquet")
    with pytest.raises(pg.ArgumentError, match="lacks 'x', which the pipeline takes"):
        pg.score(model, tmp_path / "less.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_processes(model, folder, tmp_path):
    one = pg.score(model, folder, tmp_path / "one", keep=["key"])
    two = pg.score(model, folder, tmp_path / "two", keep=["key"], processes=2)
    assert two.rows == one.rows == ROWS
    for a, b in zip(one.files, two.files, strict=True):
        pd.testing.assert_frame_equal(pd.read_parquet(a), pd.read_parquet(b))


def test_the_command(model, frame, folder, tmp_path, capsys):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    arguments = ["score", str(tmp_path / "model.pkl"), str(folder), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--trust-pickle", "--keep", "key"]) == 0
    found = pd.read_parquet(tmp_path / "out")
    assert found["prediction"].tolist() == model.predict(frame[["x", "y", "z"]]).tolist()
