"""Expands a model into its steps."""

from __future__ import annotations

from typing import Any

from ....registry import Expansion, register
from ...named.expansion import add_steps
from ..model import Model


@register("pipegrad.sources.spark.model.Model")
class ModelRow(Expansion):
    """Named columns are the edges; steps that no column needs are left out."""

    def expand(self, operator: Model, builder: Any, source: str, path: str, method: str) -> str:
        plan = operator.plan
        add_steps(builder, plan.steps, plan.columns, operator.output, source, "spark")
        return operator.output
