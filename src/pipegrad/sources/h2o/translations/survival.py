"""Translations of models of survival."""

from __future__ import annotations

from torch import nn

from ....modules import DesignColumns, Gap, OfStratum, Term
from ....registry import register
from ...named.translations import NamedTranslation, numbers_of
from ..operators import survival

_AT = "pipegrad.sources.h2o.operators.survival"


@register(f"{_AT}.Design")
class Design(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: survival.Design) -> nn.Module:
        tables = [numbers_of(table) for table in operator.tables]
        return DesignColumns([Term(*term) for term in operator.terms], operator.pairs, tables)


@register(f"{_AT}.StratumMeans")
class StratumMeans(NamedTranslation):
    """Fixed: means of the rows that the model learned from."""

    sparse = False

    def to_torch(self, operator: survival.StratumMeans) -> nn.Module:
        return OfStratum(numbers_of(operator.strata), numbers_of(operator.means))


@register(f"{_AT}.Difference")
class Difference(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: survival.Difference) -> nn.Module:
        return Gap()
