"""Translations of the columns that models read, and of their indicators."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from ....modules import Affine, ExpandedCategories, OrdinalEncode
from ....registry import register
from ...named.translations import NamedTranslation, index, numbers_of, write_numbers
from ..input_table import Row
from ..operators import expansion

_AT = "pipegrad.sources.h2o"
# More indicators are sparse.
_WIDEST = 256


@register(f"{_AT}.input_table.Row")
class RowRow(NamedTranslation):
    """Reads columns of the user's table on the host; modules receive the numbers."""

    raw_numbers = False

    def to_torch(self, operator: Row) -> nn.Module:
        return OrdinalEncode()

    def encode(self, operator: Row, X: Any) -> Any:
        return operator.run(X)


@register(f"{_AT}.operators.expansion.Expand")
class Expand(NamedTranslation):
    """Means that stand for missing numbers train."""

    sparse = False

    def to_torch(self, operator: expansion.Expand) -> nn.Module:
        return ExpandedCategories(
            operator.sizes,
            operator.first,
            None if operator.modes is None else index(operator.modes),
            None if operator.means is None else numbers_of(operator.means),
            sparse=sum(operator.sizes) > _WIDEST,
            fill=operator.fill,
        )

    def write_back(self, module: ExpandedCategories, operator: expansion.Expand) -> None:
        write_numbers(operator.means, module.means)


@register(f"{_AT}.operators.expansion.StandardizeLast")
class StandardizeLast(NamedTranslation):
    """Factors and offsets train where nothing else depends on them."""

    sparse = False

    def to_torch(self, operator: expansion.StandardizeLast) -> nn.Module:
        scale, offset = numbers_of(operator.scale), numbers_of(operator.offset)
        places = index(operator.start + np.arange(len(scale)))
        columns = places if operator.start else None
        return Affine(scale, offset, columns).requires_grad_(operator.trains)

    def write_back(self, module: Affine, operator: expansion.StandardizeLast) -> None:
        if operator.trains:
            write_numbers(operator.scale, module.scale())
            write_numbers(operator.offset, module.offset)
