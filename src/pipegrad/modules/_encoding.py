"""Encodings of categories given as codes: 0, 1, 2 ... for known categories, -1 for none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._base import Module, parameter
from ._sparse import Block, SparseRows

NONE = -1


class OneHot(Module):
    """One-hot encoding.

    Parameters
    ----------
    sizes : sequence of int
        Number of categories in each column of codes.
    off, on : float
        Values of inactive and active entries.
    sparse : bool
        Whether to return `SparseRows`; ``off`` must be zero then.
    """

    starts: Tensor

    def __init__(
        self, sizes: Sequence[int], off: float = 0.0, on: float = 1.0, sparse: bool = False
    ) -> None:
        super().__init__()
        ends = torch.tensor([0, *sizes], dtype=torch.int64).cumsum(0)
        self.register_buffer("starts", ends[:-1])
        self.width = int(ends[-1])
        self.off, self.on, self.sparse = off, on, sparse

    def forward(self, codes: Tensor) -> Block:
        """Codes (n, d) to (n, sum of sizes)."""
        known = codes >= 0
        columns = codes.to(torch.int64) + self.starts
        if not self.sparse:
            # Code -1 goes to an extra column, which is removed.
            out = codes.new_full((codes.shape[0], self.width + 1), self.off)
            out = out.scatter(1, columns.masked_fill(~known, self.width), self.on)
            return out[:, : self.width].contiguous()
        if not self.width:
            return SparseRows.from_dense(codes[:, :0])
        # Code -1 keeps an entry of value zero, so that the layout does not depend on the data.
        count, per_row = codes.shape
        starts = torch.arange(count + 1, device=codes.device) * per_row
        values = torch.where(known, codes.new_tensor(self.on), codes.new_tensor(0.0))
        columns = columns.masked_fill(~known, 0)
        return SparseRows(starts, columns.reshape(-1), values.reshape(-1), self.width)


class Bins(Module):
    """The index of the bin that contains each entry.

    Parameters
    ----------
    edges : sequence of Tensor
        Increasing inner edges of each column; an entry on an edge belongs to the upper bin.
    """

    edges: Tensor

    def __init__(self, edges: Sequence[Tensor]) -> None:
        super().__init__()
        padded = nn.utils.rnn.pad_sequence(list(edges), batch_first=True, padding_value=torch.inf)
        self.register_buffer("edges", padded.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Codes of the bins, same shape out as in."""
        return torch.searchsorted(self.edges, x.T.contiguous(), right=True).T.to(x.dtype)


class Lookup(Module):
    """A look-up table from codes to trainable numbers.

    Parameters
    ----------
    tables : sequence of Tensor
        Numbers of the categories for each output column.
    columns : sequence of int
        Column of codes that each output column reads.
    otherwise : Tensor, shape (outputs,)
        Output for code -1.
    """

    starts: Tensor
    columns: Tensor
    otherwise: Tensor

    def __init__(self, tables: Sequence[Tensor], columns: Sequence[int], otherwise: Tensor) -> None:
        super().__init__()
        self.sizes = [len(table) for table in tables]
        self.values = parameter(torch.cat(list(tables)))
        ends = torch.tensor([0, *self.sizes], dtype=torch.int64).cumsum(0)
        self.register_buffer("starts", ends[:-1])
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))
        self.register_buffer("otherwise", otherwise.clone())

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, d) to (n, outputs)."""
        picked = codes.to(torch.int64).index_select(1, self.columns)
        places = picked.clamp(min=0) + self.starts
        out = functional.embedding(places, self.values[:, None]).squeeze(-1)
        return torch.where(picked >= 0, out, self.otherwise)

    def tables(self) -> list[Tensor]:
        """The numbers as one tensor for each output column."""
        return list(self.values.split(self.sizes))

    def reset_parameters(self) -> None:
        """Draw from a normal distribution around the output for code -1."""
        centers = torch.repeat_interleave(
            self.otherwise, torch.tensor(self.sizes, device=self.otherwise.device)
        )
        with torch.no_grad():
            self.values.copy_(centers)
            self.values.add_(torch.randn_like(self.values), alpha=0.1)


class OrdinalEncode(Module):
    """Ordinal encoding: the codes themselves."""

    def forward(self, codes: Tensor) -> Tensor:
        """Return the codes unchanged."""
        return codes


class LookupColumns(Module):
    """Some columns of codes replaced by numbers of look-up tables; the others pass through.

    Parameters
    ----------
    lookup : Lookup
        A table for each of these columns.
    columns : sequence of int
        The columns, in the order of the tables.
    """

    columns: Tensor

    def __init__(self, lookup: Lookup, columns: Sequence[int]) -> None:
        super().__init__()
        self.lookup = lookup
        self.register_buffer("columns", torch.tensor(list(columns), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x.index_copy(1, self.columns, self.lookup(x))


class EncodedLevels(Module):
    """Columns of codes as rows of fixed tables or as indicators; NaN gives NaN.

    Parameters
    ----------
    columns : sequence of int
        The columns in the order of the output.
    sizes : sequence of int
        The number of codes of each of them; a column of size 0 passes through.
    tables : list of Tensor, optional
        The rows (codes, k) of each column of codes; indicators by default.
    """

    def __init__(
        self, columns: Sequence[int], sizes: Sequence[int], tables: list[Tensor] | None = None
    ) -> None:
        super().__init__()
        self.columns, self.sizes = list(columns), list(sizes)
        self.indicators = tables is None
        for number, table in enumerate(tables or ()):
            self.register_buffer(f"table_{number}", table.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(n, features) to (n, outputs)."""
        parts, number = [x[:, :0]], 0
        for column, size in zip(self.columns, self.sizes, strict=True):
            codes = x[:, column, None]
            if not size:
                parts.append(codes)
                continue
            parts.append(self._encoded(codes, size, number))
            number += 1
        return torch.cat(parts, 1)

    def _encoded(self, codes: Tensor, size: int, number: int) -> Tensor:
        known = ~torch.isnan(codes)
        if self.indicators:
            rows = (codes == torch.arange(size, device=codes.device)).to(codes.dtype)
        else:
            table = getattr(self, f"table_{number}")
            rows = table[torch.where(known, codes, 0.0).long().squeeze(1)].to(codes.dtype)
        return torch.where(known, rows, torch.nan)
