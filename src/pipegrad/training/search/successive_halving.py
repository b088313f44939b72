"""Successive halving (Jamieson and Talwalkar 2016) over candidates that train together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DivergedError
from ..criterion import Criterion
from ..dataset import EncodedDataset
from ..tree_splits import centre_splits
from .batched_adam import BatchedAdam, Schedule
from .batched_module import BatchedModule, NotBatchable
from .configuration import Configuration

if TYPE_CHECKING:
    from ...network import PipelineNetwork


class SuccessiveHalving:
    """The candidates of a race, from start to end.

    Parameters
    ----------
    net : PipelineNetwork
        What all start from; its parameters are written to.
    criterion : Criterion
        The loss.
    training, validating : EncodedDataset
        The rows that train decide where no others do.

    Attributes
    ----------
    copies : BatchedModule
        The module for many values.
    why : str
        Why candidates take turns; empty if they do not.
    before : float
        Loss at the start.
    loss, best_epoch, epochs : array of shape (candidates,)
        Lowest loss, when it was, and how many epochs there were.
    best : Tensor, shape (candidates, numbers)
        The parameters then.
    rows : array of shape (candidates, rows)
        The losses of rows then.
    """

    before: float
    loss: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
    epochs: NDArray[np.int64]
    best: Tensor
    rows: NDArray[np.float64]

    def __init__(
        self,
        net: PipelineNetwork,
        criterion: Criterion,
        training: EncodedDataset,
        validating: EncodedDataset | None,
    ) -> None:
        self.training, self.validating = training, validating or training
        self.copies = BatchedModule(net, criterion)
        self.why = ""
        try:
            self.copies.try_batched(training)
        except NotBatchable as error:
            self.why = str(error)

    def run(
        self,
        configurations: Sequence[Configuration],
        epochs: int,
        batch_size: int,
        generator: np.random.Generator,
        schedule: Schedule | None = None,
        halving: bool = True,
    ) -> None:
        """Train all of them, and note what was best."""
        self._begin(len(configurations))
        ensemble = BatchedAdam(
            self.copies, configurations, self.training, batch_size, epochs, generator, schedule
        )
        self.best = ensemble.values.clone()
        rungs = _rungs(len(configurations), epochs) if halving else {}
        for epoch in range(1, epochs + 1):
            trained = ensemble.epoch()
            finite = self._record(ensemble, trained, epoch)
            ensemble.keep(np.flatnonzero(finite))
            if epoch in rungs:
                order = np.argsort(self.loss[ensemble.alive], kind="stable")  # NaN comes last
                ensemble.keep(np.sort(order[: rungs[epoch]]))
            if not len(ensemble.alive):
                return

    def _begin(self, count: int) -> None:
        copies = self.copies
        rows = copies.measure(copies.flat_parameters()[None], self.validating)[0]
        self.before = float(rows.mean())
        if not math.isfinite(self.before):
            copies.net.raw_score(self.validating.X)  # Complains about NaN as the source does.
            raise DivergedError("The loss of the fitted pipeline is not finite.")
        centre_splits(copies.net, self.training)
        self.loss = np.full(count, math.nan)
        self.best_epoch, self.epochs = np.zeros((2, count), dtype=np.int64)
        self.rows = np.full((count, rows.shape[1]), math.inf)

    def _record(
        self, ensemble: BatchedAdam, trained: NDArray[np.float64], epoch: int
    ) -> NDArray[np.bool_]:
        """Measure those still there; which of them have a finite loss."""
        alive = ensemble.alive
        rows = self.copies.measure(ensemble.values, self.validating)[0]
        losses = rows.mean(axis=1)
        finite = np.isfinite(losses) & np.isfinite(trained)
        better = finite & ~(losses >= self.loss[alive])
        self.epochs[alive] = epoch
        chosen = alive[better]
        self.loss[chosen], self.best_epoch[chosen] = losses[better], epoch
        self.rows[chosen] = rows[better]
        self.best[torch.as_tensor(chosen)] = ensemble.values[torch.as_tensor(better)]
        return finite

    def best_index(self) -> int | None:
        """The candidate with the lowest loss, if that is lower than before."""
        if np.isnan(self.loss).all():
            return None
        place = int(np.nanargmin(self.loss))
        return place if self.loss[place] < self.before else None


def _rungs(count: int, epochs: int) -> dict[int, int]:
    """How many candidates are left after which epochs; two or fewer go to the end."""
    drops = min(math.ceil(math.log2(count)) - 1, int(math.log2(epochs)))
    return {
        math.ceil(epochs / 2 ** (drops - i)): math.ceil(count / 2 ** (i + 1)) for i in range(drops)
    }
