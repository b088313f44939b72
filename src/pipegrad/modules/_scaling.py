"""Column-wise shifts and scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, Positive, parameter
from ._sparse import Block, SparseRows


class Standardize(Module):
    """``(x - shift) / scale``, column by column.

    Parameters
    ----------
    shift : Tensor, shape (features,), optional
        None leaves the columns where they are (and sparse rows sparse).
    scale : Tensor, shape (features,), optional
        Positive; stays so while training.
    """

    def __init__(self, shift: Tensor | None = None, scale: Tensor | None = None) -> None:
        super().__init__()
        self.shift = None if shift is None else parameter(shift)
        self.scale = None if scale is None else Positive(scale)

    def forward(self, x: Block) -> Block:
        """Same shape out as in; sparse rows pass when there is no shift."""
        if self.shift is not None:
            x = (x.to_dense() if isinstance(x, SparseRows) else x) - self.shift
        if self.scale is not None:
            scale = self.scale()
            x = x.divide(scale) if isinstance(x, SparseRows) else x / scale
        return x

    def reset_parameters(self) -> None:
        """No shift, unit scale."""
        super().reset_parameters()
        if self.shift is not None:
            nn.init.zeros_(self.shift)


class Rescale(Module):
    """``x * scale + offset``, column by column, then perhaps cut to a range.

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
        out = x * self.scale() + self.offset
        return out if self.bounds is None else torch.clamp(out, *self.bounds)

    def reset_parameters(self) -> None:
        """Unit scale, no offset."""
        super().reset_parameters()
        nn.init.zeros_(self.offset)
