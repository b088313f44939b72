"""Real Spark scores what pipegrad wrote, and trains models anew: `make test-spark`.

It needs pyspark in the virtual environment that the variable SPARK names; see
`tests/spark_runtime.py`. Every model among the fixtures is read, all numbers that train are moved
by some percent, the model is written, and Spark loads the folder and gives every column. Live
models and DataFrames are checked in this process, which borrows pyspark from there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_spark import (
    DATA,
    DOUBLES,
    NAMES,
    assert_same_columns,
    expected_of,
    in_order,
    moves,
    table_of,
    unpacked,
)

import pipegrad as pg
import spark_runtime
from pipegrad.named import read_table
from pipegrad.sources.named.cells import doubles_of

RUNTIME = Path(__file__).parents[2] / "spark_runtime.py"
SOFT = ["boosted", "forest", "tree_regression"]


@pytest.fixture(scope="session")
def python():
    folder = os.environ.get("SPARK")
    assert folder, "the variable SPARK names no environment with pyspark: use `make test-spark`"
    return Path(folder).resolve() / "bin" / "python"


def moved(path, **options):
    net = pg.to_torch(path, **options)
    moves(net, path.stem)
    return net.eval()


@pytest.fixture(scope="session")
def scored(python, tmp_path_factory):
    """Perturbed models, and what Spark says of them."""
    folder, jobs = tmp_path_factory.mktemp("perturbed"), []
    for name in NAMES + [f"{name}.soft" for name in SOFT]:
        plain = name.removesuffix(".soft")
        net = moved(DATA / f"{plain}.spark", trees="leaves" if plain == name else "soft")
        pg.from_torch(net, folder / name)
        jobs.append([folder / name, DATA / f"{plain}.parquet", folder / f"{name}.parquet"])
    file = folder / "jobs.json"
    file.write_text(json.dumps([[str(part) for part in job] for job in jobs]))
    subprocess.run([str(python), str(RUNTIME), "score", str(file)], check=True)
    return folder


def table_at(path):
    problem = Path(f"{path}.error")
    assert path.exists(), problem.read_text() if problem.exists() else "no result"
    return read_table(path)


@pytest.mark.parametrize("name", NAMES)
def test_spark_scores_written_models_as_the_module_does(scored, name):
    net = moved(DATA / f"{name}.spark")
    found = net.columns(in_order(table_of(name, net), name))
    assert_same_columns(found, in_order(table_at(scored / f"{name}.parquet"), name), found)


@pytest.mark.parametrize("name", SOFT)
def test_spark_routes_rows_by_moved_thresholds(scored, name):
    net = moved(DATA / f"{name}.spark", trees="soft")
    found = net.columns(table_of(name, net))
    assert_same_columns(found, table_at(scored / f"{name}.soft.parquet"), found)


@pytest.fixture(scope="session")
def trained(python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run([str(python), str(RUNTIME), "train", str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_models_of_this_spark_are_read(trained, name):
    net = pg.to_torch(trained / f"{name}.spark")
    table = read_table(trained / f"{name}.parquet")
    given = table.drop(columns=[c for c in net.graph.columns if c in table.columns])
    found = net.columns(given)
    assert_same_columns(found, table, found)


def test_fixtures_are_those_of_all_cases():
    cases = RUNTIME.read_text().split("\n@case\ndef ")[1:]
    assert sorted(text.partition("(")[0] for text in cases) == NAMES
    assert all(zipfile.is_zipfile(DATA / f"{name}.spark") for name in NAMES)
    assert all(len(expected_of(name)) for name in NAMES)


# pyspark 4.3 warns of pandas 3, whatever it is asked; its sockets are closed by the collector.
quiet = [
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def live(function):
    for mark in quiet:
        function = mark(function)
    return function


@pytest.fixture(scope="session")
def spark(python, tmp_path_factory):
    """Spark in this process: pyspark and py4j are plain Python, so that links to them do."""
    links = tmp_path_factory.mktemp("pyspark")
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    for name in ("pyspark", "py4j"):
        (links / name).symlink_to(packages / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(links)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = spark_runtime.session()
        yield session
        session.stop()


def rows_of(df):
    return read_table(df.toArrow())


@live
@pytest.mark.parametrize("name", NAMES)
def test_live_models_come_back_and_their_modules_score_dataframes(spark, name):
    model, df = spark_runtime.CASES[name](spark_runtime.Case(spark))
    net = pg.to_torch(model)
    moves(net, name)
    net.eval()
    df_given = model.transform(df).drop(*net.graph.columns)
    again, scored = pg.from_torch(net), pg.spark.transform(net, df_given)
    assert type(again) is type(model)
    assert again.uid == model.uid

    real, given = again.transform(df), in_order(rows_of(df_given), name)
    mine, local = in_order(rows_of(scored), name), net.columns(given)
    nullable = {
        name
        for name, v in local.items()
        if v.dtype == object
        and doubles_of(v) is not None
        and not any(isinstance(cell, Decimal) for cell in v)
    }
    types, found = (
        {
            field.name: getattr(field.dataType, "scale", field.dataType)  # Decimals may be wider.
            for field in table.schema.fields
            if field.name not in nullable | DOUBLES
        }
        for table in (real, scored)
    )
    assert found == types
    assert scored.columns[: len(df_given.columns)] == df_given.columns
    assert set(scored.columns) == set(df_given.columns) | set(local)
    assert_same_columns(local, in_order(rows_of(real), name), local)
    assert_same_columns(local, mine, local, tolerance=1e-12)
    pd.testing.assert_frame_equal(mine[df_given.columns], given)


@live
def test_terms_of_random_patterns_are_the_saved_ones(spark):
    from pyspark.ml.feature import RegexTokenizer

    saved = json.loads((DATA / "java_patterns.json").read_text("utf-8"))
    texts = spark.createDataFrame(list(enumerate(saved["texts"])), "i int, t string").coalesce(1)
    options = ("pattern", "gaps", "minTokenLength", "toLowercase")
    for case in saved["cases"]:
        chosen = {name: case[name] for name in options}
        terms = RegexTokenizer(inputCol="t", outputCol="terms", **chosen).transform(texts)
        found = [row.terms for row in sorted(terms.collect())]
        assert found == case["answers"], case["pattern"]


@live
def test_untouched_live_models_come_back_with_equal_numbers(spark):
    model, df = spark_runtime.CASES["logistic"](spark_runtime.Case(spark))
    again = pg.from_torch(pg.to_torch(model))
    assert again.transform(df).collect() == model.transform(df).collect()
    assert again.stages[-1].getThreshold() == 0.3


@live
@pytest.mark.filterwarnings("ignore:Fine-tuning kept")
def test_live_models_are_inspected_and_fine_tuned(spark):
    model, df = spark_runtime.CASES["poisson"](spark_runtime.Case(spark))
    assert pg.inspect(model)["generalizedlinearregression"].status == "trainable"
    rows = pd.concat([rows_of(df)] * 4, ignore_index=True).assign(pos=lambda t: t.pos + 3)
    tuner = pg.FineTuner(model, random_state=0).fit(rows, "pos")
    assert tuner.improved_
    again = pg.from_torch(tuner.estimator_)
    assert type(again) is type(model)
    found = rows_of(again.transform(df))["prediction"]
    np.testing.assert_allclose(tuner.predict(rows_of(df)), found, rtol=1e-9)


@live
def test_models_that_are_not_fitted_are_refused(spark):
    from pyspark.ml import Pipeline
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="This Pipeline of Spark is not fitted"):
        pg.to_torch(Pipeline(stages=[]))


@live
def test_tables_that_a_stage_reads_later_stay(spark):
    """The factors of ALS are read when they are asked for."""
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.recommendation import ALS
    from pyspark.ml.regression import LinearRegression

    rows = [(u, i, float(u * i % 3 + 1)) for u in range(4) for i in range(4)]
    df = spark.createDataFrame(rows, "u int, i int, y double")
    stages = [
        ALS(userCol="u", itemCol="i", ratingCol="y", rank=2, maxIter=2).setPredictionCol("r"),
        VectorAssembler(inputCols=["r", "u"], outputCol="features"),
        LinearRegression(labelCol="y"),
    ]
    model = Pipeline(stages=stages).fit(df)
    net = pg.to_torch(model)
    again = pg.from_torch(net)
    found, real = rows_of(pg.spark.transform(net, df)), rows_of(again.transform(df))
    both = [table.sort_values(["u", "i"])["prediction"] for table in (found, real)]
    np.testing.assert_allclose(*both, rtol=1e-9)


@pytest.fixture(scope="session")
def table():
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(50, 3)), columns=["b", "a", "c"])
    return X.assign(label=np.where(X.a + X.b > 0, "yes", "no"), y=X.a - 2 * X.c)


@live
def test_scikit_learn_adds_predictions_and_probabilities(spark, table):
    pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(table[["a", "c"]], table.label)
    net = pg.to_torch(pipe)
    scored = pg.spark.transform(net, spark.createDataFrame(table).repartition(3))
    kinds = {field.name: field.dataType.simpleString() for field in scored.schema.fields[-2:]}
    assert kinds == {"prediction": "string", "probability": "vector"}
    found = rows_of(scored)
    assert len(found) == 50
    assert found.prediction.tolist() == net.predict(found[["a", "c"]]).tolist()
    shares = np.array([cell["values"] for cell in found.probability])
    np.testing.assert_allclose(shares, net.predict_proba(found[["a", "c"]]), rtol=1e-12)


@live
def test_pipelines_fitted_on_arrays_take_all_columns(spark, table):
    net = pg.to_torch(Ridge().fit(table[["b", "a", "c"]].to_numpy(), table.y))
    df = spark.createDataFrame(table[["b", "a", "c"]])
    found = rows_of(pg.spark.transform(net, df))
    np.testing.assert_allclose(found.prediction, net.predict(found[["b", "a", "c"]].to_numpy()))
    with pytest.raises(pg.ArgumentError, match=r"the 3 columns that .* got 2"):
        pg.spark.transform(net, df.drop("a"))


@live
def test_no_rows_need_an_example(spark, table):
    net = pg.to_torch(Ridge().fit(table[["a", "c"]], table.y))
    none = spark.createDataFrame(table).filter("a > 1e9")
    with pytest.raises(pg.ArgumentError, match="df must have rows"):
        pg.spark.transform(net, none)
    scored = pg.spark.transform(net, none, example=table)
    assert (scored.columns[-1], scored.count()) == ("prediction", 0)
    with pytest.raises(pg.ArgumentError, match="it lacks 'b', 'label', 'y'"):
        pg.spark.transform(net, none, example=table[["a", "c"]])
    with pytest.raises(pg.ArgumentError, match="example must be a DataFrame, got a dict"):
        pg.spark.transform(net, none, example={"a": [1.0], "c": [1.0]})
    stream = spark.readStream.format("rate").load()
    with pytest.raises(pg.ArgumentError, match="example must be given for a stream"):
        pg.spark.transform(net, stream.selectExpr("value as a", "value as c"))


@live
def test_wrong_arguments_are_refused_before_any_work(spark, table):
    net = pg.to_torch(Ridge().fit(table[["a", "c"]], table.y))
    df = spark.createDataFrame(table)
    with pytest.raises(pg.ArgumentError, match="net must be the result of to_torch, got Ridge"):
        pg.spark.transform(Ridge(), df)
    with pytest.raises(pg.ArgumentError, match="df must be a DataFrame of Spark, got a DataFrame"):
        pg.spark.transform(net, table)
    with pytest.raises(pg.ArgumentError, match="columns that the pipeline reads: 'a', 'c'"):
        pg.spark.transform(net, df.drop("a", "c"))
    with pytest.raises(pg.ArgumentError, match=r"must not have columns .* writes: 'prediction'"):
        pg.spark.transform(net, df.withColumnRenamed("b", "prediction"))
    with pytest.raises(pg.ArgumentError, match="net must have predict"):
        pg.spark.transform(pg.to_torch(StandardScaler().fit(table[["a"]])), df)
    net = pg.to_torch(DATA / "text_labels.spark")
    with pytest.raises(pg.ArgumentError, match="lacks columns that the model reads: 'u', 'v', 'w'"):
        pg.spark.transform(net, df)


@live
def test_streams_are_scored(spark, tmp_path):
    table = expected_of("text_labels")[["c", "u", "v", "w", "pos"]]
    df = spark.createDataFrame(table)
    df.repartition(3).write.parquet(str(tmp_path / "rows"))
    net = pg.to_torch(DATA / "text_labels.spark")
    stream = spark.readStream.schema(df.schema).parquet(str(tmp_path / "rows"))
    assert stream.isStreaming
    scored = pg.spark.transform(net, stream, example=table)
    query = scored.writeStream.format("memory").queryName("scored").trigger(availableNow=True)
    query.option("checkpointLocation", str(tmp_path / "state")).start().awaitTermination(120)
    found = rows_of(spark.table("scored"))
    assert len(found) == len(table)
    assert found.answer.tolist() == net.predict(found).tolist()


CONNECT = """
import sys, pandas as pd, pipegrad as pg
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote("local[1]").config("spark.ui.enabled", "false").getOrCreate()
net = pg.to_torch(sys.argv[1])
table = pd.read_parquet(sys.argv[2])[["c", "u", "v", "w", "pos"]]
found = pg.spark.transform(net, spark.createDataFrame(table)).toPandas()
assert found.answer.tolist() == net.predict(table).tolist()
from pyspark.ml.pipeline import PipelineModel
model = PipelineModel.load(f"file://{sys.argv[3]}")
again = pg.from_torch(pg.to_torch(model))
assert type(again) is PipelineModel
"""


def test_sessions_of_spark_connect(python, tmp_path):
    """In a process of its own, which has one kind of session."""
    pytest.importorskip("grpc")
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    for name in ("pyspark", "py4j"):
        (tmp_path / name).symlink_to(packages / name)
    folder = unpacked("text_labels", tmp_path)
    files = [DATA / "text_labels.spark", DATA / "text_labels.parquet", folder]
    known = os.pathsep.join(filter(None, [str(tmp_path), *sys.path]))
    environment = {
        **os.environ, "PYTHONPATH": known, "SPARK_HOME": str(packages / "pyspark"),
        "PYSPARK_PYTHON": sys.executable,
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", CONNECT, *map(str, files)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@live
@pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")
def test_the_code_of_the_page_runs(spark, tmp_path, monkeypatch):
    unpacked("text_labels", tmp_path).rename(tmp_path / "spark-model")
    shutil.copy(DATA / "text_labels.parquet", tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    page = Path(pg.__file__).parents[2] / "docs" / "spark.md"
    for block in re.findall(r"```python.*?\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for name in ("spark-model", "text_labels.parquet"):  # Java keeps the folder it began in.
            block = block.replace(f'"{name}"', repr(str(tmp_path / name)))
        exec(compile(block, page, "exec"), names)
    real, mine = (rows_of(df) for df in (names["again"].transform(names["df"]), names["scored"]))
    assert mine.answer.tolist() == real.answer.tolist()
    assert_same_columns(names["net"].columns(rows_of(names["df"])), real, ["p", "probability"])
