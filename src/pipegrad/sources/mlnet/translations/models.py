"""Expands a model into its steps."""

from __future__ import annotations

from typing import Any

from ....registry import Expansion, register
from ..model import Model
from ..operators._base import Input


@register("pipegrad.sources.mlnet.model.Model")
class ModelRow(Expansion):
    """Named columns are the edges; unused raw columns are left out."""

    def expand(self, operator: Model, builder: Any, source: str, path: str, method: str) -> str:
        output = operator.output
        named = {n: c.value for n, c in operator.schema.named().items() if not c.raw}
        read = {output, *named.values()}
        read.update(name for made in operator.steps.values() for name in made.inputs)
        for made in operator.steps.values():
            if made.name in read or not isinstance(made.operator, Input):
                inputs = tuple(source if name == "input" else name for name in made.inputs)
                kind = f"mlnet.{made.operator.loader}"
                builder.add(made.name, made.operator, inputs, made.method, kind)
        builder.columns = named
        return output
