"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from ._elementwise import Elementwise, Sequential
from ._linear import Linear


class MultilayerPerceptron(Sequential):
    """Linear maps with an activation between each and the next.

    Parameters
    ----------
    *layers : Linear
        The linear maps, from the input to the score.
    activation : callable, optional
        Function from tensor to tensor after each layer but the last; the identity by default.
    activations : sequence of Elementwise
        Instead, one after each layer, or after each but the last.
    """

    def __init__(
        self,
        *layers: Linear,
        activation: Callable[[Tensor], Tensor] | None = None,
        activations: Sequence[Elementwise] = (),
    ) -> None:
        between = activations or [Elementwise(activation) for _ in layers[1:]]
        links = [link for pair in zip_longest(layers, between) for link in pair]
        super().__init__(*filter(None, links))
        self.bounded = len(between) == len(layers)

    @property
    def layers(self) -> Sequence[Linear]:
        """The linear maps, from the input to the score."""
        return [link for link in self.links if isinstance(link, Linear)]

    @property
    def rescalable(self) -> tuple[bool, bool]:
        """Whether a change of the parameters can scale, and shift, the output."""
        return (False, False) if self.bounded else self.layers[-1].rescalable

    def rescale_(self, scale: float, shift: Tensor) -> None:
        """Change the last layer so that the output becomes ``scale * output + shift``."""
        self.layers[-1].rescale_(scale, shift)


def activate(x: Tensor, name: str, pieces: int = 1, factor: float = 1.0) -> Tensor:
    """The output of a layer.

    Parameters
    ----------
    x : Tensor, shape (n, outputs * pieces)
        What the linear map of the layer gives.
    name : {"", "tanh", "relu", "elu", "maxout"}
        The activation; "maxout" is the largest of the pieces of an output.
    pieces : int
        Neighboring entries that make one output.
    factor : float
        Factor of the outputs.
    """
    if name == "maxout":
        x = x.reshape(len(x), -1, pieces).amax(2)
    elif name:
        x = getattr(torch.nn.functional, name)(x)
    return x if factor == 1.0 else x * factor
