"""Successive halving (Jamieson and Talwalkar 2016) over candidates trained together."""

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
from ..deadline import Deadline, TimeLimitReached
from ..tree_splits import centre_splits
from .batched_adam import BatchedAdam, Schedule
from .batched_module import BatchedModule, NotBatchable
from .configuration import Configuration

if TYPE_CHECKING:
    from ...network import PipelineNetwork


class SuccessiveHalving:
    """A race between candidates.

    Parameters
    ----------
    net : PipelineNetwork
        Starting point of all candidates; its parameters are overwritten.
    criterion : Criterion
        The loss.
    training, validating : EncodedDataset
        Training and validation rows; without validation rows, the training loss decides.

    Attributes
    ----------
    copies : BatchedModule
        The batched module.
    why : str
        Why candidates run sequentially; empty if they run in one batched pass.
    before : float
        Loss at the start.
    loss, best_epoch, epochs : array of shape (candidates,)
        Lowest loss, its epoch, and the number of epochs trained.
    best : Tensor, shape (candidates, numbers)
        Parameters at the best epoch.
    rows : array of shape (candidates, rows)
        Per-sample losses at the best epoch.
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
        self.loss = np.full(0, math.nan)
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
        deadline: Deadline = Deadline(),  # noqa: B008 (immutable)
    ) -> None:
        """Train the candidates until the deadline and record the best epoch of each."""
        self._begin(len(configurations))
        ensemble = BatchedAdam(
            self.copies, configurations, self.training, batch_size, epochs, generator, schedule
        )
        self.best = ensemble.values.clone()
        rungs = _rungs(len(configurations), epochs) if halving else {}
        for epoch in range(1, epochs + 1):
            try:
                trained = ensemble.epoch(deadline)
            except TimeLimitReached:
                return
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
            copies.net.raw_score(self.validating.X)  # Raises the source's error for NaN, if any.
            raise DivergedError("The loss of the fitted pipeline is not finite.")
        centre_splits(copies.net, self.training)
        self.loss = np.full(count, math.nan)
        self.best_epoch, self.epochs = np.zeros((2, count), dtype=np.int64)
        self.rows = np.full((count, rows.shape[1]), math.inf)

    def _record(
        self, ensemble: BatchedAdam, trained: NDArray[np.float64], epoch: int
    ) -> NDArray[np.bool_]:
        """Evaluate the remaining candidates; return which of them have finite losses."""
        alive = ensemble.alive
        rows = self.copies.measure(ensemble.values, self.validating)[0]
        losses = rows.mean(axis=1)
        finite = np.isfinite(losses) & np.isfinite(trained)
        better = finite & ~(losses >= self.loss[alive])
        self.epochs[alive] = epoch
        chosen = alive[better]
        # First the parameters: an interrupt must not find the loss of others.
        self.best[torch.as_tensor(chosen)] = ensemble.values[torch.as_tensor(better)]
        self.loss[chosen], self.best_epoch[chosen] = losses[better], epoch
        self.rows[chosen] = rows[better]
        return finite

    def load_best(self) -> None:
        """Give the module the best parameters; nothing changes if none are better than its own."""
        winner = self.best_index()
        if winner is not None:
            self.copies.load_flat(self.best[winner])

    def best_index(self) -> int | None:
        """Index of the candidate with the lowest loss, if that is below the loss at the start."""
        if np.isnan(self.loss).all():
            return None
        place = int(np.nanargmin(self.loss))
        return place if self.loss[place] < self.before else None


def _rungs(count: int, epochs: int) -> dict[int, int]:
    """Number of candidates kept, by epoch; two or fewer candidates train to the end."""
    drops = min(math.ceil(math.log2(count)) - 1, int(math.log2(epochs)))
    return {
        math.ceil(epochs / 2 ** (drops - i)): math.ceil(count / 2 ** (i + 1)) for i in range(drops)
    }
