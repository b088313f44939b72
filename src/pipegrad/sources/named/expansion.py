"""Adds the steps of a model with named columns to a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .operators import TABLE, BuiltStep


def add_steps(
    builder: Any,
    steps: dict[str, BuiltStep],
    columns: Mapping[str, str],
    output: str,
    source: str,
    library: str,
) -> None:
    """Add the steps that columns need.

    Parameters
    ----------
    builder : GraphBuilder
        The graph.
    steps : dict of str to BuiltStep
        All steps, in execution order.
    columns : mapping of str to str
        The step behind each column.
    output : str
        The step with the output of the model.
    source : str
        The step that gives the user's table.
    library : str
        Name of the source.
    """
    needed = {output, *columns.values()}
    for made in reversed(steps.values()):
        if made.name in needed:
            needed.update(made.inputs)
    for made in steps.values():
        if made.name in needed:
            inputs = tuple(source if name == TABLE else name for name in made.inputs)
            kind = f"{library}.{made.operator.title or 'column'}"
            builder.add(made.name, made.operator, inputs, made.method, kind)
    builder.columns = dict(columns)
