"""SVG charts of the report of fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .formatting import gain_label, number, percent, short
from .relative_curves import Relative, extent
from .svg import Axis, Point, box, dot, label, line, path, picture, spread, window, words

if TYPE_CHECKING:
    from .calibration import Calibration, Reliability
    from .learning_curves import Curve
    from .parameter_changes import MovedStep
    from .results import Report

WIDTH = 440.0
_ROW = 26.0
_MOST_STEPS = 12
_PANEL_HEIGHT, _PANEL_TOP = 150.0, 24.0
_LETTER = 6.3


def gains(report: Report) -> str:
    """The gain of each candidate with its confidence interval, and below that of the selection."""
    rows = [(t.name, t.gain, 2 * t.error, "tried") for t in report.tried if math.isfinite(t.gain)]
    if math.isfinite(report.error):
        rows.append(("model selection", report.gain, 2 * report.error, "kept"))
    left = _labels([name for name, *_ in rows])
    low, high = extent([g - e for _, g, e, _ in rows], [g + e for _, g, e, _ in rows])
    x = Axis(low, high, left, WIDTH - 16)
    bottom = 12 + _ROW * len(rows)
    parts = list(_below(x, bottom, gain_label(report)))
    parts.append(line("zero", (x(0.0), 6), (x(0.0), bottom)))
    for place, (name, gain, error, style) in enumerate(rows):
        y = 12 + _ROW * (place + 0.5)
        tooltip = f"{name}: {gain:.3g}, {gain - error:.3g} to {gain + error:.3g}"
        strong = " pg-strong" if name in (report.chosen, "model selection") else ""
        parts.append(words(f"label{strong}", left - 10, y + 4, short(name, 26), "end"))
        if gain + error > low:
            parts.append(line(f"bar-{style}", (x(gain - error), y), (x(gain + error), y)))
        if gain - error < low:
            parts.append(_arrow(x(low), y))
        if gain > low:
            parts.append(dot(style, (x(gain), y), 5 if style == "kept" else 4, tooltip))
    what = f"Gains of {len(report.tried)} candidates and of model selection, 95% intervals"
    return picture(what, WIDTH, bottom + 42, parts)


def moved(steps: Sequence[MovedStep]) -> str:
    """A bar for each step, in descending order of the relative change."""
    shown = steps[:_MOST_STEPS]
    left = _labels([step.name for step in shown])
    finite = [step.share for step in shown if math.isfinite(step.share)]
    x = Axis(0.0, max([*finite, 1e-9]), left, WIDTH - 74)
    parts: list[str] = []
    for place, step in enumerate(shown):
        y = 8 + _ROW * place
        share = step.share if math.isfinite(step.share) else 0.0
        tooltip = f"{step.name} ({step.kind}): {percent(step.share)}, {step.count:,} parameters"
        parts.append(words("label", left - 10, y + 17, short(step.name, 26), "end"))
        parts.append(box("kept", left, y + 5, x(share) - left, _ROW - 10, tooltip))
        parts.append(words("value", x(share) + 8, y + 17, percent(step.share)))
    height = 16 + _ROW * len(shown)
    if len(steps) > len(shown):
        rest = f"and {len(steps) - len(shown)} more with smaller changes"
        parts.append(words("tick", left, height + 8, rest))
        height += 18
    return picture("Relative parameter change of each step", WIDTH, height, parts)


def curves(report: Report) -> str:
    """A panel for each candidate, a line for each split; the selected candidate is marked."""
    relative = Relative(report.curves)
    low, high, log = relative.bounds()
    names = relative.candidates
    columns = 1 if len(names) == 1 else 2
    left, gap = 46.0, 18.0
    width = (WIDTH - left - 10 - gap * (columns - 1)) / columns
    parts: list[str] = []
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        x0 = left + column * (width + gap)
        y0 = 8 + row * (_PANEL_HEIGHT + 34) + _PANEL_TOP
        own = [curve for curve in report.curves if curve.candidate == name]
        x = Axis(0.0, max(len(c.valid) for c in own) - 1 or 1, x0, x0 + width)
        y = Axis(low, high, y0 + _PANEL_HEIGHT - _PANEL_TOP, y0, log)
        parts += _panel(relative, own, x, y, name == report.chosen, column == 0)
    height = 8 + math.ceil(len(names) / columns) * (_PANEL_HEIGHT + 34) + 22
    parts.append(_legend(height - 10))
    title = f"Learning curves by checkpoint: {relative.unit_label}"
    return picture(title, WIDTH, height, parts)


def _panel(
    relative: Relative, own: Sequence[Curve], x: Axis, y: Axis, chosen: bool, first: bool
) -> Iterator[str]:
    style = "kept" if chosen else "tried"
    for tick in y.ticks(4):
        yield line("grid", (x.start, y(tick)), (x.end, y(tick)))
        if first:
            yield words("tick", x.start - 6, y(tick) + 3.5, label(tick), "end")
    name = own[0].candidate + (" (selected)" if chosen else "")
    yield words(f"label{' pg-strong' if chosen else ''}", x.start, y.end - 9, short(name, 30))
    yield line("zero", (x.start, y(relative.start)), (x.end, y(relative.start)))
    yield window(x, y, _lines(relative, own, x, y, style))
    for curve in own:
        last = min(curve.checkpoint, len(curve.valid) - 1)
        share = float(relative.of(curve.valid)[last])
        tooltip = f"split {curve.split + 1}, checkpoint {last}: {share:.4g}"
        yield dot(style, (x(last), y(share)), 3.5, tooltip)
    yield words("tick", x.start, y.start + 15, "0", "middle")
    yield words("tick", x.end, y.start + 15, f"{x.high:.0f}", "end")


def _lines(relative: Relative, own: Sequence[Curve], x: Axis, y: Axis, style: str) -> Iterator[str]:
    for curve in own:
        for kind, losses in (("train", curve.train), ("valid", curve.valid)):
            values = relative.of(losses).tolist()
            points = [(x(i), y.free(v)) for i, v in enumerate(values) if math.isfinite(v)]
            yield path(f"{kind}-{style}", points)


def _legend(y: float) -> str:
    entries = (("valid-kept", "validation"), ("train-kept", "training"))
    parts, x = [], 46.0
    for style, tooltip in entries:
        parts.append(path(style, [(x, y - 4), (x + 24, y - 4)]))
        parts.append(words("tick", x + 30, y, tooltip))
        x += 46 + _LETTER * len(tooltip) + 6
    parts.append(dot("kept", (x + 4, y - 4), 3.5))
    parts.append(words("tick", x + 13, y, "best checkpoint"))
    return "".join(parts)


def reliability(calibration: Calibration) -> str:
    """Reliability diagrams before and after training; the diagonal is perfect calibration."""
    before, after = calibration.before, calibration.after
    both = [before] if after is before else [before, after]
    low, high = _square(calibration, both)
    size, left, top = 270.0, 60.0, 26.0
    x, y = Axis(low, high, left, left + size), Axis(low, high, top + size, top)
    parts = []
    for tick in y.ticks(5):
        parts.append(line("grid", (left, y(tick)), (left + size, y(tick))))
        parts.append(words("tick", left - 7, y(tick) + 3.5, label(tick), "end"))
    parts += _below(x, top + size, AXES[calibration.of][0], grid=False)
    parts.append(line("zero", (x(low), y(low)), (x(high), y(high))))
    parts.append(words("tick", left - 26, 10, AXES[calibration.of][1]))
    styles = ["kept"] if after is before else ["tried", "kept"]
    for found, style in zip(both, styles, strict=True):
        parts += _bins(found, x, y, style)
    names = ["fitted pipeline"] if after is before else ["before", "after"]
    for place, (name, style) in enumerate(zip(names, styles, strict=True)):
        parts.append(dot(style, (left + size + 18, top + 14 + 20 * place), 4))
        parts.append(words("label", left + size + 28, top + 18 + 20 * place, name))
    tooltip = AXES[calibration.of]
    return picture(f"Calibration: {tooltip[1]} by {tooltip[0]}", WIDTH, top + size + 42, parts)


AXES = {
    "probability": ("mean predicted probability", "fraction of positives"),
    "confidence": ("confidence (probability of the predicted class)", "accuracy"),
    "mean": ("mean prediction", "mean target"),
}


def _bins(found: Reliability, x: Axis, y: Axis, style: str) -> Iterator[str]:
    points: list[Point] = []
    for predicted, observed, error in zip(
        found.predicted, found.observed, found.errors, strict=True
    ):
        at = (x(predicted), y(observed))
        points.append(at)
        yield line(
            f"bar-{style}", (at[0], y(observed - 2 * error)), (at[0], y(observed + 2 * error))
        )
    yield path(f"valid-{style}", points)
    for at, predicted, observed, rows in zip(
        points, found.predicted, found.observed, found.rows, strict=True
    ):
        yield dot(
            style, at, 4, f"predicted {predicted:.4g}, observed {observed:.4g}, {rows:,} rows"
        )


def _square(calibration: Calibration, both: Sequence[Reliability]) -> tuple[float, float]:
    if calibration.of == "probability":
        return 0.0, 1.0
    values = [v for found in both for v in (*found.predicted, *found.observed)]
    if calibration.of == "confidence":
        return max(0.0, math.floor(min(values) * 10 - 0.5) / 10), 1.0
    return spread(min(values), max(values))


def seconds(spent: Sequence[tuple[str, float]]) -> str:
    """One stacked bar of the time spent in each stage, with its legend."""
    total = sum(value for _, value in spent) or 1.0
    parts, left = [], 0.0
    for place, (name, value) in enumerate(spent):
        width = WIDTH * value / total
        tooltip = f"{number(value)} s"
        parts.append(box(f"part-{place}", left, 4, width - 1.5, 16, f"{name}: {tooltip}"))
        left += width
        y = 42 + 20 * place
        parts.append(box(f"part-{place}", 0, y - 10, 11, 11))
        parts.append(words("label", 18, y, name))
        parts.append(words("value", WIDTH, y, tooltip, "end"))
    return picture("Time by stage", WIDTH, 42 + 20 * len(spent), parts)


def _below(x: Axis, bottom: float, name: str, grid: bool = True) -> Iterator[str]:
    for tick in x.ticks(5):
        if grid:
            yield line("grid", (x(tick), 6), (x(tick), bottom))
        yield words("tick", x(tick), bottom + 15, label(tick), "middle")
    yield words("tick", (x.start + x.end) / 2, bottom + 34, name, "middle")


def _arrow(x: float, y: float) -> str:
    return path("bar-tried", [(x + 6, y - 4), (x, y), (x + 6, y + 4)])


def _labels(names: Sequence[str]) -> float:
    """Width of the left margin that the names need."""
    longest = max((len(short(name, 26)) for name in names), default=0)
    return 14 + max(40.0, _LETTER * longest)
