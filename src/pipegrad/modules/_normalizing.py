"""Column-wise normalization, and normalization of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._base import Module, Positive, parameter
from ._distances import safe_sqrt
from ._scaling import put_missing_back, set_missing_aside
from ._sparse import Block, SparseRows, dense


class Affine(Module):
    """``(x - offset) * scale`` for all columns or for some of them; NaN passes through.

    Parameters
    ----------
    scale : Tensor, shape (features,)
        Factor of each column, which keeps its sign in training; a zero stays zero.
    offset : Tensor, shape (features,), optional
        Value subtracted from each column; none by default.
    columns : Tensor of int64, optional
        Columns that are transformed; all by default.
    """

    columns: Tensor | None

    def __init__(
        self, scale: Tensor, offset: Tensor | None = None, columns: Tensor | None = None
    ) -> None:
        super().__init__()
        self.scale = Positive(scale)
        self.offset = None if offset is None else parameter(offset)
        self.register_buffer("columns", columns)

    def forward(self, x: Block) -> Block:
        """Same shape out as in: (n, features), or (n,) for a single column.

        Sparse rows stay sparse if there is no offset.
        """
        if isinstance(x, SparseRows):
            if self.columns is None and self.offset is None:
                return x.scale(self.scale())
            x = x.to_dense()
        if self.columns is None:
            return self._map(x)
        out = self._map(x.index_select(1, self.columns))
        return x.index_copy(1, self.columns, out)

    def _map(self, x: Tensor) -> Tensor:
        missing, x = set_missing_aside(x)
        out = x if self.offset is None else x - self.offset
        return put_missing_back(missing, out * self.scale())

    def reset_parameters(self) -> None:
        """Set unit scale and zero offset."""
        super().reset_parameters()
        if self.offset is not None:
            nn.init.zeros_(self.offset)


class NormalDistribution(Module):
    """The normal cumulative distribution function of each column, in Winitzki's approximation.

    See Winitzki, *A handy approximation for the error function and its inverse*, 2008.

    Parameters
    ----------
    mean : Tensor, shape (features,)
        Mean of each column.
    deviation : Tensor, shape (features,)
        Standard deviation of each column; positive.
    logarithm : bool
        Whether to take the logarithm of ``x`` first (a log-normal distribution).
    """

    _SHAPE = 0.147

    def __init__(self, mean: Tensor, deviation: Tensor, logarithm: bool = False) -> None:
        super().__init__()
        self.mean = parameter(mean)
        self.deviation = Positive(deviation)
        self.logarithm = logarithm

    def forward(self, x: Block) -> Tensor:
        """Map to the same shape; 0 for entries without a finite (logarithmic) value."""
        x = dense(x)
        if self.logarithm:
            usable = (x > 0) & torch.isfinite(x)
            x = torch.log(torch.where(usable, x, 1.0))
        else:
            usable = torch.isfinite(x)
            x = torch.where(usable, x, 0.0)
        z = (x - self.mean) / self.deviation()
        half = z * z / 2
        share = (4 / math.pi + self._SHAPE * half) / (1 + self._SHAPE * half)
        out = 0.5 + 0.5 * torch.sign(z) * safe_sqrt(1 - torch.exp(-half * share))
        return torch.where(usable, out, 0.0)

    def reset_parameters(self) -> None:
        """Set the standard normal distribution."""
        super().reset_parameters()
        nn.init.zeros_(self.mean)


class BinPosition(Module):
    """The index of the bin that contains the entry, scaled to between 0 and 1.

    Parameters
    ----------
    bounds : sequence of Tensor
        Increasing upper bounds of the bins of each column; the last one is infinite.
    from_zero : bool
        Whether to subtract the output for zero.
    """

    bounds: Tensor
    divisors: Tensor
    origin: Tensor

    def __init__(self, bounds: Sequence[Tensor], from_zero: bool = False) -> None:
        super().__init__()
        padded = nn.utils.rnn.pad_sequence(list(bounds), batch_first=True, padding_value=torch.inf)
        self.register_buffer("bounds", padded.contiguous())
        counts = torch.tensor([max(1, len(b) - 1) for b in bounds])
        self.register_buffer("divisors", counts.to(padded.dtype))
        zeros = padded.new_zeros(1, len(counts))
        origin = self._place(zeros)[0] if from_zero else zeros[0]
        self.register_buffer("origin", origin)

    def forward(self, x: Block) -> Tensor:
        """Same shape out as in; NaN passes, gradients do not."""
        x = dense(x)
        table = x[:, None] if x.ndim == 1 else x
        missing, table = set_missing_aside(table)
        out = put_missing_back(missing, self._place(table) - self.origin)
        return out.reshape(x.shape)

    def _place(self, x: Tensor) -> Tensor:
        found = torch.searchsorted(self.bounds, x.T.contiguous()).T
        return found.to(x.dtype) / self.divisors


class RowNorm(Module):
    """Divide each row, optionally centered, by its norm.

    Rows of norm zero, and rows whose factor would be below 1e-8, are not normalized.

    Parameters
    ----------
    norm : {"l2", "l1", "max", "std"}
        Norm: length, sum of absolute values, largest absolute value, or standard deviation.
    center : bool
        Whether to subtract the mean of the row first.
    scale : float
        Factor of the result.
    """

    _SMALLEST = 1e-8

    def __init__(self, norm: str = "l2", center: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.norm, self.center, self.scale = norm, center, scale

    def forward(self, x: Block) -> Tensor:
        """Same shape out as in."""
        x = dense(x)
        if self.center:
            x = x - x.mean(1, keepdim=True)
        size = self._size(x)
        usable = size > 0
        factor = torch.where(usable, self.scale / torch.where(usable, size, 1.0), self.scale)
        factor = torch.where(factor < self._SMALLEST, 1.0, factor)
        return x * factor[:, None]

    def _size(self, x: Tensor) -> Tensor:
        if self.norm == "l1":
            return x.abs().sum(1)
        if self.norm == "max":
            return torch.where(torch.isnan(x), 0.0, x.abs()).amax(1)
        if self.norm == "std":
            x = x - x.mean(1, keepdim=True)
            return safe_sqrt((x * x).mean(1))
        return safe_sqrt((x * x).sum(1))
