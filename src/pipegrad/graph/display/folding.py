"""Folding of equivalent steps, such as the members of an ensemble, into one for drawing."""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from typing import Any

from ..graph import INPUT, Graph, Step

MANY = 8
"""Up to this number, equivalent steps are drawn individually."""
# A chain takes a round for each of its steps; nothing of longer ones is merged.
_ROUNDS = 100


def fold(graph: Graph, many: int = MANY) -> Graph:
    """Merge large groups of steps that differ in their names only.

    Parameters
    ----------
    graph : Graph
        Graph to fold.
    many : int
        Largest group that is not merged.

    Returns
    -------
    Graph
        A graph for display, or the same graph if nothing was folded. The name of a folded step
        spans from the first to the last member, and its number of parameters is the sum.
    """
    groups: dict[int, list[Step]] = {}
    classes = _classes(graph)
    for step in graph:
        groups.setdefault(classes[step.name], []).append(step)
    folded = [members for members in groups.values() if len(members) > many]
    if not folded:
        return graph
    renamed = {s.name: _span(members) for members in folded for s in members}
    steps = []
    for members in groups.values():
        steps += [_merged(members)] if len(members) > many else members
    rewired = [
        replace(step, inputs=tuple(dict.fromkeys(renamed.get(i, i) for i in step.inputs)))
        for step in steps
    ]
    return replace(
        graph, steps=tuple(_sorted(rewired)), output=renamed.get(graph.output, graph.output)
    )


def _classes(graph: Graph) -> dict[str, int]:
    """Number the steps so that equal numbers mean equivalent positions (color refinement)."""
    consumers: dict[str, list[str]] = {}
    for step in graph:
        for name in step.inputs:
            consumers.setdefault(name, []).append(step.name)
    number = _first_classes(graph, consumers)
    seen = 0
    for _ in range(_ROUNDS):
        if len(set(number.values())) == seen:
            return number
        seen = len(set(number.values()))
        marks = {
            step.name: (
                (step.kind, step.method, step.status, step.name == graph.output),
                tuple(number[name] for name in step.inputs),
                tuple(sorted(number[name] for name in consumers.get(step.name, []))),
                number[step.name],
            )
            for step in graph
        }
        order = {mark: i + 1 for i, mark in enumerate(dict.fromkeys(marks.values()))}
        number = {INPUT: 0} | {name: order[mark] for name, mark in marks.items()}
    return {INPUT: 0} | {step.name: i + 1 for i, step in enumerate(graph)}


def _first_classes(graph: Graph, consumers: dict[str, list[str]]) -> dict[str, int]:
    """Classes by all steps before and all steps after a step.

    The refinement starts from them, since a difference would need a round for each step on its way
    through a chain.
    """
    before: dict[str, int] = {INPUT: 0}
    after: dict[str, int] = {}
    both: dict[Any, int] = {}
    for step in graph:
        label = (step.kind, step.method, step.status, step.name == graph.output)
        inputs = tuple(before[name] for name in step.inputs)
        before[step.name] = both.setdefault((label, inputs), len(both) + 1)
    for step in reversed(graph.steps):
        readers = tuple(sorted(after[name] for name in consumers.get(step.name, [])))
        after[step.name] = both.setdefault((before[step.name], readers), len(both) + 1)
    return {INPUT: 0} | after


def _merged(members: list[Step]) -> Step:
    first = members[0]
    return replace(
        first,
        name=_span(members),
        kind=f"{first.kind} ×{len(members)}",
        inputs=tuple(dict.fromkeys(name for step in members for name in step.inputs)),
        parameters=sum(step.parameters for step in members),
        operator=None,
    )


def _span(members: list[Step]) -> str:
    """The first and last name, without their common prefix in the latter."""
    first, last = members[0].name.split("/"), members[-1].name.split("/")
    same = 0
    while same < min(len(first), len(last)) - 1 and first[same] == last[same]:
        same += 1
    return f"{members[0].name} … {'/'.join(last[same:])}"


def _sorted(steps: list[Step]) -> list[Step]:
    """The steps in topological order, otherwise in the given order."""
    waiting = {place: {*step.inputs} - {INPUT} for place, step in enumerate(steps)}
    readers: dict[str, list[int]] = {}
    for place, names in waiting.items():
        for name in names:
            readers.setdefault(name, []).append(place)
    ready = [place for place, names in waiting.items() if not names]  # sorted, so already a heap
    out: list[Step] = []
    while ready:
        step = steps[heappop(ready)]
        out.append(step)
        for place in readers.get(step.name, []):
            waiting[place].discard(step.name)
            if not waiting[place]:
                heappush(ready, place)
    return out if len(out) == len(steps) else steps
