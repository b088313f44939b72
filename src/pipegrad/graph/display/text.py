"""A graph as text: one line for each step, with the edges drawn beside it.

Each edge has a lane, as in ``git log --graph``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...printable import printable
from ..graph import INPUT, Graph, Step
from .folding import fold
from .statuses import STYLES, short_kind

if TYPE_CHECKING:
    from rich.text import Text

_INPUT_MARKER = "▽"

# Box-drawing characters by the sides that they touch: up, down, left, right.
_JOINTS = {
    (True, True, False, True): "├",
    (True, True, True, False): "┤",
    (True, True, True, True): "┼",
    (True, False, False, True): "╰",
    (True, False, True, False): "╯",
    (True, False, True, True): "┴",
    (False, True, False, True): "╭",
    (False, True, True, False): "╮",
    (False, True, True, True): "┬",
    (False, False, True, True): "─",
    (True, True, False, False): "│",
    (True, False, False, False): "│",
    (False, True, False, False): "│",
}


@dataclass(frozen=True)
class Line:
    """A line of the tree: the drawing, and the step if there is one on the line."""

    drawing: str
    step: Step | None = None
    is_input: bool = False


def text_tree(graph: Graph, why: bool = False) -> str:
    """The graph as plain text.

    Parameters
    ----------
    graph : Graph
        Graph to draw, partitioned or not. Large groups of equivalent steps are drawn as one.
    why : bool
        Whether to end each line with the reason for the step's status.

    Returns
    -------
    str
        A line for each step: its edges, path, class, status and number of parameters.
    """
    return "\n".join("".join(text for text, _ in row).rstrip() for row in _rows(graph, why))


def rich_tree(graph: Graph, why: bool = False) -> Text:
    """The graph as colored text; print it with ``soft_wrap=True`` to keep lines intact.

    Parameters
    ----------
    graph : Graph
        Graph to draw, partitioned or not.
    why : bool
        Whether to end each line with the reason for the step's status.

    Returns
    -------
    rich.text.Text
        A line for each step, as `text_tree` draws it.
    """
    from rich.text import Text

    text = Text("\n", no_wrap=True, overflow="ignore")
    return text.join(Text.assemble(*row) for row in _rows(graph, why))


def tree_lines(graph: Graph) -> list[Line]:
    """The lines of the tree, from the input to the last step.

    Each value with remaining consumers keeps a lane. A step takes over the lane of an input that it
    is the last to consume, or opens a new one.

    Parameters
    ----------
    graph : Graph
        Graph to draw.

    Returns
    -------
    list of Line
        One line for each step, and lines of joints where edges branch or meet.
    """
    waiting = _waiting(graph)
    lanes: list[str | None] = [INPUT if waiting.get(INPUT) else None]
    lines = [Line(_INPUT_MARKER, is_input=True)]
    for step in graph:
        inputs = list(dict.fromkeys(step.inputs))
        sources = [lanes.index(name) for name in inputs if name in lanes]
        before = list(lanes)
        for name in inputs:
            waiting[name] -= 1
        ended = [i for i in sources if not waiting[str(lanes[i])]]
        for i in ended:
            lanes[i] = None
        column = min(ended) if ended else _free(lanes)
        if sources != [column]:
            lines.append(Line(_joints(before, lanes, sources, column)))
        lanes[column] = step.name
        lines.append(Line(_row(lanes, column, STYLES[step.status].marker), step))
        if not waiting.get(step.name):
            lanes[column] = None
        while lanes and lanes[-1] is None:
            lanes.pop()
    return lines


def _waiting(graph: Graph) -> dict[str, int]:
    waiting: dict[str, int] = {}
    for step in graph:
        for name in set(step.inputs):
            waiting[name] = waiting.get(name, 0) + 1
    return waiting


def _free(lanes: list[str | None]) -> int:
    if None in lanes:
        return lanes.index(None)
    lanes.append(None)
    return len(lanes) - 1


def _row(lanes: list[str | None], column: int, marker: str) -> str:
    return " ".join(
        marker if i == column else "│" if lane else " " for i, lane in enumerate(lanes)
    ).rstrip()


def _joints(
    before: list[str | None], after: list[str | None], sources: list[int], column: int
) -> str:
    """The line between two steps, on which lanes branch and meet."""
    touched = [*sources, column]
    first, last = min(touched), max(touched)
    out = []
    for i in range(max(len(before), len(after))):
        above = i < len(before) and before[i] is not None
        below = i == column or (i < len(after) and after[i] is not None)
        left, right = first < i <= last, first <= i < last
        crossing = i not in touched and above
        joint = _JOINTS.get((above, below, left, right), " ")
        out.append("│" if crossing else joint)
        out.append("─" if right else " ")
    return "".join(out).rstrip()


def _rows(graph: Graph, why: bool) -> list[list[tuple[str, str]]]:
    """Segments of each line with their styles, padded to columns."""
    lines = tree_lines(fold(graph))
    cells = [_cells(line) for line in lines]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    rows = []
    for line, (drawing, name, kind, status, numbers) in zip(lines, cells, strict=True):
        style = STYLES[line.step.status].style if line.step else "none"
        before, marker, after = drawing.partition(
            STYLES[line.step.status].marker if line.step else " "
        )
        gap = " " * (widths[0] - len(drawing) + 2)
        rows.append(
            [
                (before, "none"),
                (marker, style),
                (f"{after}{gap}{name:<{widths[1]}}  ", "none"),
                (f"{kind:<{widths[2]}}  ", "bold"),
                (f"{status:<{widths[3]}}  ", style),
                (f"{numbers:>{widths[4]}}", "none"),
                (f"  {printable(line.step.reason)}" if why and line.step else "", "dim"),
            ]
        )
    return rows


def _cells(line: Line) -> tuple[str, str, str, str, str]:
    step = line.step
    if step is None:
        return line.drawing, (INPUT if line.is_input else ""), "", "", ""
    numbers = f"{step.parameters:,}" if step.parameters else ""
    return line.drawing, printable(step.name), short_kind(step), step.status, numbers
