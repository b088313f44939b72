"""The DAG of operators that a source object unfolds into."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cached_property
from importlib import import_module
from typing import Any, Literal

from ..errors import ArgumentError
from ..registry import Translation, translation
from ..source_catalog import graph_formats

INPUT = "input"
"""Name of the raw input of a graph."""

_WILDCARDS = frozenset("*?[")

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
        "rest_proba", "label_proba", "decision_function", "votes" or "features".
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
    through : Translation, optional
        Translation that replaces that of the operator's class, with an estimated gradient.
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
    through: Translation | None = field(default=None, compare=False, repr=False)

    @property
    def translation(self) -> Translation | None:
        """The translation of the step, or that of the operator's exact class, or None."""
        return translation(self.operator) if self.through is None else self.through

    @property
    def holder(self) -> Any:
        """The part of the source that has the numbers of the step: mostly its operator."""
        row = self.translation
        return self.operator if row is None else row.holder(self.operator)

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
        return any(fnmatchcase(path, pattern) for path in self.paths())

    def paths(self) -> list[str]:
        """The paths of this step and of the composites around it, and the name of the step."""
        ends = [place for place, letter in enumerate(self.name) if letter == "/"]
        return [*(self.name[:end] for end in ends), self.name, self.name.rpartition("/")[2]]


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

    def __getstate__(self) -> dict[str, Any]:
        # The composites first, which come innermost first: whatever holds them refers to them.
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"composites": self.composites, **own}

    @cached_property
    def _by_path(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for step in self.steps:
            for path in step.paths():
                found.setdefault(path, set()).add(step.name)
        return found

    @cached_property
    def _consumers(self) -> dict[str, list[Step]]:
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in dict.fromkeys(step.inputs):
                found.setdefault(name, []).append(step)
        return found

    def consumers(self, name: str) -> list[Step]:
        """The steps that take the output of ``name``."""
        return list(self._consumers.get(name, ()))

    @cached_property
    def nesting(self) -> tuple[int, ...]:
        """For each composite, the number of levels of composites in it, with its own."""
        levels = {composite.name: 1 for composite in self.composites}
        # The longest path first, so that the levels of a composite are known when it is counted.
        for name in sorted(levels, key=len, reverse=True):
            around = _enclosing(name, levels)
            if around is not None:
                levels[around] = max(levels[around], levels[name] + 1)
        return tuple(levels[composite.name] for composite in self.composites)

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

    def descendants(self, names: Iterable[str]) -> set[str]:
        """Names of some steps and of all steps that depend on them."""
        found = set(names)
        for step in self.steps:
            if not found.isdisjoint(step.inputs):
                found.add(step.name)
        return found

    def select(self, patterns: Iterable[str], argument: str) -> set[str]:
        """Select steps by patterns.

        Parameters
        ----------
        patterns : iterable of str
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
            if _WILDCARDS.isdisjoint(pattern):
                names = self._by_path.get(pattern, set())
            else:
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


def _enclosing(path: str, paths: Container[str]) -> str | None:
    """The longest of some paths that lies around a path."""
    around = path
    while around:
        around = around.rpartition("/")[0]
        if around in paths:
            return around
    return None


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
