"""Translations of generalized low rank models."""

from __future__ import annotations

from ....registry import register
from .columns import RowRow


@register("pipegrad.sources.h2o.operators.low_rank.LowRank")
class LowRank(RowRow):
    """Finds weights on the host: archetypes are fixed, since rows start from random numbers."""
