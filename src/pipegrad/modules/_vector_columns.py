"""Functions of vectors: norms, intervals, products of entries, cosine transforms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._encoding import OneHot
from ._scaling import put_missing_back, set_missing_aside
from ._sparse import Block, SparseRows, dense


class Shift(Module):
    """Fixed numbers added to the columns; NaN passes through.

    Parameters
    ----------
    added : Tensor, shape (features,)
        The numbers.
    """

    added: Tensor

    def __init__(self, added: Tensor) -> None:
        super().__init__()
        self.register_buffer("added", added.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        missing, x = set_missing_aside(x)
        return put_missing_back(missing, x + self.added)


class Centered(Module):
    """Rows minus a trainable center; sparse rows become dense.

    Parameters
    ----------
    center : Tensor, shape (features,)
        The center.
    """

    def __init__(self, center: Tensor) -> None:
        super().__init__()
        self.center = parameter(center)

    def forward(self, x: Block) -> Tensor:
        """Same shape out as in."""
        missing, rows = set_missing_aside(dense(x))
        return put_missing_back(missing, rows - self.center)

    def reset_parameters(self) -> None:
        """Set the origin."""
        nn.init.zeros_(self.center)


class UnitRows(Module):
    """Divide each row by its p-norm; rows of zeros do not change.

    Parameters
    ----------
    p : float
        Exponent of the norm, at least 1; infinite for the largest absolute value.
    """

    def __init__(self, p: float = 2.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Block) -> Block:
        """Same shape out as in, dense or sparse."""
        if isinstance(x, SparseRows) and not math.isinf(self.p):
            size = x.row_sums(x.values.abs() ** self.p)
            length = _root(size, self.p)
            return x.with_values(x.values / length[x.rows()])
        rows = dense(x)
        if not rows.shape[1]:
            return rows
        if math.isinf(self.p):
            size = rows.abs().amax(1)
            length = size.masked_fill(size == 0, 1.0)
        elif self.p == 2:
            length = _root((rows * rows).sum(1), 2)
        else:
            length = _root((rows.abs() ** self.p).sum(1), self.p)
        return rows / length[:, None]


def _root(sums: Tensor, p: float) -> Tensor:
    sums = sums.masked_fill(sums == 0, 1.0)
    return torch.sqrt(sums) if p == 2 else sums ** (1 / p)


class IndexIndicators(Module):
    """One-hot encoding of an index.

    Parameters
    ----------
    size : int
        Number of known indices, from zero.
    width : int
        Number of columns; indices beyond them have none.
    keep : bool
        Whether all other numbers count as index ``size``, instead of having no column.
    sparse : bool
        Whether to return `SparseRows`.
    """

    def __init__(self, size: int, width: int, keep: bool, sparse: bool = False) -> None:
        super().__init__()
        self.size, self.width, self.keep = size, width, keep
        self.inner = OneHot([width], sparse=sparse)

    def forward(self, index: Tensor) -> Block:
        """(n,) or (n, 1) to (n, width)."""
        codes = index.reshape(-1, 1)
        known = (codes >= 0) & (codes < self.size)
        codes = torch.where(known, codes, float(self.size) if self.keep else -1.0)
        return self.inner(torch.where(codes < self.width, codes, -1.0))


class NumberOfIndex(Module):
    """A trainable number for each index.

    Parameters
    ----------
    values : Tensor, shape (indices,)
        The numbers.
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = parameter(values)

    def forward(self, index: Tensor) -> Tensor:
        """(n,) to (n,)."""
        return self.values[index.to(torch.int64)]

    def reset_parameters(self) -> None:
        """Draw standard normal numbers."""
        nn.init.normal_(self.values)


class Intervals(Module):
    """The index of the interval that contains each entry; the last one includes its upper bound.

    Parameters
    ----------
    splits : Tensor, shape (intervals + 1,)
        Increasing bounds.

    Notes
    -----
    NaN has the index after the last one; entries beyond the bounds become NaN.
    """

    splits: Tensor

    def __init__(self, splits: Tensor) -> None:
        super().__init__()
        self.register_buffer("splits", splits.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        count = self.splits.shape[0] - 1
        place = torch.searchsorted(self.splits[1:-1].contiguous(), x.contiguous(), right=True)
        out = place.to(x.dtype)
        outside = (x < self.splits[0]) | (x > self.splits[-1])
        return torch.where(torch.isnan(x), float(count), out.masked_fill(outside, torch.nan))


class ExpandedProducts(Module):
    """All products of columns from the first degree to a largest one.

    They are in the order of nested sums: those of the first columns before all that contain a
    later one, by the exponent of the later one.

    Parameters
    ----------
    degree : int
        Largest degree.
    """

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.degree = degree

    def forward(self, x: Block) -> Tensor:
        """(n, features) to (n, products)."""
        rows = dense(x)
        terms: list[tuple[int, Tensor | None]] = [(0, None)]  # degree, and the product itself
        for column in rows.unbind(1):
            powers: list[Tensor | None] = [None]
            for _ in range(self.degree):
                last = powers[-1]
                powers.append(column if last is None else last * column)
            terms = [
                (degree + power, _times(term, powers[power]))
                for power in range(self.degree + 1)
                for degree, term in terms
                if degree + power <= self.degree
            ]
        products = [term for _, term in terms if term is not None]
        return torch.stack(products, 1) if products else rows[:, :0]


def _times(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one * other


class CosineTransform(Module):
    """The orthonormal discrete cosine transform of each row (DCT-II), or its inverse.

    Parameters
    ----------
    inverse : bool
        Whether to invert it.
    """

    def __init__(self, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse

    def forward(self, x: Block) -> Tensor:
        """Same shape out as in."""
        rows = dense(x)
        count = rows.shape[1]
        place = torch.arange(count, dtype=torch.float64, device=rows.device)
        waves = torch.cos(math.pi / count * (place[:, None] + 0.5) * place)
        scale = torch.full((count,), math.sqrt(2 / count), dtype=torch.float64)
        scale[0] = math.sqrt(1 / count)
        matrix = (waves * scale.to(waves.device)).to(rows.dtype)
        return rows @ (matrix.T if self.inverse else matrix)


class OuterProducts(Module):
    """All products of one column of each input, those of the last input side by side."""

    def forward(self, *blocks: Block) -> Tensor:
        """Blocks (n, d_i) or (n,) to (n, product of d_i)."""
        parts = [dense(block) for block in blocks]
        parts = [part[:, None] if part.ndim == 1 else part for part in parts]
        out = parts[0]
        for part in parts[1:]:
            out = (out[:, :, None] * part[:, None, :]).flatten(1)
        return out


class PlacesOfValues(Module):
    """Entries of some columns replaced by their place in a list of values; others pass through.

    Parameters
    ----------
    columns : sequence of int
        The columns with lists.
    values : sequence of Tensor
        The lists. A value that is not in its list gets the place after the last one.
    """

    def __init__(self, columns: list[int], values: list[Tensor]) -> None:
        super().__init__()
        self.columns = columns
        for number, one in enumerate(values):
            self.register_buffer(f"values_{number}", one.clone())

    def forward(self, x: Block) -> Tensor:
        """Same shape out as in."""
        out = list(dense(x).unbind(1))
        for number, column in enumerate(self.columns):
            values = getattr(self, f"values_{number}")
            equal = out[column][:, None] == values
            place = equal.to(out[column].dtype).argmax(1).to(out[column].dtype)
            out[column] = torch.where(equal.any(1), place, float(len(values)))
        return torch.stack(out, 1)


class OneColumn(Module):
    """One column of a block; a single column passes through.

    Parameters
    ----------
    place : int
        The column.
    """

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, x: Block) -> Tensor:
        """(n, features) or (n,) to (n,)."""
        rows = dense(x)
        return rows if rows.ndim == 1 else rows[:, self.place]


class ChosenColumns(Module):
    """Columns in any order; those of sparse rows become dense unless their order is kept.

    Parameters
    ----------
    places : Tensor of int64, shape (outputs,)
        The columns.
    """

    places: Tensor

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self.register_buffer("places", places)

    def forward(self, x: Block) -> Block:
        """(n, features) to (n, outputs)."""
        if isinstance(x, SparseRows) and bool((self.places.diff() > 0).all()):
            kept = x.select(self.places)
            return kept if self.places.numel() else kept.to_dense()
        return dense(x).index_select(1, self.places)


class PlacedColumns(Module):
    """Columns in any order, among columns of zeros.

    Parameters
    ----------
    places : Tensor of int64, shape (outputs,)
        The columns; -1 gives zeros.
    """

    places: Tensor

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self.register_buffer("places", places)

    def forward(self, x: Block) -> Tensor:
        """(n, features) to (n, outputs)."""
        rows = dense(x)
        return torch.cat([rows, torch.zeros_like(rows[:, :1])], 1)[:, self.places]


class SquareOfGaps(Module):
    """Mean square of scaled differences between the columns of two blocks.

    Parameters
    ----------
    scale : Tensor, shape (columns,)
        Factor of each difference.
    """

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.clone())

    def forward(self, x: Block, y: Block) -> Tensor:
        """Two blocks (n, columns) to (n,)."""
        missing, gaps = set_missing_aside(dense(x) - dense(y))
        mean = (gaps * self.scale).square().mean(1)
        return put_missing_back(None if missing is None else missing.any(1), mean)


class Gap(Module):
    """The difference of two blocks of one shape."""

    def forward(self, x: Block, y: Block) -> Tensor:
        """Same shape out as in."""
        return dense(x) - dense(y)


class MeanEmbedding(Module):
    """The mean of the vectors of known words, summed in order and in single precision.

    Parameters
    ----------
    vectors : Tensor, shape (words, k)
        The vectors.
    """

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = parameter(vectors)

    def forward(self, places: Tensor) -> Tensor:
        """Places of words (n, most words), below zero for none, to (n, k); NaN without words."""
        vectors = self.vectors.to(torch.float32)
        known = places >= 0
        total = vectors.new_zeros(len(places), vectors.shape[1])
        for place, hit in zip(places.to(torch.int64).unbind(1), known.unbind(1), strict=True):
            total = total + vectors[place.clamp(min=0)] * hit[:, None]
        count = known.sum(1)[:, None]
        mean = total / count.clamp(min=1).to(torch.float32)
        return mean.masked_fill(count == 0, torch.nan).to(self.vectors.dtype)

    def reset_parameters(self) -> None:
        """Draw standard normal vectors."""
        nn.init.normal_(self.vectors)
