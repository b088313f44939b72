"""Translations of what joins models inside of others."""

from __future__ import annotations

from torch import nn

from ....modules import Concatenate, Elementwise, bounded_log_odds
from ....registry import register
from ...named.translations import NamedTranslation
from ..operators import composites

_AT = "pipegrad.sources.h2o.operators"


@register(f"{_AT}.composites.Join")
class Join(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: composites.Join) -> nn.Module:
        return Concatenate(sparse=False)


@register(f"{_AT}.composites.BoundedLogOdds")
class BoundedLogOdds(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: composites.BoundedLogOdds) -> nn.Module:
        return Elementwise(bounded_log_odds, elementwise=False)
