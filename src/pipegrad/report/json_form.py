"""The report of fine-tuning as JSON, in the form that ``schema.json`` describes."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .metrics import MetricResult
    from .model_summary import ModelSummary
    from .parameter_changes import MovedStep
    from .results import Report


def json_text(report: Report) -> str:
    """The report as JSON, without literals such as NaN that JSON does not have.

    Parameters
    ----------
    report : Report
        The report of a fine-tuning run.

    Returns
    -------
    str
        One object, indented, with a line feed at the end.
    """
    return json.dumps(finite(_content(report)), indent=2, allow_nan=False) + "\n"


@cache
def schema_text() -> str:
    """The JSON Schema of `json_text`."""
    return files(__package__).joinpath("schema.json").read_text("utf-8")


def _content(report: Report) -> dict[str, Any]:
    return {
        "schema": json.loads(schema_text())["$id"],
        "pipegrad": getattr(sys.modules.get("pipegrad"), "__version__", ""),
        "improved": report.chosen is not None,
        "verdict": report.verdict,
        **asdict(report),
        "after": report.after,
        "interval": _interval(report),
        "metrics": [_metric(one) for one in report.metrics],
        "steps": [_step(step) for step in report.steps],
        "model": None if report.model is None else _model(report.model),
    }


def _metric(metric: MetricResult) -> dict[str, Any]:
    return {**asdict(metric), "change": metric.change, "interval": _interval(metric)}


def _step(step: MovedStep) -> dict[str, Any]:
    parameters = [{**asdict(one), "share": one.share} for one in step.parameters]
    return {**asdict(step), "count": step.count, "share": step.share, "parameters": parameters}


def _model(model: ModelSummary) -> dict[str, Any]:
    return {**asdict(model), "versions": dict(model.versions)}


def _interval(measured: Report | MetricResult) -> tuple[float, float] | None:
    return measured.interval if math.isfinite(measured.error) else None


def finite(value: Any) -> Any:
    """The value with None in the place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
