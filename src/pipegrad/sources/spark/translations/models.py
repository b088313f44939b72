"""Expands a model into its steps."""

from __future__ import annotations

from typing import Any

from ....registry import Expansion, register
from ..model import Model


@register("pipegrad.sources.spark.model.Model")
class ModelRow(Expansion):
    """Named columns are the edges; steps that no column needs are left out."""

    def expand(self, operator: Model, builder: Any, source: str, path: str, method: str) -> str:
        output = operator.output
        needed = {output, *operator.plan.columns.values()}
        for made in reversed(operator.plan.steps.values()):
            if made.name in needed:
                needed.update(made.inputs)
        for made in operator.plan.steps.values():
            if made.name in needed:
                inputs = tuple(source if name == "input" else name for name in made.inputs)
                kind = f"spark.{made.operator.kind or 'column'}"
                builder.add(made.name, made.operator, inputs, made.method, kind)
        builder.columns = dict(operator.plan.columns)
        return output
