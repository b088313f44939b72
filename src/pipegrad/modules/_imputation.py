"""Imputation of missing entries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ._answers import is_exported
from ._base import Module, parameter
from ._metrics import nan_euclidean
from ._neighbors import inverse_weights, soft_weights, weighted_mean
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


class ImputedColumn(Module):
    """A table in which predictions replace the missing entries of one column.

    Parameters
    ----------
    column : int
        The column of the table.
    raw : int
        The same column in the table with missing entries.
    missing : float
        Marker of a missing entry, NaN or a number.
    low, high : float
        The range to which predictions are clipped.
    """

    def __init__(self, column: int, raw: int, missing: float, low: float, high: float) -> None:
        super().__init__()
        self.column, self.raw, self.low, self.high = column, raw, low, high
        self.absent = Missing(missing)

    def forward(self, table: Tensor, x: Tensor, prediction: Tensor) -> Tensor:
        """A filled table (n, k), the table with missing entries and predictions to (n, k)."""
        clipped = prediction.reshape(-1).clamp(self.low, self.high)
        before = table[:, self.column]
        filled = torch.where(self.absent.mask(x[:, self.raw]), clipped, before)
        parts = [table[:, : self.column], filled[:, None], table[:, self.column + 1 :]]
        return torch.cat(parts, 1)


class UnlessAllMissing(Module):
    """The first of two tables; the second if all entries of a third one are missing.

    Parameters
    ----------
    missing : float
        Marker of a missing entry, NaN or a number.
    columns : sequence of int
        Columns of the third table that count.
    """

    columns: Tensor

    def __init__(self, missing: float, columns: Sequence[int]) -> None:
        super().__init__()
        self.absent = Missing(missing)
        self.register_buffer("columns", _indices(columns))

    def forward(self, table: Tensor, other: Tensor, x: Tensor) -> Tensor:
        """One of the first two tables."""
        return torch.where(self.absent.mask(x[:, self.columns]).all(), other, table)


class NearestDonors(Module):
    """Replace missing entries by the mean of the nearest stored rows that have the entry.

    Weights are those of `NeighborMean`. See Troyanskaya and others, *Missing value estimation
    methods for DNA microarrays*, 2001.

    Parameters
    ----------
    points : Tensor, shape (stored, features)
        Stored rows with NaN for missing entries, which do not train.
    count : int
        Number of neighbors.
    missing : float
        Marker of a missing entry in the input, NaN or a number.
    inverse : bool
        Whether rows weigh by the inverse distance.
    empty : bool
        Whether columns without any entry in the stored rows become zeros, and are not dropped.
    flags : sequence of int, optional
        Columns whose missing indicators are appended; none by default.
    undefined : bool
        Whether rows without an entry in common count as the farthest neighbors.
    """

    points: Tensor

    def __init__(
        self,
        points: Tensor,
        count: int,
        missing: float = math.nan,
        inverse: bool = False,
        empty: bool = False,
        flags: Sequence[int] | None = None,
        undefined: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("points", points)
        for place, column in enumerate(points.unbind(1)):
            donors = torch.isnan(column).logical_not().nonzero().squeeze(1)
            self.register_buffer(f"donors_{place}", donors)
        self.count, self.inverse, self.empty, self.undefined = count, inverse, empty, undefined
        self.absent = Missing(missing)
        self.flags = None if flags is None else Missing(missing, flags)

    def forward(self, x: Tensor, soft: bool = True) -> Tensor:
        """(n, d) to (n, kept + flags)."""
        absent = self.absent.mask(x)
        gaps = nan_euclidean(torch.where(absent, math.nan, x), self.points)
        far = torch.where(torch.isnan(gaps), math.inf, gaps)
        columns = []
        for place, (values, missing) in enumerate(zip(x.unbind(1), absent.unbind(1), strict=True)):
            donors = self.get_buffer(f"donors_{place}")
            if not len(donors):
                columns += [torch.zeros_like(values)] * self.empty
            elif _surely_none(missing):
                columns.append(values)
            else:
                fill = self._fill(far[:, donors], self.points[donors, place], soft)
                columns.append(torch.where(missing, fill, values))
        out = torch.stack(columns, 1) if columns else x[:, :0]
        return out if self.flags is None else torch.cat([out, self.flags(x)], 1)

    def _fill(self, gaps: Tensor, values: Tensor, soft: bool) -> Tensor:
        count = min(self.count, gaps.shape[1])
        if self.inverse or not soft:
            near, index = gaps.topk(count, largest=False)
            known = near < math.inf
            weights = inverse_weights(near) if self.inverse else torch.ones_like(near)
        else:
            weights, index = soft_weights(gaps, count)
            known = gaps.gather(1, index) < math.inf
        if self.inverse or not self.undefined:
            weights = weights * known
        mean = weighted_mean(weights, values[index])
        return torch.where(known.any(1), mean, values.mean())


def _surely_none(flags: Tensor) -> bool:
    """Whether no flag is set, where that can be told."""
    try:
        return not is_exported() and not bool(flags.any())
    except RuntimeError:  # Under torch.func.vmap, which cannot branch on data.
        return False
