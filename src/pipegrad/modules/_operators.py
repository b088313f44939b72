"""Solvers as single operators of torch, which exported programs hold as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._sparse import Block, SparseRows


def one_by_one(operator: Any) -> Callable[..., tuple[Tensor, int]]:
    """A rule of `torch.func.vmap` that calls an operator once for each candidate."""

    def rule(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        columns = [
            [value] * info.batch_size if dim is None else value.unbind(dim)
            for value, dim in zip(inputs, in_dims, strict=True)
        ]
        return torch.stack([operator(*one) for one in zip(*columns, strict=True)]), 0

    return rule


def taken_apart(x: Block) -> tuple[Tensor, Tensor, Tensor]:
    """Rows as three tensors: values, starts and columns; the latter are empty for dense rows."""
    if isinstance(x, SparseRows):
        return x.values, x.starts, x.columns
    none = x.new_empty(0, dtype=torch.int64)
    return x, none, none


def put_together(values: Tensor, starts: Tensor, columns: Tensor, width: int) -> Block:
    """The rows of `taken_apart`."""
    return SparseRows(starts, columns, values, width) if values.ndim == 1 else values


def count_of_rows(values: Tensor, starts: Tensor) -> int:
    """The number of rows of `taken_apart`."""
    return starts.shape[0] - 1 if values.ndim == 1 else values.shape[0]
