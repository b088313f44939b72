"""The report of fine-tuning as plain text."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from .formatting import (
    MEANINGS,
    METRICS_HEAD,
    bar,
    calibration_rows,
    gain_sentence,
    largest_share,
    loss_name,
    metric_rows,
    metrics_title,
    number,
    percent,
    rows_and_splits,
    table,
    time_limit,
    timing_rows,
)

if TYPE_CHECKING:
    from .results import Report

_WIDTH = 96


def text(report: Report) -> str:
    """The verdict first, then the evidence for it.

    Parameters
    ----------
    report : Report
        The report of a fine-tuning run.

    Returns
    -------
    str
        Paragraphs and tables of at most 100 characters a line.
    """
    parts = [_summary, _metrics, _moved, _candidates, _calibration, _time]
    blocks = [part(report) for part in parts]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def _summary(report: Report) -> list[str]:
    lines = [f"{report.verdict}.", f"Selected: {report.chosen or 'the fitted pipeline'}"]
    lines += wrap(report.validation, _WIDTH)
    if not report.rows:
        return lines
    losses = f"{report.before:.5g}"
    if report.chosen:
        losses += f" before, {report.after:.5g} after"
    lines.append(f"Validation {loss_name(report)}: {losses} ({rows_and_splits(report)}).")
    if report.recalibrated:
        lines.append(f"Recalibrated: {report.recalibrated}.")
    return [*lines, *wrap(gain_sentence(report), _WIDTH)]


def _metrics(report: Report) -> list[str]:
    if not report.metrics:
        return []
    rows = table(METRICS_HEAD, metric_rows(report), "<>>>>")
    return [f"Metrics, {metrics_title(report)}:", *rows]


def _moved(report: Report) -> list[str]:
    steps = report.moved()
    if not steps:
        return []
    most = largest_share(steps)
    rows = []
    for step in steps:
        largest = f"{step.largest.name} {percent(step.largest.share)}"
        share = (percent(step.share), bar(step.share, most))
        rows.append((step.name, step.kind, f"{step.count:,}", *share, largest))
    head = ("step", "class", "parameters", "change", "", "largest")
    return ["Relative parameter changes:", *table(head, rows, "<<>><<")]


def _candidates(report: Report) -> list[str]:
    rows = [
        (
            ("* " if tried.name == report.chosen else "  ") + tried.name,
            str(tried.epochs),
            f"{tried.gain:.3g}",
            f"{tried.error:.2g}",
            f"{tried.rows:,}",
            number(tried.seconds),
        )
        for tried in report.tried
    ]
    head = ("  candidate", "epochs", "gain", "std. error", "rows", "seconds")
    return ["Candidates:", *table(head, rows, "<>>>>>")] if rows else []


def _calibration(report: Report) -> list[str]:
    found = report.calibration
    if found is None:
        return []
    lines = [f"Calibration, {MEANINGS[found.of]}:"]
    for name, before, after in calibration_rows(found):
        ending = "" if found.after is found.before else f" before, {after:.4g} after"
        lines.append(f"  {name}: {before:.4g}{ending}")
    return lines


def _time(report: Report) -> list[str]:
    total = f"{number(report.seconds)} seconds"
    if report.times is not None:
        parts = [f"{number(seconds)} {name}" for name, seconds in timing_rows(report.times)]
        total = f"{total}: {', '.join(parts)}"
    return [total, *wrap(time_limit(report), _WIDTH)]
