"""Sparse rows as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ._base import may_overwrite

_FEW_OUTPUTS = 4
# Rows of more columns are made dense only as long as they have no more numbers than this.
_MOST_COLUMNS, _MOST_NUMBERS = 1 << 20, 1 << 26


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A block of rows in compressed sparse row (CSR) format; gradients flow through ``values``.

    Torch's own CSR tensors do not propagate gradients to their values through a product, so the
    three arrays are separate tensors.

    Parameters
    ----------
    starts : Tensor of int64, shape (n_rows + 1,)
        Row ``i`` owns the entries ``starts[i]:starts[i + 1]``.
    columns : Tensor of int64, shape (n_entries,)
        Column of each entry.
    values : Tensor, shape (n_entries,)
        Value of each entry.
    width : int
        Number of columns.
    """

    starts: Tensor
    columns: Tensor
    values: Tensor
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and columns."""
        return (self.starts.shape[0] - 1, self.width)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        """The device of the values."""
        return self.values.device

    def to(self, *args: object, **kwargs: object) -> SparseRows:
        """Move or cast, as `Tensor.to` does; indices keep their dtype."""
        values = self.values.to(*args, **kwargs)  # type: ignore[call-overload]
        device = values.device
        return SparseRows(self.starts.to(device), self.columns.to(device), values, self.width)

    def with_values(self, values: Tensor) -> SparseRows:
        """The same sparsity pattern with other values."""
        return SparseRows(self.starts, self.columns, values, self.width)

    def rows(self) -> Tensor:
        """Row of each entry, shape (n_entries,)."""
        count = self.starts.shape[0] - 1
        return torch.repeat_interleave(torch.arange(count, device=self.device), self.starts.diff())

    def matmul(self, weight: Tensor) -> Tensor:
        """Product with a dense matrix ``(width, outputs)``; shape (n_rows, outputs)."""
        if not (self.columns.numel() and weight.shape[1]):
            return weight.new_zeros(self.shape[0], weight.shape[1])
        if weight.shape[1] <= _FEW_OUTPUTS:
            # Column by column, because the gradient of embedding_bag sorts all entries.
            rows = self.rows()
            columns = [
                self.row_sums(w.index_select(0, self.columns) * self.values, rows)
                for w in weight.unbind(1)
            ]
            return torch.stack(columns, 1)
        return functional.embedding_bag(
            self.columns,
            weight,
            self.starts,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )

    def scale(self, factors: Tensor) -> SparseRows:
        """Multiply column ``j`` by ``factors[j]``."""
        return self.with_values(self.values * factors[self.columns])

    def divide(self, divisors: Tensor) -> SparseRows:
        """Divide column ``j`` by ``divisors[j]``."""
        return self.with_values(self.values / divisors[self.columns])

    def row_sums(self, values: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """Sum of each row's values (or of other values with the same pattern), shape (n_rows,)."""
        values = self.values if values is None else values
        rows = self.rows() if rows is None else rows
        return values.new_zeros(self.shape[0]).index_add(0, rows, values)

    def take(self, index: Tensor | slice) -> SparseRows:
        """Some of the rows, in the order of ``index``."""
        if isinstance(index, slice):
            first, last, step = index.indices(self.shape[0])
            if step == 1 and first < last:
                return self._run(first, last)
            index = torch.arange(self.shape[0])[index]
        index = index.to(self.device)
        counts = self.starts.diff()[index]
        starts = functional.pad(counts.cumsum(0), (1, 0))
        shift = torch.repeat_interleave(self.starts[index] - starts[:-1], counts)
        entries = torch.arange(shift.shape[0], device=self.device) + shift
        return SparseRows(starts, self.columns[entries], self.values[entries], self.width)

    def _run(self, first: int, last: int) -> SparseRows:
        """Consecutive rows, without a copy of their entries."""
        starts = self.starts[first : last + 1]
        begin, end = int(starts[0]), int(starts[-1])
        return SparseRows(
            starts - begin, self.columns[begin:end], self.values[begin:end], self.width
        )

    def to_dense(self, fill: float = 0.0) -> Tensor:
        """The block as a dense tensor (n_rows, width), with ``fill`` for entries not stored.

        Raises
        ------
        MemoryError
            If rows of millions of columns, such as hashes of many bits, would take too much memory.
        """
        if self.width > _MOST_COLUMNS and self.shape[0] * self.width > _MOST_NUMBERS:
            size = self.shape[0] * self.width * self.values.itemsize / 1e9
            raise MemoryError(
                f"{self.shape[0]:,} rows of {self.width:,} sparse columns would need {size:.3g} GB "
                "for a step that takes dense rows only.\nHint: pass fewer rows at a time, or use "
                "fewer columns (fewer hash bits)."
            )
        dense = self.values.new_full(self.shape, fill)
        place = self.rows(), self.columns
        if fill == 0 and may_overwrite(dense, self.values):
            flat = place[0].mul_(self.width).add_(self.columns)
            dense.view(-1).index_add_(0, flat, self.values)
            return dense
        return dense.index_put(place, self.values, accumulate=fill == 0)

    def select(self, keep: Tensor) -> SparseRows:
        """The columns ``keep`` (int64 indices, increasing), shape (n_rows, len(keep))."""
        place = torch.full((self.width,), -1, dtype=torch.int64, device=self.device)
        place[keep] = torch.arange(keep.shape[0], device=self.device)
        columns = place[self.columns]
        here = columns >= 0
        counts = torch.zeros(self.shape[0], dtype=torch.int64, device=self.device)
        counts = counts.index_add(0, self.rows()[here], torch.ones_like(columns[here]))
        starts = functional.pad(counts.cumsum(0), (1, 0))
        return SparseRows(starts, columns[here], self.values[here], keep.shape[0])

    @staticmethod
    def from_dense(dense: Tensor) -> SparseRows:
        """Store every entry of a dense block, including zeros, so that all receive gradients."""
        count, width = dense.shape
        starts = torch.arange(count + 1, device=dense.device) * width
        columns = torch.arange(width, device=dense.device).repeat(count)
        return SparseRows(starts, columns, dense.reshape(-1), width)

    @staticmethod
    def concatenate(blocks: list[Block]) -> SparseRows:
        """Concatenate blocks horizontally, shape (n_rows, sum of widths)."""
        parts = [b if isinstance(b, SparseRows) else SparseRows.from_dense(b) for b in blocks]
        offset, columns, rows = 0, [], []
        for part in parts:
            columns.append(part.columns + offset)
            rows.append(part.rows())
            offset += part.width
        order = torch.argsort(torch.cat(rows), stable=True)
        starts = torch.stack([part.starts for part in parts]).sum(0)
        values = torch.cat([part.values for part in parts])
        return SparseRows(starts, torch.cat(columns)[order], values[order], offset)


Block: TypeAlias = Tensor | SparseRows


def dense(block: Block) -> Tensor:
    """The block as a dense tensor."""
    return block.to_dense() if isinstance(block, SparseRows) else block
