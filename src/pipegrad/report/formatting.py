"""Formatting shared by the reports of fine-tuning: numbers, sentences, plain tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..printable import printable

if TYPE_CHECKING:
    from .calibration import Calibration
    from .parameter_changes import MovedStep
    from .results import Report
    from .timing import Timings

_LONGEST = 34  # characters in a cell
_BAR = 12

MEANINGS = {
    "probability": "mean predicted probability against fraction of positives",
    "confidence": "confidence (probability of the predicted class) against accuracy",
    "mean": "mean prediction against mean target",
}


def rows_and_splits(report: Report) -> str:
    """The number of validation rows and of splits."""
    splits = "1 split" if report.splits == 1 else f"{report.splits} splits"
    return f"{report.rows:,} rows, {splits}"


def gain_sentence(report: Report) -> str:
    """The gain with its confidence interval and its z statistic, as a sentence."""
    if not report.chosen and not report.error > 0:
        return ""
    what = f"Gain{'' if report.chosen else ' of the best candidate'}: {report.gain:.3g}"
    if math.isnan(report.error):
        return f"{what}, measured on the rows that selected the epoch, hence optimistic."
    low, high = report.interval
    asked = f"critical value z = {report.wanted:g}"
    if report.error > 0 and report.gain > 0:
        there = f"z = {report.gain / report.error:.1f}"
        asked = f"{there}, critical value {report.wanted:g}"
    return f"{what}, 95% confidence interval {low:.3g} to {high:.3g}; {asked}."


def loss_name(report: Report) -> str:
    """The metric of the loss, or "loss" where it has no name."""
    return report.metric or "loss"


def gain_label(report: Report) -> str:
    """What a gain is: a reduction of the metric of the loss, or an increase of a score."""
    if report.higher_is_better:
        return f"increase of {report.metric}"
    return f"reduction of the validation {loss_name(report)}"


METRICS_HEAD = ("metric", "before", "after", "change", "95% interval of the change")


def metrics_title(report: Report) -> str:
    """What the columns of the metrics are."""
    if report.metrics and math.isnan(report.metrics[0].error):
        return "on the rows that selected the epoch, hence optimistic"
    candidate = "" if report.chosen else " with the best candidate"
    return f"on the validation rows{candidate}, selected on other rows than measured"


def metric_rows(report: Report) -> list[tuple[str, str, str, str, str]]:
    """A row for each metric: name, before, after, change, interval of the change."""
    rows = []
    for one in report.metrics:
        low, high = one.interval
        interval = "" if math.isnan(one.error) else f"{low:+.3g} to {high:+.3g}"
        values = f"{one.before:.4g}", f"{one.after:.4g}", f"{one.change:+.3g}"
        rows.append((one.name, *values, interval))
    return rows


def calibration_rows(calibration: Calibration) -> list[tuple[str, float, float]]:
    """Name of each calibration metric, with its value before and after training."""
    before, after = calibration.before, calibration.after
    if calibration.of == "mean":
        return [("mean calibration error", before.gap, after.gap)]
    return [
        ("expected calibration error", before.gap, after.gap),
        ("Brier score", before.brier, after.brier),
    ]


def timing_rows(times: Timings) -> list[tuple[str, float]]:
    """The stages of a fit that took time, with their seconds."""
    parts = [
        ("fitting the pipeline", times.fitting),
        ("comparing training strategies", times.comparing),
        ("final training", times.training),
    ]
    return [(name, seconds) for name, seconds in parts if seconds > 0]


def time_limit(report: Report) -> str:
    """What a time limit or an interrupt left out; empty if there was neither."""
    if report.max_seconds is None:
        return f"Interrupted, which left out {', '.join(report.left_out)}." * bool(report.left_out)
    left = ", ".join(report.left_out) or "nothing"
    return f"Time limit: {report.max_seconds:g} seconds, which left out {left}."


def number(seconds: float) -> str:
    """Seconds as text, with fewer decimals for longer times."""
    if seconds < 10:
        return f"{seconds:.2f}"
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"


def percent(share: float) -> str:
    """A share as a percentage, or as a multiple from ten upwards."""
    if math.isinf(share):
        return "from 0"
    return f"{share:,.0f} times" if share >= 10 else f"{share:.1%}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Lines of a plain-text table.

    Parameters
    ----------
    head : sequence of str
        Names of the columns.
    rows : sequence of sequence of str
        Cells; the beginning of long ones is cut off.
    align : str
        "<" or ">" for each column.

    Returns
    -------
    list of str
        The header and the rows, padded to equal column widths.
    """
    cells = [[short(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def bar(value: float, most: float) -> str:
    """A bar whose length is proportional to the value."""
    if not math.isfinite(value) or most <= 0:
        return ""
    eighths = round(8 * _BAR * value / most)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def short(name: str, longest: int = _LONGEST) -> str:
    """The name, cut to its end after an ellipsis if it is too long."""
    name = printable(name)
    return name if len(name) <= longest else "…" + name[1 - longest :]


def plot_label(name: str, longest: int = _LONGEST) -> str:
    """The short name for matplotlib, which reads text between dollar signs as a formula."""
    return short(name, longest).replace("$", r"\$")


def largest_share(steps: Sequence[MovedStep]) -> float:
    """The largest finite share; 0 if there is none."""
    return max((step.share for step in steps if math.isfinite(step.share)), default=0.0)
