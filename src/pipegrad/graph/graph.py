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
    """A node of the graph: an operator and its position.

    Parameters
    ----------
    name : str
        Path in the source object (``"columntransformer/num/standardscaler"``).
    kind : str
        Dotted name of the operator's class.
    inputs : tuple of str
        Names of the steps whose outputs it takes; ``"input"`` is the raw input.
    method : str
        Requested output of the operator: "transform", "score", "predict", "predict_proba",
        "rest_proba", "decision_function", "votes" or "features".
    status : {"", "trainable", "translated", "host", "refused"}
        Result of the partition; "" before it.
    reason : str
        Reason for the status.
    parameters : int
        Number of trainable parameters.
    frozen : bool
        Whether the source itself freezes the step (`FrozenEstimator`).
    options : dict
        Options of the step in the source's own graph format.
    operator : object
        The fitted operator, which is not part of the JSON format.
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
        """The translation that serves the operator's exact class, or None."""
        return translation(self.operator)

    @property
    def projects(self) -> bool:
        """Whether a predictor serves as a transformer, with a module of its own for that."""
        row = self.translation
        if self.method != "transform" or row is None:
            return False
        return row.projection(self.operator) is not None

    def matches(self, pattern: str) -> bool:
        """Whether a pattern matches the path of this step or of a composite around it, or its name.

        The name is the last part of the path.
        """
        parts = self.name.split("/")
        paths = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(path, pattern) for path in [*paths, parts[-1]])


@dataclass(frozen=True)
class Composite:
    """A composite operator that was unfolded, with the name of its output value."""

    name: str
    source: str
    method: str
    value: str
    operator: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Graph:
    """The directed acyclic graph of a pipeline's steps.

    Parameters
    ----------
    steps : tuple of Step
        Steps in topological order.
    output : str
        Name of the last step.
    composites : tuple of Composite
        Composites that were unfolded, innermost first.
    target : object, optional
        The `TransformedTargetRegressor` whose transformed target the last step predicts.
    columns : dict of str to str
        The step that computes each named column, if the source names its columns.
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
        """The steps that take the output of ``name``."""
        return [step for step in self.steps if name in step.inputs]

    def ancestors(self, *names: str) -> set[str]:
        """Names of some steps and of all steps that they depend on."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._named[name].inputs if name in self._named else ())
        return found

    def select(self, patterns: list[str], argument: str) -> set[str]:
        """Select steps by patterns.

        Parameters
        ----------
        patterns : list of str
            Shell-style patterns of steps, as for `Step.matches`.
        argument : str
            Name of the argument, for the error message.

        Returns
        -------
        set of str
            Names of the steps that any of the patterns matches.

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
        """The structure as JSON: names, classes and edges, without the learned parameters.

        Parameters
        ----------
        indent : int, optional
            Number of spaces for each level; None for a single line.
        form : {"pipegrad", "mlnet"}
            Format of the graph. "mlnet" is the entry-point graph that ML.NET's ``GraphRunner``
            runs, with the options that can be inferred from the learned parameters.

        Returns
        -------
        str
            JSON text.

        Raises
        ------
        ArgumentError
            When the format is unknown, or a step has no entry point in ML.NET.
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
        """Read a graph that `to_json` wrote, in either format.

        Parameters
        ----------
        text : str
            JSON text in pipegrad's format, or an entry-point graph of ML.NET.

        Returns
        -------
        Graph
            The graph, whose steps have no operators.

        Raises
        ------
        ArgumentError
            When the text is not such a graph, or a step takes what no step before it gives.
        """
        from .json_text import parsed, read_graph

        content = parsed(text)
        if "nodes" in content:
            graph: Graph = _foreign_format("mlnet").from_json(content)
            return graph
        return read_graph(content)

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
    """The module of a source's own graph format, imported on demand."""
    known = graph_formats()
    if name not in known:
        raise ArgumentError(
            f"form must be one of 'pipegrad', {', '.join(map(repr, known))}; got {name!r}."
        )
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
    """A copy of a graph with some fields of its steps replaced.

    Parameters
    ----------
    graph : Graph
        The graph.
    changes : dict of str to dict
        By the name of a step, the new values of its fields.

    Returns
    -------
    Graph
        The updated copy.
    """
    steps = tuple(replace(step, **changes.get(step.name, {})) for step in graph.steps)
    return replace(graph, steps=steps)
