"""The training loop: skorch's, without its cost for each batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypedDict

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochScoring
from torch import Tensor, nn

from ..typing import Array, ClassLabels, Features, Targets
from .anchor import Anchor
from .criterion import Criterion
from .dataset import Batch, EncodedDataset, Loader
from .optimizers import is_loss_scale_invariant
from .scaled_lbfgs import ScaledLBFGS
from .tree_splits import centre_splits, soft_ensembles

_BATCH_EVENTS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
# Rows measured at once: without gradients, larger batches cost no more memory.
_MEASURED_ROWS = 2048
# Rows of which each loss is told at once, and parts of the rows where it cannot be told by row.
_TOLD_ROWS, _PARTS = 4096, 32
# What counts as progress for the patience, as a share of the loss.
_PROGRESS = 1e-4
# Optimizers take differences of 1e-9 for nothing, and first steps are made for losses of about one:
# smaller ones than this are enlarged while they train.
_SMALL_LOSS = 0.1

# Callbacks of skorch, with or without names.
Callbacks: TypeAlias = list[Callback | tuple[str, Callback]]


class StepResult(TypedDict):
    """What a step gives: the mean loss of a batch, its scores, and how many rows it has."""

    loss: Tensor
    y_pred: Tensor
    rows: int


class Trainer(NeuralNet):
    """Trains a module in place, and keeps the best parameters that it met.

    The untouched parameters are the first candidate. What decides is the loss of the rows that
    validate, or of those that train where there are no others.

    Parameters
    ----------
    module : Module
        Maps encoded rows to a score.
    criterion : Criterion
        Gives the loss of a batch.
    optimizer : Optimizer
        Over the module's trainable parameters.
    train, valid : EncodedDataset
        ``valid`` may be None.
    batch_size : int
        Rows of a step.
    max_epochs : int
        Largest number of passes.
    patience : int, optional
        Epochs without progress before it stops; None never stops.
    generator : numpy Generator
        Shuffles.
    callbacks : list, optional
        As in skorch.
    anchor : float
        Strength of the pull towards the parameters at the start, see `Anchor`.
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
        self.reason_ = "the last epoch"
        self.diverged_ = False
        self.best_epoch_ = 0
        self.best_loss_ = float("nan")
        self.start_loss_ = float("nan")

    # skorch's parts: all of ours are made already

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
        """What the source would answer, for callbacks that score."""
        return self.module_.predict(X)

    def predict_proba(self, X: Features) -> Array | list[Array]:
        """Class probabilities, for callbacks that score."""
        return self.module_.predict_proba(X)

    @property
    def _estimator_type(self) -> str:
        # Scorers of older scikit-learn ask for it.
        task = None if self.module.head is None else self.module.head.task
        return "classifier" if task == "classification" else "regressor"

    @property
    def classes_(self) -> ClassLabels:
        """The labels, for callbacks that score."""
        return self.module_.classes_

    def on_epoch_begin(self, net: NeuralNet, *args: object, **kwargs: object) -> None:
        self.history.new_epoch()
        # Epoch 0 is the untouched pipeline.
        self.history.record("epoch", len(self.history) - 1)

    # The loop

    @property
    def improved_(self) -> bool:
        """Whether any epoch beat the untouched parameters."""
        return self.best_epoch_ > 0

    def fit_loop(
        self, X: Features, y: Targets = None, epochs: int | None = None, **kwargs: object
    ) -> Trainer:
        self._measure_start()
        centre_splits(self.module_, self.train)
        parts = {"dataset_train": self.train, "dataset_valid": self.valid}
        loader = Loader(self.train, self.batch_size, self.generator)
        for _ in range(self.max_epochs):
            started = time.perf_counter()
            self.notify("on_epoch_begin", **parts)
            self.run_single_epoch(loader, True, "train", self.train_step)
            self._measure()
            going = self._judge()
            self.history.record("dur", time.perf_counter() - started)
            self.notify("on_epoch_end", **parts)
            if not going:
                break
        return self

    def run_single_epoch(
        self,
        iterator: Loader,
        training: bool,
        prefix: str,
        step_fn: Callable[..., StepResult],
        **fit_params: object,
    ) -> None:
        """One pass over the rows; nothing is read back from the device before its end."""
        if not self._listening:
            steps = (step_fn(batch) for batch in iterator)
            self._record_mean(prefix, ((step["loss"], step["rows"]) for step in steps))
        else:
            self._record_mean(prefix, self._watched(iterator, training, prefix, step_fn))
        self.history.record(prefix + "_batch_count", len(iterator))

    def _watched(
        self, iterator: Loader, training: bool, prefix: str, step_fn: Callable[..., StepResult]
    ) -> Iterator[tuple[Tensor, int]]:
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            self.history.record_batch(prefix + "_loss", step["loss"].item())
            self.history.record_batch(prefix + "_batch_size", step["rows"])
            self.notify("on_batch_end", batch=batch, training=training, **step)
            yield step["loss"], step["rows"]

    def _record_mean(self, prefix: str, losses: Iterable[tuple[Tensor, int]]) -> None:
        total: Tensor | float = 0.0
        count = 0
        for loss, rows in losses:
            total = total + loss * rows
            count += rows
        self.history.record(prefix + "_loss", float(total) / count)

    def train_step(self, batch: Batch, **fit_params: object) -> StepResult:
        """One step of the optimizer; L-BFGS may ask for the loss several times."""
        encoded, target = batch
        first: list[Tensor] = []

        def closure() -> Tensor:
            self.optimizer_.zero_grad()
            score = self.module_(encoded)
            loss = self.criterion_(score, target, batch.weight, batch.groups)
            if not first:
                first.extend((loss.detach(), score))
            if self._anchor_penalty is not None:
                loss = loss + self._anchor_penalty()
            loss = loss * self._unit
            loss.backward()
            if self._listening:
                named = list(self.get_all_learnable_params())
                self.notify("on_grad_computed", named_parameters=named, batch=batch, training=True)
            return loss

        self.optimizer_.step(closure)
        loss, score = first
        return {"loss": loss, "y_pred": score, "rows": score.shape[0]}

    def validation_step(self, batch: Batch, **fit_params: object) -> StepResult:
        """Loss without gradients."""
        encoded, target = batch
        score = self.module_(encoded)
        loss = self.criterion_(score, target, batch.weight, batch.groups)
        return {"loss": loss, "y_pred": score, "rows": score.shape[0]}

    # What decides

    @property
    def monitor(self) -> str:
        """Column of the history that decides."""
        return "train_loss" if self.valid is None else "valid_loss"

    def _measure_start(self) -> None:
        self._listening = any(_has_batch_hooks(callback) for _, callback in self.callbacks_)
        self._best = [p.detach().clone() for p in self._parameters()]
        self._anchor_penalty = Anchor(self._parameters(), self.anchor) if self.anchor else None
        Trainer.on_epoch_begin(self, self)
        self._evaluate(self.train, "train")
        same = is_loss_scale_invariant(self.optimizer_) or isinstance(self.optimizer_, ScaledLBFGS)
        self._unit = loss_scale(self.history[-1, "train_loss"]) if same else 1.0
        self._measure()
        self._check_input()
        self.start_loss_ = self.best_loss_ = self.history[-1, self.monitor]
        self.history.record(self.monitor + "_best", True)
        # Soft splits begin behind the hard ones; they get time to come up.
        behind = bool(soft_ensembles(self.module_))
        self._progress_loss, self._waited = (math.inf if behind else self.best_loss_), 0

    def _check_input(self) -> None:
        """Where the start has no loss: refuse NaN between steps as the source does."""
        row = self.history[-1]
        if not all(np.isfinite(row[key]) for key in ("train_loss", self.monitor)):
            for part in (self.train, self.valid):
                if part is not None:
                    self.module_.raw_score(part.X)

    def _measure(self) -> None:
        # Where nothing else decides, the training loss is measured again: its mean over the epoch
        # belongs to parameters that are gone.
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
        """Of all rows at once, for a loss that is no mean over rows."""
        return torch.cat([self.module_(batch[0]) for batch in loader])

    def _judge(self) -> bool:
        """Keep the parameters if they are the best so far; whether to go on."""
        row = self.history[-1]
        loss = row[self.monitor]
        finite = bool(np.isfinite(loss)) and bool(np.isfinite(row["train_loss"]))
        best = finite and not loss >= self.best_loss_
        self.history.record(self.monitor + "_best", best)
        if best:
            self.best_loss_, self.best_epoch_ = loss, row["epoch"]
            with torch.no_grad():
                for kept, parameter in zip(self._best, self._parameters(), strict=True):
                    kept.copy_(parameter)
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
        """Put the best parameters back."""
        with torch.no_grad():
            for kept, parameter in zip(self._best, self._parameters(), strict=True):
                parameter.copy_(kept)
        self.optimizer_.zero_grad()

    def append_history(self, other: Trainer) -> bool:
        """Take what another trainer did after this one into the history; whether it helped."""
        epochs = len(self.history) - 1
        helped = bool(other.best_loss_ < self.best_loss_)
        for row in other.history[1:]:
            best = row[self.monitor] < self.best_loss_
            self.history.append({**row, "epoch": len(self.history), f"{self.monitor}_best": best})
            if best:
                self.best_loss_ = row[self.monitor]
        if helped:
            self.best_loss_, self.best_epoch_ = other.best_loss_, epochs + other.best_epoch_
        return helped

    def _parameters(self) -> list[nn.Parameter]:
        return [p for p in self.module_.parameters() if p.requires_grad]


def per_sample_loader(module: nn.Module, criterion: Criterion, rows: EncodedDataset) -> Loader:
    """Batches on which to measure the loss of each row.

    A loss that cannot be told by row is told by parts of the rows.
    """
    encoded, target = rows.batch(rows.index[:2])
    with torch.no_grad():
        told = criterion.rows(module(encoded), target).ndim > 0
    return Loader(rows, _TOLD_ROWS if told else math.ceil(len(rows) / _PARTS))


def loss_scale(loss: float) -> float:
    """What a loss is multiplied with while it trains, 1 where it is of no unusual size."""
    return 1 / loss if 0 < loss < _SMALL_LOSS else 1.0


def _has_batch_hooks(callback: Callback) -> bool:
    """Whether a callback wants to hear of each batch."""
    if isinstance(callback, EpochScoring):
        return False  # It only caches there, and caching is off.
    return any(
        getattr(type(callback), event, None) is not getattr(Callback, event)
        for event in _BATCH_EVENTS
    )
