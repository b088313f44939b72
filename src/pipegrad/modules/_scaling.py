"""Column-wise shifts and scales, and the length of rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, Positive, parameter
from ._sparse import Block, SparseRows


def set_missing_aside(x: Tensor) -> tuple[Tensor | None, Tensor]:
    """Which entries are NaN, and ``x`` with zeros in their place; None where there are none.

    A NaN that only passes through would still turn the gradients of a whole column into NaN.
    """
    missing = torch.isnan(x)
    # Without NaN there is nothing to fill, which saves two passes. A traced graph has to serve
    # all data, and asking an accelerator would make it wait.
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and not _any(missing):
        return None, x
    return missing, x.masked_fill(missing, 0.0)


def _any(flags: Tensor) -> bool:
    """Whether any is set; true where `torch.func.vmap` cannot tell."""
    try:
        return bool(flags.any())
    except RuntimeError:
        return True


def put_missing_back(missing: Tensor | None, out: Tensor) -> Tensor:
    """``out`` with NaN where ``missing`` says so."""
    return out if missing is None else out.masked_fill(missing, torch.nan)


class Standardize(Module):
    """``(x - shift) / scale``, column by column, then perhaps cut to a range; NaN passes.

    Parameters
    ----------
    shift : Tensor, shape (features,), optional
        None leaves the columns where they are. Sparse rows are scaled, never shifted.
    scale : Tensor, shape (features,), optional
        Positive; stays so while training.
    bounds : (float, float), optional
        Smallest and largest value that comes out.
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

    def forward(self, x: Block) -> Block:
        """Same shape out as in, dense or sparse."""
        scale = None if self.scale is None else self.scale()
        if isinstance(x, SparseRows):
            scale = None if scale is None else scale[x.columns]
            return x.with_values(self._entries(x.values, None, scale))
        return self._entries(x, self.shift, scale)

    def _entries(self, x: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
        missing, out = set_missing_aside(x)
        out = out if shift is None else out - shift
        out = out if scale is None else out / scale
        if self.bounds is not None:
            out = torch.clamp(out, *self.bounds)
        return put_missing_back(missing, out)

    def reset_parameters(self) -> None:
        """No shift, unit scale."""
        super().reset_parameters()
        if self.shift is not None:
            nn.init.zeros_(self.shift)


class Rescale(Module):
    """``x * scale + offset``, column by column, then perhaps cut to a range; NaN passes.

    Parameters
    ----------
    scale : Tensor, shape (features,)
        Positive; stays so while training.
    offset : Tensor, shape (features,)
        Added after scaling.
    bounds : (float, float), optional
        Smallest and largest value that comes out.
    """

    def __init__(
        self, scale: Tensor, offset: Tensor, bounds: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.scale = Positive(scale)
        self.offset = parameter(offset)
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        missing, x = set_missing_aside(x)
        out = x * self.scale() + self.offset
        if self.bounds is not None:
            out = torch.clamp(out, *self.bounds)
        return put_missing_back(missing, out)

    def reset_parameters(self) -> None:
        """Unit scale, no offset."""
        super().reset_parameters()
        nn.init.zeros_(self.offset)


class NormalizeRows(Module):
    """Divide each row by its norm; rows of zeros stay as they are.

    Parameters
    ----------
    norm : {"l1", "l2", "max"}
        Sum of absolute values, Euclidean length, or largest absolute value.
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
        # Norms that are nothing but rounding count as zero.
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
