"""The training loop: that of skorch without its overhead per batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypedDict

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from skorch.history import History
from torch import Tensor, nn

from ..modules import ParameterStack
from ..typing import Array, ClassLabels, Features, Targets
from .anchor import Anchor
from .criterion import Criterion
from .dataset import Batch, EncodedDataset, Loader
from .deadline import Deadline, Pace, TimeLimitReached, projected_seconds
from .optimizers import is_loss_scale_invariant
from .row_blocks import score_of, trained_tensors
from .scaled_lbfgs import ScaledLBFGS
from .stopping import StopTraining
from .tree_splits import centre_splits, soft_ensembles

_BATCH_EVENTS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
# Minimum batch size for evaluation, which needs less memory as it computes no gradients.
_MEASURED_ROWS = 2048
# Batch size for per-sample losses, and the number of parts for losses without per-sample values.
_TOLD_ROWS, _PARTS = 4096, 32
# Relative loss reduction that counts as progress for the patience.
_PROGRESS = 1e-4
# The tolerances (1e-9) and first steps of optimizers suit losses of about one, so that losses
# smaller than this are scaled up during training.
_SMALL_LOSS = 0.1
# Duration of an optimizer step as a multiple of that of evaluating the loss: the gradient takes
# about twice as long as the loss itself.
_STEP_COST = 3.0

# skorch callbacks with or without names.
Callbacks: TypeAlias = list[Callback | tuple[str, Callback]]


class StepResult(TypedDict):
    """Result of a step: the mean loss of a batch, its scores, and its number of rows."""

    loss: Tensor
    y_pred: Tensor
    rows: int


class Trainer(NeuralNet):
    """Trains a module in place, and keeps the parameters with the lowest loss.

    The initial parameters are the baseline. The validation loss decides, or the training loss if
    there is no validation set.

    Parameters
    ----------
    module : Module
        The network, which maps encoded rows to scores.
    criterion : Criterion
        The loss of a batch.
    optimizer : Optimizer
        The optimizer of the module's trainable parameters.
    train, valid : EncodedDataset
        The training and the validation set; ``valid`` may be None.
    batch_size : int
        Number of samples per optimizer step.
    max_epochs : int
        Maximum number of epochs.
    patience : int, optional
        Number of epochs without progress before training stops; None disables early stopping.
    generator : numpy Generator
        Generator for shuffling.
    callbacks : list, optional
        Callbacks, as in skorch.
    anchor : float
        Strength of the L2-SP penalty towards the initial parameters, see `Anchor`.
    deadline : Deadline
        When training has to end. It ends before an evaluation of the loss that would take too long,
        also in the middle of an epoch, which then leaves no row in the history.
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        train: EncodedDataset,
        valid: EncodedDataset | None,
        batch_size: int,
        max_epochs: int,
        patience: int | None,
        generator: np.random.Generator,
        callbacks: Callbacks | None = None,
        anchor: float = 0.0,
        deadline: Deadline = Deadline(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=None,
            callbacks=callbacks,
            device=None,
            verbose=0,
            use_caching=False,
        )
        self.train = train
        self.valid = valid
        self.patience = patience
        self.generator = generator
        self.anchor = anchor
        self.deadline = deadline
        self.reason_ = "the last epoch"
        self.stopped_ = False
        self._best = _Best()
        self._successor: Trainer | None = None
        self.diverged_ = False
        self.out_of_time_ = False
        self.start_loss_ = float("nan")
        # What training minimizes, by epoch; the history shows the metric of this loss.
        self.minimized_: list[dict[str, float]] = []
        self._shifts: dict[str, float] = {}

    # Overrides of skorch: module, criterion and optimizer exist already

    def get_default_callbacks(self) -> Callbacks:
        return []

    def initialize_module(self) -> Trainer:
        self.module_ = self.module
        return self

    def initialize_criterion(self) -> Trainer:
        self.criterion_ = self.criterion
        return self

    def initialize_optimizer(self, *args: object, **kwargs: object) -> Trainer:
        self.optimizer_ = self.optimizer
        return self

    def predict(self, X: Features) -> Array:
        """Return the predictions of the pipeline, for scoring callbacks."""
        return self.module_.predict(X)

    def predict_proba(self, X: Features) -> Array | list[Array]:
        """Return class probabilities, for scoring callbacks."""
        return self.module_.predict_proba(X)

    @property
    def _estimator_type(self) -> str:
        # Scorers of older scikit-learn versions use it.
        task = None if self.module.head is None else self.module.head.task
        return "classifier" if task == "classification" else "regressor"

    @property
    def classes_(self) -> ClassLabels:
        """The class labels, for scoring callbacks."""
        return self.module_.classes_

    def on_epoch_begin(self, net: NeuralNet, *args: object, **kwargs: object) -> None:
        self.history.new_epoch()
        self.minimized_.append({})
        # Epoch 0 is the baseline.
        self.history.record("epoch", len(self.history) - 1)

    # The loop

    @property
    def best_epoch_(self) -> int:
        """The epoch with the lowest loss; 0 is the baseline."""
        return self._best.epoch

    @property
    def best_loss_(self) -> float:
        """The lowest loss."""
        return self._best.loss

    @property
    def improved_(self) -> bool:
        """Whether any epoch improved on the initial parameters."""
        return self.best_epoch_ > 0

    def run(self) -> None:
        """Train until the last epoch, or until patience or a callback ends training.

        Raises
        ------
        KeyboardInterrupt
            If the user interrupts training; `restore` then gives the best parameters so far.
        """
        self.fit(None)

    def partial_fit(
        self, X: Features, y: Targets = None, classes: object = None, **fit_params: object
    ) -> Trainer:
        """Train as skorch does, which drops an interrupt by the user."""
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y)
        except KeyboardInterrupt:
            self._drop_unfinished_epoch()
            with suppress(Exception):  # The interrupt comes first.
                self.notify("on_train_end", X=X, y=y)
            raise
        self._drop_unfinished_epoch()
        self.notify("on_train_end", X=X, y=y)
        return self

    def fit_loop(
        self, X: Features, y: Targets = None, epochs: int | None = None, **kwargs: object
    ) -> Trainer:
        try:
            self._measure_start()
            centre_splits(self.module_, self.train)
            self._run_epochs()
        except StopTraining:
            pass
        except TimeLimitReached:
            self._end_at_limit()
        return self

    def notify(self, method_name: str, **cb_kwargs: object) -> None:
        try:
            super().notify(method_name, **cb_kwargs)
        except (KeyboardInterrupt, StopTraining) as stop:
            if isinstance(stop, KeyboardInterrupt) and not _is_early_stopping(stop):
                raise
            self.stopped_, self.reason_ = True, "a callback ended training"
            if method_name not in ("on_train_begin", "on_train_end"):
                raise StopTraining from None

    def _drop_unfinished_epoch(self) -> None:
        history = getattr(self, "history", None)
        if history and f"{self.monitor}_best" not in history[-1]:
            if 0 < self.best_epoch_ == history[-1].get("epoch"):
                history.record(f"{self.monitor}_best", True)
                return
            del history[-1]
            del self.minimized_[len(history) :]

    def _run_epochs(self) -> None:
        parts = {"dataset_train": self.train, "dataset_valid": self.valid}
        loader = self._loader()
        for _ in range(0 if self.stopped_ else self.max_epochs):
            started = Deadline.clock()
            self.notify("on_epoch_begin", **parts)
            self.run_single_epoch(loader, True, "train", self.train_step)
            self._measure()
            going = self._judge() and not self.out_of_time_
            self.history.record("dur", Deadline.clock() - started)
            self.notify("on_epoch_end", **parts)
            if not going:
                break
        if self.out_of_time_:
            self._end_at_limit()

    def _loader(self) -> Loader:
        """The batches of an epoch, in another order each time."""
        return Loader(self.train, self.batch_size, self.generator)

    def _end_at_limit(self) -> None:
        """End training at the deadline; an epoch without a finished step leaves no trace."""
        self.out_of_time_, self.reason_ = True, "the time limit"
        self._drop_unfinished_epoch()
        if self.history:
            self.history.record("time_limit", True)

    def run_single_epoch(
        self,
        iterator: Loader,
        training: bool,
        prefix: str,
        step_fn: Callable[..., StepResult],
        **fit_params: object,
    ) -> None:
        """Run one epoch; without batch callbacks, the device is synchronized only at its end."""
        for stack in self._stacks:
            stack.forget_gradients()
        if not self._listening:
            steps = (step_fn(batch) for batch in self._in_time(iterator))
            self._record_mean(prefix, ((step["loss"], step["rows"]) for step in steps))
        else:
            self._record_mean(prefix, self._watched(iterator, training, prefix, step_fn))
        self.history.record(prefix + "_batch_count", len(iterator))

    def _watched(
        self, iterator: Loader, training: bool, prefix: str, step_fn: Callable[..., StepResult]
    ) -> Iterator[tuple[Tensor, int]]:
        for batch in self._in_time(iterator):
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            self.history.record_batch(prefix + "_loss", self._batch_metric(batch, step["loss"]))
            self.history.record_batch(prefix + "_batch_size", step["rows"])
            self.notify("on_batch_end", batch=batch, training=training, **step)
            yield step["loss"], step["rows"]

    def _in_time(self, iterator: Loader) -> Iterator[Batch]:
        """Batches until the deadline, but at least one."""
        for place, batch in enumerate(iterator):
            if place and (self.out_of_time_ or not self._step_pace.fits):
                self.out_of_time_ = True
                return
            yield batch

    def _record_mean(self, prefix: str, losses: Iterable[tuple[Tensor, int]]) -> None:
        total: Tensor | float = 0.0
        count = 0
        for loss, rows in losses:
            total = total + loss * rows
            count += rows
        self.record_loss(prefix, float(total) / count)

    def record_loss(self, prefix: str, loss: float) -> None:
        """Record the mean loss of the training or the validation rows, and its metric."""
        self.minimized_[-1][prefix + "_loss"] = loss
        self.history.record(prefix + "_loss", self.shown(loss, prefix))

    def shown(self, loss: float, prefix: str) -> float:
        """The metric for a mean loss of the training or the validation rows."""
        return self.criterion.metric.value(loss, self.shift(prefix))

    def shift(self, prefix: str) -> float:
        """The part of the metric that depends on the targets alone; see `LossMetric`."""
        if prefix not in self._shifts:
            rows = self.valid if prefix == "valid" and self.valid is not None else self.train
            self._shifts[prefix] = rows.mean_offset(self.criterion.metric)
        return self._shifts[prefix]

    def _batch_metric(self, batch: Batch, loss: Tensor) -> float:
        metric = self.criterion.metric
        offsets = metric.offsets(batch[1], batch.weight)
        return metric.value(loss.item(), 0.0 if offsets is None else float(offsets.mean()))

    def train_step(self, batch: Batch, **fit_params: object) -> StepResult:
        """Run one optimizer step; L-BFGS may evaluate the loss several times."""
        first: list[Tensor] = []
        lowest = _Lowest(trained_tensors(self.module_)) if self.deadline.limited else None

        def closure() -> Tensor:
            with self._step_pace:
                loss = evaluate()
            if lowest is not None:
                lowest.keep(loss.item())
            return loss

        def evaluate() -> Tensor:
            self.optimizer_.zero_grad()
            loss, mean, score = self._backward(batch)
            if not first:
                first.extend((mean, score))
            if self._listening:
                named = list(self.get_all_learnable_params())
                self.notify("on_grad_computed", named_parameters=named, batch=batch, training=True)
            return loss

        try:
            self.optimizer_.step(closure)
        except TimeLimitReached:
            if not first:
                raise
            assert lowest is not None
            self.out_of_time_ = True
            lowest.restore()
        loss, score = first
        return {"loss": loss, "y_pred": score, "rows": score.shape[0]}

    def _backward(self, batch: Batch, factor: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradients of a batch to those of the parameters.

        Parameters
        ----------
        batch : Batch
            The batch.
        factor : float
            What the gradients are multiplied by.

        Returns
        -------
        loss, mean, score : Tensor
            What is minimized, with penalties; the mean loss of the rows; and their scores.
        """
        encoded, target = batch
        score = score_of(self.module_, encoded)
        loss = self.criterion_(score, target, batch.weight, batch.groups)
        mean = loss.detach()
        if self._anchor_penalty is not None:
            loss = loss + self._anchor_penalty()
        loss = loss * self._unit
        (loss if factor == 1.0 else loss * factor).backward()
        for stack in self._stacks:
            stack.collect_gradients()
        return loss, mean, score

    def validation_step(self, batch: Batch, **fit_params: object) -> StepResult:
        """Compute the loss without an optimizer step."""
        encoded, target = batch
        score = score_of(self.module_, encoded)
        loss = self.criterion_(score, target, batch.weight, batch.groups)
        return {"loss": loss, "y_pred": score, "rows": score.shape[0]}

    # Monitoring

    @property
    def monitor(self) -> str:
        """Column of the history that selects the best epoch."""
        return "train_loss" if self.valid is None else "valid_loss"

    def _measure_start(self) -> None:
        self._listening = any(_has_batch_hooks(callback) for _, callback in self.callbacks_)
        self._best = _Best(numbers=self._numbers())
        self._anchor_penalty = Anchor(self._parameters(), self.anchor) if self.anchor else None
        Trainer.on_epoch_begin(self, self)
        self._check_time(projected_seconds(self._try_rows, len(self.train), self.deadline))
        began = Deadline.clock()
        self._evaluate(self.train, "train")
        seconds = Deadline.clock() - began
        share = min(self.batch_size / len(self.train), 1.0)
        self._step_pace = self._paced(_STEP_COST * share * seconds)
        same = is_loss_scale_invariant(self.optimizer_) or isinstance(self.optimizer_, ScaledLBFGS)
        self._unit = loss_scale(self.minimized_[-1]["train_loss"]) if same else 1.0
        self._measure()
        # An epoch that ends early is evaluated as any other one.
        self._step_pace.reserve = Deadline.clock() - began
        self._check_input()
        self.start_loss_ = self.minimized_[-1][self.monitor]
        self._best = self._best._replace(loss=self.start_loss_)
        self.history.record(self.monitor + "_best", True)
        # Soft splits start with a higher loss than hard ones; the patience starts from their loss.
        behind = bool(soft_ensembles(self.module_))
        self._progress_loss, self._waited = (math.inf if behind else self.best_loss_), 0

    def _check_time(self, seconds: float) -> None:
        """End training if so many seconds are not left."""
        self.deadline.check(seconds)

    def _paced(self, seconds: float) -> Pace:
        """The pace of steps, of which the first takes so many seconds."""
        return Pace(self.deadline, seconds)

    def _try_rows(self, count: int) -> None:
        """Compute the scores of some training rows, to measure how long it takes."""
        with torch.no_grad():
            score_of(self.module_, self.train.batch(self.train.index[:count])[0])

    def _check_input(self) -> None:
        """If the initial loss is not finite, reject NaN between steps as the source does."""
        row = self.minimized_[-1]
        if not all(np.isfinite(row[key]) for key in ("train_loss", self.monitor)):
            for part in (self.train, self.valid):
                if part is not None:
                    self.module_.raw_score(part.X)

    def _measure(self) -> None:
        # Without a validation set, the training loss is measured again: its mean over the epoch
        # belongs to earlier parameters.
        self._evaluate(self.valid or self.train, "valid" if self.valid else "train")

    def _evaluate(self, rows: EncodedDataset, prefix: str) -> None:
        self.module_.eval()
        with torch.no_grad():
            loader = Loader(rows, max(self.batch_size, _MEASURED_ROWS))
            if self.criterion_.penalty is None:
                steps = (self.validation_step(batch) for batch in loader)
                losses = ((step["loss"], step["rows"]) for step in steps)
            else:
                score, own = self._scores(loader), rows.targets_and_weights()
                loss = self.criterion_(score, own[1], own.weight, own.groups)
                losses = (part for part in [(loss, len(rows))])
            self._record_mean(prefix, losses)
        self.module_.train()

    def _scores(self, loader: Loader) -> Tensor:
        """Scores of all rows, for a loss that is not a mean over samples."""
        return torch.cat([score_of(self.module_, batch[0]) for batch in loader])

    def _judge(self) -> bool:
        """Keep the parameters if they are the best so far; return whether to continue."""
        row = self.minimized_[-1]
        loss = row[self.monitor]
        finite = bool(np.isfinite(loss)) and bool(np.isfinite(row["train_loss"]))
        best = finite and not loss >= self.best_loss_
        if best:
            self._best = _Best(self.history[-1, "epoch"], loss, self._numbers())
        self.history.record(self.monitor + "_best", best)
        if not finite:
            self.diverged_ = True
            self.reason_ = f"the loss became {loss if not np.isfinite(loss) else row['train_loss']}"
            return False
        if loss < self._progress_loss - _PROGRESS * abs(loss):
            self._progress_loss, self._waited = loss, 0
        elif not np.isnan(self._progress_loss):
            self._waited += 1
        if self.patience is not None and self._waited >= self.patience:
            self.reason_ = f"no progress for {self.patience} epochs"
            return False
        return True

    def restore(self) -> None:
        """Restore the best parameters; nothing changes if no loss was measured yet."""
        with torch.no_grad():
            for parameter, kept in self._best.numbers.items():
                parameter.copy_(kept)
                parameter.grad = None

    def keep_best(self) -> None:
        """Give the module the best parameters and the history, after any interrupt."""
        self._drop_unfinished_epoch()
        self.restore()
        self.module.history = getattr(self, "history", None) or self.module.history

    def continue_with(self, other: Trainer) -> None:
        """Append the run of a subsequent trainer; its parameters count if it lowered the loss."""
        if other is self._successor:
            return
        other._drop_unfinished_epoch()
        history, minimized, least = list(self.history), list(self.minimized_), self.best_loss_
        rows = zip((getattr(other, "history", None) or [])[1:], other.minimized_[1:], strict=True)
        for row, losses in rows:
            best = losses[self.monitor] < least
            history.append({**row, "epoch": len(history), f"{self.monitor}_best": best})
            minimized.append(losses)
            least = min(least, losses[self.monitor]) if best else least
        best_now = self._best
        if other.best_loss_ < self.best_loss_:
            numbers = {**self._best.numbers, **other._best.numbers}
            epoch = len(self.history) - 1 + other.best_epoch_
            best_now = _Best(epoch, other.best_loss_, numbers)
        # All at once, so that an interrupt finds one run or the whole of both.
        self.__dict__.update(
            history_=History(history), minimized_=minimized, _best=best_now, _successor=other
        )

    def _numbers(self) -> dict[nn.Parameter, Tensor]:
        return {parameter: parameter.detach().clone() for parameter in self._parameters()}

    @property
    def _stacks(self) -> list[ParameterStack]:
        return getattr(self.module_, "stacks", [])

    def _parameters(self) -> list[nn.Parameter]:
        return [p for p in self.module_.parameters() if p.requires_grad]


class _Best(NamedTuple):
    """The best epoch so far; replaced as a whole, so that an interrupt finds one or the other."""

    epoch: int = 0
    loss: float = math.nan
    numbers: Mapping[nn.Parameter, Tensor] = MappingProxyType({})


class _Lowest:
    """The parameters with the lowest loss that a step of several evaluations came across."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self._loss = math.inf
        self._values: list[Tensor] = []

    def keep(self, loss: float) -> None:
        """Keep the current parameters if their loss is the lowest."""
        if loss < self._loss:
            self._loss = loss
            self._values = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the parameters that were kept, if any."""
        for parameter, value in zip(self.parameters, self._values, strict=False):
            parameter.copy_(value)


def per_sample_loader(module: nn.Module, criterion: Criterion, rows: EncodedDataset) -> Loader:
    """Return a loader on whose batches per-sample losses are measured.

    A loss without per-sample values is measured on parts of the rows.
    """
    encoded, target = rows.batch(rows.index[:2])
    with torch.no_grad():
        per_sample = criterion.rows(module(encoded), target).ndim > 0
    return Loader(rows, _TOLD_ROWS if per_sample else math.ceil(len(rows) / _PARTS))


def loss_scale(loss: float) -> float:
    """Return the factor that scales up a small loss during training; 1 for other losses."""
    return 1 / loss if 0 < loss < _SMALL_LOSS else 1.0


def _is_early_stopping(interrupt: KeyboardInterrupt) -> bool:
    """Whether skorch's `EarlyStopping` raised it, which has no exception of its own."""
    trace = interrupt.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and isinstance(trace.tb_frame.f_locals.get("self"), EarlyStopping)


def _has_batch_hooks(callback: Callback) -> bool:
    """Whether a callback overrides a hook that runs for each batch."""
    if isinstance(callback, EpochScoring):
        return False  # Its batch hooks only cache, and caching is off.
    return any(
        getattr(type(callback), event, None) is not getattr(Callback, event)
        for event in _BATCH_EVENTS
    )
