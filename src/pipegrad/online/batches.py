"""Preparation of incoming batches, and class counts of the rows seen so far."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from ..training.criterion import Criterion, LossLike, make_criterion
from ..training.data import encode_samples, match_score_shape
from ..training.dataset import EncodedDataset
from ..training.prepare import build_criterion, check_loss_on_batch
from ..training.samples import Samples
from ..training.tree_splits import precompute_leaves
from ..typing import Array, ClassWeight, Features, FloatArray, Label, SampleWeight, Targets

if TYPE_CHECKING:
    from ..network import PipelineNetwork


@dataclass
class ClassCounts:
    """Number of rows that a pipeline was trained on, in total and per class.

    Attributes
    ----------
    rows : int
        Number of rows.
    counts : list of dict
        For each target column, the number of rows per label.
    """

    rows: int = 0
    counts: list[dict[Label, int]] = field(default_factory=list)

    def add(self, count: int, labels: Targets = None) -> None:
        """Add a number of rows, and their labels (n,) or (n, k) if they have labels."""
        self.rows += count
        if labels is None:
            return
        for place, column in enumerate(columns_of(labels)):
            if place == len(self.counts):
                self.counts.append({})
            own = self.counts[place]
            for label, more in zip(*np.unique(column, return_counts=True), strict=True):
                key = label.item() if isinstance(label, np.generic) else label
                own[key] = own.get(key, 0) + int(more)

    def balanced(self) -> list[dict[Label, float]]:
        """For each column of labels the weights that ``class_weight="balanced"`` means."""
        found = []
        for own in self.counts:
            total = sum(own.values()) / len(own)
            found.append({label: total / count for label, count in own.items()})
        return found

    def copied(self) -> ClassCounts:
        """Return an independent copy."""
        return ClassCounts(self.rows, [dict(own) for own in self.counts])


def columns_of(labels: Targets) -> Array:
    """Labels (n,) or (n, k) column by column."""
    table = np.asarray(labels)
    return table.reshape(1, -1) if table.ndim < 2 else table.T


class BatchPreparer:
    """Turns incoming rows into a criterion and encoded data.

    Parameters
    ----------
    net : PipelineNetwork
        The translated network.
    loss : str, Objective or callable, optional
        The loss, as in `pipegrad.finetune.fit`.
    known : ClassCounts
        The rows so far; ``class_weight="balanced"`` counts them together with the new ones.
    """

    def __init__(self, net: PipelineNetwork, loss: LossLike | None, known: ClassCounts) -> None:
        self.net = net
        self.loss = loss
        self.known = known.copied()
        self.rows = 0
        make_criterion(loss, net.objective, net.head)  # Raises an error early.

    def take(
        self, X: Features, y: Targets, weight: SampleWeight, net: PipelineNetwork | None = None
    ) -> tuple[Criterion, EncodedDataset]:
        """Return the criterion and the encoded rows, with weights that are not normalized.

        ``net`` encodes them, if a learner has another network than the one of this object.
        """
        net = self.net if net is None else net
        function, objective = make_criterion(self.loss, net.objective, net.head)
        data = encode_samples(net, Samples(X, y, weight), loss=self.loss)
        index = np.arange(len(data.blocks[0]))
        task = None if net.head is None else net.head.task
        # Members balance classes of their own, which they count in the batch.
        if objective.class_weight == "balanced" and objective.name != "member_losses":
            seen = self.known.copied()
            seen.add(len(index), y)
            weights = seen.balanced()
            own: ClassWeight = weights[0] if task == "classification" else weights
            objective = replace(objective, class_weight=own)
        criterion, (weighed,) = build_criterion(net, data, objective, function, index, task)
        (target,) = match_score_shape(net, data)
        rows = EncodedDataset(
            precompute_leaves(net, data.blocks[0]), target, None, index, data.raw[0]
        )
        rows.weight = weighed  # Not normalized by the mean, which changes with each call.
        check_loss_on_batch(net, criterion, rows, self.loss)
        return criterion, rows

    def learned(self, rows: EncodedDataset) -> None:
        """Count the rows as trained on."""
        task = None if self.net.head is None else self.net.head.task
        labels = rows.raw if task in ("classification", "multilabel", "several") else None
        self.known.add(len(rows), labels)
        self.rows += len(rows)


class Arrival:
    """Rows that came in together, encoded for each network that learns from them.

    Parameters
    ----------
    preparer : BatchPreparer
        Encodes them.
    samples : Samples
        The rows in the user's own containers.
    """

    def __init__(self, preparer: BatchPreparer, samples: Samples) -> None:
        self.preparer = preparer
        self.samples = samples
        self._encoded: list[tuple[PipelineNetwork, tuple[Criterion, EncodedDataset]]] = []

    def __len__(self) -> int:
        return _num_samples(self.samples.X)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_encoded": []}  # Encoded again when needed.

    def rows(self, net: PipelineNetwork) -> tuple[Criterion, EncodedDataset]:
        """Return the criterion, and the rows as ``net`` takes them."""
        for known, found in self._encoded:
            if known is net:
                return found
        samples = self.samples
        found = self.preparer.take(samples.X, samples.y, samples.weight, net)
        self._encoded.append((net, found))
        return found

    def part(self, first: int, last: int) -> Arrival:
        """Return some of the rows."""
        return Arrival(self.preparer, self.samples.take(np.arange(first, last)))

    def keep(self, nets: Collection[PipelineNetwork]) -> None:
        """Drop the encodings for other networks."""
        self._encoded = [pair for pair in self._encoded if any(pair[0] is net for net in nets)]


def count_classes(X: Features, y: Targets, weight: FloatArray | None, labels: bool) -> ClassCounts:
    """Count the rows of positive weight, in total and per class."""
    rows = np.arange(_num_samples(X)) if weight is None else np.flatnonzero(weight > 0)
    known = ClassCounts()
    known.add(len(rows), _safe_indexing(y, rows) if labels and y is not None else None)
    return known
