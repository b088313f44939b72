"""`FineTuner` of models that are fitted already: paths of files and folders, and their objects."""

from __future__ import annotations

import zipfile
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import make_regression
from sklearn.model_selection import KFold

import pipegrad as pg
from pipegrad.sources.spark import load

DATA = Path(__file__).parents[1] / "data"
QUIET = pytest.mark.filterwarnings("ignore:Fine-tuning kept")


@pytest.fixture(scope="module")
def spark_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark") / "poisson"
    with zipfile.ZipFile(DATA / "spark" / "poisson.spark") as file:
        file.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def spark_rows():
    """Rows like those of the fixture, whose targets follow another rule."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame(draw.normal(size=(400, 3)), columns=["u", "v", "w"])
    return table.assign(pos=draw.poisson(np.exp(0.8 * table.u - 0.3)))


@pytest.fixture(scope="module")
def tuned(spark_folder, spark_rows):
    return pg.FineTuner(str(spark_folder), random_state=0).fit(spark_rows, "pos")


def test_a_folder_of_spark_is_the_start(tuned, spark_folder, spark_rows, tmp_path):
    before = pg.to_torch(spark_folder)
    assert tuned.improved_
    assert tuned.report_.gain > 0
    assert tuned.report_.before == pytest.approx(_deviance(before, spark_rows), rel=0.1)
    assert _deviance(tuned, spark_rows) < 0.7 * _deviance(before, spark_rows)
    pg.from_torch(tuned.estimator_, tmp_path / "tuned")
    again = pg.to_torch(tmp_path / "tuned")
    np.testing.assert_allclose(again.predict(spark_rows), tuned.predict(spark_rows), rtol=1e-9)


def _deviance(model, rows):
    mean = np.asarray(model.predict(rows))
    y = rows.pos.to_numpy()
    return np.mean(2 * (mean - y + y * np.log(np.maximum(y, 1e-300) / mean)))


def test_the_model_itself_does_not_change(tuned, spark_folder):
    with zipfile.ZipFile(DATA / "spark" / "poisson.spark") as file:
        for name in file.namelist():
            assert (spark_folder / name).read_bytes() == file.read(name)


def test_the_report_names_the_steps(tuned, tmp_path):
    model = tuned.report_.model
    assert model.kind == "spark.Model"
    assert model.operators[0] == model.kind
    assert model.operators[1:] == (
        "spark.VectorAssembler",
        "spark.GeneralizedLinearRegressionModel",
    )
    assert tuned.report_.validation.startswith("The model was fitted before.")
    assert (model.task, model.rows) == ("regression", 400)
    for name in ("report.html", "report.md", "report.json"):
        assert tuned.report_.save(tmp_path / name) is not None or (tmp_path / name).stat().st_size
    card = tuned.report_.card()
    assert "A Model of VectorAssembler, GeneralizedLinearRegressionModel." in card
    assert "writes it as a model of spark" in card
    assert "skops" not in card


def test_estimators_of_scikit_learn_know_its_kind(tuned, spark_folder):
    assert is_regressor(tuned)
    assert not is_classifier(tuned)
    assert clone(tuned).estimator == str(spark_folder)
    assert not is_regressor(clone(tuned))


@pytest.mark.parametrize("form", ["name", "array", "nothing", "paths", "dict", "arrow", "object"])
def test_forms_of_rows_and_targets(spark_rows, form, tmp_path, tuned):
    source = DATA / "spark" / "poisson.spark"
    X, y = spark_rows, "pos"
    if form == "array":
        X, y = spark_rows.drop(columns="pos"), spark_rows.pos.to_numpy()
    elif form == "nothing":
        y = None
    elif form == "paths":
        X = tmp_path / "rows.parquet"
        spark_rows.to_parquet(X)
    elif form == "dict":
        X = {name: spark_rows[name].to_numpy() for name in spark_rows}
    elif form == "arrow":
        pa = pytest.importorskip("pyarrow")
        X = pa.Table.from_pandas(spark_rows)
    elif form == "object":
        source = load(source)
    tuner = pg.FineTuner(source, random_state=0).fit(X, y)
    np.testing.assert_array_equal(tuner.predict(spark_rows), tuned.predict(spark_rows))


def test_a_zip_of_mlnet_is_the_start(tmp_path):
    path = DATA / "mlnet" / "lbfgs_poisson.zip"
    rows = pd.read_parquet(DATA / "mlnet" / "lbfgs_poisson.input.parquet")
    rows = pd.concat([rows] * -(-400 // len(rows)), ignore_index=True)
    net = pg.to_torch(path)
    y = np.random.default_rng(0).poisson(3 * net.predict(rows))
    tuner = pg.FineTuner(path, random_state=0).fit(rows, y)
    assert tuner.improved_
    assert tuner.report_.model.kind == "mlnet.Model"
    assert tuner.score(rows, y) > -1
    pg.from_torch(tuner.estimator_, tmp_path / "tuned.zip")
    again = pg.to_torch(tmp_path / "tuned.zip")
    np.testing.assert_allclose(again.predict(rows), tuner.predict(rows), rtol=1e-5)
    assert abs(tuner.predict(rows).mean() / y.mean() - 1) < 0.1


def test_files_of_other_libraries_are_a_start_too(tmp_path):
    X, y = make_regression(400, 4, noise=1.0, random_state=0)
    lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(X, y).booster_.save_model(
        tmp_path / "model.txt"
    )
    tuner = pg.FineTuner(tmp_path / "model.txt", random_state=0).fit(X, 2 * y)
    before = pg.to_torch(tmp_path / "model.txt").predict(X)
    assert tuner.improved_
    assert np.mean((tuner.predict(X) - 2 * y) ** 2) < 0.8 * np.mean((before - 2 * y) ** 2)
    pg.from_torch(tuner.estimator_, tmp_path / "tuned.txt")
    found = lightgbm.Booster(model_file=tmp_path / "tuned.txt").predict(X)
    np.testing.assert_allclose(found, tuner.predict(X), rtol=1e-6)


@QUIET
def test_classes_are_texts_where_the_model_indexes_them():
    rows = pd.read_parquet(DATA / "spark" / "text_labels.parquet")
    rows = pd.concat([rows] * 5, ignore_index=True)
    tuner = pg.FineTuner(DATA / "spark" / "text_labels.spark", random_state=0).fit(rows, "c")
    assert is_classifier(tuner)
    assert tuner.classes_.tolist() == ["a", "b", "c"]
    assert set(tuner.predict(rows)) <= {"a", "b", "c"}
    assert tuner.score(rows, "c") == np.mean(tuner.predict(rows) == rows.c)
    scored = pg.FineTuner(
        DATA / "spark" / "text_labels.spark", scoring="neg_log_loss", random_state=0
    ).fit(rows, rows.c)
    assert scored.score(rows, rows.c) < 0


def test_targets_are_no_groups():
    """Rows of equal targets have equal residuals, which says nothing of groups."""
    net = pg.to_torch(DATA / "spark" / "poisson.spark")
    draw = np.random.default_rng(1)
    rows = pd.DataFrame(draw.normal(size=(60, 3)), columns=["u", "v", "w"])
    rows = rows.assign(pos=np.arange(60) % 25, day=1, prediction=2.0)
    table, y = net.training_table(rows, "pos")
    assert list(table) == ["u", "v", "w", "day"]
    np.testing.assert_array_equal(y, rows.pos)
    table, _ = net.training_table(rows, rows.pos.to_numpy())
    assert list(table) == ["u", "v", "w", "day"]
    # A column that predictions read stays, whatever it is called.
    table, y = net.training_table(rows, "u")
    assert list(table) == ["u", "v", "w", "pos", "day"]


@QUIET
def test_own_splits_weights_and_settings(spark_rows):
    path = DATA / "spark" / "poisson.spark"
    weight = np.linspace(0.1, 1.0, len(spark_rows))
    tuner = pg.FineTuner(path, cv=KFold(3), random_state=0).fit(spark_rows, "pos", weight)
    assert tuner.improved_
    assert tuner.report_.splits <= 3
    single = pg.FineTuner(path, epochs=5, random_state=0).fit(spark_rows, "pos")
    assert len(single.history_) > 1
    frozen = pg.FineTuner(path, freeze=["*"], random_state=0)
    with pytest.raises(pg.ArgumentError, match="Nothing to train"):
        frozen.fit(spark_rows, "pos")


def test_what_a_fitted_model_cannot_do(spark_rows, tmp_path):
    path = DATA / "spark" / "poisson.spark"
    tuner = pg.FineTuner(path)
    with pytest.raises(pg.ArgumentError, match=r"partial_fit takes a pipeline that it can fit"):
        tuner.partial_fit(spark_rows, "pos")
    with pytest.raises(pg.ArgumentError, match=r"fit takes no verbose for a model .* already"):
        tuner.fit(spark_rows, "pos", verbose=1)
    with pytest.raises(pg.ArgumentError, match="'amount'"):
        tuner.fit(spark_rows, "amount")
    with pytest.raises(pg.ArgumentError, match=r"lacks columns .*'u'"):
        tuner.fit(spark_rows.drop(columns="u"), "pos")
    with pytest.raises(pg.ArgumentError, match="has no objective"):
        pg.FineTuner(DATA / "spark" / "vectors.spark").fit(spark_rows)
    with pytest.raises(FileNotFoundError):
        pg.FineTuner(tmp_path / "none.spark").fit(spark_rows, "pos")
    with pytest.raises(pg.ArgumentError, match="not the module that to_torch made"):
        pg.FineTuner(pg.to_torch(path)).fit(spark_rows, "pos")
    assert not hasattr(tuner, "estimator_")
