"""Columns of a design matrix: indicators, numbers and their products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._base import Module


class Term(NamedTuple):
    """Neighboring columns of a design matrix.

    Parameters
    ----------
    numbers : tuple of int
        Columns of the input whose product is a factor; none for indicators alone.
    codes : int
        Column of codes, whose indicators are the other factor; -1 for none.
    first : int
        The code that the first indicator stands for.
    size : int
        Number of columns.
    """

    numbers: tuple[int, ...]
    codes: int = -1
    first: int = 0
    size: int = 1


class DesignColumns(Module):
    """The columns of all terms side by side.

    A missing code gives missing indicators, and zeros where a number is multiplied with them. A
    number counts in the columns of its code alone.

    Parameters
    ----------
    terms : sequence of Term
        The terms. Codes of pairs are columns after those of the input.
    pairs : sequence of (int, int)
        Columns of codes that make a code together.
    tables : sequence of Tensor
        The code of each pair, by both codes; a missing one of these counts as 0.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        pairs: Sequence[tuple[int, int]] = (),
        tables: Sequence[Tensor] = (),
    ) -> None:
        super().__init__()
        self.terms, self.pairs = list(terms), list(pairs)
        for number, table in enumerate(tables):
            self.register_buffer(f"table_{number}", table.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(n, columns) to (n, columns of all terms)."""
        columns = list(x.unbind(1))
        for number, pair in enumerate(self.pairs):
            places = [torch.nan_to_num(columns[one]).to(torch.int64) for one in pair]
            columns.append(getattr(self, f"table_{number}")[places[0], places[1]])
        return torch.cat([_block(term, columns) for term in self.terms], 1)


def _block(term: Term, columns: Sequence[Tensor]) -> Tensor:
    number = None
    for place in term.numbers:
        number = columns[place] if number is None else number * columns[place]
    if term.codes < 0:
        assert number is not None
        return number[:, None]
    codes = columns[term.codes]
    indices = torch.arange(term.first, term.first + term.size, dtype=codes.dtype)
    hit = codes[:, None] == indices.to(codes.device)
    if number is None:
        missing = torch.isnan(codes)[:, None]
        return torch.where(missing, torch.nan, hit.to(codes.dtype))
    return torch.where(hit, number[:, None], 0.0)


class OfStratum(Module):
    """Fixed numbers of the stratum that a row belongs to.

    Parameters
    ----------
    strata : Tensor, shape (strata, columns)
        Codes of each stratum; a missing code counts as 0.
    values : Tensor, shape (strata, k)
        Numbers of each stratum. Rows of no stratum have missing ones.
    """

    strata: Tensor
    values: Tensor

    def __init__(self, strata: Tensor, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("strata", strata.clone())
        self.register_buffer("values", values.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Codes (n, columns) to (n, k)."""
        equal = (torch.nan_to_num(x)[:, None, :] == self.strata).all(2)
        found = self.values[equal.to(torch.int64).argmax(1)]
        return found.masked_fill(~equal.any(1)[:, None], torch.nan)
