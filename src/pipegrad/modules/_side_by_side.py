"""Outputs of several modules for the same rows, as one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    def of(self, rows: Tensor) -> Selected:
        """The same selections of other rows."""
        other = Selected(rows, self.keep, self.widths)
        other.uses_all, other.is_whole = self.uses_all, self.is_whole
        return other

    def take(self, places: Sequence[int]) -> Selected:
        """Some of the selections, in another order."""
        if list(places) == list(range(len(self))):
            return self
        kept = self.keep.split(self.widths)
        keep = torch.cat([kept[i] for i in places])
        return Selected(self.rows, keep, [self.widths[i] for i in places])

    @cached_property
    def uses_all(self) -> bool:
        """Whether each column of the rows is selected."""
        return len(torch.unique(self.keep)) == self.rows.shape[1]

    @cached_property
    def columns(self) -> Tensor:  # type: ignore[override]
        """The selected columns."""
        return self.rows if self.is_whole else self.rows.index_select(1, self.keep)

    @cached_property
    def is_whole(self) -> bool:
        """Whether the selections are the rows themselves; False where finding out takes long."""
        count = self.rows.shape[1]
        on_cpu = self.keep.device.type == "cpu" and len(self.keep) == count
        return on_cpu and torch.equal(self.keep, torch.arange(count))


class Scaled(SideBySide):
    """Columns times factors plus constants, which a linear map after them can take up.

    Parameters
    ----------
    source : Tensor or SideBySide
        Rows of all outputs, or the rows of each.
    factor, added : Tensor, shape (sum of widths,)
        Factor and constant of each column.
    compute : callable
        The columns, if they are needed.
    widths : sequence of int
        Number of columns of each output.
    """

    def __init__(
        self,
        source: Tensor | SideBySide,
        factor: Tensor,
        added: Tensor,
        compute: Callable[[], Tensor],
        widths: Sequence[int],
    ) -> None:
        self.source = source
        self.factor = factor
        self.added = added
        self.compute = compute
        self.widths = tuple(widths)
        self.flat = False

    @cached_property
    def columns(self) -> Tensor:  # type: ignore[override]
        """The columns, scaled."""
        return self.compute()

    def matmul(self, weight: Tensor) -> Tensor:
        """The product of all columns with a weight (sum of widths, outputs)."""
        out = self._unscaled(self.factor[:, None] * weight)
        return out + self.added @ weight

    def _unscaled(self, weight: Tensor) -> Tensor:
        source = self.source
        if isinstance(source, Tensor):
            return source.matmul(weight.unflatten(0, (len(self), -1)).sum(0))
        if isinstance(source, Selected) and source.uses_all:
            rows = source.rows
            none = weight.new_zeros(rows.shape[1], weight.shape[1])
            return rows.matmul(none.index_add(0, source.keep, weight))
        return source.columns.matmul(weight)


class ScaledParts:
    """Scaled columns of several origins side by side, for the linear map after them.

    Parameters
    ----------
    parts : sequence of Scaled
        The columns.
    order : Tensor of int64, optional
        The place of each column among those of all parts.
    """

    def __init__(self, parts: Sequence[Scaled], order: Tensor | None) -> None:
        self.parts = parts
        self.order = order

    @property
    def columns(self) -> Tensor:
        """The columns, scaled."""
        columns = torch.cat([part.columns for part in self.parts], 1)
        return columns if self.order is None else columns.index_select(1, self.order)

    def matmul(self, weight: Tensor) -> Tensor:
        """The product of all columns with a weight, (n, outputs)."""
        if self.order is not None:
            weight = weight.index_select(0, torch.argsort(self.order).to(weight.device))
        weights = weight.split([sum(part.widths) for part in self.parts])
        products = [p.matmul(w) for p, w in zip(self.parts, weights, strict=True)]
        return torch.stack(products).sum(0) if len(products) > 1 else products[0]


def column_order(widths: Sequence[int], places: Sequence[int]) -> Tensor:
    """The columns, of parts of these widths, that some of the parts consist of."""
    starts = [0, *accumulate(widths)]
    return torch.tensor([c for i in places for c in range(starts[i], starts[i + 1])])


def side_by_side(
    sources: Sequence[SideBySide | Tensor], places: Sequence[int], orders: dict[Any, Any]
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
    widths, order, permutes = _order(together, places, orders)
    flat = all(one.flat for one in together)
    parts = [one.columns for one in together]
    columns = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    if order is not None:
        order = order.to(columns.device)
        columns = _Permuted.apply(columns, order) if permutes else columns.index_select(1, order)
    return SideBySide(columns, widths, flat)


def scaled_parts(
    sources: Sequence[Any], places: Sequence[int], orders: dict[Any, Any]
) -> ScaledParts | None:
    """Scaled columns of several origins, in the order of `side_by_side`; None for others."""
    if not all(isinstance(source, Scaled) for source in sources):
        return None
    return ScaledParts(sources, _order(sources, places, orders)[1])


def _order(
    sources: Sequence[SideBySide], places: Sequence[int], orders: dict[Any, Any]
) -> tuple[tuple[int, ...], Tensor | None, bool]:
    """The widths of all outputs in their order, and that of their columns if it is another one.

    The last value says whether that order has each column once.
    """
    widths = tuple(chain.from_iterable(one.widths for one in sources))
    if widths not in orders:
        order = column_order(widths, places)
        every = torch.arange(sum(widths))
        known = None if torch.equal(order, every) else order
        orders.clear()
        permutes = torch.equal(order.sort()[0], every)
        orders[widths] = tuple(widths[i] for i in places), known, permutes
    found: tuple[tuple[int, ...], Tensor | None, bool] = orders[widths]
    return found


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
