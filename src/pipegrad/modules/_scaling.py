"""Column-wise shifts and scales, and normalization of rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._base import Module, Positive, fixed_unless, is_finite, may_overwrite, parameter
from ._sparse import Block, SparseRows


def set_missing_aside(x: Tensor) -> tuple[Tensor | None, Tensor]:
    """Replace NaN by zero, and return the mask of NaN (None if there are none) and the result.

    A NaN that only passes through would still turn the gradients of a whole column into NaN.
    """
    # Without NaN there is nothing to fill, which saves three passes. A traced graph must be valid
    # for all data, and on an accelerator this check would synchronize.
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and not _may_have_missing(x):
        return None, x
    missing = torch.isnan(x)
    return missing, x.masked_fill(missing, 0.0)


def _may_have_missing(x: Tensor) -> bool:
    """Whether there is a NaN; True under `torch.func.vmap`, which cannot branch on data."""
    try:
        # A sum is NaN if a term is; otherwise, only for infinities of both signs.
        return math.isnan(x.detach().sum().item()) and bool(torch.isnan(x).any())
    except RuntimeError:
        return True


def put_missing_back(missing: Tensor | None, out: Tensor) -> Tensor:
    """``out`` with NaN in the entries of the mask ``missing``."""
    return out if missing is None else out.masked_fill(missing, torch.nan)


class Standardize(Module):
    """``(x - shift) / scale`` for each column, optionally clipped to a range; NaN passes through.

    Parameters
    ----------
    shift : Tensor, shape (features,), optional
        Value subtracted from each column; none by default. Sparse rows are scaled, never shifted.
    scale : Tensor, shape (features,), optional
        Positive divisor of each column, which stays positive in training; none by default.
    bounds : (float, float), optional
        Range to which the output is clipped.
    """

    def __init__(
        self,
        shift: Tensor | None = None,
        scale: Tensor | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.shift = None if shift is None else parameter(shift)
        self.scale = None if scale is None else Positive(scale)
        self.bounds = bounds
        self._whole = shift is None or is_finite(shift)

    def forward(self, x: Block) -> Block:
        """Same shape out as in, dense or sparse."""
        scale = None if self.scale is None else self.scale()
        if isinstance(x, SparseRows):
            scale = None if scale is None else scale[x.columns]
            return x.with_values(self._entries(x.values, None, scale))
        shift = self.shift if self._whole else _trained_where_finite(self.shift)
        return self._entries(x, shift, scale)

    def _entries(self, x: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
        # Gradients alone need NaN set aside: a difference and a quotient pass it through.
        missing, out = set_missing_aside(x) if torch.is_grad_enabled() else (None, x)
        out = out if shift is None else out - shift
        if scale is not None:
            in_place = shift is not None and may_overwrite(out, scale)
            out = out.div_(scale) if in_place else out / scale
        if self.bounds is not None:
            out = torch.clamp(out, *self.bounds)
        return put_missing_back(missing, out)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The factor and the constant of each column, without bounds."""
        like = self.shift if self.scale is None else self.scale.initial
        assert like is not None
        factor = torch.ones_like(like) if self.scale is None else 1 / self.scale()
        added = torch.zeros_like(like) if self.shift is None else -self.shift * factor
        return factor, added

    def reset_parameters(self) -> None:
        """Set zero shift and unit scale."""
        super().reset_parameters()
        if self.shift is not None:
            nn.init.zeros_(self.shift)


class Rescale(Module):
    """``x * scale + offset`` for each column, optionally clipped to a range; NaN passes through.

    Parameters
    ----------
    scale : Tensor, shape (features,)
        Positive factor of each column, which stays positive in training.
    offset : Tensor, shape (features,)
        Value added after scaling.
    bounds : (float, float), optional
        Range to which the output is clipped.
    """

    def __init__(
        self, scale: Tensor, offset: Tensor, bounds: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.scale = Positive(scale)
        self.offset = parameter(offset)
        self.bounds = bounds
        self._whole = is_finite(offset)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        missing, x = set_missing_aside(x) if torch.is_grad_enabled() else (None, x)
        offset = self.offset if self._whole else _trained_where_finite(self.offset)
        out = x * self.scale()
        out = out.add_(offset) if may_overwrite(out, offset) else out + offset
        if self.bounds is not None:
            out = torch.clamp(out, *self.bounds)
        return put_missing_back(missing, out)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The factor and the constant of each column, without bounds."""
        return self.scale(), self.offset

    def reset_parameters(self) -> None:
        """Set unit scale and zero offset."""
        super().reset_parameters()
        nn.init.zeros_(self.offset)


def _trained_where_finite(values: Tensor | None) -> Tensor:
    """Numbers of columns; those of columns that held no numbers are not finite and do not train."""
    assert values is not None
    return fixed_unless(torch.isfinite(values), values)


class NormalizeRows(Module):
    """Divide each row by its norm; rows of zeros do not change.

    Parameters
    ----------
    norm : {"l1", "l2", "max"}
        Norm: sum of absolute values, Euclidean length, or largest absolute value.
    """

    def __init__(self, norm: str = "l2") -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Block) -> Block:
        """Same shape out as in, dense or sparse."""
        if isinstance(x, SparseRows):
            rows = x.rows()
            lengths = self._sparse_lengths(x, rows)
            return x.with_values(x.values / lengths[rows])
        if self.norm == "l2":
            lengths = _safe_sqrt((x * x).sum(1))
        elif self.norm == "l1":
            lengths = x.abs().sum(1)
        else:
            lengths = x.abs().amax(1)
        # Norms of the size of rounding errors count as zero.
        tiny = lengths < 10 * torch.finfo(x.dtype).eps
        return x / lengths.masked_fill(tiny, 1.0)[:, None]

    def _sparse_lengths(self, x: SparseRows, rows: Tensor) -> Tensor:
        if self.norm == "l2":
            lengths = _safe_sqrt(x.row_sums(x.values * x.values))
        elif self.norm == "l1":
            lengths = x.row_sums(x.values.abs())
        else:
            empty = x.values.new_zeros(x.shape[0])
            lengths = empty.scatter_reduce(0, rows, x.values.abs(), "amax")
        return lengths.masked_fill(lengths == 0, 1.0)


def _safe_sqrt(squares: Tensor) -> Tensor:
    zero = squares == 0
    return torch.sqrt(squares.masked_fill(zero, 1.0)).masked_fill(zero, 0.0)
