"""The L2-SP penalty, which pulls parameters towards their fitted values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .optimizers import magnitudes


class Anchor:
    """L2-SP penalty towards the initial parameters (Li, Grandvalet and Davoine 2018).

    The penalty is half of ``strength`` times the sum of squared changes, each relative to the
    magnitude of its parameter. It is added during training only; recorded and compared losses do
    not include it.
    """

    def __init__(self, parameters: list[nn.Parameter], strength: float) -> None:
        self.parameters = parameters
        self.starts = [p.detach().clone() for p in parameters]
        self.scales = [0.5 * strength / s / s for s in magnitudes(parameters)]

    def __call__(self) -> Tensor:
        """Return the penalty."""
        parts = zip(self.parameters, self.starts, self.scales, strict=True)
        return torch.stack([(p - start).square().sum() * scale for p, start, scale in parts]).sum()
