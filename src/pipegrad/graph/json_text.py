"""Reads graphs from JSON text, which may come from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, get_args

from ..errors import ArgumentError
from .graph import INPUT, Composite, Graph, Status, Step

# Nested lists and objects, as in the options of a step.
_DEEPEST = 64
_STEP = {
    "name": str, "kind": str, "inputs": list, "method": str, "status": str, "reason": str,
    "parameters": int, "frozen": bool, "options": dict,
}  # fmt: skip
_COMPOSITE = dict.fromkeys(("name", "source", "method", "value"), str)
_GRAPH = {"output": str, "steps": list, "composites": list, "columns": dict}
_WORDS = {
    str: "a text", list: "a list", dict: "an object", int: "a whole number of at least 0",
    bool: "true or false",
}  # fmt: skip

Fields: TypeAlias = dict[str, Any]


def parsed(text: Any) -> Fields:
    """The JSON object that a text holds.

    Raises
    ------
    ArgumentError
        When the text is not JSON, is nested too deeply, states a field twice, or holds no object.
    """
    if not isinstance(text, str | bytes | bytearray):
        raise ArgumentError(f"text must be JSON text, got {type(text).__name__}.")
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise _fault("it is nested too deeply") from None
    except ValueError as error:
        raise _fault(str(error)) from error
    if not isinstance(content, dict):
        raise _fault("it is no JSON object")
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise _fault("it is nested too deeply")
        level = [inner for outer in level for inner in _inside(outer)]
    return content


def _object(pairs: list[tuple[str, Any]]) -> Fields:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the field {twice!r:.80} twice")
    return found


def _inside(value: Any) -> Iterable[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return [one for one in inner if isinstance(one, dict | list)]


def _fault(what: str) -> ArgumentError:
    return ArgumentError(f"This text is not a graph that to_json wrote: {what}.")


def read_graph(content: Fields) -> Graph:
    """The graph that an object describes.

    Raises
    ------
    ArgumentError
        When a field is missing, unknown or of another type, or the edges are those of no graph.
    """
    _check(content, _GRAPH, ("output", "steps", "composites"), "the graph")
    steps = [_step(one, f"step {i}") for i, one in enumerate(content["steps"])]
    known = _known(steps)
    composites = [_composite(one, f"composite {i}") for i, one in enumerate(content["composites"])]
    for place, composite in enumerate(composites):
        _require(known, composite.source, f"the source of composite {place}")
        _require(known, composite.value, f"the value of composite {place}")
    columns = content.get("columns", {})
    for name, step in columns.items():
        _require(known, step, f"column {name!r:.80}")
    _require(known, content["output"], "the output")
    return Graph(tuple(steps), content["output"], tuple(composites), columns=columns)


def _check(value: Any, types: Mapping[str, type], required: Iterable[str], where: str) -> None:
    """Check the fields of an object and their types."""
    if not isinstance(value, dict):
        raise _fault(f"{where} must be an object, got {value!r:.80}")
    unknown = next((name for name in value if name not in types), None)
    if unknown is not None:
        raise _fault(f"{where} has the unknown field {unknown!r:.80}")
    for name in required:
        if name not in value:
            raise _fault(f"{where} lacks the field {name!r}")
    for name, given in value.items():
        kind = types[name]
        # True is an int for Python, too.
        if type(given) is not kind or (isinstance(given, int) and given < 0):
            raise _fault(f"{name!r} of {where} must be {_WORDS[kind]}, got {given!r:.80}")


def _step(value: Any, where: str) -> Step:
    _check(value, _STEP, ("name", "kind", "inputs"), where)
    where = f"{where} ({value['name']!r:.80})"
    for name in value["inputs"]:
        if not isinstance(name, str):
            raise _fault(f"an input of {where} must be a text, got {name!r:.80}")
    statuses = get_args(Status)
    if value.get("status", "") not in statuses:
        raise _fault(f"'status' of {where} must be one of {statuses}, got {value['status']!r:.80}")
    return Step(**{**value, "inputs": tuple(value["inputs"])})


def _composite(value: Any, where: str) -> Composite:
    _check(value, _COMPOSITE, _COMPOSITE, where)
    return Composite(**value)


def _known(steps: list[Step]) -> set[str]:
    """The names of all values; each step takes only those of steps before it."""
    everything, known = {step.name for step in steps}, {INPUT}
    for place, step in enumerate(steps):
        where = f"step {place} ({step.name!r:.80})"
        if step.name in known:
            raise _fault(f"{where} has a name that is taken")
        for name in step.inputs:
            if name in known:
                continue
            if name == step.name:
                raise _fault(f"{where} takes its own output")
            if name in everything:
                cycle = "does not come before it (a cycle, or a wrong order)"
                raise _fault(f"{where} takes {name!r:.80}, which {cycle}")
            raise _fault(f"{where} takes {name!r:.80}, which is no step")
        known.add(step.name)
    return known


def _require(known: set[str], name: Any, what: str) -> None:
    if not isinstance(name, str) or name not in known:
        raise _fault(f"{what} must be the name of a step, got {name!r:.80}")
