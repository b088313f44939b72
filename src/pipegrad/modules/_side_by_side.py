"""Outputs of several modules for the same rows, as one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor


class SideBySide:
    """Outputs of several modules for the same rows, side by side.

    Parameters
    ----------
    columns : Tensor, shape (n, sum of widths)
        The outputs, one after the other.
    widths : sequence of int
        Number of columns of each output.
    flat : bool
        Whether each output is (n,) instead of (n, 1).
    """

    columns: Tensor

    def __init__(self, columns: Tensor, widths: Sequence[int], flat: bool = False) -> None:
        self.columns = columns
        self.widths = tuple(widths)
        self.flat = flat

    def __len__(self) -> int:
        return len(self.widths)

    @cached_property
    def parts(self) -> tuple[Tensor, ...]:
        """Each output on its own, (n,) or (n, width)."""
        return self.columns.unbind(1) if self.flat else self.columns.split(self.widths, 1)

    @property
    def alike(self) -> bool:
        """Whether all outputs have the same width."""
        return len(set(self.widths)) == 1

    def stacked(self) -> Tensor:
        """Outputs of the same width as (n, outputs, width)."""
        return self.columns.unflatten(1, (len(self.widths), self.widths[0]))

    def take(self, places: Sequence[int]) -> SideBySide:
        """Some of the outputs, in another order."""
        if list(places) == list(range(len(self))):
            return self
        order = column_order(self.widths, places)
        columns = self.columns.index_select(1, order.to(self.columns.device))
        return SideBySide(columns, [self.widths[i] for i in places], self.flat)


class Selected(SideBySide):
    """Several selections of columns of the same rows, which are copied only when they are used.

    Parameters
    ----------
    rows : Tensor, shape (n, features)
        Rows.
    keep : Tensor of int64, shape (sum of widths,)
        The columns of all selections, one after the other.
    widths : sequence of int
        Number of columns of each selection.
    """

    def __init__(self, rows: Tensor, keep: Tensor, widths: Sequence[int]) -> None:
        self.rows = rows
        self.keep = keep
        self.widths = tuple(widths)
        self.flat = False

    def take(self, places: Sequence[int]) -> SideBySide:
        """Some of the selections, in another order."""
        if list(places) == list(range(len(self))):
            return self
        kept = self.keep.split(self.widths)
        keep = torch.cat([kept[i] for i in places])
        return Selected(self.rows, keep, [self.widths[i] for i in places])

    @cached_property
    def columns(self) -> Tensor:  # type: ignore[override]
        """The selected columns."""
        if self.keep.device.type == "cpu" and len(self.keep) == self.rows.shape[1]:
            if torch.equal(self.keep, torch.arange(len(self.keep))):
                return self.rows
        return self.rows.index_select(1, self.keep)


def column_order(widths: Sequence[int], places: Sequence[int]) -> Tensor:
    """The columns, of parts of these widths, that some of the parts consist of."""
    starts = [0, *accumulate(widths)]
    return torch.tensor([c for i in places for c in range(starts[i], starts[i + 1])])


def side_by_side(
    sources: Sequence[SideBySide | Tensor], places: Sequence[int], orders: dict[Any, Tensor | None]
) -> SideBySide:
    """Outputs of several origins side by side, in a given order.

    Parameters
    ----------
    sources : sequence of SideBySide or Tensor
        Outputs of groups of modules, and of single ones.
    places : sequence of int
        The place of each output among those of all sources one after the other.
    orders : dict
        Keeps the order of the columns for the next call.
    """
    together = [s if isinstance(s, SideBySide) else _alone(s) for s in sources]
    widths = tuple(chain.from_iterable(one.widths for one in together))
    flat = all(one.flat for one in together)
    parts = [one.columns for one in together]
    columns = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    if widths not in orders:
        orders.clear()
        order = column_order(widths, places)
        orders[widths] = None if torch.equal(order, torch.arange(len(order))) else order
    known = orders[widths]
    if known is not None:
        columns = _Permuted.apply(columns, known.to(columns.device))
        widths = tuple(widths[i] for i in places)
    return SideBySide(columns, widths, flat)


def _alone(output: Tensor) -> SideBySide:
    flat = output.ndim == 1
    return SideBySide(output[:, None] if flat else output, [1 if flat else output.shape[1]], flat)


class _Permuted(torch.autograd.Function):
    """Columns in another order; their gradient is copied, not added up."""

    generate_vmap_rule = True

    @staticmethod
    def forward(columns: Tensor, order: Tensor) -> Tensor:
        return columns.index_select(1, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return grad.index_select(1, torch.argsort(order)), None
