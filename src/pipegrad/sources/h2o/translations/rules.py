"""Translations of rules."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ....modules import MatchedRules
from ....registry import register
from ...named.translations import NamedTranslation, index, numbers_of
from ..operators import rules

_AT = "pipegrad.sources.h2o.operators"


@register(f"{_AT}.rules.Rules")
class Rules(NamedTranslation):
    """Rules stay as they are; gradients do not pass."""

    differentiable = False
    sparse = False

    def to_torch(self, operator: rules.Rules) -> nn.Module:
        conditions = operator.conditions
        parts = list(zip(*conditions.numeric, strict=True)) or [()] * 4
        columns, bounds, below, missing = parts
        first = {-1: 0}
        count = len(columns)
        for column, several in conditions.coded.items():
            first[column], count = count, count + len(several)
        return MatchedRules(
            index(columns),
            numbers_of(bounds),
            torch.tensor(below, dtype=torch.bool),
            torch.tensor(missing, dtype=torch.bool),
            {c: _table(several, operator.levels[c]) for c, several in conditions.coded.items()},
            index(_padded([[first[c] + p for c, p in rule] for rule in operator.rules], count)),
            index(_padded([[rule for rule, _ in one] for one in operator.lists], -1)),
            numbers_of(_padded([[number for _, number in one] for one in operator.lists], 0)),
        )


def _table(several: list[tuple[frozenset[int], bool]], levels: int) -> Tensor:
    """Which conditions each level satisfies; the last row is for a missing one."""
    table = np.zeros((levels + 1, len(several)), dtype=bool)
    for place, (codes, missing) in enumerate(several):
        table[[code for code in codes if 0 <= code < levels], place] = True
        table[levels, place] = missing
    return torch.from_numpy(table)


def _padded(lists: list[list[int]] | list[list[float]], fill: int) -> np.ndarray:
    """Lists as rows of a matrix."""
    width = max(map(len, lists), default=0)
    return np.array([[*one, *[fill] * (width - len(one))] for one in lists]).reshape(-1, width)
