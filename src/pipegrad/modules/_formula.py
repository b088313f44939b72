"""Formulas of columns as expression trees, in nested tuples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._base import Module


def _truth(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def give(*values: Tensor) -> Tensor:
        return function(*values).to(values[0].dtype)

    return give


def _sign(x: Tensor) -> Tensor:
    return torch.where(torch.isnan(x), x, torch.sign(x))


_OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "mod": torch.fmod,
    "pow": torch.pow,
    "neg": torch.neg,
    "abs": torch.abs,
    "sign": _sign,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "atan2": torch.atan2,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "min": torch.minimum,
    "max": torch.maximum,
    "deg": torch.rad2deg,
    "rad": torch.deg2rad,
    "isna": _truth(torch.isnan),
    "eq": _truth(torch.eq),
    "ne": _truth(torch.ne),
    "lt": _truth(torch.lt),
    "le": _truth(torch.le),
    "gt": _truth(torch.gt),
    "ge": _truth(torch.ge),
    "and": _truth(torch.logical_and),
    "or": _truth(torch.logical_or),
    "not": _truth(torch.logical_not),
}


class ExpressionProgram(Module):
    """A formula of one or more columns.

    Parameters
    ----------
    formula : tuple
        Expression tree, such as ``("add", ("input", 0), ("number", 2.0))``. Operations are those of
        torch; comparisons return ones and zeros; ``("where", c, a, b)`` is a conditional.
    """

    def __init__(self, formula: tuple[Any, ...]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, *columns: Tensor) -> Tensor:
        """Columns (n,) or (n, k) to the same shape."""
        wide = next((c for c in columns if c.ndim > 1), columns[0])
        if wide.ndim > 1:
            columns = tuple(c[:, None] if c.ndim == 1 else c for c in columns)
        out = self._value(self.formula, columns)
        return out.expand_as(wide)

    def _value(self, formula: tuple[Any, ...], columns: tuple[Tensor, ...]) -> Tensor:
        name, *rest = formula
        if name == "input":
            return columns[rest[0]]
        if name in ("number", "truth"):
            return columns[0].new_tensor(rest[0])
        if name == "na":
            return columns[0].new_tensor(math.nan)
        if name == "default":
            return columns[0].new_tensor(0.0)
        values = [self._value(inner, columns) for inner in rest]
        if name == "where":
            return torch.where(values[0] != 0, values[1], values[2])
        return _OPERATIONS[name](*values)
