"""The training loop on a stream of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..training.dataset import EncodedDataset, Loader
from ..training.row_blocks import trained_tensors
from ..training.scaled_lbfgs import ScaledLBFGS
from ..training.stopping import StopTraining
from ..training.trainer import StepResult, Trainer
from .checkpoint import Checkpoint
from .row_stream import RowStream, StreamedBatch
from .workers import add_up_gradients

# Rows after which the validation loss is measured; an epoch of fewer rows is measured at its end.
ROUND_ROWS = 1 << 20
# The stream says when the last epoch is over.
_ALL = 1 << 31


class AllRows(tuple[Any, Any]):
    """All training rows as one batch, which is read part by part for each evaluation of the loss.

    Parameters
    ----------
    stream : RowStream
        The rows.
    """

    weight: Tensor | None = None
    groups: Any = None
    stream: RowStream

    def __new__(cls, stream: RowStream) -> AllRows:
        batch = super().__new__(cls, (None, None))
        batch.stream = stream
        return batch


class _NoRows(tuple[Any, Any]):
    """The part of a batch of a process whose shards have ended before those of others."""

    weight = groups = None
    more = False


_NO_ROWS: Any = _NoRows((None, None))


class StreamTrainer(Trainer):
    """Trains a module on a stream of rows.

    A row of the history stands for a round: so many rows, or what is left of an epoch. Losses of
    the training rows are measured on a sample of them, which is held in memory, as the validation
    rows are.

    Parameters
    ----------
    stream : RowStream
        The training rows.
    epochs : int
        Largest number of passes over them.
    round_rows : int
        Number of rows of a round.
    *arguments, **options
        Those of `Trainer`; ``train`` is the sample.
    """

    def __init__(
        self, stream: RowStream, epochs: int, round_rows: int, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **{**options, "max_epochs": _ALL})
        self.stream = stream
        self.full = isinstance(self.optimizer, torch.optim.LBFGS | ScaledLBFGS)
        self.rounds = _Rounds(self, epochs, round_rows)
        # Of the last step: the rows of all processes, and whether any has more in this epoch.
        self.step_rows, self.more = 0, True
        # The sum of the losses of a round so far, and the number of its rows.
        self.partial: tuple[Any, int] = (0.0, 0)
        self.checkpoint: Checkpoint | None = None

    _in_round = False
    _over = False  # whether the last round was judged to be the last one

    def _loader(self) -> Loader:
        return self.rounds

    def _judge(self) -> bool:
        self.history.record("rows", self.rounds.seen_rows)
        going = super()._judge()
        if not going and not self.diverged_ and not self.stopped_:
            last = self.rounds.seen_rows - self.history[self.best_epoch_, "rows"]
            self.reason_ = f"no progress over the last {last:,} rows"
        if going and self.rounds.ended:
            self.reason_ = "the last epoch"
            going = False
        self.rounds.begin_round()
        self.partial = (0.0, 0)
        self._over = not going
        return going

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        try:
            super().notify(method_name, **cb_kwargs)
        except StopTraining:
            self._after_event(method_name)
            raise
        self._after_event(method_name)

    def _after_event(self, event: str) -> None:
        # After the callbacks of a round, as these may change the learning rate.
        if event == "on_epoch_end" and self.checkpoint is not None and not self.out_of_time_:
            self.checkpoint.save(self, finished=self._over or self.stopped_)

    def _measure_start(self) -> None:
        super()._measure_start()
        self.history.record("rows", 0)
        if self.checkpoint is not None:
            self.checkpoint.restore(self)

    def after_step(self) -> None:
        """Save a checkpoint if it is time."""
        if self.checkpoint is not None:
            self.checkpoint.after_step(self)

    def run_single_epoch(self, *arguments: Any, **options: Any) -> None:
        self._in_round = True
        try:
            super().run_single_epoch(*arguments, **options)
        finally:
            self._in_round = False

    def _record_mean(self, prefix: str, losses: Iterable[tuple[Tensor, int]]) -> None:
        if not self._in_round:
            super()._record_mean(prefix, losses)
            return
        for loss, rows in losses:
            total, count = self.partial
            self.partial = (total + loss * rows, count + rows)
        if self.checkpoint is not None and self.out_of_time_ and not self.full:
            # The next run goes on within this round, as if there had been no limit.
            self.checkpoint.save(self)
        total, count = self.partial
        self.record_loss(prefix, float(total) / max(count, 1))

    def record_loss(self, prefix: str, loss: float) -> None:
        # Processes that round in different ways must not decide differently.
        super().record_loss(prefix, self.stream.workers.of_first(loss))

    def _backward(self, batch: Any, factor: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        if isinstance(batch, AllRows):
            return self._backward_all(batch)
        rows = 0 if batch is _NO_ROWS else len(batch[0])
        if self.stream.workers.alone:
            self.step_rows, self.more = rows, batch.more
            return super()._backward(batch, factor)
        none = torch.zeros((), dtype=torch.float64)
        found = super()._backward(batch, float(rows)) if rows else (none, none, torch.empty(0))
        return self._added_up(rows, *found, more=batch.more)

    def _backward_all(self, batch: AllRows) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the mean loss of all rows, as sums over parts of them."""
        rows, sums = 0, [torch.zeros((), dtype=torch.float64) for _ in range(2)]
        score = torch.empty(0)
        for part in batch.stream.ordered():
            count = len(part[0])
            loss, mean, score = super()._backward(part, float(count))
            rows += count
            sums = [
                s + v.double() * count for s, v in zip(sums, (loss.detach(), mean), strict=True)
            ]
        loss, mean = (s / max(rows, 1) for s in sums)
        self.rounds.add_pass(rows)
        return self._added_up(rows, loss, mean, score)

    def _added_up(
        self, rows: int, loss: Tensor, mean: Tensor, score: Tensor, more: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients and losses of all processes, of gradients times the number of rows."""
        parameters = trained_tensors(self.module_)
        own = (float(rows), float(loss.detach()) * rows, float(mean) * rows, float(more))
        total, loss_sum, mean_sum, others = add_up_gradients(self.stream.workers, parameters, own)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= max(total, 1.0)
        self.step_rows, self.more = int(total), others > 0
        like = loss.detach()
        return like.new_tensor(loss_sum / total), like.new_tensor(mean_sum / total), score

    def train_step(self, batch: Any, **fit_params: Any) -> StepResult:
        step = super().train_step(batch, **fit_params)
        return {**step, "rows": max(self.step_rows, 1)}


class _Rounds(Loader):
    """Batches of the rounds, which go on from epoch to epoch.

    Parameters
    ----------
    trainer : StreamTrainer
        The trainer, whose step tells whether other processes have further rows.
    epochs : int
        Largest number of epochs.
    round_rows : int
        Number of rows of a round, of all processes.
    """

    def __init__(self, trainer: StreamTrainer, epochs: int, round_rows: int) -> None:
        super().__init__(trainer.train, trainer.batch_size)
        self.trainer = trainer
        self.epochs = epochs
        self.round_rows = round_rows
        self.epoch = 0
        self.seen_rows = 0  # that training has seen, of all processes
        self.done, self.over = 0, False  # of the round: its rows so far, and whether it is over
        self.resumed = False
        self._batches: Iterator[StreamedBatch] | None = None
        self.cursors: dict[int, Any] = {}

    @property
    def ended(self) -> bool:
        """Whether the last epoch is over."""
        return self.epoch >= self.epochs

    def __len__(self) -> int:
        return 1 if self.trainer.full else max(1, -(-self.round_rows // self.batch_size))

    def __iter__(self) -> Iterator[Any]:
        if self.trainer.full:
            self.epoch += 1
            yield AllRows(self.trainer.stream)
            return
        if not self.resumed:
            self.begin_round()
        self.resumed = False
        while not self.over:
            batch = next(self._epoch(), None)
            yield _NO_ROWS if batch is None else batch
            # Only now, as a batch for which there is no time left is not trained on.
            if batch is not None:
                self.cursors = batch.cursors
            self.done += self.trainer.step_rows
            self.seen_rows += self.trainer.step_rows
            if not self.trainer.more:
                self._end_epoch()
            self.over = not self.trainer.more or self.done >= self.round_rows
            self.trainer.after_step()

    def begin_round(self) -> None:
        """Count the rows of a round anew."""
        self.done, self.over = 0, False

    def _epoch(self) -> Iterator[StreamedBatch]:
        if self._batches is None:
            stream = self.trainer.stream
            self._batches = stream.shuffled(self.batch_size, self.epoch, self.cursors)
        return self._batches

    def _end_epoch(self) -> None:
        self.epoch += 1
        self._batches, self.cursors = None, {}

    def add_pass(self, rows: int) -> None:
        """Count a pass over all rows."""
        self.seen_rows += rows

    def close(self) -> None:
        """End the reading of rows."""
        if self._batches is not None:
            self._batches.close()  # type: ignore[attr-defined]
            self._batches = None


def in_memory(chunk: Any, weight: Tensor | None, raw: Any = None) -> EncodedDataset:
    """The rows of a chunk as a data set in memory."""
    import numpy as np

    return EncodedDataset(chunk.encoded, chunk.target, weight, np.arange(len(chunk)), raw)
