"""ML.NET's entry-point graphs: JSON in which each node names a trainer or a transform."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ...errors import ArgumentError
from ...graph import INPUT, Graph, Step

_SCORER = "Transforms.DatasetScorer"
# Of the scorer behind a trainer: what it adds to the names of its columns.
_SUFFIX = "Suffix"
_COMBINERS = ("Transforms.ManyHeterogeneousModelCombiner", "Transforms.ModelCombiner")
# What a predictor gives, by the last words of its name.
_GIVES = {
    "BinaryClassifier": ("PredictedLabel", "Score", "Probability"),
    "Classifier": ("PredictedLabel", "Score"),
    "Clusterer": ("PredictedLabel", "Score"),
}


@dataclass(frozen=True)
class EntryPoint:
    """A trainer or a transform, and what it is told.

    Parameters
    ----------
    name : str
        As ML.NET names it: ``"Transforms.PcaCalculator"``.
    options : dict
        Its inputs but for data and models.
    scored : bool
        Whether what a trainer predicts becomes columns for the steps after it.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    scored: bool = False

    @property
    def trains(self) -> bool:
        """Whether it is a trainer."""
        return self.name.startswith("Trainers.")

    def takes(self) -> list[str]:
        """Names of the columns that it reads, labels left aside."""
        if self.trains:
            return _texts(self.options.get("FeatureColumnName", "Features"))
        found = []
        for column in self._columns():
            found += _texts(column.get("Source") or column["Name"])
        return list(dict.fromkeys(found))

    def gives(self) -> list[str]:
        """Names of the columns that it makes."""
        if self.trains:
            last = next((end for end in _GIVES if self.name.endswith(end)), "")
            suffix = self.options.get(_SUFFIX, "")
            return [name + suffix for name in _GIVES.get(last, ("Score",))]
        return [str(column["Name"]) for column in self._columns()]

    def _columns(self) -> list[dict[str, Any]]:
        columns = self.options.get("Column", [])
        columns = columns if isinstance(columns, list) else [columns]
        return [c if isinstance(c, dict) else {"Name": c, "Source": c} for c in columns]


def _texts(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


# -- JSON --------------------------------------------------------------------------------------


def to_json(graph: Graph, indent: int | None = 2) -> str:
    """A graph of ML.NET as the JSON that its ``GraphRunner`` takes."""
    from .graph_export import entry_points

    points = [_point(step) for step in graph if step.options]
    return json.dumps(_content(points or entry_points(graph)), indent=indent)


def from_json(text: str) -> Graph:
    """The graph in such JSON: a step for each trainer and each transform, without operators.

    Raises
    ------
    ArgumentError
        When the text is not such a graph, or has nodes that are neither.
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
            suffix = inputs.pop(_SUFFIX, None)
            nodes.append(_node(point.name, inputs, {"PredictorModel": predictor}))
            if not point.scored:
                continue
            inputs = {"Data": data, "PredictorModel": predictor}
            if suffix:
                inputs[_SUFFIX] = suffix
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
            if inputs.get(_SUFFIX):
                options[_SUFFIX] = str(inputs[_SUFFIX])
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
