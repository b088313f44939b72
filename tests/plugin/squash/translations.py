"""How a Squash becomes a module; pipegrad finds this file through its entry points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import pipegrad as pg
from pipegrad.modules import Module, Positive, parameter
from pipegrad.sources.arrays import to_array, to_tensor
from pipegrad.sources.sklearn import SklearnTranslation


class ScaledTanh(Module):
    """``height * tanh((x - center) / width)``."""

    def __init__(self, height: float, center: Tensor, width: Tensor) -> None:
        super().__init__()
        self.height = height
        self.center = parameter(center)
        self.width = Positive(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.height * torch.tanh((x - self.center) / self.width())

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.center)


@pg.register("squash.Squash")
class SquashTranslation(SklearnTranslation):
    """center_ and width_ train; what the user set stays."""

    examples = ({}, {"height": 3.0})

    def to_torch(self, operator: Any) -> nn.Module:
        return ScaledTanh(operator.height, to_tensor(operator.center_), to_tensor(operator.width_))

    def write_back(self, module: ScaledTanh, operator: Any) -> None:
        operator.center_ = to_array(module.center)
        operator.width_ = to_array(module.width())
