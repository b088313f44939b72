"""The training loop on a stream of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..training.dataset import EncodedDataset, Loader
from ..training.deadline import Pace, TimeLimitReached
from ..training.row_blocks import trained_tensors
from ..training.scaled_lbfgs import ScaledLBFGS
from ..training.stopping import StopTraining
from ..training.trainer import StepResult, Trainer
from .checkpoint import Checkpoint
from .decisions import Decisions, SharedPace
from .row_stream import RowStream, StreamedBatch
from .workers import GradientSum

# Rows after which the validation loss is measured; an epoch of fewer rows is measured at its end.
ROUND_ROWS = 1 << 20
# Rows of a batch on which losses are measured.
_MEASURED_ROWS = 4096
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
# Hooks of callbacks after which processes decide together.
_PLACES = ("on_train_begin", "on_epoch_begin", "on_epoch_end")


def _parts_of(batch: Any) -> list[Any]:
    return [] if batch is _NO_ROWS else [batch]


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
        self.decisions = Decisions(stream.workers)
        self._sum = GradientSum(stream.workers)
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

    def notify(self, method_name: str, **cb_kwargs: object) -> None:
        try:
            self._notify_together(method_name, **cb_kwargs)
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

    def _notify_together(self, method_name: str, **cb_kwargs: object) -> None:
        """Call the callbacks; what those of one process want happens in all."""
        if self.stream.workers.alone:
            super().notify(method_name, **cb_kwargs)
            return
        try:
            super().notify(method_name, **cb_kwargs)
            if self.stopped_ and method_name == "on_train_begin":
                raise StopTraining
        except (Exception, KeyboardInterrupt) as error:
            self.decisions.want(error)
        if method_name in _PLACES:
            try:
                self._settle(self.stream.workers.sums(self.decisions.numbers))
            except StopTraining:
                if method_name != "on_train_begin":
                    raise

    def _settle(self, wishes: Sequence[float]) -> None:
        """End training if any process wants it."""
        try:
            self.decisions.settle(wishes)
        except StopTraining:
            self.stopped_, self.reason_ = True, "a callback ended training"
            raise

    def _check_time(self, seconds: float) -> None:
        if self.stream.workers.any(self.deadline.left <= seconds):
            raise TimeLimitReached

    def _paced(self, seconds: float) -> Pace:
        alone = self.stream.workers.alone
        return super()._paced(seconds) if alone else SharedPace(self.deadline, seconds)

    def _run_epochs(self) -> None:
        if isinstance(self._step_pace, SharedPace):
            self._check_time(self._step_pace.expected + self._step_pace.reserve)
        super()._run_epochs()

    def _evaluate(self, rows: EncodedDataset, prefix: str) -> None:
        workers = self.stream.workers
        if workers.alone:
            super()._evaluate(rows, prefix)
            return
        # All processes hold the same rows, and each measures a part of them.
        bounds = [len(rows) * rank // workers.count for rank in (workers.rank, workers.rank + 1)]
        total, count = 0.0, 0
        try:
            self.module_.eval()
            with torch.no_grad():
                for batch in rows.batches(
                    _MEASURED_ROWS, torch.arange(*bounds, device=rows.index.device)
                ):
                    if len(batch[0]):
                        step = self.validation_step(batch)
                        total += float(step["loss"]) * step["rows"]
                        count += step["rows"]
            self.module_.train()
        except Exception as error:
            self.decisions.want(error)
        total, all_rows, *wishes = workers.sums([total, float(count), *self.decisions.numbers])
        self._settle(wishes)
        self.record_loss(prefix, total / all_rows)

    def _batch_metric(self, batch: Any, loss: Tensor) -> float:
        if batch[1] is None or not self.stream.workers.alone:
            # The targets of all rows of the batch are not here.
            return self.shown(loss.item(), "train")
        return super()._batch_metric(batch, loss)

    def _backward(self, batch: Any, factor: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        if self.stream.workers.alone and not isinstance(batch, AllRows):
            self.step_rows, self.more = len(batch[0]), batch.more
            return super()._backward(batch, factor)
        parts = batch.stream.ordered() if isinstance(batch, AllRows) else _parts_of(batch)
        rows, sums, score = 0, (0.0, 0.0), torch.empty(0)
        try:
            rows, sums, score = self._backward_parts(parts)
        except Exception as error:
            self.decisions.want(error)
        found = self._added_up(rows, sums, getattr(batch, "more", False))
        if isinstance(batch, AllRows):
            self.rounds.add_pass(self.step_rows)
        return *found, score

    def _backward_parts(self, parts: Iterable[Any]) -> tuple[int, tuple[float, float], Tensor]:
        """Add the gradients of the sum of the losses over rows; return their number and sums."""
        rows, sums = 0, [torch.zeros((), dtype=torch.float64) for _ in range(2)]
        score = torch.empty(0)
        for part in parts:
            count = len(part[0])
            loss, mean, score = super()._backward(part, float(count))
            rows += count
            sums = [
                s + v.double() * count for s, v in zip(sums, (loss.detach(), mean), strict=True)
            ]
        return rows, (float(sums[0]), float(sums[1])), score

    def _added_up(self, rows: int, sums: tuple[float, float], more: bool) -> tuple[Tensor, Tensor]:
        """The gradients and mean losses of the rows of all processes."""
        pace, parameters = self._step_pace, trained_tensors(self.module_)
        late = isinstance(pace, SharedPace) and pace.own_late
        numbers = (*sums, float(more), float(late), *self.decisions.numbers)
        total, loss, mean, others, tardy, *wishes = self._sum.add_up(parameters, rows, numbers)
        self.step_rows, self.more = int(total), others > 0
        if isinstance(pace, SharedPace):
            pace.late = tardy > 0
        self._settle(wishes)
        like, count = parameters[0], max(total, 1.0)
        return like.new_tensor(loss / count), like.new_tensor(mean / count)

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
            batch = self._next()
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

    def _next(self) -> StreamedBatch | None:
        try:
            return next(self._epoch(), None)
        except Exception as error:
            self.trainer.decisions.want(error)
            return None

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
