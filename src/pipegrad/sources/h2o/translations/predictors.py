"""Translations of linear models."""

from __future__ import annotations

from torch import nn

from ....modules import Elementwise, ordered_shares
from ....registry import register
from ...named.translations import NamedTranslation
from ..operators import linear

_AT = "pipegrad.sources.h2o.operators"


@register(f"{_AT}.linear.Shares")
class Shares(NamedTranslation):
    """Has no parameters to train."""

    def to_torch(self, operator: linear.Shares) -> nn.Module:
        return Elementwise(ordered_shares, elementwise=False)
