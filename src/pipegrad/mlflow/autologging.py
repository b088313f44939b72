"""Runs of `FineTuner` that log themselves: parameters, gains, the report, the model."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from threading import Lock
from typing import Any

from ..errors import warn
from ..finetune.tuner import FineTuner
from ..named import read_table
from ..report.results import Report
from .library import mlflow_library
from .models import log_model, module_of
from .signatures import infer_signature

_EXAMPLE_ROWS = 5
# Limits of MLflow's stores: entries of a batch, and characters of the value of a parameter.
_PARAMETERS, _METRICS, _LONGEST = 100, 1000, 500

_inside: ContextVar[bool] = ContextVar("pipegrad_autologging", default=False)
_lock = Lock()
_original: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Settings:
    """What is logged beside parameters, metrics and reports; see `autolog`."""

    log_models: bool = True
    log_input_examples: bool = False
    trusted: tuple[str, ...] = ()


_settings = Settings()


def autolog(
    *,
    log_models: bool = True,
    log_input_examples: bool = False,
    trusted: Collection[str] = (),
    disable: bool = False,
) -> None:
    """Log every following `FineTuner.fit` to MLflow.

    Logged are the parameters of the tuner and its pipeline, the loss before and after with the gain
    and its interval, each metric before and after, the losses by epoch, the report
    (``report.html`` and ``report.json``), the model card (``model_card.md``), and the model. An
    active run is used; otherwise there is a new one, which ends with the fit. What MLflow fails to
    log is warned of and does not disturb the fit. Fits inside of the fit, and other autologging
    during it, log nothing. `partial_fit` is not logged.

    Parameters
    ----------
    log_models : bool
        Whether to log the model, as `log_model` does.
    log_input_examples : bool
        Whether the model holds the first rows of the data as an example. The signature is inferred
        from these rows in either case.
    trusted : collection of str
        See `save_model`.
    disable : bool
        Whether to log no longer.

    Examples
    --------
    >>> import pipegrad as pg
    >>> pg.mlflow.autolog()
    >>> pg.mlflow.autolog(disable=True)
    """
    global _original, _settings
    if not disable:
        mlflow_library()
    with _lock:
        _settings = Settings(log_models, log_input_examples, tuple(trusted))
        if disable and _original is not None:
            FineTuner.fit = _original  # type: ignore[method-assign]
            _original = None
        elif not disable and _original is None:
            _original = FineTuner.fit
            FineTuner.fit = _logged(_original)  # type: ignore[method-assign]


def _logged(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def fit(self: FineTuner, X: Any, *arguments: Any, **options: Any) -> Any:
        if _inside.get():
            return original(self, X, *arguments, **options)
        run, before = _Run(), vars(self).get("report_")
        token, status = _inside.set(True), "FINISHED"
        try:
            with run.begun(self), _others_silent():
                return original(self, X, *arguments, **options)
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            raise
        finally:
            # After an interrupt, the tuner may be fitted as far as it came.
            if vars(self).get("report_") is not before:
                run.log(self, X)
            run.end(status)
            _inside.reset(token)

    return fit


class _Run:
    """A run of MLflow, whose failures are warned of."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.own = False

    @contextmanager
    def begun(self, tuner: FineTuner) -> Iterator[None]:
        """Context after the start of the run."""
        with _warned("start a run"):
            mlflow = mlflow_library()
            active = mlflow.active_run()
            self.own = active is None
            self.id = (mlflow.start_run() if active is None else active).info.run_id
        if self.id is not None:
            with _warned("log parameters"):
                _log_parameters(self.id, tuner)
        yield

    def log(self, tuner: FineTuner, X: Any) -> None:
        """Log the results of a fit."""
        if self.id is None:
            return
        client, report = mlflow_library().MlflowClient(), tuner.report_
        with _warned("log metrics"):
            _log_metrics(client, self.id, report, tuner.history_)
        with _warned("log the report"):
            client.set_tag(self.id, "pipegrad.verdict", report.verdict)
            client.set_tag(self.id, "pipegrad.chosen", report.chosen or "")
            client.log_text(self.id, report.to_html(), "report.html")
            client.log_text(self.id, report.to_json(), "report.json")
            client.log_text(self.id, report.card(), "model_card.md")
        if _settings.log_models:
            with _warned("log the model"):
                _log_model(tuner, X)

    def end(self, status: str) -> None:
        """End the run, if it was started here."""
        if self.own and self.id is not None:
            with _warned("end the run"):
                mlflow_library().end_run(status)


@contextmanager
def _warned(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        warn(f"MLflow could not {what}: {type(error).__name__}: {error!s:.300}")


@contextmanager
def _others_silent() -> Iterator[None]:
    """Context in which the flavors of MLflow do not log the fits of single steps."""
    with ExitStack() as stack:
        with _warned("silence its other autologging"):
            from mlflow.utils.autologging_utils import disable_autologging

            stack.enter_context(disable_autologging())
        yield


def _log_parameters(run: str, tuner: FineTuner) -> None:
    mlflow = mlflow_library()
    client = mlflow.MlflowClient()
    found = {name: repr(value)[:_LONGEST] for name, value in tuner.get_params().items()}
    entries = [mlflow.entities.Param(_named(name), value) for name, value in found.items()]
    for start in range(0, len(entries), _PARAMETERS):
        client.log_batch(run, params=entries[start : start + _PARAMETERS])


def metric_values(report: Report) -> dict[str, float]:
    """The numbers of a report by the names that they have in MLflow; only finite ones.

    Parameters
    ----------
    report : Report
        The report of a fit.

    Returns
    -------
    dict of str to float
        ``loss_before``, ``gain_low``, ``accuracy_after`` and so on.
    """
    low, high = report.interval
    found = {
        "improved": float(report.chosen is not None),
        "loss_before": report.before,
        "loss_after": report.after if report.chosen else report.before,
        "gain": report.gain,
        "gain_low": low,
        "gain_high": high,
        "validation_rows": report.rows,
        "splits": report.splits,
        "seconds": report.seconds,
    }
    if report.higher_is_better:  # A score decided.
        found = {name.replace("loss_", "score_"): value for name, value in found.items()}
    for metric in report.metrics:
        name = _named(metric.name.replace(" ", "_"))
        after = metric.after if report.chosen else metric.before
        found |= {f"{name}_before": metric.before, f"{name}_after": after}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _log_metrics(client: Any, run: str, report: Report, history: Any) -> None:
    metric, now = mlflow_library().entities.Metric, int(time.time() * 1000)
    entries = [metric(name, value, now, 0) for name, value in metric_values(report).items()]
    for step, row in enumerate(history or ()):
        losses = {name: row.get(name) for name in ("train_loss", "valid_loss")}
        known = {name: v for name, v in losses.items() if v is not None and math.isfinite(v)}
        entries += [metric(name, float(value), now, step) for name, value in known.items()]
    for start in range(0, len(entries), _METRICS):
        client.log_batch(run, metrics=entries[start : start + _METRICS])


def _log_model(tuner: FineTuner, X: Any) -> None:
    rows = read_table(X)[:_EXAMPLE_ROWS]
    given: dict[str, Any] = {"input_example": rows}
    if not _settings.log_input_examples:
        given = {"signature": infer_signature(module_of(tuner), rows)}
    log_model(tuner, trusted=_settings.trusted, **given)


def _named(text: str) -> str:
    """A text without what names in MLflow do not have."""
    return re.sub(r"[^\w\-. :/]", "_", text)
