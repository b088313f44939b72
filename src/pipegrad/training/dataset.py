"""The data set of encoded rows, which is read in whole batches."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from skorch.dataset import Dataset
from torch import Tensor

from ..errors import ArgumentError
from ..losses.group_penalty import Groups
from ..losses.loss_metric import LossMetric
from .row_blocks import select


class EncodedDataset(Dataset):
    """A subset of the encoded rows, with targets and weights.

    Parameters
    ----------
    encoded : Encoded
        Input of the neural part.
    target : Tensor, optional
        Targets of the loss.
    weight : Tensor, optional
        Weight of each row.
    index : array of int64
        Row numbers of the subset.
    raw : array, optional
        The user's own targets of all rows, for callbacks that compute scores.
    groups : Groups, optional
        Groups of all rows, for losses that compare groups.
    """

    def __init__(
        self,
        encoded: Any,
        target: Tensor | None,
        weight: Tensor | None,
        index: NDArray[np.int64],
        raw: Any = None,
        groups: Groups | None = None,
    ) -> None:
        self.encoded = encoded
        self.target = target
        device = next(iter(encoded.blocks.values())).device
        self.index = torch.from_numpy(index).to(device)
        self.weight = None
        if weight is not None:
            mean = weight[self.index].mean()
            if not mean > 0:
                raise ArgumentError(
                    "All rows of the training or the validation set have weight zero."
                )
            # With mean one over the subset, batches estimate the weighted mean without bias.
            self.weight = weight / mean
        self.raw = raw
        self.groups = None if groups is None else groups.part(self.index)

    def __len__(self) -> int:
        return int(self.index.shape[0])

    @property
    def X(self) -> Any:  # noqa: N802
        """The encoded rows of this subset, an input of the module's own methods."""
        return self.encoded[self.index]

    @property
    def y(self) -> Any:
        """The user's targets of this subset."""
        return None if self.raw is None else _safe_indexing(self.raw, self.index.cpu().numpy())

    def subset(self, positions: NDArray[np.int64]) -> EncodedDataset:
        """Return a subset by positions, which shares the encoded blocks."""
        index = self.index.cpu().numpy()[positions]
        return EncodedDataset(self.encoded, self.target, self.weight, index, self.raw, self.groups)

    def with_inputs(self, encoded: Any) -> EncodedDataset:
        """Return the same rows with other encoded blocks."""
        index = self.index.cpu().numpy()
        return EncodedDataset(encoded, self.target, self.weight, index, self.raw, self.groups)

    def without_inputs(self) -> EncodedDataset:
        """Return the same rows without their encoded blocks, whose memory becomes free."""
        same = copy(self)
        same.encoded = None
        return same

    def batch(self, index: Tensor) -> Batch:
        """Return a batch of the rows ``index`` (positions among all encoded rows)."""
        return next(self._cut(index, len(index)))

    def targets_and_weights(self) -> Batch:
        """Return targets, weights and groups of all rows, without the inputs."""
        return Batch(None, *self._picked(self.index))

    def mean_offset(self, metric: LossMetric) -> float:
        """The weighted mean of the part of a metric that depends on the targets alone."""
        rows = self.targets_and_weights()
        offsets = metric.offsets(rows[1], rows.weight)
        return 0.0 if offsets is None else float(offsets.double().mean())

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """Yield all rows in batches of nearly equal size, by default in the order of the subset."""
        return self._cut(self.index if order is None else self.index[order], size)

    def _cut(self, index: Tensor, size: int) -> Iterator[Batch]:
        # Gather the small columns once for all batches, and the blocks batch by batch.
        small = self._picked(index)
        count = max(1, -(-len(index) // size))
        bounds = [len(index) * i // count for i in range(count + 1)]
        for start, stop in pairwise(bounds):
            parts = [None if column is None else column[start:stop] for column in small]
            yield Batch(select(self.encoded, index[start:stop]), *parts)

    def _picked(self, index: Tensor) -> tuple[Any, ...]:
        small = (self.target, self.weight, self.groups)
        return tuple(None if column is None else column[index] for column in small)


class Batch(tuple[Any, Any]):
    """A pair ``(encoded, target)``, as skorch unpacks it, with weights and groups."""

    weight: Tensor | None
    groups: Groups | None

    def __new__(
        cls,
        encoded: Any,
        target: Tensor | None,
        weight: Tensor | None,
        groups: Groups | None = None,
    ) -> Batch:
        batch = super().__new__(cls, (encoded, target))
        batch.weight, batch.groups = weight, groups
        return batch


class Loader:
    """Batches of a data set, optionally reshuffled at each iteration.

    Parameters
    ----------
    rows : EncodedDataset
        The data set.
    batch_size : int
        Maximum number of rows per batch.
    generator : numpy Generator, optional
        Generator for shuffling; None keeps the order.
    """

    def __init__(
        self, rows: EncodedDataset, batch_size: int, generator: np.random.Generator | None = None
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return max(1, -(-len(self.rows) // self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        order = None
        if self.generator is not None:
            order = torch.from_numpy(self.generator.permutation(len(self.rows)))
            order = order.to(self.rows.index.device)
        return self.rows.batches(self.batch_size, order)
