"""Copies of networks whose linear maps compute with 8 bits, for answers only."""

from __future__ import annotations

import copy

from .errors import ArgumentError
from .modules import quantize_linear_
from .network import Network


def quantized(net: Network) -> Network:
    """A copy of a network with quantized linear maps, which does not train.

    Parameters
    ----------
    net : PipelineNetwork
        Network, which does not change.

    Raises
    ------
    ArgumentError
        When there is no linear map, or when the network is quantized already.
    """
    if net.quantized:
        raise ArgumentError("The module is quantized already.")
    new = copy.deepcopy(net).eval()
    if not quantize_linear_(new.steps):
        kinds = sorted({step.kind.rpartition(".")[2] for step in net.neural_steps()})
        raise ArgumentError(
            f"quantize() requires a linear map, and there is none in {', '.join(kinds)}.\n"
            "Hint: net.float() halves the memory of any module."
        )
    new.forget_plans()
    return new.requires_grad_(False)
