"""The report of fine-tuning as Markdown, in the dialect of code hosts (GFM)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..printable import printable
from .formatting import (
    MEANINGS,
    METRICS_HEAD,
    calibration_rows,
    gain_sentence,
    loss_name,
    metric_rows,
    metrics_title,
    number,
    percent,
    rows_and_splits,
    time_limit,
    timing_rows,
)

if TYPE_CHECKING:
    from .results import Report

# What may begin or end emphasis, code, links, HTML, entities, formulas, tables and headings.
_SPECIAL = re.compile(r"[\\`*_\[\]<>&|~$#]")
# Bare addresses, and names of accounts, become links where nothing stands between these.
_AUTOMATIC = re.compile(r"(?i)(?<=\bwww)\.|(?<=[a-z]):(?=//)|@")


def markdown(report: Report) -> str:
    """The verdict first, then the evidence for it.

    Parameters
    ----------
    report : Report
        The report of a fine-tuning run.

    Returns
    -------
    str
        Headings, paragraphs and tables; names of others are escaped.
    """
    parts = [
        ["# Fine-tuning report", *summary_paragraphs(report)],
        metrics_section(report),
        changes_section(report),
        candidates_section(report),
        calibration_section(report),
        _time(report),
    ]
    return "\n\n".join(paragraph for part in parts for paragraph in part) + "\n"


def escape(text: object) -> str:
    r"""A text of others as the same characters in Markdown, on one line.

    Parameters
    ----------
    text : object
        The text.

    Returns
    -------
    str
        The text, with a backslash before what Markdown would act on.

    Examples
    --------
    >>> escape("a_b | <script>")
    'a\\_b \\| \\<script\\>'
    """
    special = _SPECIAL.sub(r"\\\g<0>", printable(text))
    return _AUTOMATIC.sub(r"\\\g<0>", special)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is aligned to the left, and all others to the right.

    Parameters
    ----------
    head : sequence of str
        Names of the columns.
    rows : sequence of sequence of str
        Cells, which this function escapes.

    Returns
    -------
    str
        Lines without a line feed at the end.
    """
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [list(map(escape, head)), rule, *(list(map(escape, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary_paragraphs(report: Report) -> list[str]:
    """The verdict, the loss and the gain."""
    lines = [f"**{escape(report.verdict)}.**"]
    if report.rows:
        losses = f"{report.before:.5g}"
        if report.chosen:
            losses += f" before, {report.after:.5g} after"
        name = escape(loss_name(report))
        lines.append(f"Validation {name}: {losses} ({rows_and_splits(report)}).")
    chosen = escape(report.chosen or "the fitted pipeline")
    sentences = [f"Selected: {chosen}.", escape(gain_sentence(report))]
    if report.recalibrated:
        sentences.append(f"Recalibrated: {escape(report.recalibrated)}.")
    lines.append(" ".join(filter(None, sentences)))
    return [*lines, escape(report.validation)] if report.validation else lines


def metrics_section(report: Report) -> list[str]:
    """The metrics before and after training."""
    if not report.metrics:
        return []
    title = f"Measured {escape(metrics_title(report))}."
    return ["## Metrics", title, table(METRICS_HEAD, metric_rows(report))]


def changes_section(report: Report) -> list[str]:
    """How far each step moved."""
    if not report.steps:
        return []
    rows = []
    for step in report.moved():
        largest = f"{step.largest.name} {percent(step.largest.share)}"
        rows.append((step.name, step.kind, f"{step.count:,}", percent(step.share), largest))
    note = (
        "Root mean square of the changes, relative to the root mean square of the fitted "
        "parameters."
    )
    head = ("step", "class", "parameters", "change", "largest")
    return ["## Parameter changes", note, table(head, rows)]


def candidates_section(report: Report) -> list[str]:
    """The training strategies that were compared."""
    rows = [
        (
            t.name + (" (selected)" if t.name == report.chosen else ""),
            str(t.epochs),
            f"{t.gain:.3g}",
            f"{t.error:.2g}",
            f"{t.rows:,}",
            number(t.seconds),
        )
        for t in report.tried
    ]
    if not rows:
        return []
    note = (
        "Each at its best checkpoint. The best of many is optimistically biased; the gain of the "
        "selected one was measured on rows that took no part in the selection."
    )
    head = ("candidate", "epochs", "gain", "std. error", "rows", "seconds")
    return ["## Candidates", note, table(head, rows)]


def calibration_section(report: Report) -> list[str]:
    """The calibration before and after training."""
    found = report.calibration
    if found is None:
        return []
    same = found.after is found.before
    rows = [
        (name, f"{before:.4g}") if same else (name, f"{before:.4g}", f"{after:.4g}")
        for name, before, after in calibration_rows(found)
    ]
    head = ("error", "fitted pipeline") if same else ("error", "before", "after")
    meaning = MEANINGS[found.of]
    return ["## Calibration", f"{meaning[0].upper()}{meaning[1:]}.", table(head, rows)]


def _time(report: Report) -> list[str]:
    total = f"{number(report.seconds)} seconds"
    if report.times is not None:
        parts = [f"{number(seconds)} {name}" for name, seconds in timing_rows(report.times)]
        total = f"{total}: {', '.join(parts)}"
    return ["## Time", " ".join(filter(None, (f"{total}.", escape(time_limit(report)))))]
