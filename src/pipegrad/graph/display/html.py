"""A graph as a picture: SVG for files, HTML for notebooks, both self-contained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ...printable import printable
from ..graph import INPUT, Graph, Step
from .folding import fold
from .layout import Layout, Node, place
from .markup import escape
from .statuses import FONT, STYLES, count, present, short_kind

_HEIGHT, _INPUT_HEIGHT = 42.0, 26.0
_ROW, _GAP, _MARGIN = 70.0, 22.0, 12.0
_LEGEND = 34.0
_LONGEST = 34  # characters of a path

# Boxes have their own background and text colors, and lines are medium gray, so that the picture is
# legible on white and on black, even if the theme of a page differs from that of the system.
_STYLE = """
.pg-graph text {
  font-family: FONT;
}
.pg-graph .pg-kind { font-size: 13px; font-weight: 600; }
.pg-graph .pg-path { font-size: 11px; opacity: .85; }
.pg-graph .pg-edge { fill: none; stroke: #8b94a3; stroke-width: 1.5; }
.pg-graph .pg-tip { fill: #8b94a3; }
.pg-graph rect { stroke-width: 1.5; }
.pg-trainable rect { fill: #1f5fbf; stroke: #1f5fbf; } .pg-trainable text { fill: #ffffff; }
.pg-translated rect { fill: #dceafe; stroke: #3b7ddd; } .pg-translated text { fill: #12305c; }
.pg-host rect { fill: #fde3df; stroke: #d0584a; } .pg-host text { fill: #6b1f15; }
.pg-refused rect { fill: #f4e1f7; stroke: #9c2fb0; stroke-dasharray: 5 3; }
.pg-refused text { fill: #4f0d5c; }
.pg-step rect { fill: #e9ecf1; stroke: #8b94a3; } .pg-step text { fill: #2b313b; }
.pg-input rect { fill: #4a5361; stroke: #4a5361; } .pg-input text { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  .pg-translated rect { fill: #17345f; stroke: #6aa5f5; } .pg-translated text { fill: #dceafe; }
  .pg-host rect { fill: #55211a; stroke: #e5867a; } .pg-host text { fill: #fde3df; }
  .pg-refused rect { fill: #43174c; stroke: #cf7be0; } .pg-refused text { fill: #f4e1f7; }
  .pg-step rect { fill: #353c47; stroke: #8b94a3; } .pg-step text { fill: #e9ecf1; }
}
""".strip().replace("FONT", FONT)


def graph_html(graph: Graph, title: str = "") -> str:
    """The graph as an HTML fragment for notebooks, with a collapsed table of reasons.

    Parameters
    ----------
    graph : Graph
        Graph to draw, partitioned or not.
    title : str
        Title above the picture; by default, the number of steps of each status.

    Returns
    -------
    str
        A ``div`` element.
    """
    caption = escape(title or count(graph))
    return (
        '<div class="pg-graph" style="overflow-x:auto;max-width:100%">'
        f'<div style="font-size:.9em;margin:.2em 0 .5em">{caption}</div>'
        f"{graph_svg(graph)}{_table(graph)}</div>"
    )


def graph_svg(graph: Graph) -> str:
    """The graph as an SVG picture with a legend.

    Parameters
    ----------
    graph : Graph
        Graph to draw, partitioned or not. Large groups of equivalent steps are drawn as one.

    Returns
    -------
    str
        An ``svg`` element.
    """
    label = escape(f"Graph of {count(graph)}")
    graph = fold(graph)
    layout = _place(graph)
    legend = _legend(present(step.status for step in graph))
    legend_width = max((x + width for _, x, width in legend), default=0.0)
    width = max(layout.width, legend_width) + 2 * _MARGIN
    shift = (width - layout.width) / 2
    height = _y(len(layout.layers) - 1) + _HEIGHT / 2 + _MARGIN + (_LEGEND if legend else 0.0)
    below = height - 20 - _MARGIN / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pg-graph" role="img" '
        f'aria-label="{label}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{_STYLE}</style>",
        f'<g transform="translate({shift:.1f} 0)">',
        *(_edge(chain) for chain in layout.edges),
        _input_box(layout.nodes[INPUT]),
        *(_box(step, layout.nodes[step.name]) for step in graph),
        "</g>",
        f'<g transform="translate({(width - legend_width) / 2:.1f} {below:.1f})">',
        *(_pill(status, x, pill) for status, x, pill in legend),
        "</g></svg>",
    ]
    return "\n".join(part for part in parts if part)


def _table(graph: Graph) -> str:
    """A collapsed table of the steps with their reasons."""
    left = 'style="text-align:left"'
    names = ("step", "class", "status", "parameters", "reason")
    head = "".join(f"<th {left}>{name}</th>" for name in names)
    rows = []
    for step in graph:
        numbers = f"{step.parameters:,}" if step.parameters else ""
        cells = (step.name, short_kind(step), step.status, numbers, step.reason)
        row = "".join(f"<td {left}>{escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr>{row}</tr>")
    return (
        '<details style="font-size:.85em"><summary>Steps and reasons</summary>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></details>"
    )


def _place(graph: Graph) -> Layout:
    inputs: dict[str, Sequence[str]] = {INPUT: ()}
    inputs |= {step.name: step.inputs for step in graph}
    widths = {INPUT: 64.0}
    for step in graph:
        kind, path = _lines(step)
        widths[step.name] = max(7.6 * len(kind), 6.2 * len(path)) + 26
    return place(inputs, widths, _GAP)


def _lines(step: Step) -> tuple[str, str]:
    """The class on the first line, path and number of parameters on the second."""
    path = printable(step.name)
    if len(path) > _LONGEST:
        path = "…" + path[1 - _LONGEST :]
    numbers = f"{step.parameters:,} parameter" + ("" if step.parameters == 1 else "s")
    return short_kind(step), f"{path} · {numbers}" if step.parameters else path


def _y(layer: int) -> float:
    """The vertical center of a layer; the box of the input is lower than the others."""
    if layer == 0:
        return _MARGIN + _INPUT_HEIGHT / 2
    return _MARGIN + _INPUT_HEIGHT + (_ROW - _HEIGHT) + _HEIGHT / 2 + (layer - 1) * _ROW


def _half(node: Node) -> float:
    if node.bend:
        return _HEIGHT / 2
    return (_INPUT_HEIGHT if node.layer == 0 else _HEIGHT) / 2


def _edge(chain: Sequence[Node]) -> str:
    """A smooth line through the dummy nodes, with an arrowhead at the end."""
    start, end = chain[0], chain[-1]
    y = _y(start.layer) + _half(start)
    path = [f"M{start.x:.1f} {y:.1f}"]
    for before, node in pairwise(chain):
        x, top = node.x, _y(node.layer) - _half(node) - (5.0 if node is end else 0.0)
        middle = (y + top) / 2
        previous = before.x
        path.append(f"C{previous:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {top:.1f}")
        y = top + 2 * _half(node)
        if node is not end:
            path.append(f"V{y:.1f}")
    tip = _y(end.layer) - _half(end)
    return (
        f'<path class="pg-edge" d="{"".join(path)}"/>'
        f'<path class="pg-tip" d="M{end.x:.1f} {tip:.1f}l-4 -7h8z"/>'
    )


def _box(step: Step, node: Node) -> str:
    kind, path = _lines(step)
    lines = [f"{step.name}: {step.kind}", ": ".join(filter(None, (step.status, step.reason)))]
    title = "\n".join(escape(line) for line in lines if line)
    y = _y(node.layer)
    return (
        f'<g class="pg-{STYLES[step.status].label}"><title>{title}</title>'
        f"{_rect(node.x - node.width / 2, y - _HEIGHT / 2, node.width, _HEIGHT)}"
        f"{_text('kind', node.x, y - 4, kind)}{_text('path', node.x, y + 13, path)}</g>"
    )


def _input_box(node: Node) -> str:
    y = _y(0)
    box = _rect(node.x - node.width / 2, y - _INPUT_HEIGHT / 2, node.width, _INPUT_HEIGHT, 13)
    return f'<g class="pg-input">{box}{_text("path", node.x, y + 4, INPUT)}</g>'


def _legend(statuses: list[str]) -> list[tuple[str, float, float]]:
    """Status, left edge and width of each entry of the legend."""
    pills, x = [], 0.0
    for status in statuses:
        if status:
            width = 6.4 * len(STYLES[status].label) + 22
            pills.append((status, x, width))
            x += width + 10
    return pills


def _pill(status: str, x: float, width: float) -> str:
    look = STYLES[status]
    return (
        f'<g class="pg-{look.label}"><title>{escape(look.meaning)}</title>'
        f"{_rect(x, 0, width, 20, 10)}{_text('path', x + width / 2, 14, look.label)}</g>"
    )


def _rect(x: float, y: float, width: float, height: float, radius: float = 7) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"/>'
    )


def _text(style: str, x: float, y: float, text: str) -> str:
    return (
        f'<text class="pg-{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )
