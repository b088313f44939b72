"""Rules: conjunctions of conditions on columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ._base import Module


class MatchedRules(Module):
    """Of each list of rules, the number of the last one that a row satisfies; NaN without one.

    Conditions have numbers: first those on numbers, then those on codes, column by column; the one
    after all others holds always.

    Parameters
    ----------
    columns : Tensor of int64, shape (conditions,)
        The column of each condition on numbers.
    bounds : Tensor, shape (conditions,)
        Their bounds.
    below : Tensor of bool, shape (conditions,)
        Whether numbers must be below the bound instead of not below it.
    missing : Tensor of bool, shape (conditions,)
        Whether NaN satisfies the condition.
    codes : mapping of int to Tensor of bool, shape (codes + 1, conditions)
        By column, the conditions that each code satisfies; the last row is for NaN.
    rules : Tensor of int64, shape (rules, conditions)
        The conditions of each rule.
    lists : Tensor of int64, shape (lists, rules)
        The rules of each list; -1 stands for none.
    numbers : Tensor, shape (lists, rules)
        Their numbers.
    """

    columns: Tensor
    bounds: Tensor
    below: Tensor
    missing: Tensor
    rules: Tensor
    lists: Tensor
    numbers: Tensor

    def __init__(
        self,
        columns: Tensor,
        bounds: Tensor,
        below: Tensor,
        missing: Tensor,
        codes: Mapping[int, Tensor],
        rules: Tensor,
        lists: Tensor,
        numbers: Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("columns", columns)
        self.register_buffer("bounds", bounds)
        self.register_buffer("below", below)
        self.register_buffer("missing", missing)
        self.coded = list(codes)
        for column, table in codes.items():
            self.register_buffer(f"codes_{column}", table)
        self.register_buffer("rules", rules)
        self.register_buffer("lists", lists)
        self.register_buffer("numbers", numbers)

    def forward(self, x: Tensor) -> Tensor:
        """(n, columns) to (n, lists)."""
        met = self._met(x)
        holds = met.new_ones(len(x), len(self.rules))
        for conditions in self.rules.unbind(1):
            holds = holds & met[:, conditions]
        holds = torch.cat([holds, torch.zeros_like(met[:, :1])], 1)
        out = x.new_full((len(x), len(self.lists)), torch.nan)
        for rules, numbers in zip(self.lists.unbind(1), self.numbers.unbind(1), strict=True):
            out = torch.where(holds[:, rules], numbers, out)
        return out

    def _met(self, x: Tensor) -> Tensor:
        """Which conditions each row satisfies (n, conditions + 1)."""
        cells = x[:, self.columns]
        within = torch.where(self.below, cells < self.bounds, cells >= self.bounds)
        parts = [within | (torch.isnan(cells) & self.missing)]
        for column in self.coded:
            table: Tensor = getattr(self, f"codes_{column}")
            codes = x[:, column]
            known = (codes >= 0) & (codes < len(table) - 1)
            parts.append(table[torch.where(known, codes, len(table) - 1.0).to(torch.int64)])
        always = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        return torch.cat([*parts, always], 1)
