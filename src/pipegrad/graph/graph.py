"""The DAG of operators that a source object unfolds into."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from importlib import import_module
from typing import Any, Literal

from ..errors import ArgumentError
from ..registry import Translation, translation
from ..source_catalog import graph_formats

INPUT = "input"
"""Name of the raw input of a graph."""

Status = Literal["", "trainable", "translated", "host", "refused"]


@dataclass(frozen=True)
class Step:
    """A node of the graph: an operator with its place.

    Parameters
    ----------
    name : str
        Path in the source object (``"columntransformer/num/standardscaler"``).
    kind : str
        Dotted name of the operator's class.
    inputs : tuple of str
        Names of the steps that feed it; ``"input"`` is the raw input.
    method : str
        What the operator is asked for: "transform", "score", "predict", "predict_proba",
        "rest_proba", "decision_function", "votes" or "features".
    status : {"", "trainable", "translated", "host", "refused"}
        Where it runs, once the graph has been partitioned.
    reason : str
        Why it has that status.
    parameters : int
        How many numbers training may change.
    frozen : bool
        Whether the source itself says that it stays as it is (`FrozenEstimator`).
    options : dict
        What the source's own form of the graph tells the step.
    operator : object
        The fitted operator; not part of the JSON form.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    method: str = "transform"
    status: Status = ""
    reason: str = ""
    parameters: int = 0
    frozen: bool = False
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    operator: Any = field(default=None, compare=False, repr=False)

    @property
    def translation(self) -> Translation | None:
        """The row of the mapping table that serves the operator's exact class, or None."""
        return translation(self.operator)

    def matches(self, pattern: str) -> bool:
        """Whether a pattern names this step, a composite around it, or its last part."""
        parts = self.name.split("/")
        paths = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(path, pattern) for path in [*paths, parts[-1]])


@dataclass(frozen=True)
class Composite:
    """A composite operator that was unfolded, and the value that it gives."""

    name: str
    source: str
    method: str
    value: str
    operator: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Graph:
    """Steps in topological order.

    Parameters
    ----------
    steps : tuple of Step
        Each comes after those that feed it.
    output : str
        Name of the last step.
    composites : tuple of Composite
        What was unfolded, innermost first.
    target : object, optional
        The `TransformedTargetRegressor` whose transformed target the last step predicts.
    columns : dict of str to str
        Where a source names its columns: the step that gives each.
    """

    steps: tuple[Step, ...]
    output: str
    composites: tuple[Composite, ...] = ()
    target: Any = field(default=None, compare=False, repr=False)
    columns: dict[str, str] = field(default_factory=dict, repr=False)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def _named(self) -> dict[str, Step]:
        return {step.name: step for step in self.steps}

    def __getitem__(self, name: str) -> Step:
        if name not in self._named:
            raise KeyError(f"no step {name!r}; there are {', '.join(s.name for s in self.steps)}")
        return self._named[name]

    def consumers(self, name: str) -> list[Step]:
        """The steps that take what ``name`` gives."""
        return [step for step in self.steps if name in step.inputs]

    def ancestors(self, name: str) -> set[str]:
        """Names of a step and of all that it needs."""
        found = {name}
        for step in reversed(self.steps):
            if step.name in found:
                found.update(step.inputs)
        return found

    def select(self, patterns: list[str], argument: str) -> set[str]:
        """Names of the steps that any of the patterns matches.

        Raises
        ------
        ArgumentError
            When a pattern matches nothing.
        """
        found: set[str] = set()
        for pattern in patterns:
            names = {step.name for step in self.steps if step.matches(pattern)}
            if not names:
                known = ", ".join(repr(step.name) for step in self.steps)
                raise ArgumentError(f"{argument}={pattern!r} names no step. The steps are {known}.")
            found |= names
        return found

    def to_json(
        self, indent: int | None = 2, form: Literal["pipegrad", "mlnet"] = "pipegrad"
    ) -> str:
        """The structure as JSON text: names, classes and edges, without the learned numbers.

        Parameters
        ----------
        indent : int, optional
            Spaces for each level; None for one line.
        form : {"pipegrad", "mlnet"}
            "mlnet" gives the entry-point graph that ML.NET's ``GraphRunner`` runs. It names the
            options that the learned numbers show.

        Raises
        ------
        ArgumentError
            When a step has no entry point, or is none of ML.NET's.
        """
        if form != "pipegrad":
            return str(_foreign_format(form).to_json(self, indent))
        steps = [_step_to_json(step) for step in self.steps]
        composites = [
            {"name": c.name, "source": c.source, "method": c.method, "value": c.value}
            for c in self.composites
        ]
        content: dict[str, Any] = {
            "output": self.output,
            "steps": steps,
            "composites": composites,
        }
        if self.columns:
            content["columns"] = self.columns
        return json.dumps(content, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """The graph that `to_json` wrote, in either form; its steps hold no operators.

        Parameters
        ----------
        text : str
            A graph of ours, or an entry-point graph of ML.NET.

        Raises
        ------
        ArgumentError
            When the text is not such a graph.
        """
        try:
            content = json.loads(text)
            if "nodes" in content:
                graph: Graph = _foreign_format("mlnet").from_json(text)
                return graph
            steps = tuple(
                Step(**{**step, "inputs": tuple(step["inputs"])}) for step in content["steps"]
            )
            composites = tuple(Composite(**c) for c in content["composites"])
            named = dict(content.get("columns", {}))
            return cls(steps, content["output"], composites, columns=named)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ArgumentError(f"This text is not a graph that to_json wrote: {error}") from error

    def __str__(self) -> str:
        from .display.text import text_tree

        return text_tree(self, why=True)

    def __rich__(self) -> Any:
        from .display.table import StepTable

        return StepTable(self)

    def _repr_html_(self) -> str:
        from .display.html import graph_html

        return graph_html(self)


def _foreign_format(name: str) -> Any:
    """The module that knows another form of graphs; a source is imported when it is asked for."""
    known = graph_formats()
    if name not in known:
        raise ArgumentError(f"form={name!r} is none of 'pipegrad', {', '.join(map(repr, known))}.")
    return import_module(known[name])


def _step_to_json(step: Step) -> dict[str, Any]:
    content = {
        "name": step.name,
        "kind": step.kind,
        "inputs": list(step.inputs),
        "method": step.method,
        "status": step.status,
        "reason": step.reason,
        "parameters": step.parameters,
        "frozen": step.frozen,
    }
    return {**content, "options": step.options} if step.options else content


def with_updates(graph: Graph, changes: dict[str, dict[str, Any]]) -> Graph:
    """The same graph with some fields of its steps replaced."""
    steps = tuple(replace(step, **changes.get(step.name, {})) for step in graph.steps)
    return replace(graph, steps=steps)
