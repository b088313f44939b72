"""What becomes of each step of a pipeline, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any

from ..graph import Graph, Step
from .statuses import STYLES, count, short_kind

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

_WIDTH = 110  # of plain text
_WIDE = 100  # from here on, classes have a column of their own
_COLUMN = 27  # longer names are broken


class StepTable:
    """What becomes of each step, and why; `rich.print` fits it to the terminal.

    Parameters
    ----------
    graph : Graph
        Partitioned or not.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        yield step_table(self.graph, narrow=options.max_width < _WIDE)

    def __str__(self) -> str:
        return as_text(self, _WIDTH)


def as_text(renderable: Any, width: int) -> str:
    """What `rich.print` would show, as plain text."""
    from rich.console import Console

    file = StringIO()
    Console(file=file, width=width, color_system=None).print(renderable)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def step_table(graph: Graph, narrow: bool = False) -> Table:
    """A table of the steps for `rich.print`: step, class, status, numbers that train, why.

    Parameters
    ----------
    graph : Graph
        Partitioned or not.
    narrow : bool
        Write the class below the step instead of beside it.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, caption=count(graph), caption_justify="left")
    table.add_column("step", overflow="fold")
    if not narrow:
        table.add_column("class", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("numbers", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", min_width=20)
    for step in graph:
        kind = _broken(short_kind(step), ".", _COLUMN)
        first = [Text(_broken(step.name, "/", _COLUMN)), Text(kind, "dim" if narrow else "none")]
        table.add_row(
            *([Text("\n").join(first)] if narrow else first),
            Text(step.status, style=STYLES[step.status].style),
            Text(_numbers(step)),
            Text(step.reason),
        )
    return table


def _broken(name: str, separator: str, width: int) -> str:
    """The name in lines that end at a separator, none longer than the width if that can be."""
    first, *rest = name.split(separator)
    lines = [first]
    for part in rest:
        if len(lines[-1]) + len(part) + 2 <= width:
            lines[-1] += separator + part
        else:
            lines[-1] += separator
            lines.append("  " + part)
    return "\n".join(lines)


def _numbers(step: Step) -> str:
    return f"{step.parameters:,}" if step.parameters else ""
