"""The report of fine-tuning as a model card: Markdown with metadata that model hubs read."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..printable import printable
from .formatting import METRICS_HEAD, gain_sentence, loss_name, metric_rows, time_limit
from .markdown import (
    calibration_section,
    candidates_section,
    changes_section,
    escape,
    summary_paragraphs,
    table,
)

if TYPE_CHECKING:
    from .metrics import MetricResult
    from .model_summary import ModelSummary
    from .results import Report

_TAGS = {"classification": "tabular-classification", "regression": "tabular-regression"}
# The identifiers of metrics that hubs know.
_METRICS = {
    "ROC AUC": "roc_auc",
    "R2": "r_squared",
    "F1": "f1",
    "mean squared error": "mse",
    "root mean squared error": "rmse",
    "mean absolute error": "mae",
}
_DATASET = "validation rows"
_MODULE = (".safetensors", "")


def model_card(
    report: Report, name: str | None = None, dataset: str | None = None, file: str | None = None
) -> str:
    """The metadata, then what the model is, what was measured, and what was not.

    Parameters
    ----------
    report : Report
        The report of a fine-tuning run.
    name : str, optional
        Name of the model.
    dataset : str, optional
        Name of the data.
    file : str, optional
        Name of the file of the model.

    Returns
    -------
    str
        YAML between two lines of dashes, then Markdown.
    """
    name = name or _default_name(report)
    parts = [
        [f"# {escape(name)}", *summary_paragraphs(report)[:1]],
        _model(report),
        _data(report, dataset),
        _results(report),
        changes_section(report),
        _choice(report),
        calibration_section(report),
        _limits(report),
        _use(report, file),
    ]
    body = "\n\n".join(paragraph for part in parts for paragraph in part)
    return f"---\n{_metadata(report, name, dataset)}---\n\n{body}\n"


def _default_name(report: Report) -> str:
    kind = "pipeline" if report.model is None else report.model.kind.rpartition(".")[2]
    return f"Fine-tuned {kind}" if report.chosen else f"{kind[:1].upper()}{kind[1:]}, as fitted"


# Metadata


def _metadata(report: Report, name: str, dataset: str | None) -> str:
    model, lines = report.model, []
    tag = None if model is None else _TAGS.get(model.task)
    tags = ["pipegrad", *(() if model is None else model.libraries), *([tag] if tag else ())]
    if model is not None:
        lines.append(f"library_name: {_quoted(model.library)}")
    if tag:
        lines.append(f"pipeline_tag: {tag}")
    lines += ["tags:", *(f"- {_quoted(one)}" for one in dict.fromkeys(tags))]
    values = [(metric, value) for metric, value in _values(report) if math.isfinite(value)]
    if tag and values:
        lines += ["model-index:", f"- name: {_quoted(name)}", "  results:", "  - task:"]
        lines += [
            f"      type: {tag}",
            "    dataset:",
            f"      name: {_quoted(dataset or _DATASET)}",
        ]
        lines += [f"      type: {_quoted(_identifier(dataset or _DATASET))}", "    metrics:"]
        for metric, value in values:
            lines.append(f"    - type: {_quoted(_METRICS.get(metric, _identifier(metric)))}")
            lines += [f"      name: {_quoted(metric)}", f"      value: {_number(value)}"]
    return "\n".join(lines) + "\n"


def _values(report: Report) -> list[tuple[str, float]]:
    """The loss and the metrics of what is kept: the fitted pipeline, if training did not help."""
    kept = bool(report.chosen)
    own = [(loss_name(report), report.after if kept else report.before)] if report.rows else []
    return own + [(one.name, one.after if kept else one.before) for one in report.metrics]


def _quoted(text: str) -> str:
    """A scalar of YAML; strings of JSON are such scalars."""
    return json.dumps(printable(text), ensure_ascii=False)


def _number(value: float) -> str:
    text = f"{value:.6g}"
    # Parsers of YAML 1.1 take 1e-07 for a text.
    return text if "." in text else text.replace("e", ".0e")


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", printable(text).lower()).strip("_") or "unnamed"


# Sections


def _model(report: Report) -> list[str]:
    given = report.model is not None and report.model.from_file
    start = "given as fitted" if given else "fitted"
    done = (
        f"It was {start}; then pipegrad trained its steps jointly by backpropagation and wrote the "
        "trained numbers back."
        if report.chosen
        else "Fine-tuning with pipegrad was tried and did not help: this is the pipeline as fitted."
    )
    model = report.model
    if model is None:
        return ["## Model", done]
    kinds = [name.rpartition(".")[2] for name in model.operators]
    of = f" of {', '.join(kinds[1:])}" if len(kinds) > 1 else ""
    what = f"A {kinds[0]}{of}." if kinds else ""
    versions = ", ".join(f"{name} {version}" for name, version in model.versions)
    return [
        "## Model",
        escape(f"{what} Task: {model.task}. {done}"),
        escape(f"Made with {versions}."),
    ]


def _data(report: Report, dataset: str | None) -> list[str]:
    named, model = f"Data: {escape(dataset)}. " if dataset else "", report.model
    text = ""
    if model is not None:
        columns = "" if model.columns is None else f" of {_counted(model.columns, 'column')}"
        text = f"{_counted(model.rows, 'row')}{columns}. "
    held = "No rows were held out to measure anything."
    if report.rows:
        splits = _counted(report.splits, "split")
        held = f"Measured on {_counted(report.rows, 'held-out row')} ({splits})."
    lines = ["## Data", f"{named}{text}{held}"]
    return [*lines, escape(report.validation)] if report.validation else lines


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _results(report: Report) -> list[str]:
    if not report.rows:
        return ["## Results", "Nothing was measured."]
    rows = [_loss_row(report), *metric_rows(report)]
    after = "the published model" if report.chosen else "the best candidate, which was not kept"
    before = "the fitted pipeline" if report.chosen else "the published model, as fitted"
    lines = [f"Before is {before}; after is {after}.", table(METRICS_HEAD, rows)]
    return ["## Results", *lines, *_told_plainly(report)]


def _loss_row(report: Report) -> tuple[str, str, str, str, str]:
    sign = 1 if report.higher_is_better else -1
    low, high = sorted(sign * bound for bound in report.interval)
    interval = "" if math.isnan(report.error) else f"{low:+.3g} to {high:+.3g}"
    values = f"{report.before:.4g}", f"{report.after:.4g}", f"{sign * report.gain:+.3g}"
    return (loss_name(report), *values, interval)


def _told_plainly(report: Report) -> list[str]:
    """What became worse, and what may be noise."""
    worse = [one for one in report.metrics if _worsening(one) > 0]
    unsure = [
        one.name
        for one in report.metrics
        if math.isfinite(one.error) and one.interval[0] <= 0 <= one.interval[1]
    ]
    lines = []
    if worse:
        shown = ", ".join(f"{one.name} ({one.before:.4g} to {one.after:.4g})" for one in worse)
        lines.append(f"Worse after training: {escape(shown)}.")
    elif report.metrics and report.chosen:
        lines.append("No metric became worse.")
    if unsure:
        lines.append(f"The interval includes no change: {escape(', '.join(unsure))}.")
    found = report.calibration
    if found is not None and found.after.gap > found.before.gap:
        lines.append(
            f"Calibration became worse: its error was {found.before.gap:.4g} before and is "
            f"{found.after.gap:.4g} after."
        )
    return lines


def _worsening(metric: MetricResult) -> float:
    return -metric.change if metric.higher_is_better else metric.change


def _choice(report: Report) -> list[str]:
    sentence = escape(gain_sentence(report)) if report.rows else ""
    if report.chosen:
        why = f"Selected: {escape(report.chosen)}. {sentence}"
    else:
        why = f"The fitted pipeline was kept: {escape(report.why)}. {sentence}"
    if report.recalibrated:
        why += f" Recalibrated: {escape(report.recalibrated)}."
    return ["## How it was chosen", why.strip(), *candidates_section(report)[1:]]


def _limits(report: Report) -> list[str]:
    points = []
    if report.rows and math.isnan(report.error):
        points.append(
            "The validation rows also selected the epoch, so that the figures are optimistic and "
            "have no confidence interval."
        )
    elif report.rows:
        given = report.model is not None and report.model.from_file
        done = "a given model trained" if given else "pipelines fitted"
        points.append(
            f"The figures are those of {done} on the training part of each split. The "
            "published one was made in the same way from all rows, and was not measured itself."
        )
        points.append(
            "Confidence intervals cover the noise of the validation rows alone, and say nothing "
            "about rows from another source or another time."
        )
    if time_limit(report):
        points.append(escape(time_limit(report)))
    points.append(
        "Intended use, license, origin of the data and effects on groups of people are not known "
        "to the program that wrote this card; its author adds them."
    )
    return ["## Limits", "\n".join(f"- {point}" for point in points)]


def _use(report: Report, file: str | None) -> list[str]:
    lines = ["## How to use it"]
    module = file is not None and Path(file).suffix.lower() in _MODULE
    if not module and report.model is not None and report.model.from_file:
        lines.append(
            "`pipegrad.from_torch(net, path)` writes it as a model of "
            f"{escape(report.model.library)}, which needs neither pipegrad nor torch to predict."
        )
    elif not module:
        kind = _own_kind(report.model)
        lines.append(f"{kind} needs neither pipegrad nor torch to predict.")
        shown = _quoted(file or "model.skops")
        lines.append(
            f"```python\nimport skops.io\n\nmodel = skops.io.load({shown}, trusted=[])  "
            "# the types that you trust\nmodel.predict(X)\n```"
        )
    if module or file is None:
        lines.append("Saved as a module, it predicts in torch and can be trained on:")
        shown = _quoted(file or "model.safetensors")
        lines.append(
            f"```python\nimport pipegrad\n\nnet = pipegrad.load({shown})\nnet.predict(X)\n```"
        )
    return lines


def _own_kind(model: ModelSummary | None) -> str:
    if model is None:
        return "The pipeline"
    return f"The pipeline is an object of {escape(model.library)} and"
