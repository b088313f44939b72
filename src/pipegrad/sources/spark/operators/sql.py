"""Statements that compute columns; others need their columns in the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...named.operators import Host, Step
from ...named.programs import NotServedError, Program
from ..folder import Stage
from ..plan import Plan, reads
from ..sql import parse
from ..sql_formula import formula
from ..sql_values import evaluate
from ..unsupported import require_columns


@dataclass(eq=False, kw_only=True)
class ColumnOnHost(Host):
    """An expression of columns of the table, with Spark's types and its null."""

    program: Program

    def run(self, *values: Any) -> Any:
        """Numbers, truth values or texts (n,)."""
        return evaluate(self.program, values, len(values[0]))


@dataclass(eq=False, kw_only=True)
class Formula(Step):
    """An expression of columns that stages compute; NaN stands for null in its module.

    Parameters
    ----------
    program : tuple of tuple
        The expression.
    numbers_ : tuple of tuple
        The same with operations of torch.
    """

    exact = True

    program: Program
    numbers_: Program

    def run(self, *values: Any) -> Any:
        """Numbers, truth values or texts (n,)."""
        return evaluate(self.program, [np.asarray(v) for v in values], len(values[0]))


@reads("feature.SQLTransformer")
def _statement(stage: Stage, plan: Plan) -> None:
    try:
        whole, columns = parse(stage.text("statement"))
        made = {name: _step(stage, plan, name, program, names) for name, program, names in columns}
    except NotServedError as error:
        require_columns(stage, plan, f"its statement {error}, which Spark alone runs")
        return
    for name, step in made.items():
        if whole:
            plan.name(stage, name, step)
        else:
            plan.columns[name] = step  # It may take the name of a column that it drops.


def _step(stage: Stage, plan: Plan, name: str, program: Program, names: list[str]) -> str:
    if not names:
        raise NotServedError(f"computes {name!r} from no column")
    known = {column.lower(): column for column in plan.columns}  # Spark looks away from the case.
    names = [column if column in plan.columns else known.get(column.lower(), column)
             for column in names]  # fmt: skip
    texts = [column for column in names if column in plan.texts]
    if texts:
        raise NotServedError(f"reads {texts[0]!r}, a column of texts")
    inputs = [plan.column(column) for column in names]
    if program == (("input", 0),):
        return inputs[0]
    if all(isinstance(plan.steps[step].operator, Host) for step in inputs):
        return plan.step(stage, ColumnOnHost(program=program), *inputs, name=name)
    operator = Formula(program=program, numbers_=formula(program))
    return plan.step(stage, operator, *inputs, name=name)
