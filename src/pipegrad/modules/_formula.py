"""Formulas of columns as programs: operations in order, each on the results of earlier ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ._base import Module
from ._sparse import Block, dense


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
    "log10": torch.log10,
    "log2": torch.log2,
    "log1p": torch.log1p,
    "expm1": torch.expm1,
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

    Every operation is evaluated once, however many others take its result.

    Parameters
    ----------
    program : sequence of tuple
        Operations in order, such as ``("input", 0), ("number", 2.0), ("add", 0, 1)``, where the
        arguments of an operation are the places of earlier ones; the last is the result.
        Operations are those of torch; comparisons return ones and zeros; ``("where", c, a, b)`` is
        a conditional.
    """

    def __init__(self, program: Sequence[tuple[Any, ...]]) -> None:
        super().__init__()
        self.program = tuple(program)
        self._ended = _ended(self.program)

    def forward(self, *blocks: Block) -> Tensor:
        """Columns (n,) or (n, k) to the same shape."""
        columns = tuple(dense(block) for block in blocks)
        wide = next((c for c in columns if c.ndim > 1), columns[0])
        if wide.ndim > 1:
            columns = tuple(c[:, None] if c.ndim == 1 else c for c in columns)
        values: list[Any] = []
        for (name, *arguments), ended in zip(self.program, self._ended, strict=True):
            if name in _LEAVES:
                values.append(_leaf(name, arguments, columns))
            elif name == "where":
                condition, first, second = (values[i] for i in arguments)
                values.append(torch.where(condition != 0, first, second))
            else:
                values.append(_OPERATIONS[name](*(values[i] for i in arguments)))
            for place in ended:
                values[place] = None
        return values[-1].expand_as(wide)


_LEAVES = ("input", "number", "truth", "na", "default")


def _ended(program: Sequence[tuple[Any, ...]]) -> list[list[int]]:
    """For each operation, the results that it is the last to take."""
    last = {
        place: i
        for i, (name, *arguments) in enumerate(program)
        if name not in _LEAVES
        for place in arguments
    }
    ended: list[list[int]] = [[] for _ in program]
    for place, i in last.items():
        ended[i].append(place)
    return ended


def _leaf(name: str, arguments: list[Any], columns: tuple[Tensor, ...]) -> Tensor:
    if name == "input":
        return columns[arguments[0]]
    if name == "na":
        return columns[0].new_tensor(math.nan)
    return columns[0].new_tensor(0.0 if name == "default" else arguments[0])
