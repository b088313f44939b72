"""What all files of pipelines have in common: translation, refusals, and the blocks of modules."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._dynamo.exc import UserError

from ..errors import UntranslatableError
from ..graph import INPUT, Step
from ..module import PipelineModule
from ..translate import to_torch
from .host_steps import encoded, host_value
from .refusals import HINT
from .table import NotNumbersError, Part, Table, TableWriter


def translated(source: Any, dtype: str | None) -> PipelineModule:
    """The pipeline with as many steps as possible in the neural part."""
    kind = None if dtype is None else getattr(torch, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what training would not keep
        return to_torch(source, freeze=["*"], translate="all", dtype=kind)


def host_values(
    writer: TableWriter, net: PipelineModule, table: Table, steps: Container[str]
) -> dict[str, Table]:
    """The values of some steps outside of the modules, and the raw table, by name."""
    values = {INPUT: table}
    for step in net.graph:
        if step.name in steps:
            values[step.name] = host_value(writer, step, [values[name] for name in step.inputs])
    return values


def encoded_blocks(
    writer: TableWriter, net: PipelineModule, values: dict[str, Table], needed: Container[str]
) -> dict[str, Part]:
    """The blocks that enter the neural part, by port."""
    found: dict[str, Part] = {}
    for (name, source), port in net.host_part.ports.items():
        if name in needed and port not in found:
            found[port] = _encoded(writer, net, net.graph[name], values[source])
    return found


def _encoded(writer: TableWriter, net: PipelineModule, step: Step, table: Table) -> Part:
    try:
        return encoded(writer, step, table)
    except (NotNumbersError, ValueError) as error:
        reason = str(error)
        if isinstance(error, ValueError):
            reason = f"it rejects the categories that it was fitted on: {error}"
        problems = [(step.name, step.kind, reason)]
        raise UntranslatableError(problems, len(net.graph), HINT) from error


class UnknownOperationError(Exception):
    """A module calls an operation that a form of files does not have.

    Parameters
    ----------
    operation : str
        Its name, or what an exporter says.
    module : str
        Path of the module that calls it; empty if unknown.
    """

    def __init__(self, operation: str, module: str) -> None:
        super().__init__(operation, module)
        self.operation, self.module = operation, module


def operation_refused(
    net: PipelineModule, error: UnknownOperationError, form: str
) -> UntranslatableError:
    """The error of the step whose module calls an operation that a form of files lacks."""
    found = [
        step
        for step in net.neural_steps()
        if f"net.{net.parameter_prefix(step.name)}" in f"{error.module}."
    ]
    step = max(found, key=lambda one: len(one.name), default=net.graph[net.graph.output])
    reason = f"{form} has no operator for {error.operation}, which its module calls"
    return UntranslatableError([(step.name, step.kind, reason)], len(net.graph), HINT)


def version() -> str:
    """The version of pipegrad, which imports this module."""
    return str(sys.modules["pipegrad"].__version__)


@contextmanager
def refused_for_fixed_rows(net: PipelineModule) -> Iterator[None]:
    """Context in which torch may find that a module is for one number of rows."""
    try:
        yield
    except UserError as error:
        last = net.graph[net.graph.output]
        reason = "torch cannot trace its module for any number of rows"
        problems = [(last.name, last.kind, reason)]
        raise UntranslatableError(problems, len(net.graph), HINT) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Context in which the exporters of torch do not log or warn."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
