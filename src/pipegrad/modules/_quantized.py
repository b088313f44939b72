"""Linear maps with whole numbers of 8 bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module
from ._linear import Linear
from ._sparse import Block, dense

_LARGEST = 127  # of 8 bits with a sign


class QuantizedLinear(Module):
    """A linear map whose weights are whole numbers of 8 bits, with a scale for each output.

    Each row is rounded to 8 bits with a scale of its own, so that the product is one of whole
    numbers. Nothing of it trains.

    Parameters
    ----------
    weight : Tensor, shape (features, outputs)
        Weight matrix.
    added : Tensor, shape (outputs,), optional
        What is added to the product.
    shift : Tensor, shape (features,), optional
        Value subtracted from rows first.
    squeeze : bool
        Whether to return (n,) instead of (n, 1).
    """

    weight: Tensor
    scale: Tensor
    added: Tensor | None
    shift: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        added: Tensor | None = None,
        shift: Tensor | None = None,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        self.squeeze = squeeze
        scale = _scale(weight, 0)
        # Column by column, as the product of whole numbers reads it.
        codes = (weight / scale).round().t().to(torch.int8, memory_format=torch.contiguous_format)
        self.register_buffer("weight", codes)
        self.register_buffer("scale", scale[0].clone())
        self.register_buffer("added", None if added is None else added.clone())
        self.register_buffer("shift", None if shift is None else shift.clone())

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, outputs), or to (n,)."""
        rows = dense(x)
        rows = rows if self.shift is None else rows - self.shift
        scale = _scale(rows, 1)
        codes = (rows / scale).round()
        out = self._product(codes).to(rows.dtype) * scale * self.scale
        out = out if self.added is None else out + self.added
        return out.squeeze(1) if self.squeeze else out

    def _product(self, codes: Tensor) -> Tensor:
        if codes.device.type == "cpu":
            return torch._int_mm(codes.to(torch.int8), self.weight.t())
        return codes @ self.weight.t().to(codes.dtype)  # Other devices take some sizes only.


def _scale(values: Tensor, dim: int) -> Tensor:
    """What one unit of 8 bits stands for; one where all values are zero."""
    if not values.shape[dim]:
        return values.new_ones(values.sum(dim, keepdim=True).shape)
    largest = values.abs().amax(dim, keepdim=True)
    return torch.where(largest == 0, 1.0, largest / _LARGEST).to(values.dtype)


def quantize_linear_(module: nn.Module) -> int:
    """Replace all linear maps inside of a module; return how many there were.

    Parameters
    ----------
    module : torch.nn.Module
        A module, which changes.
    """
    count = 0
    for name, child in list(module.named_children()):
        made = _quantized(child)
        if made is None:
            count += quantize_linear_(child)
            continue
        setattr(module, name, made)
        count += 1
    return count


@torch.no_grad()
def _quantized(module: nn.Module) -> QuantizedLinear | None:
    """The same map with 8 bits; None for other modules."""
    if type(module) is nn.Linear:
        return QuantizedLinear(module.weight.t(), module.bias)
    if not isinstance(module, Linear):
        return None
    whole = module.deferred(module.weight)
    added = whole.added
    if module.shift is not None and added is not None:
        added = added + module.shift @ whole.weight  # Rows are shifted before they are rounded.
    return QuantizedLinear(whole.weight, added, module.shift, module.squeeze)
