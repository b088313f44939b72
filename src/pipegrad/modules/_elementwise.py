"""Functions without parameters: elementwise functions, products of columns, compositions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ._base import Module
from ._sparse import Block, SparseRows


class Sequential(Module):
    """Modules applied one after the other.

    Parameters
    ----------
    *links : torch.nn.Module
        Modules in the order of application.
    """

    def __init__(self, *links: torch.nn.Module) -> None:
        super().__init__()
        self.links = torch.nn.ModuleList(links)

    def forward(self, x: Any) -> Any:
        """The output of the last module."""
        for link in self.links:
            x = link(x)
        return x

    def reset_parameters(self) -> None:
        """Re-initialize every module."""
        for link in self.links:
            reset = getattr(link, "reset_parameters", None)
            if reset is not None:
                reset()


class Elementwise(Module):
    """A function of a block.

    Parameters
    ----------
    function : callable, optional
        Function from tensor to tensor; the identity by default. It must be importable by name if
        the module is to be pickled.
    options : mapping
        Keyword arguments of the function.
    elementwise : bool
        Whether the function is applied entry by entry. Sparse rows then stay sparse if it maps zero
        to zero.

    Attributes
    ----------
    smooth : bool
        Whether the function passes gradients on.
    """

    def __init__(
        self,
        function: Callable[..., Tensor] | None = None,
        options: Mapping[str, Any] | None = None,
        elementwise: bool = True,
    ) -> None:
        super().__init__()
        self.function = function
        self.options = dict(options or {})
        self.elementwise = elementwise
        self.smooth = True

    def forward(self, x: Block) -> Block:
        """(n, d) to (n, k)."""
        if self.function is None:
            return x
        if isinstance(x, SparseRows):
            if not self.keeps_zero():
                raise TypeError("only functions that map zero to zero apply to sparse rows")
            return x.with_values(self._call_function(x.values))
        return self._call_function(x)

    def keeps_zero(self) -> bool:
        """Whether sparse rows stay sparse."""
        if self.function is None:
            return True
        return self.elementwise and bool((self._call_function(torch.zeros(1)) == 0).all())

    def _call_function(self, x: Tensor) -> Tensor:
        assert self.function is not None
        # Constants of the function may have another dtype.
        return self.function(x, **self.options).to(x.dtype)


class Threshold(Module):
    """1 for entries that exceed the threshold, 0 for all others.

    Parameters
    ----------
    threshold : float
        Threshold, which must not be negative for sparse rows.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Block) -> Block:
        """Same shape out as in."""
        if isinstance(x, SparseRows):
            return x.with_values((x.values > self.threshold).to(x.dtype))
        return (x > self.threshold).to(x.dtype)


class Monomials(Module):
    """All products of columns between a smallest and a largest degree, sorted by degree.

    Parameters
    ----------
    features : int
        Number of columns.
    smallest, largest : int
        Smallest and largest degree of the products.
    repeat : bool
        Whether a column may occur in a product more than once.
    constant : bool
        Whether the first output column is constant one.
    """

    def __init__(
        self,
        features: int,
        smallest: int = 0,
        largest: int = 2,
        repeat: bool = True,
        constant: bool = True,
    ) -> None:
        super().__init__()
        self.smallest, self.largest, self.constant = smallest, largest, constant
        self.repeat = repeat
        combine = itertools.combinations_with_replacement if repeat else itertools.combinations
        before: dict[tuple[int, ...], int] = {(i,): i for i in range(features)}
        for degree in range(2, largest + 1):
            terms = list(combine(range(features), degree))
            # A term is its first column times the term of the others, one degree lower.
            first = torch.tensor([term[0] for term in terms], dtype=torch.int64)
            rest = torch.tensor([before[term[1:]] for term in terms], dtype=torch.int64)
            self.register_buffer(f"first_{degree}", first)
            self.register_buffer(f"rest_{degree}", rest)
            self.register_buffer(f"move_{degree}", _moves(first, rest, features))
            before = {term: i for i, term in enumerate(terms)}

    def forward(self, x: Block) -> Block:
        """(n, features) to (n, number of products), dense or sparse."""
        return self._sparse(x) if isinstance(x, SparseRows) else self._dense(x)

    def _dense(self, x: Tensor) -> Tensor:
        blocks = [torch.ones_like(x[:, :1])] if self.constant else []
        terms = x
        for degree in range(1, self.largest + 1):
            if degree > 1:
                first, rest = getattr(self, f"first_{degree}"), getattr(self, f"rest_{degree}")
                terms = terms.index_select(1, rest) * x.index_select(1, first)
            if degree >= self.smallest:
                blocks.append(terms)
        return torch.cat(blocks, 1)

    def _sparse(self, x: SparseRows) -> SparseRows:
        count = x.shape[0]
        blocks = [SparseRows.from_dense(x.values.new_ones(count, 1))] if self.constant else []
        rows, terms, values, lowest = x.rows(), x.columns, x.values, x.columns
        width = x.width
        for degree in range(1, self.largest + 1):
            if degree > 1:
                # Each term is multiplied by the entries of its row in columns up to its first one.
                term, entry = _meet(x.starts, rows)
                column = x.columns[entry]
                limit = lowest[term]
                before = column <= limit if self.repeat else column < limit
                term, entry, column = term[before], entry[before], column[before]
                rows, lowest = rows[term], column
                terms = terms[term] + getattr(self, f"move_{degree}")[column]
                values = values[term] * x.values[entry]
                width = getattr(self, f"first_{degree}").shape[0]
            if degree >= self.smallest:
                blocks.append(_in_rows(rows, terms, values, (count, width)))
        return SparseRows.concatenate(list(blocks))


def _moves(first: Tensor, rest: Tensor, features: int) -> Tensor:
    """Offset from the index of a term to that of its product with each column, one degree higher.

    Products with the same column are contiguous, in the order of their terms.
    """
    moves = torch.zeros(features, dtype=torch.int64)
    places = torch.arange(first.shape[0])
    # All products with one column have the same offset, so it does not matter which write wins.
    return moves.scatter(0, first, places - rest)


def _meet(starts: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of an index into ``rows`` and an entry of that row."""
    counts = starts.diff()[rows]
    left = torch.repeat_interleave(torch.arange(rows.shape[0], device=rows.device), counts)
    within = torch.arange(left.shape[0], device=rows.device) - (counts.cumsum(0) - counts)[left]
    return left, starts[rows][left] + within


def _in_rows(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> SparseRows:
    order = torch.argsort(rows, stable=True)
    counts = torch.bincount(rows, minlength=shape[0])
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return SparseRows(starts, columns[order], values[order], shape[1])
