"""Encoded rows of a slice of a table, with their targets, weights and hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..host import Encoded
from ..modules import LeafIndices, SparseRows, dense
from ..training.tree_splits import precompute_leaves
from .column_roles import ColumnRoles
from .row_hashes import bits_of, hashes_of_matrix, row_hashes

if TYPE_CHECKING:
    import pyarrow as pa

    from ..network import PipelineNetwork
    from ..row_sources import Piece, RowSource


@dataclass(frozen=True)
class Chunk:
    """Some encoded rows.

    Parameters
    ----------
    encoded : Encoded
        Input of the neural part.
    target : Tensor, optional
        Encoded targets.
    weight : Tensor, shape (n,), optional
        Sample weights, as the user gave them.
    hashes : array of uint64, shape (n,)
        The hash of each row.
    """

    encoded: Encoded
    target: Tensor | None
    weight: Tensor | None
    hashes: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.hashes)

    def take(self, index: Any) -> Chunk:
        """Some of the rows, by a slice or an array of their places."""
        own = index if isinstance(index, slice) else torch.as_tensor(index)
        target = None if self.target is None else self.target[own]
        weight = None if self.weight is None else self.weight[own]
        return Chunk(self.encoded[own], target, weight, self.hashes[index])


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """The rows of several chunks, in order."""
    if len(chunks) == 1:
        return chunks[0]
    encoded = joined_rows([chunk.encoded for chunk in chunks])
    targets = [chunk.target for chunk in chunks if chunk.target is not None]
    weights = [chunk.weight for chunk in chunks if chunk.weight is not None]
    return Chunk(
        encoded,
        torch.cat(targets) if targets else None,
        torch.cat(weights) if weights else None,
        np.concatenate([chunk.hashes for chunk in chunks]),
    )


def joined_rows(parts: Sequence[Encoded]) -> Encoded:
    """Encoded rows of several parts, in order."""
    return Encoded(
        {name: _joined([part.blocks[name] for part in parts]) for name in parts[0].blocks}
    )


def _joined(blocks: Sequence[Any]) -> Any:
    first = blocks[0]
    if isinstance(first, LeafIndices):
        rest = None if first.rest is None else _joined([block.rest for block in blocks])
        return LeafIndices(torch.cat([block.leaves for block in blocks]), rest)
    if not any(isinstance(block, SparseRows) for block in blocks):
        return torch.cat(list(blocks))
    if not all(isinstance(block, SparseRows) for block in blocks):
        return torch.cat([dense(block) for block in blocks])
    ends = torch.tensor([0, *(len(block.values) for block in blocks)]).cumsum(0)
    starts = [block.starts[1:] + end for block, end in zip(blocks, ends[:-1], strict=True)]
    return SparseRows(
        torch.cat([first.starts[:1], *starts]),
        torch.cat([block.columns for block in blocks]),
        torch.cat([block.values for block in blocks]),
        first.width,
    )


class RowEncoder:
    """Makes chunks of record batches.

    Parameters
    ----------
    net : PipelineNetwork
        The network whose host part encodes the rows.
    roles : ColumnRoles
        The columns.
    seed : int
        Seed of the hashes.
    """

    def __init__(self, net: PipelineNetwork, roles: ColumnRoles, seed: int) -> None:
        self.net = net
        self.roles = roles
        self.seed = seed
        self._shape: tuple[int, ...] | None = None

    def batches(self, source: RowSource, piece: Piece, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a piece that the pipeline does not leave out, in slices."""
        for batch in source.batches(piece, self.roles.names, rows):
            kept = self.net.kept_of_arrow(batch)
            if kept.num_rows:
                yield kept

    def chunk(self, batch: pa.RecordBatch) -> Chunk:
        """The encoded rows of a record batch."""
        net, roles = self.net, self.roles
        features = batch.select(list(roles.features))
        matrix = net.numbers_of_arrow(features)
        y = roles.targets_of(net, batch)
        target = None if y is None else net.encode_target(y)
        weight = roles.weights_of(batch)
        if matrix is None:
            arrays = net.host_arrays(net.input_of_arrow(features))
            return self.encoded(arrays, target, weight, self.hashes(batch))
        more = [bits_of(batch.column(name)) for name in roles.targets]
        own = self.hashes(batch) if roles.groups else hashes_of_matrix(matrix, more, self.seed)
        arrays = dict.fromkeys(set(net.host_part.ports.values()), matrix)
        return self.encoded(arrays, target, weight, own)

    def hashes(self, batch: pa.RecordBatch) -> NDArray[np.uint64]:
        """The hashes of rows; those of one group are equal."""
        roles = self.roles
        named = [roles.groups] if roles.groups else [*roles.features, *roles.targets]
        return row_hashes(batch, named, self.seed)

    def encoded(
        self,
        arrays: Any,
        target: Tensor | None,
        weight: NDArray[np.float64] | None,
        hashes: NDArray[np.uint64],
    ) -> Chunk:
        """The chunk of rows whose host part has run."""
        encoded = precompute_leaves(self.net, self.net.encoded_rows(arrays, shared=True))
        own = None if weight is None else torch.tensor(weight).to(self.net.reference_tensor())
        return Chunk(encoded, self._in_shape_of_score(encoded, target), own, hashes)

    def _in_shape_of_score(self, encoded: Encoded, target: Tensor | None) -> Tensor | None:
        """A single numeric target in the shape of the score, (n,) or (n, 1)."""
        if target is None or not target.is_floating_point():
            return target
        if self._shape is None:
            with torch.no_grad():
                self._shape = tuple(self.net(encoded[:1]).shape[1:])
        if target[:1].numel() == 1 == np.prod(self._shape, dtype=int):
            return target.reshape(-1, *self._shape)
        return target
