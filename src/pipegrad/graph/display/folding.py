"""Fewer steps to draw: the hundred alike members of an ensemble become one."""

from __future__ import annotations

from dataclasses import replace

from ..graph import INPUT, Graph, Step

MANY = 8
"""Up to so many alike steps are drawn one by one."""


def fold(graph: Graph, many: int = MANY) -> Graph:
    """Draw steps that differ in nothing but their names as one, if there are many of them.

    Parameters
    ----------
    graph : Graph
        Any graph.
    many : int
        How many alike steps are still left alone.

    Returns
    -------
    Graph
        The same graph if nothing was folded. It is for looking at: names of folded steps span
        from the first to the last, and numbers of parameters are sums.
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
        steps += [_merged(members)] if members in folded else members
    rewired = [
        replace(step, inputs=tuple(dict.fromkeys(renamed.get(i, i) for i in step.inputs)))
        for step in steps
    ]
    return replace(
        graph, steps=tuple(_sorted(rewired)), output=renamed.get(graph.output, graph.output)
    )


def _classes(graph: Graph) -> dict[str, int]:
    """Number the steps so that those with the same number stand in the graph in the same way."""
    consumers: dict[str, list[str]] = {}
    for step in graph:
        for name in step.inputs:
            consumers.setdefault(name, []).append(step.name)
    number = {INPUT: 0} | {step.name: 1 for step in graph}
    seen = 0
    while len(set(number.values())) != seen:
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
    return number


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
    """First and last name, without what both begin with."""
    first, last = members[0].name.split("/"), members[-1].name.split("/")
    same = 0
    while same < min(len(first), len(last)) - 1 and first[same] == last[same]:
        same += 1
    return f"{members[0].name} … {'/'.join(last[same:])}"


def _sorted(steps: list[Step]) -> list[Step]:
    """Each step after those that feed it; otherwise in the given order."""
    out: list[Step] = []
    done = {INPUT}
    while len(out) < len(steps):
        ready = [s for s in steps if s.name not in done and done.issuperset(s.inputs)]
        if not ready:
            return steps
        out.append(ready[0])
        done.add(ready[0].name)
    return out
