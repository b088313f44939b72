"""Models of named columns, such as those of ML.NET: which columns a file gives, and their types.

Inputs and outputs have the names and types that ML.NET gives them when it writes ONNX itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ..graph import Step
from ..modules import dense
from ..named import NamedPipeline, read_table
from ..network import PipelineNetwork
from ..sources.mlnet.operators._base import Input
from ..sources.mlnet.operators.linear import Constant
from ..sources.mlnet.schema import Column
from .answers import as_table, in_dense_rows
from .mlnet_steps import element
from .refusals import why_not, why_not_outside
from .table import Part, Table

if TYPE_CHECKING:
    from .onnx_graph import GraphWriter

OUTPUT = ".output"
"""What follows the name of a column in the name of its output."""


@dataclass
class GivenColumns:
    """The columns that a file gives, and the steps that they need.

    Parameters
    ----------
    columns : dict of str to Column
        The columns by name.
    exact : set of str
        Steps whose values have more digits, or are text, than a module could pass on.
    needed : set of str
        All steps that the columns depend on.
    outside : set of str
        Those that are computed outside of the modules.
    left_out : dict of str to str
        Columns that the model computes and the file does not give, with the reason.
    """

    columns: dict[str, Column]
    exact: set[str]
    needed: set[str]
    outside: set[str]
    left_out: dict[str, str] = field(default_factory=dict)

    def add_answer(self, writer: GraphWriter, name: str, part: Part) -> None:
        """Declare the output for a column that the modules compute."""
        _add_output(writer, name, self.columns[name], part)

    def add_exact(self, writer: GraphWriter, values: dict[str, Table]) -> None:
        """Declare the outputs for the other columns."""
        for name, column in self.columns.items():
            if column.value in self.exact:
                (part,) = values[column.value].parts
                _add_output(writer, name, column, part)


def given_columns(net: NamedPipeline) -> GivenColumns:
    """Choose the columns of a file.

    They are the answers of a predictor, though another column of the name may hide them, and all
    visible columns that depend on nothing but the raw columns which those need, so that no label is
    needed to predict; without a predictor, all visible columns that the model computes.
    """
    source: Any = net.source
    exact = net.exact_steps()
    visible, answers = set(map(id, source.schema.visible())), set(source.answers.values())
    computed = {
        name: column
        for name, column in source.schema.named().items()
        if name in answers or (id(column) in visible and name in net.graph.columns)
    }
    required = {name: c for name, c in computed.items() if name in answers} or computed
    wanted, left_out = dict(required), {}
    inputs = _inputs(net, required)
    for name, column in computed.items():
        reason = _why_left_out(net, column, exact, inputs)
        if name not in required and reason:
            left_out[name] = reason
        else:
            wanted[name] = column
    steps = [column.value for column in wanted.values()]
    outside = net.graph.ancestors(*(step for step in steps if step in exact))
    inner = net.graph.ancestors(*(step for step in steps if step not in exact))
    outside |= inner & net.host_part.host
    return GivenColumns(wanted, exact, inner | outside, outside, left_out)


def _inputs(net: NamedPipeline, columns: dict[str, Column]) -> set[str]:
    """The raw columns that some columns depend on, as steps."""
    needed = net.graph.ancestors(*(column.value for column in columns.values()))
    return {s.name for s in net.graph if s.name in needed and isinstance(s.operator, Input)}


def _why_left_out(
    net: NamedPipeline, column: Column, exact: set[str], inputs: set[str]
) -> str | None:
    before = net.graph.ancestors(column.value)
    for step in (step for step in net.graph if step.name in before):
        if isinstance(step.operator, Input) and step.name not in inputs:
            return f"it needs column {step.operator.name!r}, which no prediction needs"
        reason = _why_not(net, step, exact)
        if reason:
            return f"{step.name!r}: {reason}"
    return None


def _why_not(net: NamedPipeline, step: Step, exact: set[str]) -> str | None:
    return why_not_outside(step, "onnx") if step.name in exact else why_not(net, step, "onnx")


def named_columns(source: Any, rows: Any) -> dict[str, Any]:
    """The raw columns of a model, as it reads them from a table or the path of one."""
    table = read_table(rows)
    operators = [made.operator for made in source.steps.values()]
    inputs = [one for one in operators if isinstance(one, Input) and source.reads(one, table)]
    return {one.name: one.run(table) for one in inputs}


def _add_output(writer: GraphWriter, name: str, column: Column, part: Part) -> None:
    value, kind = _typed(writer, part, column), element(column.type)
    writer.add_output(f"{name}{OUTPUT}", value, kind, ["rows", part.width])


def _typed(writer: GraphWriter, part: Part, column: Column) -> str:
    """The values of a column in the type that ML.NET gives it."""
    kind = element(column.type)
    if part.kind == kind:
        return part.name
    if kind == "string":  # Modules represent texts by their keys.
        known = np.concatenate([np.array([""], dtype=object), column.type.values])
        places = writer.cast(part.name, "int64", part.kind)
        return writer.node("Gather", writer.constant(known), places, axis=0)
    name = part.name
    if part.kind.startswith("float") and kind.lstrip("u").startswith("int"):
        # Integers represent a missing category by 0.
        name = writer.node("Where", writer.node("IsNaN", name), writer.reals([0.0]), name)
        name = writer.cast(name, "int64")
    return writer.cast(name, kind)


class ColumnAnswers(nn.Module):
    """The columns of a model that its modules compute, from the blocks of its neural part.

    Parameters
    ----------
    net : NamedPipeline
        The translated model, which is copied.
    ports : list of str
        Names of the blocks, in the order of the arguments.
    note : callable
        Gets the names of the columns in a pass; a trace would restore an attribute.
    given : GivenColumns
        The columns.
    """

    def __init__(
        self,
        net: NamedPipeline,
        ports: list[str],
        note: Callable[[list[str]], None],
        given: GivenColumns,
    ) -> None:
        super().__init__()
        self.net: PipelineNetwork = in_dense_rows(net)
        self.ports = ports
        self.note = note
        self.names = [n for n, c in given.columns.items() if c.value not in given.exact]
        self.values = [given.columns[name].value for name in self.names]
        known = net.host_part.ports.items()
        self.flat = {port for (step, source), port in known if _is_flat(net, step, source)}

    def forward(self, *blocks: Tensor) -> tuple[Tensor, ...]:
        """The columns (n, k), whose names are noted."""
        given = dict(zip(self.ports, blocks, strict=True))
        given = {port: x[:, 0] if port in self.flat else x for port, x in given.items()}
        found = self.net.evaluate_steps(given, self.net.graph.ancestors(*self.values))
        self.note(self.names)
        return tuple(as_table(dense(found[step])) for step in self.values)


def _is_flat(net: NamedPipeline, step: str, source: str) -> bool:
    """Whether a step takes one number for a row from a step outside of the modules."""
    return isinstance(net.graph[step].operator, Constant) or _is_number(net, source)


def _is_number(net: NamedPipeline, name: str) -> bool:
    """Whether a step outside of the modules gives one number for a row, and no vector."""
    step = net.graph[name]
    if isinstance(step.operator, Input):
        return step.operator.type.size is None
    return len(step.inputs) == 1 and _is_number(net, step.inputs[0])
