"""Fine-tuning of a translated pipeline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..array_cache import check_cache
from ..devices import Device, checked_device, on_device
from ..errors import ArgumentError, DivergedError, warn
from ..losses.checks import check_loss
from ..modules import preserved_modes, standard_settings
from .criterion import LossLike
from .data import check_fit_targets, check_trainable
from .deadline import Deadline, TimeLimitReached
from .optimizers import Optim, make_optimizer, set_rate
from .options import Options, batch_rows, callbacks_of, checked_validation
from .parameter_stacks import stacked_parameters
from .prepare import TrainingData, build_training_data
from .quantiles import crossing_rows, warn_about_crossing
from .samples import Samples, Validation, ValidationArgument
from .saved_state import ModuleState
from .seeding import isolated_rng
from .tree_splits import HardSplits, precompute_leaves, soft_ensembles

if TYPE_CHECKING:
    from ..network import Network, PipelineNetwork
    from .trainer import Trainer

# Share of the time for soft splits; the rest is for the leaves, which then train again.
_SOFT_SHARE = 2 / 3


def fit(
    net: Network,
    X: Any,
    y: Any = None,
    *,
    optim: Optim = torch.optim.Adam,
    loss: LossLike | None = None,
    epochs: int = 100,
    batch_size: int | Literal["auto"] = "auto",
    lr: float | Literal["auto"] | None = None,
    anchor: float = 0.0,
    sample_weight: ArrayLike | None = None,
    groups: Any = None,
    validation: ValidationArgument = 0.2,
    patience: int | None = 10,
    seed: int | None = 0,
    callbacks: Sequence[Any] | None = None,
    verbose: int = 0,
    cache: str | PathLike[str] | None = None,
    cross_fit: bool = True,
    max_seconds: float | None = None,
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_seconds: float = 300.0,
    resume: bool = True,
    device: Device = None,
) -> Network:
    """Train all trainable parameters, and keep the ones with the lowest validation loss.

    The fitted pipeline is the baseline. If no epoch improves on it, its parameters are restored
    exactly, and a warning is issued. Training does not affect the global random state.

    Parameters
    ----------
    net : PipelineModule
        The module that `pipegrad.to_torch` returned; it is trained in place.
    X : array, DataFrame, sparse matrix or list; or path, data set or iterable of batches
        Input of the source, with n rows. The rows of a table in files (a file or folder of Parquet,
        Arrow or CSV, also ``s3://...``), of a ``pyarrow.dataset``, a Delta table, a `DataLoader`, a
        data set of Hugging Face or an iterable of record batches are read piece by piece, unless
        they are few; ``y``, ``sample_weight`` and ``groups`` are then names of columns.
    y : array of shape (n,) or (n, k), or str, optional
        Targets in the user's own form; omitted for clustering.
    optim : callable
        A callable that takes the parameters and returns an optimizer. An optimizer class gets
        suitable defaults: Adam and its variants take steps of about one hundredth of the magnitude
        of each parameter (in fused form where torch offers it), L-BFGS uses a line search.
    loss : str, Objective or callable, optional
        The name of a loss (`pipegrad.finetune.losses.LOSSES`), or a function ``(score, y)`` that
        returns a tensor with one value per sample, or a single number. `losses.named`,
        `losses.Weighted`, `losses.Sum` and `losses.GroupPenalty` compose losses. By default,
        training minimizes the objective of the last operator, with its class weights and without
        its regularization.
    epochs : int
        Maximum number of passes over the training rows.
    batch_size : int or "auto"
        Number of samples per optimizer step. "auto" uses the full batch for L-BFGS, and otherwise
        up to 256 samples, or up to 1,024 on data sets of more than 30,000 rows.
    lr : float or "auto", optional
        Learning rate that is passed to ``optim`` as ``lr=``, the same for all parameters. "auto" is
        for Adam and its variants: rates from 1e-4 to 0.3 of the magnitude of each parameter train
        at once for about 200 steps, and the smallest rate that does as well as the best one is
        selected. The selected rate is in ``net.history[0]["lr"]``.
    anchor : float
        Strength of the L2-SP penalty (Li, Grandvalet and Davoine 2018), which pulls the parameters
        towards their fitted values: training adds half of ``anchor`` times the sum of squared
        changes, each relative to the magnitude of its parameter. The losses in the history do not
        include this penalty.
    sample_weight : array of shape (n,), optional
        Weight of each sample, for training and for validation.
    groups : array of shape (n,), optional
        Group label of each sample, for `losses.GroupPenalty`.
    validation : float, tuple or None
        The share of the rows to hold out for validation, or held-out data as ``(X, y)``,
        ``(X, y, sample_weight)`` or ``(X, y, sample_weight, groups)``. With None, the training loss
        selects the epoch.
    patience : int, optional
        Number of epochs without progress after which training stops; None disables early stopping.
    seed : int, optional
        Seed for the validation split and for shuffling; None uses a different one each time.
    callbacks : list of skorch callbacks, optional
        Callbacks for the training loop, which they see as a `skorch.NeuralNet`. A callback ends
        training, with the best parameters so far, by raising `pipegrad.finetune.StopTraining`.
    verbose : int
        With 1, training shows the epoch, the losses and the remaining time.
    cache : str or path, optional
        Folder that keeps the output of the host part, for the next fit on the same data. It holds
        arrays alone, readable by their owner, and grows by their size for each input; entries that
        are damaged or of other versions are computed anew. Delete the folder to clear it.
    cross_fit : bool
        Whether to train on out-of-fold features for steps that cross-fit during their fit (the
        first layer of a stack, a `TargetEncoder`), at the cost of fitting these steps again. Use
        False if the pipeline was not fitted on these rows. Held-out data that you provide never
        need it and are not cross-fitted.
    max_seconds : float, optional
        Maximum time of the whole call, in seconds. Training ends early, with the best epoch so far,
        where another step would exceed it; the last row of the history then has ``"time_limit"``.
        Encoding and cross-fitting are part of the time. If a part of the rows shows that encoding
        would take too long, the parameters stay as they are.
    checkpoint : str or path, optional
        Folder for checkpoints of training on a table in pieces. The same call with the same module
        goes on from the one that is there, and gives what it would have given without the
        interruption. ``epochs`` and ``max_seconds`` may differ.
    checkpoint_seconds : float
        Seconds between checkpoints. There is one after the first step and after each round of rows,
        too.
    resume : bool
        Whether to go on from a checkpoint; False begins anew.
    device : {"auto", "cpu", "cuda", "mps"} or torch.device, optional
        Where to train; "auto" takes a GPU of CUDA where there is one. The module is then where it
        was before. By default, it trains where it is.

    Returns
    -------
    PipelineModule
        ``net`` itself; ``net.history`` is a `skorch.history.History` whose first row is the
        baseline. Its losses are in the unit of scikit-learn's metric for the loss: mean squared
        errors and mean deviances, not half of them (see `losses.Loss.metric`).

    Raises
    ------
    ArgumentError
        If an argument is invalid; nothing was trained.
    DivergedError
        If no loss was finite; the parameters are unchanged.
    KeyboardInterrupt
        If the user interrupts training (Ctrl-C); the parameters are the best ones so far, and
        ``net.history`` has the epochs that were completed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> y = 3 * X[:, 0]
    >>> ridge = Ridge(alpha=30).fit(X[:40], y[:40])
    >>> net = pg.to_torch(ridge).fit(X[:40], y[:40], validation=(X[40:], y[40:]))
    >>> net.history[-1, "valid_loss"] < net.history[0, "valid_loss"]
    True
    """
    if checkpoint is not None:
        raise ArgumentError(
            "checkpoint= is for rows that are read in pieces, and X is in memory.\n"
            "Hint: write the rows as Parquet, and give the path as X and a column's name as y."
        )
    options = Options(
        optim,
        loss,
        epochs,
        batch_size,
        lr,
        patience,
        seed,
        callbacks,
        verbose,
        anchor,
        cross_fit,
        max_seconds,
    )
    samples = Samples(X, y, sample_weight, groups)
    try:
        with on_device(net, checked_device(device)):
            train(net, samples, options, validation=validation, cache=cache)
    except TimeLimitReached:
        end_without_training(net, options)
    return net


def end_without_training(net: PipelineNetwork, options: Options) -> None:
    """Warn that there was no time to train, and leave an empty history."""
    from skorch.history import History

    net.history = History()
    warn(
        f"max_seconds={options.max_seconds:g} left no time to train. The pipeline is unchanged.\n"
        "Hint: allow more time, or fewer rows."
    )


@standard_settings
def train(
    net: PipelineNetwork,
    samples: Samples,
    options: Options,
    *,
    validation: Validation | ValidationArgument = 0.2,
    cache: str | PathLike[str] | None = None,
    deadline: Deadline | None = None,
) -> Trainer:
    """Train as `fit` does, by a deadline; ``max_seconds`` of the options sets the default.

    Returns
    -------
    Trainer
        The trainer after training, with the history and the best epoch.

    Raises
    ------
    TimeLimitReached
        If there was no time to train; the parameters are unchanged.
    """
    options.check()
    check_cache(cache)
    deadline = Deadline.after(options.max_seconds) if deadline is None else deadline
    check_loss(options.loss, samples.y, samples.groups)
    if not isinstance(validation, Samples):
        validation = checked_validation(validation)
    check_trainable(net)
    check_fit_targets(net, samples.y)
    state = ModuleState(net)
    trainers: list[Trainer] = []
    try:
        return _train(net, samples, options, validation, cache, deadline, trainers)
    except BaseException as error:
        state.restore()
        if isinstance(error, KeyboardInterrupt) and trainers:
            _keep_best(*trainers)
        raise


def _train(
    net: PipelineNetwork,
    samples: Samples,
    options: Options,
    validation: Validation,
    cache: str | PathLike[str] | None,
    deadline: Deadline,
    trainers: list[Trainer],
) -> Trainer:
    """Train; ``trainers`` receives the trainers as they begin, for `_keep_best`."""
    parameters = list(net.trainable_parameters().values())
    optimizer = make_optimizer(options.optim, parameters, options.rate)
    generator = np.random.default_rng(options.seed)
    data = build_training_data(net, samples, validation, options, generator, cache, deadline)
    # With soft splits, some time is left to train the leaves again.
    share = _SOFT_SHARE if soft_ensembles(net) else 1.0
    trainer = _make_trainer(
        net, data, optimizer, options, generator, deadline.sooner(share * deadline.left)
    )
    if isinstance(validation, float) and getattr(net, "init", "") != "random":
        warn(SEEN_ROWS_WARNING)
    fitted = _numbers(parameters) if soft_ensembles(net) else {}
    crossing = crossing_rows(net, trainer.train)
    with preserved_modes(net):
        rate = search_rate(net, trainer, options, optimizer)
        trainers.append(trainer)
        run_safely(trainer, net, options, optimizer)
        if not trainer.history:
            raise TimeLimitReached
        if rate is not None:
            trainer.history[0]["lr"] = rate
        if trainer.improved_ and fitted and deadline.left > 0:
            _refit(net, trainers, options, fitted, deadline)
    warn_outcome(trainer, options)
    if crossing is not None:
        warn_about_crossing(crossing, crossing_rows(net, trainer.train))
    return trainer


def _keep_best(trainer: Trainer, again: Trainer | None = None) -> None:
    """Give the module the best parameters so far, and the history of the completed epochs."""
    if again is not None:
        trainer.continue_with(again)
    trainer.keep_best()


def search_rate(
    net: PipelineNetwork, trainer: Trainer, options: Options, optimizer: torch.optim.Optimizer
) -> float | None:
    """With ``lr="auto"``, find a learning rate and set it on the optimizer."""
    if options.lr != "auto":
        return None
    from .search.lr_finder import find_lr

    with isolated_rng(options.seed, net, options.loss):
        rate = find_lr(net, trainer, options, trainer.deadline)
    set_rate(optimizer, rate)
    return rate


def _numbers(parameters: Iterable[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    return {parameter: parameter.detach().clone() for parameter in parameters}


def _refit(
    net: PipelineNetwork,
    trainers: list[Trainer],
    options: Options,
    fitted: dict[nn.Parameter, Tensor],
    deadline: Deadline,
) -> None:
    """Train the leaves and the steps after them again, now with hard splits."""
    (trainer,) = trainers
    hardened = HardSplits(net)
    hardened.harden(trainer.train, fitted)
    optimizer = make_optimizer(
        options.optim, list(net.trainable_parameters().values()), options.rate
    )
    if options.lr == "auto":
        set_rate(optimizer, trainer.history[0]["lr"])
    training = trainer.train.with_inputs(precompute_leaves(net, trainer.train.encoded))
    valid = trainer.valid
    if valid is not None:
        shared = valid.encoded is trainer.train.encoded
        valid = valid.with_inputs(
            training.encoded if shared else precompute_leaves(net, valid.encoded)
        )
    data = TrainingData(trainer.criterion, training, valid)
    again = _make_trainer(net, data, optimizer, options, trainer.generator, deadline)
    trainers.append(again)
    run_safely(again, net, options, optimizer)
    hardened.soften()
    trainer.continue_with(again)
    trainer.keep_best()


SEEN_ROWS_WARNING = (
    "The validation rows may be rows that the pipeline was fitted on. The loss of the fitted "
    "pipeline is then optimistically biased, and improvements may be missed.\n"
    "Hint: pass held-out data, validation=(X, y), or use pipegrad.FineTuner, which splits before "
    "it fits."
)


def _make_trainer(
    net: PipelineNetwork,
    data: TrainingData,
    optimizer: torch.optim.Optimizer,
    options: Options,
    generator: np.random.Generator,
    deadline: Deadline,
) -> Trainer:
    from .trainer import Trainer

    return Trainer(
        net,
        data.criterion,
        optimizer,
        data.training,
        data.validation,
        batch_size=batch_rows(options.batch_size, optimizer, len(data.training)),
        max_epochs=options.epochs,
        patience=options.patience,
        generator=generator,
        callbacks=callbacks_of(options, options.epochs),
        anchor=options.anchor,
        deadline=deadline,
    )


def run_safely(
    trainer: Trainer,
    net: PipelineNetwork,
    options: Options,
    optimizer: torch.optim.Optimizer,
    stacked: bool = True,
) -> None:
    """Run the trainer, and restore the best parameters.

    After an error, the parameters are those of the last step. ``stacked`` is whether the optimizer
    may see the parameters of alike members as a few tensors.
    """
    try:
        with (
            preserved_modes(net),
            isolated_rng(options.seed, net, options.loss, optimizer, options.callbacks),
            torch.enable_grad(),
            net.fused_linear_maps(),
            stacked_parameters(net, optimizer, allowed=stacked and not options.callbacks),
        ):
            trainer.run()
        trainer.restore()
    except torch.linalg.LinAlgError as error:
        raise DivergedError(f"{error}\n{_LOWER_LR_HINT}") from error
    finally:
        for _, callback in getattr(trainer, "callbacks_", ()):
            if hasattr(callback, "close"):
                callback.close()
        net.history = getattr(trainer, "history", None) or net.history


_LOWER_LR_HINT = (
    "Hint: try a smaller learning rate (optim=lambda p: torch.optim.Adam(p, lr=1e-4)), "
    "standardized columns, or clipped gradients (skorch.callbacks.GradientNormClipping)."
)


def warn_outcome(trainer: Trainer, options: Options) -> None:
    """Warn if training diverged, ran out of time or did not improve on the baseline."""
    if not math.isfinite(trainer.best_loss_):
        raise DivergedError(
            "No loss was finite, not even that of the fitted pipeline; the parameters are "
            f"unchanged.\n{_LOWER_LR_HINT}"
        )
    if trainer.diverged_:
        kept = (
            f"parameters of epoch {trainer.best_epoch_}"
            if trainer.improved_
            else "fitted parameters"
        )
        warn(
            f"Training stopped in epoch {trainer.history[-1, 'epoch']}: {trainer.reason_}. The "
            f"{kept} are kept.\n{_LOWER_LR_HINT}",
        )
    elif trainer.out_of_time_:
        kept = "best epoch are" if trainer.improved_ else "fitted pipeline are"
        warn(
            f"Training stopped at max_seconds={options.max_seconds:g}, in epoch "
            f"{trainer.history[-1, 'epoch']} of {options.epochs}. The parameters of the {kept} "
            "kept."
        )
    elif not trainer.improved_:
        part = "training" if trainer.valid is None else "validation"
        start, *losses = trainer.history[:, trainer.monitor]
        reached = f"; the best epoch reached {min(losses):.6g}" if losses else ""
        warn(
            f"Training did not lower the {part} loss (it was {start:.6g}{reached}). "
            "The pipeline is unchanged.\nHint: try another learning rate or more rows.",
        )
