"""How reports of fine-tuning put things: shares, sentences, plain tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calibration import Calibration
    from .parameter_changes import MovedStep
    from .results import Report
    from .timing import Timings

_LONGEST = 34  # of a cell
_BAR = 12

MEANINGS = {
    "probability": "probabilities against how often it came true",
    "confidence": "probability of the likeliest class against how often it was right",
    "mean": "predictions against the mean of the target",
}


def rows_and_splits(report: Report) -> str:
    """On what the losses were measured."""
    splits = "1 split" if report.splits == 1 else f"{report.splits} splits"
    return f"{report.rows:,} rows, {splits}"


def gain_sentence(report: Report) -> str:
    """The gain with its interval, as a sentence."""
    if not report.chosen and not report.error > 0:
        return ""
    what = f"Gain{'' if report.chosen else ' of what did best'}: {report.gain:.3g}"
    if math.isnan(report.error):
        return f"{what} on the rows that chose the epoch, so it flatters."
    low, high = report.interval
    asked = f"{report.wanted:g} standard errors were asked for"
    if report.error > 0 and report.gain > 0:
        there = f"{report.gain / report.error:.1f} standard errors"
        asked = f"{there}, where {report.wanted:g} were asked for"
    return f"{what}, 95% interval {low:.3g} to {high:.3g}; {asked}."


def calibration_rows(calibration: Calibration) -> list[tuple[str, float, float]]:
    """Name, before and after of what sums a calibration up."""
    before, after = calibration.before, calibration.after
    if calibration.of == "mean":
        return [("mean distance over bins", before.gap, after.gap)]
    return [
        ("expected calibration error", before.gap, after.gap),
        ("Brier score", before.brier, after.brier),
    ]


def timing_rows(times: Timings) -> list[tuple[str, float]]:
    """What the seconds were spent on."""
    parts = [
        ("fitting the pipeline", times.fitting),
        ("comparing ways to train", times.comparing),
        ("final training", times.training),
    ]
    return [(name, seconds) for name, seconds in parts if seconds > 0]


def number(seconds: float) -> str:
    """Seconds, as exactly as one wants to know."""
    if seconds < 10:
        return f"{seconds:.2f}"
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"


def percent(share: float) -> str:
    """A share for people."""
    if math.isinf(share):
        return "from 0"
    return f"{share:,.0f} times" if share >= 10 else f"{share:.1%}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Lines of a plain table.

    Parameters
    ----------
    head : sequence of str
        Names of the columns.
    rows : sequence of sequence of str
        Cells; long ones lose their beginning.
    align : str
        "<" or ">" for each column.
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
    """As long as the value is large."""
    if not math.isfinite(value) or most <= 0:
        return ""
    eighths = round(8 * _BAR * value / most)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def short(name: str, longest: int = _LONGEST) -> str:
    """The end of a long name."""
    return name if len(name) <= longest else "…" + name[1 - longest :]


def largest_share(steps: Sequence[MovedStep]) -> float:
    """The largest share that has a size."""
    return max((step.share for step in steps if math.isfinite(step.share)), default=0.0)
