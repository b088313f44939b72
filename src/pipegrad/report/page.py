"""The report of fine-tuning as HTML: a fragment for notebooks and a self-contained page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..graph.display.markup import escape
from ..graph.display.statuses import FONT
from . import charts
from .formatting import (
    MEANINGS,
    METRICS_HEAD,
    calibration_rows,
    gain_label,
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
from .relative_curves import Relative

if TYPE_CHECKING:
    from .results import Report

_LIGHT = """
  --pg-paper: #ffffff; --pg-panel: #f6f8fa; --pg-ink: #1c232d; --pg-soft: #5b6675;
  --pg-rule: #dfe4ea; --pg-kept: #1f5fbf; --pg-tried: #8b94a3; --pg-good: #146c3c;
  --pg-good-paper: #e3f4ea; --pg-plain-paper: #e9ecf1; --pg-third: #6aa5f5;
  color-scheme: light;
"""
_DARK = """
  --pg-paper: #12161c; --pg-panel: #1a2029; --pg-ink: #e6eaf0; --pg-soft: #a0aab8;
  --pg-rule: #2d3541; --pg-kept: #6aa5f5; --pg-tried: #8b94a3; --pg-good: #8fdcae;
  --pg-good-paper: #143524; --pg-plain-paper: #2b313b; --pg-third: #2f5c9e;
  color-scheme: dark;
"""
# The fragment has its own background. The theme of a notebook, if it declares one, takes precedence
# over that of the system.
_STYLE = f"""
.pg-report {{{_LIGHT}}}
@media (prefers-color-scheme: dark) {{ .pg-report {{{_DARK}}} }}
[data-jp-theme-light="true"] .pg-report, .vscode-light .pg-report {{{_LIGHT}}}
[data-jp-theme-light="false"] .pg-report, .vscode-dark .pg-report {{{_DARK}}}
.pg-report {{
  background: var(--pg-paper); color: var(--pg-ink); max-width: 980px; padding: 20px 24px;
  border: 1px solid var(--pg-rule); border-radius: 10px; box-sizing: border-box;
  font: 14px/1.5 {FONT};
}}
.pg-report h2 {{ font-size: 20px; line-height: 1.3; margin: 8px 0 4px; font-weight: 650; }}
.pg-report h3 {{ font-size: 15px; margin: 0 0 2px; font-weight: 650; }}
.pg-report p {{ margin: 0 0 8px; }}
.pg-report .pg-note {{ color: var(--pg-soft); font-size: 12.5px; margin: 0 0 10px; }}
.pg-report .pg-badge {{
  display: inline-block; border-radius: 99px; padding: 2px 12px; font-size: 12.5px;
  font-weight: 600; background: var(--pg-plain-paper);
}}
.pg-report .pg-badge.pg-good {{ background: var(--pg-good-paper); color: var(--pg-good); }}
.pg-report dl {{
  display: flex; flex-wrap: wrap; gap: 10px; margin: 14px 0 18px;
}}
.pg-report dl > div {{
  background: var(--pg-panel); border-radius: 8px; padding: 8px 24px 8px 14px;
}}
.pg-report dt {{ color: var(--pg-soft); font-size: 12px; }}
.pg-report dd {{ margin: 0; font-size: 19px; font-weight: 600; }}
.pg-report dd small {{ font-size: 12px; font-weight: 400; color: var(--pg-soft); display: block; }}
.pg-report .pg-parts {{ columns: 2 400px; column-gap: 36px; }}
.pg-report section {{ break-inside: avoid; padding: 10px 0 14px; min-width: 0; }}
.pg-report section > svg {{ max-width: 100%; height: auto; display: block; overflow: visible; }}
.pg-report table {{ border-collapse: collapse; font-size: 12.5px; width: 100%; margin: 4px 0; }}
.pg-report caption {{ text-align: left; color: var(--pg-soft); padding: 2px 0; }}
.pg-report th, .pg-report td {{
  text-align: right; padding: 3px 8px 3px 0; border-bottom: 1px solid var(--pg-rule);
  background: none; color: inherit; font-variant-numeric: tabular-nums; vertical-align: top;
}}
.pg-report th:first-child, .pg-report td:first-child {{ text-align: left; }}
.pg-report th {{ font-weight: 600; }}
.pg-report tr.pg-strong td, .pg-report tr.pg-strong th {{ font-weight: 650; }}
.pg-report td, .pg-report tbody th {{ overflow-wrap: anywhere; }}
.pg-report tbody th {{ font-weight: 400; }}
.pg-report details {{ margin-top: 6px; }}
.pg-report summary {{ cursor: pointer; color: var(--pg-soft); font-size: 12.5px; }}
.pg-report text {{ fill: var(--pg-ink); font-family: inherit; }}
.pg-report .pg-label, .pg-report .pg-value {{ font-size: 12px; }}
.pg-report text.pg-strong {{ font-weight: 650; }}
.pg-report text.pg-tick {{ font-size: 11px; fill: var(--pg-soft); }}
.pg-report .pg-grid {{ stroke: var(--pg-rule); stroke-width: 1; }}
.pg-report .pg-zero {{ stroke: var(--pg-soft); stroke-width: 1; stroke-dasharray: 3 3; }}
.pg-report polyline {{ fill: none; stroke-width: 1.8; stroke-linejoin: round; }}
.pg-report .pg-valid-kept {{ stroke: var(--pg-kept); }}
.pg-report .pg-valid-tried {{ stroke: var(--pg-tried); }}
.pg-report .pg-train-kept {{ stroke: var(--pg-kept); stroke-width: 1.2; stroke-dasharray: 4 3; }}
.pg-report .pg-train-tried {{ stroke: var(--pg-tried); stroke-width: 1.2; stroke-dasharray: 4 3; }}
.pg-report .pg-bar-kept {{ stroke: var(--pg-kept); stroke-width: 2; }}
.pg-report .pg-bar-tried {{ stroke: var(--pg-tried); stroke-width: 1.5; }}
.pg-report .pg-kept {{ fill: var(--pg-kept); }}
.pg-report .pg-tried {{ fill: var(--pg-tried); }}
.pg-report circle {{ stroke: var(--pg-paper); stroke-width: 1; }}
.pg-report .pg-part-0 {{ fill: var(--pg-tried); }}
.pg-report .pg-part-1 {{ fill: var(--pg-kept); }}
.pg-report .pg-part-2 {{ fill: var(--pg-third); }}
""".strip()

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 24px 12px; background: #ffffff; }}
main {{ margin: 0 auto; max-width: 980px; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #0b0e13; }} }}
@media print {{ body {{ margin: 0; }} .pg-report {{ border: none; }} }}
</style>
</head>
<body>
<main>
{content}
</main>
</body>
</html>
"""


def page(report: Report) -> str:
    """The report as a self-contained HTML page.

    Parameters
    ----------
    report : Report
        The report of a fine-tuning run.

    Returns
    -------
    str
        The page.
    """
    return _PAGE.format(title="Fine-tuning: " + escape(report.verdict), content=fragment(report))


def fragment(report: Report) -> str:
    """The report as an HTML fragment with its own style.

    Parameters
    ----------
    report : Report
        The report of a fine-tuning run.

    Returns
    -------
    str
        A ``div`` element.
    """
    sections = (_metrics, _gains, _moved, _curves, _calibration, _time)
    parts = [section(report) for section in sections]
    return (
        f'<div class="pg-report" lang="en"><style>{_STYLE}</style>{_head(report)}'
        f'<div class="pg-parts">{"".join(parts)}</div></div>'
    )


def _head(report: Report) -> str:
    badge = ("good", "improved") if report.chosen else ("plain", "unchanged")
    lines = [f'<span class="pg-badge pg-{badge[0]}">{badge[1]}</span>']
    verdict = report.verdict.partition(": ")[2]
    lines.append(f"<h2>{escape(verdict[:1].upper() + verdict[1:])}</h2>")
    sentence = gain_sentence(report) if report.rows else ""
    if report.chosen:
        sentence = f"Selected: {report.chosen}. {sentence}"
    if report.recalibrated:
        sentence += f" Recalibrated: {report.recalibrated}."
    # Without curves there is no section on the time.
    missing = "" if report.curves else time_limit(report)
    parts = (sentence, report.validation, missing)
    lines += [f"<p>{escape(part)}</p>" for part in parts if part]
    return "".join(lines) + _tiles(report)


def _tiles(report: Report) -> str:
    tiles = []
    if report.rows:
        name = f"validation {loss_name(report)}"
        value = f"{report.before:.4g}" + (f" → {report.after:.4g}" if report.chosen else "")
        tiles.append((name, value, rows_and_splits(report)))
    if report.chosen:
        tiles.append(("gain", f"{report.gain:.3g}", _interval(report)))
    if report.steps:
        count = sum(step.count for step in report.steps)
        steps = "1 step" if len(report.steps) == 1 else f"{len(report.steps)} steps"
        tiles.append(("trained", f"{count:,} parameters", f"in {steps}"))
    if report.rows:
        tiles.append(("time", f"{number(report.seconds)} s", "in total"))
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>"
        for name, value, more in tiles
    )
    return f"<dl>{cells}</dl>"


def _interval(report: Report) -> str:
    if math.isnan(report.error):
        return "no confidence interval"
    low, high = report.interval
    return f"95% confidence interval {low:.3g} to {high:.3g}"


def _section(title: str, note: str, *content: str) -> str:
    body = "".join(content)
    return f'<section><h3>{escape(title)}</h3><p class="pg-note">{escape(note)}</p>{body}</section>'


def _gains(report: Report) -> str:
    if not any(math.isfinite(tried.gain) for tried in report.tried):
        return ""
    rows = [
        (t.name, str(t.epochs), f"{t.gain:.3g}", f"{t.error:.2g}", f"{t.rows:,}", number(t.seconds))
        for t in report.tried
    ]
    head = ("candidate", "epochs", "gain", "std. error", "rows", "seconds")
    marked = [t.name == report.chosen for t in report.tried]
    label = gain_label(report)
    note = (
        f"{label[0].upper()}{label[1:]} with 95% confidence intervals. The best of many "
        "candidates is optimistically biased; model selection is evaluated on rows that took no "
        "part in it."
    )
    table = _table("Each candidate at its best checkpoint", head, rows, marked)
    return _section("Candidates", note, charts.gains(report), _folded("As a table", table))


def _metrics(report: Report) -> str:
    if not report.metrics:
        return ""
    title = metrics_title(report)
    note = f"Before and after training, {title}."
    return _section("Metrics", note, _table("", METRICS_HEAD, metric_rows(report)))


def _moved(report: Report) -> str:
    steps = report.moved()
    if not steps:
        return ""
    rows = [
        (
            f"{step.name}: {p.name}",
            f"{p.count:,}",
            f"{p.size:.3g}",
            f"{p.change:.3g}",
            percent(p.share),
        )
        for step in steps
        for p in step.parameters
    ]
    head = ("parameter", "entries", "size", "change", "relative change")
    caption = "Root mean squares of the fitted entries and of their changes"
    table = _folded("Each parameter", _table(caption, head, rows))
    note = "Root mean square of the changes, relative to the root mean square as fitted."
    return _section("Relative parameter changes", note, charts.moved(steps), table)


def _curves(report: Report) -> str:
    if not report.curves:
        return ""
    unit = Relative(report.curves).unit_label
    note = f"{unit[0].upper()}{unit[1:]}, by checkpoint; one line for each split."
    return _section("Learning curves", note, charts.curves(report))


def _calibration(report: Report) -> str:
    found = report.calibration
    if found is None:
        return ""
    same = found.after is found.before
    rows = [
        (name, f"{before:.4g}") if same else (name, f"{before:.4g}", f"{after:.4g}")
        for name, before, after in calibration_rows(found)
    ]
    head = ("", "fitted pipeline") if same else ("", "before", "after")
    meaning = MEANINGS[found.of]
    note = (
        f"{meaning[0].upper()}{meaning[1:]}, on held-out rows, in bins of equally many rows; "
        "bars are 95% confidence intervals."
    )
    caption = "Smaller is better"
    return _section("Calibration", note, charts.reliability(found), _table(caption, head, rows))


def _time(report: Report) -> str:
    if report.times is None or not report.curves:
        return ""
    note = f"{number(report.seconds)} seconds in total. {time_limit(report)}".strip()
    return _section("Time", note, charts.seconds(timing_rows(report.times)))


def _folded(name: str, content: str) -> str:
    return f"<details><summary>{escape(name)}</summary>{content}</details>"


def _table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    strong: Sequence[bool] | None = None,
) -> str:
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = []
    for row, marked in zip(rows, strong or [False] * len(rows), strict=True):
        first, *rest = map(escape, row)
        cells = f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest)
        body.append(f'<tr class="pg-strong">{cells}</tr>' if marked else f"<tr>{cells}</tr>")
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )
