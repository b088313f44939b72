"""Translations of networks."""

from __future__ import annotations

import numpy as np
from torch import nn

from ....modules import (
    Affine,
    Elementwise,
    MultilayerPerceptron,
    Multiples,
    Sequential,
    Shift,
    SinglePrecisionLinear,
    SquareOfGaps,
    activate,
)
from ....registry import register
from ...named.translations import NamedTranslation, index, numbers_of, write_numbers
from ..operators import networks

_AT = "pipegrad.sources.h2o.operators.networks"


@register(f"{_AT}.Network")
class Network(NamedTranslation):
    """All layers train; weights are rounded to the single precision that H2O computes with."""

    def to_torch(self, operator: networks.Network) -> nn.Module:
        layers, activations = [], []
        last = len(operator.weights) - 1
        pairs = zip(operator.weights, operator.biases, strict=True)
        for number, (weight, bias) in enumerate(pairs):
            outputs, inputs, pieces = weight.values.shape
            # One map gives all pieces of all outputs.
            entries = weight.values.swapaxes(0, 1).reshape(inputs, outputs * pieces)
            final = number == last
            added = operator.added if final else None
            layer = SinglePrecisionLinear(
                numbers_of(entries),
                numbers_of(bias.values.reshape(-1)),
                squeeze=final and operator.squeeze,
                offset=None if added is None else numbers_of(added),
            )
            name = operator.last if final else operator.activation
            options = {"name": name, "pieces": pieces, "factor": operator.kept[number]}
            layers.append(layer)
            activations.append(Elementwise(activate, options, elementwise=False))
        return MultilayerPerceptron(
            *layers, activations=activations if operator.last else activations[:-1]
        )

    def write_back(self, module: MultilayerPerceptron, operator: networks.Network) -> None:
        for layer, weight, bias in zip(
            module.layers, operator.weights, operator.biases, strict=True
        ):
            outputs, inputs, pieces = weight.values.shape
            entries = layer.weight.reshape(inputs, outputs, pieces)
            write_numbers(weight, entries.transpose(0, 1))
            write_numbers(bias, layer.bias)


@register(f"{_AT}.Unscale")
class Unscale(NamedTranslation):
    """The unit of the targets is fixed: the last layer can scale and shift its output."""

    def to_torch(self, operator: networks.Unscale) -> nn.Module:
        factor, added = numbers_of(1 / operator.factor), numbers_of(operator.added)
        return Sequential(Multiples(factor), Shift(added))


@register(f"{_AT}.Unstandardize")
class Unstandardize(NamedTranslation):
    """Fixed, as is the standardization of the columns that were read."""

    def to_torch(self, operator: networks.Unstandardize) -> nn.Module:
        places = index(operator.start + np.arange(len(operator.scale)))
        module = Affine(numbers_of(1 / operator.scale), None, places).requires_grad_(False)
        added = np.concatenate([np.zeros(operator.start), operator.offset])
        return Sequential(module, Shift(numbers_of(added)))


@register(f"{_AT}.SquaredGaps")
class SquaredGaps(NamedTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: networks.SquaredGaps) -> nn.Module:
        return SquareOfGaps(numbers_of(operator.scale))
