"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    """

    def __init__(
        self, *layers: Linear, activation: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        links = [link for layer in layers for link in (layer, Elementwise(activation))]
        super().__init__(*links[:-1])

    @property
    def layers(self) -> Sequence[Linear]:
        """The linear maps, from the input to the score."""
        return [link for link in self.links if isinstance(link, Linear)]

    @property
    def rescalable(self) -> tuple[bool, bool]:
        """Whether a change of the parameters can scale, and shift, the output."""
        return self.layers[-1].rescalable

    def rescale_(self, scale: float, shift: Tensor) -> None:
        """Change the last layer so that the output becomes ``scale * output + shift``."""
        self.layers[-1].rescale_(scale, shift)
