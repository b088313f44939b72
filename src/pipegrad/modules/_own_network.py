"""Networks that others wrote in torch, as steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ._base import Module
from ._evaluation import evaluation_view
from ._sparse import Block, dense


class OwnNetwork(Module):
    """A torch module of somebody else, which keeps its own precision.

    Statistics of batch normalization stay as they are, also in training mode: training selects
    among states of the parameters, to which running means do not belong. Dropout is active in
    training mode.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (n, d) to (n, k) or (n,).
    flat : bool
        Whether a score (n, 1) becomes (n,).
    """

    def __init__(self, network: nn.Module, flat: bool = False) -> None:
        super().__init__()
        self.network, self.flat = network, flat
        self._normalizes = any(isinstance(part, _NormBase) for part in network.modules())

    def forward(self, x: Block) -> Tensor:
        """Map (n, d) to the score, with the dtype of the input."""
        rows = dense(x)
        fixes = self._normalizes and self.training
        network = _with_fixed_statistics(self.network) if fixes else self.network
        out = network(rows.to(self._dtype(rows)))
        return (out.reshape(-1) if self.flat else out).to(rows.dtype)

    def _dtype(self, x: Tensor) -> torch.dtype:
        tensors = (*self.network.parameters(), *self.network.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), x.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OwnNetwork:
        def moved(tensor: Tensor) -> Tensor:
            out = fn(tensor)
            return out if out.dtype == tensor.dtype else tensor.to(out.device)

        super()._apply(moved, recurse)
        return self

    def reset_parameters(self) -> None:
        """Re-initialize all parts as they do it themselves."""
        for part in self.network.modules():
            reset = getattr(part, "reset_parameters", None)
            if reset is not None:
                reset()


def converted_modules(module: nn.Module) -> Iterator[nn.Module]:
    """A module and its parts, without networks that keep their own precision."""
    if not isinstance(module, OwnNetwork):
        yield module
        for child in module._modules.values():
            if child is not None:
                yield from converted_modules(child)


def _with_fixed_statistics(module: nn.Module) -> nn.Module:
    """A module that normalizes by its running statistics, in any mode."""
    if isinstance(module, _NormBase):
        return evaluation_view(module) if module.track_running_stats else module
    children: dict[str, Any] = {
        name: child and _with_fixed_statistics(child) for name, child in module._modules.items()
    }
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    view = module.__class__.__new__(module.__class__)
    view.__dict__.update(module.__dict__, _modules=children)
    return view
