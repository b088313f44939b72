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


def from_json(text: str) -> Graph:
    """Read a graph from such JSON: one step per trainer or transform, without operators.

    Raises
    ------
    ArgumentError
        If the text is not an entry-point graph, or a node is neither trainer nor transform.
    """
    try:
        return _graph(_points(json.loads(text)))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(f"This text is not an entry-point graph: {error!r}.") from error


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
    for node in content["nodes"]:
        name, inputs, outputs = str(node["Name"]), dict(node["Inputs"]), dict(node["Outputs"])
        if name in _COMBINERS:
            continue
        if name == _SCORER:
            place = trained[inputs["PredictorModel"]]
            options = dict(points[place].options)
            if inputs.get(SUFFIX):
                options[SUFFIX] = str(inputs[SUFFIX])
            points[place] = EntryPoint(points[place].name, options, scored=True)
            continue
        if name.startswith("Trainers."):
            inputs.pop("TrainingData")
            trained[outputs["PredictorModel"]] = len(points)
        elif name.startswith("Transforms.") and {"OutputData", "Model"} <= set(outputs):
            inputs.pop("Data")
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
    names: set[str] = set()
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
