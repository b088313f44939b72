"""The pull towards the fitted parameters (L2-SP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .optimizers import magnitudes


class Anchor:
    """A pull towards where parameters started (L2-SP), in units of each parameter's own size.

    Half of ``strength`` times the sum of squared distances. It guides training and is no part of
    the losses that are recorded and compared.
    """

    def __init__(self, parameters: list[nn.Parameter], strength: float) -> None:
        self.parameters = parameters
        self.starts = [p.detach().clone() for p in parameters]
        self.scales = [0.5 * strength / s**2 for s in magnitudes(parameters)]

    def __call__(self) -> Tensor:
        """The penalty."""
        parts = zip(self.parameters, self.starts, self.scales, strict=True)
        return torch.stack([(p - start).square().sum() * scale for p, start, scale in parts]).sum()
