"""ML.NET's entry-point graphs: JSON in which each node names a trainer or a transform."""

from __future__ import annotations

import json
from typing import Any

from ...errors import ArgumentError
from ...graph import INPUT, Graph, Step
from .entry_point import SUFFIX, EntryPoint
from .graph_export import entry_points

_SCORER = "Transforms.DatasetScorer"
_COMBINERS = ("Transforms.ManyHeterogeneousModelCombiner", "Transforms.ModelCombiner")


def to_json(graph: Graph, indent: int | None = 2) -> str:
    """Convert a graph to the JSON that ML.NET's ``GraphRunner`` reads."""
    points = [_point(step) for step in graph if step.options]
    return json.dumps(_content(points or entry_points(graph)), indent=indent)


def from_json(content: dict[str, Any]) -> Graph:
    """Read a graph from such JSON: one step per trainer or transform, without operators.

    Raises
    ------
    ArgumentError
        If the text is not an entry-point graph, or a node is neither trainer nor transform.
    """
    nodes = content["nodes"]
    if not isinstance(nodes, list):
        raise _fault(f"'nodes' must be a list, got {nodes!r:.80}")
    for place, node in enumerate(nodes):
        _check_node(node, f"node {place}")
    return _graph(_points(content))


def _fault(what: str) -> ArgumentError:
    return ArgumentError(f"This text is not an entry-point graph: {what}.")


def _variable(fields: dict[str, Any], name: str, where: str) -> str:
    """The variable of a graph that an input or an output of a node is."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise _fault(f"{name!r} of {where} must be a text, got {value!r:.80}")
    return value


def _check_node(node: Any, where: str) -> None:
    """Check the fields of a node and their types."""
    if not isinstance(node, dict):
        raise _fault(f"{where} must be an object, got {node!r:.80}")
    for name, kind in (("Name", str), ("Inputs", dict), ("Outputs", dict)):
        if name not in node:
            raise _fault(f"{where} lacks the field {name!r}")
        if not isinstance(node[name], kind):
            what = "a text" if kind is str else "an object"
            raise _fault(f"{name!r} of {where} must be {what}, got {node[name]!r:.80}")
    where = f"{where} ({node['Name']!r:.80})"
    columns = node["Inputs"].get("Column", [])
    for column in columns if isinstance(columns, list) else [columns]:
        named = column if isinstance(column, dict) else {"Name": column}
        if not isinstance(named.get("Name"), str):
            raise _fault(f"a column of {where} must have a name, got {column!r:.80}")
    if not isinstance(node["Inputs"].get(SUFFIX), str | None):
        raise _fault(f"{SUFFIX!r} of {where} must be a text, got {node['Inputs'][SUFFIX]!r:.80}")


def _point(step: Step) -> EntryPoint:
    scored = step.method == "transform" and step.kind.startswith("mlnet.Trainers.")
    return EntryPoint(step.kind.removeprefix("mlnet."), dict(step.options), scored)


def _content(points: list[EntryPoint]) -> dict[str, Any]:
    nodes, data, models, predictor = [], "$data", [], ""
    for number, point in enumerate(points, 1):
        after, model = f"$data{number}", f"$model{number}"
        if not point.trains:
            outputs = {"OutputData": after, "Model": model}
            nodes.append(_node(point.name, {**point.options, "Data": data}, outputs))
        else:
            predictor = f"$predictor{number}"
            inputs = {**point.options, "TrainingData": data}
            suffix = inputs.pop(SUFFIX, None)
            nodes.append(_node(point.name, inputs, {"PredictorModel": predictor}))
            if not point.scored:
                continue
            inputs = {"Data": data, "PredictorModel": predictor}
            if suffix:
                inputs[SUFFIX] = suffix
            outputs = {"ScoredData": after, "ScoringTransform": model}
            nodes.append(_node(_SCORER, inputs, outputs))
            predictor = ""
        data = after
        models.append(model)
    if predictor:
        inputs = {"TransformModels": models, "PredictorModel": predictor}
        nodes.append(_node(_COMBINERS[0], inputs, {"PredictorModel": "$out"}))
    else:
        nodes.append(_node(_COMBINERS[1], {"Models": models}, {"OutputModel": "$out"}))
    return {"inputs": {"data": ""}, "nodes": nodes, "outputs": {"out": ""}}


def _node(name: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    return {"Name": name, "Inputs": inputs, "Outputs": outputs}


def _points(content: dict[str, Any]) -> list[EntryPoint]:
    points: list[EntryPoint] = []
    trained: dict[str, int] = {}
    for place, node in enumerate(content["nodes"]):
        name, inputs, outputs = node["Name"], dict(node["Inputs"]), dict(node["Outputs"])
        where = f"node {place} ({name!r:.80})"
        if name in _COMBINERS:
            continue
        if name == _SCORER:
            model = _variable(inputs, "PredictorModel", where)
            if model not in trained:
                raise _fault(f"{where} scores {model!r:.80}, which no node before it trains")
            scored = points[trained[model]]
            options = dict(scored.options)
            if inputs.get(SUFFIX):
                options[SUFFIX] = inputs[SUFFIX]
            points[trained[model]] = EntryPoint(scored.name, options, scored=True)
            continue
        if name.startswith("Trainers."):
            _variable(inputs, "TrainingData", where)
            del inputs["TrainingData"]
            trained[_variable(outputs, "PredictorModel", where)] = len(points)
        elif name.startswith("Transforms.") and {"OutputData", "Model"} <= set(outputs):
            _variable(inputs, "Data", where)
            del inputs["Data"]
        else:
            raise ArgumentError(f"The entry point {name!r} is neither a trainer nor a transform.")
        points.append(EntryPoint(name, inputs))
    if not points:
        raise ArgumentError("The entry-point graph has no trainer and no transform.")
    last = [i for i, point in enumerate(points) if point.trains and not point.scored]
    if last and last != [len(points) - 1]:
        name = points[last[0]].name
        raise ArgumentError(f"Nothing scores {name!r}, and it is not the last predictor.")
    return points


def _graph(points: list[EntryPoint]) -> Graph:
    steps: list[Step] = []
    columns: dict[str, str] = {}
    names = {INPUT}
    for point in points:
        kind, copies = point.name.partition(".")[2], 1
        name = kind
        while name in names:
            copies += 1
            name = f"{kind}#{copies}"
        names.add(name)
        inputs = tuple(dict.fromkeys(columns.get(column, INPUT) for column in point.takes()))
        method = "score" if point.trains and not point.scored else "transform"
        step = Step(name, f"mlnet.{point.name}", inputs or (INPUT,), method, options=point.options)
        steps.append(step)
        columns.update(dict.fromkeys(point.gives(), name))
    return Graph(tuple(steps), steps[-1].name, columns=columns)
