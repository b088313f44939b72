"""Style of the status of a step, shared by all displays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...printable import printable
from ..graph import Graph, Step


@dataclass(frozen=True)
class StatusStyle:
    """The style of one status.

    Parameters
    ----------
    label : str
        Name of the status.
    marker : str
        Character that marks it in text trees.
    style : str
        Style for rich.
    meaning : str
        Explanation for legends.
    """

    label: str
    marker: str
    style: str
    meaning: str


# Colours as in the paper's Figure 3: blue for translated steps, red for steps on the host.
STYLES = {
    "trainable": StatusStyle("trainable", "●", "bold blue", "translated; its parameters train"),
    "translated": StatusStyle("translated", "○", "cyan", "translated; gradients pass through"),
    "host": StatusStyle("host", "□", "red", "runs once in its own library; its output is cached"),
    "refused": StatusStyle("refused", "✗", "bold magenta", "cannot be translated"),
    "": StatusStyle("step", "•", "none", "not yet assigned to the host part or the neural part"),
}


def short_kind(step: Step) -> str:
    """The class name without its package, and the method unless it is the default."""
    name, times, many = step.kind.rpartition(".")[2].partition(" ×")
    method = "" if step.method in {"transform", "score", ""} else f".{step.method}"
    return printable(f"{name}{method}{times}{many}")


def count(graph: Graph) -> str:
    """The number of steps of each status, as a sentence without a full stop."""
    total = f"{len(graph)} step" + ("" if len(graph) == 1 else "s")
    parts = [
        f"{number} {look.label}"
        for status, look in STYLES.items()
        if status and (number := _number(graph, status))
    ]
    numbers = sum(step.parameters for step in graph)
    text = f"{total}: {', '.join(parts)}" if parts else total
    return f"{text}; {numbers:,} trainable parameters" if numbers else text


def present(statuses: Iterable[str]) -> list[str]:
    """The statuses that occur, in the order of the legend."""
    found = set(statuses)
    return [status for status in STYLES if status in found]


def _number(graph: Graph, status: str) -> int:
    return sum(step.status == status for step in graph)


FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
