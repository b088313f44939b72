"""Runs of `FineTuner` that log themselves, with the real MLflow."""

from __future__ import annotations

import inspect
import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import shorten_candidates
from pipegrad.finetune import Report
from pipegrad.mlflow.autologging import metric_values
from pipegrad.mlflow.library import mlflow_library
from pipegrad.report.metrics import MetricResult

pytest.importorskip("mlflow")
mlflow = mlflow_library()
pytestmark = [
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
    pytest.mark.filterwarnings("ignore:Fine-tuning kept:pipegrad.PipegradWarning"),
]

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(300, 4)), columns=list("abcd"))
Y = (X.a + X.b > 0).to_numpy()


def tuner(**options: Any) -> pg.FineTuner:
    pipe = make_pipeline(StandardScaler(), PCA(2), LogisticRegression())
    return pg.FineTuner(pipe, random_state=0, **{"epochs": 3, **options})


def runs() -> list[Any]:
    return mlflow.search_runs(output_format="list", order_by=["start_time"])


def text_of(run: Any, name: str) -> str:
    return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{name}")


def test_a_fit_is_a_run(monkeypatch: Any) -> None:
    shorten_candidates(monkeypatch)
    pg.mlflow.autolog()
    fitted = tuner(epochs=None).fit(X, Y)
    assert mlflow.active_run() is None
    (run,) = runs()
    report, found = fitted.report_, run.data.metrics
    assert report.chosen
    assert run.info.status == "FINISHED"
    assert found["loss_before"] == pytest.approx(report.before)
    assert found["loss_after"] == pytest.approx(report.after)
    assert (found["gain_low"], found["gain_high"]) == pytest.approx(report.interval)
    accuracy = next(one for one in report.metrics if one.name == "accuracy")
    assert found["accuracy_before"] == pytest.approx(accuracy.before)
    assert found["accuracy_after"] == pytest.approx(accuracy.after)
    assert run.data.params["estimator__pca__n_components"] == "2"
    assert run.data.params["random_state"] == "0"
    assert run.data.tags["pipegrad.verdict"] == report.verdict
    losses = mlflow.MlflowClient().get_metric_history(run.info.run_id, "valid_loss")
    known = {k: v for k, v in enumerate(fitted.history_[:, "valid_loss"]) if math.isfinite(v)}
    assert {one.step: one.value for one in losses} == pytest.approx(known)
    assert text_of(run, "report.html") == report.to_html()
    assert json.loads(text_of(run, "report.json")) == json.loads(report.to_json())
    assert text_of(run, "model_card.md") == report.card()
    (model,) = mlflow.search_logged_models(output_format="list")
    assert model.source_run_id == run.info.run_id
    served = mlflow.pyfunc.load_model(model.model_uri)
    assert (served.predict(X) == fitted.predict(X)).all()
    assert served.metadata.signature.inputs.input_names() == list("abcd")
    assert served.input_example is None  # The user's rows stay with the user.


def test_it_ends_and_may_begin_again() -> None:
    plain = pg.FineTuner.fit
    pg.mlflow.autolog(log_models=False)
    pg.mlflow.autolog(log_models=False)
    assert inspect.signature(pg.FineTuner.fit) == inspect.signature(plain)
    pg.mlflow.autolog(disable=True)
    assert pg.FineTuner.fit is plain
    pg.mlflow.autolog(disable=True)
    tuner().fit(X, Y)
    assert not runs()
    pg.mlflow.autolog(log_models=False)
    tuner().fit(X, Y)
    assert len(runs()) == 1
    assert not mlflow.search_logged_models(output_format="list")


def test_a_run_of_the_user_is_used_and_stays_open() -> None:
    pg.mlflow.autolog(log_models=False)
    with mlflow.start_run() as mine:
        tuner().fit(X, Y)
        assert mlflow.active_run().info.run_id == mine.info.run_id
        mlflow.log_metric("own", 1.0)
    (run,) = runs()
    assert {"own", "loss_before"} <= set(run.data.metrics)


def test_examples_are_logged_on_request() -> None:
    pg.mlflow.autolog(log_input_examples=True)
    tuner().fit(X, Y)
    (model,) = mlflow.search_logged_models(output_format="list")
    example = mlflow.pyfunc.load_model(model.model_uri).input_example
    pd.testing.assert_frame_equal(example, X[:5])


@pytest.mark.parametrize(
    ("broken", "warned"),
    [
        ("mlflow.start_run", "MLflow could not start a run: OSError: no server"),
        ("mlflow.MlflowClient.log_text", "MLflow could not log the report"),
        ("mlflow.MlflowClient.log_batch", "MLflow could not log metrics"),
        ("mlflow.models.Model.log", "MLflow could not log the model"),
        ("mlflow.end_run", "MLflow could not end the run"),
    ],
)
def test_a_failure_of_mlflow_is_none_of_the_fit(monkeypatch: Any, broken: str, warned: str) -> None:
    expected = tuner().fit(X, Y).predict_proba(X)

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError("no server")

    pg.mlflow.autolog()
    monkeypatch.setattr(broken, fail)
    with pytest.warns(pg.PipegradWarning) as caught:
        fitted = tuner().fit(X, Y)
    monkeypatch.undo()
    assert any(str(one.message).startswith(warned) for one in caught)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)


def test_an_error_of_the_fit_is_raised_and_the_run_failed() -> None:
    pg.mlflow.autolog()
    with pytest.raises(ValueError, match="NaN"):
        tuner().fit(X.mask(X > 1), Y)
    (run,) = runs()
    assert run.info.status == "FAILED"
    assert mlflow.active_run() is None
    assert "loss_before" not in run.data.metrics


def test_an_interrupted_fit_logs_how_far_it_came() -> None:
    from skorch.callbacks import Callback

    class Stop(Callback):  # type: ignore[misc]
        def on_epoch_end(self, net: Any, **_: Any) -> None:
            if len(net.history) > 2:
                raise KeyboardInterrupt

    pg.mlflow.autolog(log_models=False)
    with pytest.raises(KeyboardInterrupt):
        tuner(callbacks=[Stop()]).fit(X, Y)
    (run,) = runs()
    assert run.info.status == "KILLED"
    assert run.data.metrics["improved"] == 1.0


def test_a_second_fit_into_one_run_is_warned_of() -> None:
    pg.mlflow.autolog(log_models=False)
    with mlflow.start_run():
        tuner().fit(X, Y)
        with pytest.warns(pg.PipegradWarning, match="MLflow could not log parameters"):
            tuner(epochs=4).fit(X, Y)


def test_fits_inside_of_a_fit_log_nothing() -> None:
    from skorch.callbacks import Callback

    inner = pg.FineTuner(LogisticRegression(), random_state=0, epochs=1)

    class FitsAnother(Callback):  # type: ignore[misc]
        def on_train_begin(self, net: Any, **_: Any) -> None:
            inner.fit(X, Y)

    pg.mlflow.autolog(log_models=False)
    tuner(callbacks=[FitsAnother()]).fit(X, Y)
    assert hasattr(inner, "estimator_")
    assert len(runs()) == 1
    inner.fit(X, Y)
    assert len(runs()) == 2


def test_other_autologging_does_not_log_the_steps() -> None:
    import mlflow.sklearn

    mlflow.sklearn.autolog(log_models=False, silent=True)
    try:
        pg.mlflow.autolog(log_models=False)
        tuner().fit(X, Y)
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
    (run,) = runs()
    assert "training_accuracy_score" not in run.data.metrics


def test_threads_have_runs_of_their_own() -> None:
    pg.mlflow.autolog(log_models=False)
    threads = [threading.Thread(target=tuner().fit, args=(X, Y)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.info.status for run in runs()] == ["FINISHED"] * 2


def test_what_is_kept_as_fitted_has_the_values_as_fitted() -> None:
    metric = MetricResult("ROC AUC", 0.8, 0.9)
    kept = Report(None, "noise", 0.5, 0.1, 0.2, 2.0, 9, 1, metric="log loss", metrics=(metric,))
    found = metric_values(kept)
    assert (found["improved"], found["loss_after"], found["ROC_AUC_after"]) == (0.0, 0.5, 0.8)
    scored = Report("a", "", 0.5, 0.1, math.nan, higher_is_better=True, metric="r2")
    assert metric_values(scored)["score_after"] == pytest.approx(0.6)
    assert "gain_low" not in metric_values(scored)


@pytest.mark.slow
# SQLAlchemy warns of a strategy that MLflow uses.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_database_keeps_runs(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("alembic")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    pg.mlflow.autolog()
    fitted = tuner().fit(X, Y)
    (run,) = runs()
    assert run.data.metrics["loss_before"] == pytest.approx(fitted.report_.before)
    (model,) = mlflow.search_logged_models(output_format="list")
    served = mlflow.pyfunc.load_model(model.model_uri)
    assert (served.predict(X) == fitted.predict(X)).all()
