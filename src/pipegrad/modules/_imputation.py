"""Imputation of missing entries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ._base import Module, parameter
from ._sparse import Block, SparseRows


def _indices(values: Sequence[int] | None) -> Tensor | None:
    return None if values is None else torch.tensor(list(values), dtype=torch.int64)


class Missing(Module):
    """Indicators of missing entries.

    Parameters
    ----------
    missing : float
        Marker of a missing entry, NaN or a number.
    columns : sequence of int, optional
        Columns to report; all by default.
    sparse : bool
        Whether to return `SparseRows` for dense rows, too.
    """

    columns: Tensor | None

    def __init__(
        self,
        missing: float = math.nan,
        columns: Sequence[int] | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.missing = missing
        self.sparse = sparse
        self.register_buffer("columns", _indices(columns))

    def mask(self, values: Tensor) -> Tensor:
        """Whether each entry is missing."""
        return torch.isnan(values) if math.isnan(self.missing) else values == self.missing

    def forward(self, x: Block) -> Block:
        """(n, d) to (n, number of columns reported)."""
        if isinstance(x, SparseRows):
            flags = x.with_values(self.mask(x.values).to(x.dtype))
            return flags if self.columns is None else flags.select(self.columns)
        out = self.mask(x).to(x.dtype)
        if self.columns is not None:
            out = out.index_select(1, self.columns)
        return SparseRows.from_dense(out) if self.sparse else out


class Impute(Module):
    """Replace missing entries by one number for each column.

    Parameters
    ----------
    fill : Tensor, shape (kept,)
        Fill value of each column that is kept.
    missing : float
        Marker of a missing entry, NaN or a number.
    keep : sequence of int, optional
        Columns to keep; all by default.
    flags : sequence of int, optional
        Columns whose missing indicators are appended; none by default.
    trainable : bool
        Whether the fill values train.
    """

    keep: Tensor | None

    def __init__(
        self,
        fill: Tensor,
        missing: float = math.nan,
        keep: Sequence[int] | None = None,
        flags: Sequence[int] | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        if trainable:
            self.fill = parameter(fill)
        else:
            self.register_buffer("fill", fill.clone())
        self.register_buffer("keep", _indices(keep))
        self.absent = Missing(missing)
        self.flags = None if flags is None else Missing(missing, flags)

    def forward(self, x: Block) -> Block:
        """(n, d) to (n, kept + flags)."""
        flags = None if self.flags is None else self.flags(x)
        out = self._sparse(x) if isinstance(x, SparseRows) else self._dense(x)
        if flags is None:
            return out
        if isinstance(out, SparseRows):
            return SparseRows.concatenate([out, flags])
        return torch.cat([out, flags], 1)

    def _dense(self, x: Tensor) -> Tensor:
        if self.keep is not None:
            x = x.index_select(1, self.keep)
        return torch.where(self.absent.mask(x), self.fill, x)

    def _sparse(self, x: SparseRows) -> SparseRows:
        if self.keep is not None:
            x = x.select(self.keep)
        fill = self.fill if self.fill.numel() == 1 else self.fill[x.columns]
        return x.with_values(torch.where(self.absent.mask(x.values), fill, x.values))

    def reset_parameters(self) -> None:
        """Set zero fill values."""
        with torch.no_grad():
            self.fill.zero_()
