"""Translations of vectors of words."""

from __future__ import annotations

from torch import nn

from ....modules import MeanEmbedding
from ....registry import register
from ...named.translations import NamedTranslation, numbers_of, write_numbers
from ..operators import embeddings
from .columns import RowRow

_AT = "pipegrad.sources.h2o.operators.embeddings"


@register(f"{_AT}.Words")
class Words(RowRow):
    """Reads the column of texts on the host; modules receive places of words."""


@register(f"{_AT}.Embed")
class Embed(NamedTranslation):
    """Vectors train."""

    sparse = False

    def to_torch(self, operator: embeddings.Embed) -> nn.Module:
        return MeanEmbedding(numbers_of(operator.vectors))

    def write_back(self, module: MeanEmbedding, operator: embeddings.Embed) -> None:
        write_numbers(operator.vectors, module.vectors)
