"""Linear maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._base import Module, may_overwrite, parameter
from ._sparse import Block, SparseRows

_MANY = 64


def product(x: Block, weight: Tensor) -> Tensor:
    """``x @ weight``, shape (n, outputs).

    Without gradients, many dense rows are multiplied as ``(weight.T @ x.T).T``: for few outputs,
    MKL takes half the time for it.
    """
    # The number of rows comes last, because a trace must not depend on it.
    if isinstance(x, Tensor) and may_overwrite(x, weight) and x.ndim == 2 and len(x) > _MANY:
        return weight.T.matmul(x.T).T
    return x.matmul(weight)


class Deferred:
    """An unevaluated affine map of rows, so that the next linear map can be multiplied with it.

    Parameters
    ----------
    rows : Block, shape (n, features)
        Input rows of the map.
    weight : Tensor, shape (features, outputs)
        Weight of the map.
    added : Tensor, shape (outputs,), optional
        Bias of the map.
    """

    def __init__(self, rows: Block, weight: Tensor, added: Tensor | None = None) -> None:
        self.rows = rows
        self.weight = weight
        self.added = added

    def matmul(self, weight: Tensor) -> Tensor:
        """Apply the next map, (n, k), in the order that takes fewer multiplications."""
        (features, middle), outputs = self.weight.shape, weight.shape[1]
        rows = self.rows
        if isinstance(rows, SparseRows):
            features = rows.values.numel() // max(1, rows.shape[0])
        if features * outputs < middle * (features + outputs):
            out = rows.matmul(self.weight @ weight)
        else:
            out = rows.matmul(self.weight).matmul(weight)
        return out if self.added is None else out + self.added @ weight


class Linear(Module):
    """``x @ weight + bias``, for dense and sparse rows.

    Parameters
    ----------
    weight : Tensor, shape (features, outputs)
        Weight matrix. Features come first, so that a sparse row gathers contiguous memory.
    bias : Tensor, shape (outputs,), optional
        Bias; none by default.
    shift : Tensor, shape (features,), optional
        Value subtracted from ``x`` first, such as the mean of a PCA.
    squeeze : bool
        Whether to return (n,) instead of (n, 1), for one target or the margin of two classes.
    nonnegative : bool
        Whether negative weights count as zero.
    offset : Tensor, shape (outputs,), optional
        Fixed constant that is added to the output.
    gaps : bool
        Whether dense rows may hold NaN. They map to NaN and take no part in gradients, so that
        a later step that replaces NaN leaves the gradients of the parameters finite.
    """

    offset: Tensor | None
    zeros: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        shift: Tensor | None = None,
        squeeze: bool = False,
        nonnegative: bool = False,
        offset: Tensor | None = None,
        gaps: bool = False,
    ) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.gaps = gaps
        self.nonnegative = nonnegative
        self.weight = parameter(weight)
        self.bias = None if bias is None else parameter(bias)
        self.shift = None if shift is None else parameter(shift)
        self.zeros = None
        if offset is None:
            self.offset = None
        else:
            self.register_buffer("offset", offset.clone())

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, outputs), or to (n,)."""
        weight = self.effective_weight()
        missing = None
        if self.gaps and isinstance(x, Tensor):
            # Zero times NaN is NaN, in gradients as well: NaN must not reach the product.
            missing = torch.isnan(x).any(1, keepdim=True)
            x = torch.where(missing, 0.0, x)
        out = product(x, weight)
        # Two products instead of a shifted copy of x: sparse rows stay sparse.
        shift = None if self.shift is None else -(self.shift @ weight)
        added = [values for values in (shift, self.bias, self.offset) if values is not None]
        if may_overwrite(out, *added):
            for values in added:
                out.add_(values)
        else:
            for values in added:
                out = out + values
        if missing is not None:
            out = torch.where(missing, torch.nan, out)
        return out.squeeze(1) if self.squeeze else out

    def deferred(self, x: Block) -> Deferred:
        """The unevaluated output (n, outputs), for the next linear map."""
        weight = self.effective_weight()
        added = None if self.shift is None else -(self.shift @ weight)
        for more in (self.bias, self.offset):
            if more is not None:
                added = more if added is None else added + more
        return Deferred(x, weight, added)

    def fix_zeros(self) -> None:
        """Keep the weights that are zero now at zero, whatever changes the parameters."""
        zeros = self.weight.detach() == 0
        if not bool(zeros.any()):
            return
        self.zeros = None
        del self.zeros
        self.register_buffer("zeros", zeros, persistent=False)
        if bool(zeros.all()):
            self.weight.requires_grad_(False)

    def effective_weight(self) -> Tensor:
        """The weight that multiplies ``x``, shape (features, outputs)."""
        weight = self.weight.clamp(min=0) if self.nonnegative else self.weight
        return weight if self.zeros is None else weight.masked_fill(self.zeros, 0.0)

    @property
    def rescalable(self) -> tuple[bool, bool]:
        """Whether a change of the parameters can scale, and shift, the output."""
        return self.offset is None or self.bias is not None, self.bias is not None

    @torch.no_grad()
    def rescale_(self, scale: float, shift: Tensor) -> None:
        """Change the parameters so that the output becomes ``scale * output + shift``.

        ``scale`` is positive; ``shift`` has the shape () or (outputs,).
        """
        self.weight.mul_(scale)
        if self.bias is not None:
            self.bias.mul_(scale).add_(shift)
            if self.offset is not None:
                self.bias.add_((scale - 1) * self.offset)

    def reset_parameters(self) -> None:
        """Draw uniformly from ±1/sqrt(features), as `torch.nn.Linear` does, with zero shift."""
        bound = 1 / math.sqrt(max(1, self.weight.shape[0]))
        nn.init.uniform_(self.weight, 0 if self.nonnegative else -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)
        if self.shift is not None:
            nn.init.zeros_(self.shift)
