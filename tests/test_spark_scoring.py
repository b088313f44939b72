"""Live models and DataFrames of Spark without Spark; `make test-spark` has the rest."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge

import pipegrad as pg
from pipegrad import spark as scoring
from pipegrad.sources.spark.input_table import vectors

DATA = Path(__file__).parent / "data" / "spark"


class Saved:
    """Stands for a model of pyspark: its class says where it is from, and it saves a folder."""

    __module__ = "pyspark.ml.pipeline"

    def __init__(self, folder):
        self.folder = folder

    def transform(self, df): ...

    def write(self):
        return self

    def overwrite(self):
        return self

    def save(self, path):
        assert path.startswith("file:///")
        if self.folder:
            shutil.copytree(self.folder, path.removeprefix("file://"))


class Estimator(Saved):
    __module__ = "pyspark.ml.pipeline"

    def fit(self, df): ...


def test_live_models_are_read_from_what_they_save(tmp_path):
    with zipfile.ZipFile(DATA / "text_labels.spark") as file:
        file.extractall(tmp_path)
    net, table = pg.to_torch(Saved(tmp_path)), pd.read_parquet(DATA / "text_labels.parquet")
    assert (net.predict(table) == table.answer).all()
    assert net.source.live == "pyspark.ml.pipeline.Saved"
    assert pg.to_torch(tmp_path).source.live == ""


def test_models_that_cannot_be_read_here_are_refused():
    with pytest.raises(pg.ArgumentError, match="must be saved where this process can read it"):
        pg.to_torch(Saved(None))
    with pytest.raises(NotFittedError, match="This Estimator of Spark is not fitted"):
        pg.to_torch(Estimator(None))


def test_the_module_is_there_when_it_is_asked_for():
    code = (
        "import sys, pipegrad; assert 'pipegrad.spark' not in sys.modules; pipegrad.spark.transform"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    net = pg.to_torch(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))
    with pytest.raises(pg.ArgumentError, match=r"requires pyspark.*\n.*pipegrad\[spark\]"):
        scoring.transform(net, pd.DataFrame({"a": [1.0]}))


class Broadcast:
    """Bytes that count how often they are read."""

    def __init__(self, content):
        self.content, self.reads = content, 0

    @property
    def value(self):
        self.reads += 1
        return self.content


def test_batches_keep_their_columns_and_load_the_module_once(monkeypatch):
    monkeypatch.setattr(scoring, "_MODULES", type(scoring._MODULES)())
    X = pd.DataFrame({"b": [0.0, 1.0, 2.0, 5.0], "a": [1.0, 0.0, 3.0, 1.0]})
    net = pg.to_torch(LogisticRegression().fit(X[["a"]], [3, 7, 3, 7]))
    sent = Broadcast(pickle.dumps(net))
    types = {"prediction": "bigint", "probability": "vector"}
    batches = pa.RecordBatch.from_pandas(X), pa.RecordBatch.from_pandas(X[:0])
    for _ in range(2):
        (found,) = scoring._Scorer(["a"], "digest", sent, types)(batches)
    assert sent.reads == 1
    assert found.schema.names == ["b", "a", "prediction", "probability"]
    assert found["b"].equals(batches[0]["b"])
    assert found["prediction"].to_pylist() == net.predict(X[["a"]]).tolist()
    shares = vectors(found["probability"].to_pylist(), "probability")
    np.testing.assert_array_equal(shares, net.predict_proba(X[["a"]]))


def test_workers_keep_few_modules(monkeypatch):
    monkeypatch.setattr(scoring, "_MODULES", type(scoring._MODULES)())
    for number in range(6):
        content = SimpleNamespace(value=pickle.dumps(number))
        assert scoring._Scorer(None, str(number), content)._module() == number
    assert list(scoring._MODULES) == ["2", "3", "4", "5"]


def texts(cells):
    found = np.empty(len(cells), dtype=object)
    found[:] = cells
    return found


@pytest.mark.parametrize(
    ("values", "kind", "cells"),
    [
        (np.array([1.5, np.inf]), "double", [1.5, np.inf]),
        (np.array([1.5, 2.5], dtype=np.float32), "float", [1.5, 2.5]),
        (np.array([1, 2], dtype=np.int32), "int", [1, 2]),
        (np.array([1, 2]), "bigint", [1, 2]),
        (np.array([True, False]), "boolean", [True, False]),
        (np.array(["a", "b"]), "string", ["a", "b"]),
        (
            np.array([["a", "b"], ["c", "d"]], dtype=object),
            "array<string>",
            [["a", "b"], ["c", "d"]],
        ),
        (texts(["a", None]), "string", ["a", None]),
        (texts([1, None]), "bigint", [1, None]),
        (texts([1.5, None]), "double", [1.5, None]),
        (texts([True, None]), "boolean", [True, None]),
        (
            texts([Decimal("1.25"), None, Decimal("-3")]),
            "decimal(38,2)",
            [Decimal("1.25"), None, Decimal("-3.00")],
        ),
        (texts([None, ["a", "b"]]), "array<string>", [None, ["a", "b"]]),
    ],
)
def test_types_of_columns(values, kind, cells):
    assert scoring._type_of(values) == kind
    assert scoring._as_arrow(values, kind).to_pylist() == cells


def test_sparse_vectors_stay_sparse():
    values = sparse.csr_matrix(([2.0, 1.0, 3.0], [4, 1, 0], [0, 2, 2, 3]), shape=(3, 5))  # unsorted
    assert scoring._type_of(values) == "vector"
    found = scoring._as_arrow(values, "vector").to_pylist()
    assert found[0] == {"type": 0, "size": 5, "indices": [1, 4], "values": [1.0, 2.0]}
    np.testing.assert_array_equal(vectors(found, "x"), values.toarray())
