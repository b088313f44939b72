"""Projections, distances and kernel features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._random import kernel_frequencies
from ..binary import Numbers
from ..builder import Builder
from ..node import Node
from ..readers import predictor, transform
from ._base import Operator, Predictor, width_mismatch
from .vectors import Weights, read_point

# To draw a number takes as long as to fill in this many.
_DRAWING = 8


@dataclass(eq=False, kw_only=True)
class Projection(Operator):
    """``directions @ x - origin``."""

    directions: Numbers
    origin: Numbers | None


@dataclass(eq=False, kw_only=True)
class Centroids(Operator):
    """Squared distances to centers."""

    centers: tuple[Weights, ...]
    features: int


@dataclass(eq=False, kw_only=True)
class Residual(Operator):
    """The share of a row's norm that its projection does not explain."""

    mean: Numbers | None
    directions: Numbers


@dataclass(eq=False, kw_only=True)
class Whitening(Operator):
    """``matrix @ x``, using only the leading rows of the matrix."""

    matrix: Numbers
    rows: int


@dataclass(eq=False, kw_only=True)
class FourierFeatures(Operator):
    """Cosines, and possibly sines, of random projections, which the file does not store.

    Parameters
    ----------
    state : array of uint32
        State of the random number generator.
    """

    state: NDArray[np.uint32]
    features: int
    outputs: int
    kernel: Literal["gaussian", "laplacian"]
    width: float
    sines: bool

    @cached_property
    def drawn(self) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Frequencies (outputs, features) and phases (outputs,)."""
        return kernel_frequencies(
            self.state, self.features, self.outputs, self.kernel, self.width, self.sines
        )


@transform("PCA FUNC", versions=(0x00010001, 0x00010002))
def read_pca(node: Node, builder: Builder) -> None:
    """Read principal components."""
    reader = node.block.reader()
    if node.block.version < 0x00010002:
        reader.float_size()
    pairs, added = reader.columns(), []
    for out, source in pairs:
        features, rank = reader.i4(), reader.i4()
        column = builder.require_column(source, features, node.path)
        directions = reader.numbers(_product(reader, features, rank)).shaped(rank, features)
        origin = reader.counted_numbers()
        if origin.values.size not in (0, rank):
            raise reader.fail("has a mean of the wrong length")
        operator = Projection(directions=directions, origin=origin if origin.values.size else None)
        added.append(builder.add_step(node, out, column.type.sized(rank), operator, column))
    reader.done()
    builder.add(added)


def _product(reader, *sizes: int) -> int:  # type: ignore[no-untyped-def]
    """The product of sizes, checked against the size of the block."""
    total = 1
    for size in sizes:
        if size <= 0:
            raise reader.fail(f"has a matrix with {size} rows or columns")
        total *= size
    return total


@transform("WHITENTF")
def read_whitening(node: Node, builder: Builder) -> None:
    """Read a PCA or ZCA whitening matrix; its inverse, if present, is not needed for scoring."""
    reader = node.block.reader()
    pairs = reader.columns()
    options = []
    for _ in pairs:
        kind = reader.i4()
        reader.array(1, "<f4")
        reader.i4()
        inverse, rank = reader.flag(), reader.i4()
        options.append((kind, inverse, rank))
    added = []
    for (out, source), (kind, inverse, rank) in zip(pairs, options, strict=True):
        column = builder.require_column(source, where=node.path)
        width = column.type.width
        matrix = reader.counted_numbers()
        if width == 0 or matrix.values.size % width or kind not in (0, 1):
            raise reader.fail(f"cannot whiten column {source!r}")
        stored = matrix.values.size // width
        rows = rank if kind == 0 and 0 < rank < stored else stored
        if inverse:
            reader.counted("<f4")
        operator = Whitening(matrix=matrix.shaped(stored, width), rows=rows)
        added.append(builder.add_step(node, out, column.type.sized(rows), operator, column))
    reader.done()
    builder.add(added)


@transform("RFF FUNC", versions=(0x00010002,))
def read_fourier(node: Node, builder: Builder) -> None:
    """Read random Fourier features of a kernel, redrawn as ML.NET draws them."""
    reader = node.block.reader()
    pairs, added = reader.columns(), []
    for i, (out, source) in enumerate(pairs):
        features, outputs, sines = reader.i4(), reader.i4(), reader.flag()
        reader.float_size()
        state = reader.array(4, "<u4")
        column = builder.require_column(source, features, node.path)
        if outputs <= 0 or features <= 0 or outputs * features > 1 << 22:
            raise reader.fail(f"draws {outputs} times {features} numbers")
        builder.archive.fill(_DRAWING * outputs * features, f"{node.path!r}")
        kernel, scale = _kernel(node.child(f"MatrixGenerator{i}"))
        operator = FourierFeatures(
            state=state,
            features=features,
            outputs=outputs,
            kernel=kernel,
            width=scale,
            sines=sines,
        )
        width = 2 * outputs if sines else outputs
        added.append(builder.add_step(node, out, column.type.sized(width), operator, column))
    reader.done()
    builder.add(added)


def _kernel(node: Node) -> tuple[Literal["gaussian", "laplacian"], float]:
    if node.block.signature not in ("RND GAUS", "RND LPLC"):
        raise node.unsupported_error()
    reader = node.block.reader()
    reader.float_size()
    width = float(reader.number().values)
    if width < 0:
        raise reader.fail("has a kernel of negative width")
    return "gaussian" if node.block.signature == "RND GAUS" else "laplacian", width


@predictor("KMEANS  ", versions=(0x00010002,))
def read_kmeans(node: Node, features: int) -> Predictor:
    """Read cluster centers."""
    reader = node.block.reader()
    reader.float_size()
    count, width = reader.count(4, "centers", least=1), reader.i4()
    if width_mismatch(width, features) or not 0 < width <= 1 << 24:
        raise reader.fail(f"expects {width} features, but gets {features}")
    centers = tuple(read_point(reader, width) for _ in range(count))
    reader.done()
    operator = Centroids(centers=centers, features=width, loader=node.block.loader)
    return Predictor("clustering", operator, classes=count)


@predictor("PCA ANOM")
def read_anomaly(node: Node, features: int) -> Predictor:
    """Read an anomaly detector based on the distance from the principal subspace."""
    reader = node.block.reader()
    reader.float_size()
    width, rank = reader.i4(), reader.i4()
    centered = reader.flag()
    if width_mismatch(width, features):
        raise reader.fail(f"expects {width} features, but gets {features}")
    mean = reader.numbers(width) if centered else None
    directions = reader.numbers(_product(reader, rank, width)).shaped(rank, width)
    reader.done()
    operator = Residual(mean=mean, directions=directions, loader=node.block.loader)
    return Predictor("anomaly", operator)
