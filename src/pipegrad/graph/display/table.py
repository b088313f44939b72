"""The steps of a pipeline with their statuses, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any

from ...printable import printable
from ..graph import Graph, Step
from .statuses import STYLES, count, short_kind

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

_WIDTH = 110  # characters of plain text
_WIDE = 100  # from this width on, classes have a separate column
_COLUMN = 27  # characters; longer names are wrapped


class StepTable:
    """A table of the steps with status and reason; `rich.print` fits it to the terminal.

    Parameters
    ----------
    graph : Graph
        Graph to show, partitioned or not.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        yield step_table(self.graph, narrow=options.max_width < _WIDE)

    def __str__(self) -> str:
        return as_text(self, _WIDTH)


def as_text(renderable: Any, width: int) -> str:
    """The output of `rich.print` as plain text.

    Parameters
    ----------
    renderable : object
        Object that rich can print.
    width : int
        Width in characters.

    Returns
    -------
    str
        Lines without trailing spaces.
    """
    from rich.console import Console

    file = StringIO()
    Console(file=file, width=width, color_system=None).print(renderable)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def step_table(graph: Graph, narrow: bool = False) -> Table:
    """A table of the steps for `rich.print`: step, class, status, parameters and reason.

    Parameters
    ----------
    graph : Graph
        Graph to show, partitioned or not.
    narrow : bool
        Whether to write the class below the step instead of beside it.

    Returns
    -------
    rich.table.Table
        One row for each step.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, caption=count(graph), caption_justify="left")
    table.add_column("step", overflow="fold")
    if not narrow:
        table.add_column("class", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("params", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold", min_width=20)
    for step in graph:
        kind = _broken(short_kind(step), ".", _COLUMN)
        first = [
            Text(_broken(printable(step.name), "/", _COLUMN)),
            Text(kind, "dim" if narrow else "none"),
        ]
        table.add_row(
            *([Text("\n").join(first)] if narrow else first),
            Text(step.status, style=STYLES[step.status].style),
            Text(_numbers(step)),
            Text(printable(step.reason)),
        )
    return table


def _broken(name: str, separator: str, width: int) -> str:
    """The name wrapped after separators, to the given width if possible."""
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
