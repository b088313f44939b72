"""How the status of a step looks in every kind of picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..graph import Graph, Step


@dataclass(frozen=True)
class StatusStyle:
    """The look of one status.

    Parameters
    ----------
    label : str
        The word for it.
    marker : str
        One character in text trees.
    style : str
        Style of rich.
    meaning : str
        One sentence for legends.
    """

    label: str
    marker: str
    style: str
    meaning: str


# As in the paper's Figure 3: blue for what is translated, red for what stays on the host.
STYLES = {
    "trainable": StatusStyle("trainable", "●", "bold blue", "translated; its numbers train"),
    "translated": StatusStyle("translated", "○", "cyan", "translated; gradients pass through"),
    "host": StatusStyle("host", "□", "red", "runs once in its own library; its output is cached"),
    "refused": StatusStyle("refused", "✗", "bold magenta", "cannot be translated"),
    "": StatusStyle("step", "•", "none", "not yet divided into host part and neural part"),
}


def short_kind(step: Step) -> str:
    """The class without its packages, and the method where it is not the usual one."""
    name, times, many = step.kind.rpartition(".")[2].partition(" ×")
    method = "" if step.method in {"transform", "score", ""} else f".{step.method}"
    return f"{name}{method}{times}{many}"


def count(graph: Graph) -> str:
    """How many steps there are of each status, as a sentence without its full stop."""
    total = f"{len(graph)} step" + ("" if len(graph) == 1 else "s")
    parts = [
        f"{number} {look.label}"
        for status, look in STYLES.items()
        if status and (number := _number(graph, status))
    ]
    numbers = sum(step.parameters for step in graph)
    text = f"{total}: {', '.join(parts)}" if parts else total
    return f"{text}; {numbers:,} trainable numbers" if numbers else text


def present(statuses: Iterable[str]) -> list[str]:
    """Those statuses that occur, in the order of a legend."""
    found = set(statuses)
    return [status for status in STYLES if status in found]


def _number(graph: Graph, status: str) -> int:
    return sum(step.status == status for step in graph)


FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
