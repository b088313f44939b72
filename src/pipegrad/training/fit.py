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

from ..errors import DivergedError, warn
from ..losses.checks import check_loss
from .criterion import LossLike
from .data import check_trainable
from .optimizers import Optim, make_optimizer, set_rate
from .options import Options, batch_rows, callbacks_of, checked_validation
from .prepare import TrainingData, build_training_data
from .samples import Samples, Validation, ValidationArgument
from .seeding import isolated_rng
from .tree_splits import HardSplits, precompute_leaves, soft_ensembles

if TYPE_CHECKING:
    from ..network import Network, PipelineNetwork
    from .trainer import Trainer


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
) -> Network:
    """Train everything that is trainable, and keep what did best on the rows that validate.

    The untouched pipeline is the first candidate. If nothing beats it, its parameters come back
    to the last bit and a warning says so. Training never disturbs the global random state.

    Parameters
    ----------
    net : PipelineModule
        What `pipegrad.to_torch` made; trained in place.
    X : array, DataFrame, sparse matrix or list
        What the source takes, n rows.
    y : array of shape (n,) or (n, k), optional
        Targets of the user's own kind; none for clustering.
    optim : callable
        From parameters to an optimizer. A bare class gets settings that work: Adam and its kin
        take steps of about one hundredth of each parameter's own size (in their fused form where
        torch has it), L-BFGS a line search.
    loss : str, Objective or callable, optional
        Name of a loss (`pipegrad.finetune.losses.LOSSES`), or a function ``(score, y)`` that gives
        a tensor: one value for each row, or one number; `losses.named`, `losses.Weighted`,
        `losses.Sum` and `losses.GroupPenalty` make others of them. Default: what the last operator
        itself minimises, with its class weights, without its penalty.
    epochs : int
        Largest number of passes over the rows that train.
    batch_size : int or "auto"
        Rows of a step; "auto" takes all rows for L-BFGS, else up to 256, or 1,024 of more than
        30,000 rows.
    lr : float or "auto", optional
        Learning rate, given to ``optim`` as ``lr=``: the same for all parameters. "auto", for Adam
        and its kin: rates from 1e-4 to 0.3 of each parameter's own size train for some 200 steps,
        all at once, and the smallest that does as well as the best is taken; it is found in
        ``net.history[0]["lr"]``.
    anchor : float
        Strength of a pull towards the parameters as they were fitted (L2-SP): training adds half
        of it times the sum of squared changes, each in units of its parameter's own size. It is
        no part of the losses in the history.
    sample_weight : array of shape (n,), optional
        Weight of each row, in training and in validation.
    groups : array of shape (n,), optional
        Group of each row, any labels, for `losses.GroupPenalty`.
    validation : float, tuple or None
        The share of rows to put aside, rows of your own ``(X, y)``, ``(X, y, sample_weight)`` or
        ``(X, y, sample_weight, groups)``, or None: the loss on the training rows decides.
    patience : int, optional
        Epochs without progress after which training stops; None: never.
    seed : int, optional
        Of the split and of the order of rows; None draws anew each time.
    callbacks : list of skorch callbacks, optional
        They see the loop as a `skorch.NeuralNet`.
    verbose : int
        1 shows epoch, losses and the time left.
    cache : str or path, optional
        A folder that keeps the output of the host part.
    cross_fit : bool
        Whether steps that cross-fit when they are fitted (the first layer of a stack, a
        `TargetEncoder`) say of the rows of ``X`` what copies say that never saw them, which costs
        their fits again. False if the pipeline never saw these rows; rows of your own that
        validate are always taken to be such.

    Returns
    -------
    PipelineModule
        ``net`` itself; ``net.history`` is a `skorch.history.History` whose first row is the
        untouched pipeline.

    Raises
    ------
    ArgumentError
        When an argument is wrong; no work was done.
    DivergedError
        When no loss was finite; the parameters are as they were.

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
    options = Options(
        optim, loss, epochs, batch_size, lr, patience, seed, callbacks, verbose, anchor, cross_fit
    )
    samples = Samples(X, y, sample_weight, groups)
    train(net, samples, options, validation=validation, cache=cache)
    return net


def train(
    net: PipelineNetwork,
    samples: Samples,
    options: Options,
    *,
    validation: Validation | ValidationArgument = 0.2,
    cache: str | PathLike[str] | None = None,
) -> Trainer:
    """As `fit`; returns the trainer, which knows how training went."""
    options.check()
    check_loss(options.loss, samples.y, samples.groups)
    if not isinstance(validation, Samples):
        validation = checked_validation(validation)
    check_trainable(net)
    parameters = list(net.trainable_parameters().values())
    optimizer = make_optimizer(options.optim, parameters, options.rate)
    generator = np.random.default_rng(options.seed)
    data = build_training_data(net, samples, validation, options, generator, cache)
    trainer = _make_trainer(net, data, optimizer, options, generator)
    if isinstance(validation, float) and getattr(net, "init", "") != "random":
        warn(_SEEN_ROWS_WARNING)
    fitted = _numbers(parameters) if soft_ensembles(net) else {}
    rate = _search_rate(net, trainer, options, optimizer)
    run_safely(trainer, net, options, optimizer)
    if rate is not None:
        trainer.history[0]["lr"] = rate
    if trainer.improved_ and fitted:
        _refit(net, trainer, options, fitted)
    _warn_outcome(trainer)
    return trainer


def _search_rate(
    net: PipelineNetwork, trainer: Trainer, options: Options, optimizer: torch.optim.Optimizer
) -> float | None:
    """With ``lr="auto"``: find a rate, and give it to the optimizer."""
    if options.lr != "auto":
        return None
    from .search.lr_finder import find_lr

    with isolated_rng(options.seed, optimizer):
        rate = find_lr(net, trainer, options)
    set_rate(optimizer, rate)
    return rate


def _numbers(parameters: Iterable[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    return {parameter: parameter.detach().clone() for parameter in parameters}


def _refit(
    net: PipelineNetwork,
    trainer: Trainer,
    options: Options,
    fitted: dict[nn.Parameter, Tensor],
) -> None:
    """Leaves were trained for soft splits; train them, and what follows, for hard ones."""
    from .trainer import Trainer

    chosen = _numbers(fitted)
    hardened = HardSplits(net, trainer.train, fitted)
    try:
        parameters = list(net.trainable_parameters().values())
        optimizer = make_optimizer(options.optim, parameters, options.rate)
        if options.lr == "auto":
            set_rate(optimizer, trainer.history[0]["lr"])
        training = trainer.train.with_inputs(precompute_leaves(net, trainer.train.encoded))
        valid = trainer.valid
        if valid is not None:
            shared = valid.encoded is trainer.train.encoded
            valid = valid.with_inputs(
                training.encoded if shared else precompute_leaves(net, valid.encoded)
            )
        again = Trainer(
            net,
            trainer.criterion,
            optimizer,
            training,
            valid,
            batch_size=trainer.batch_size,
            max_epochs=options.epochs,
            patience=options.patience,
            generator=trainer.generator,
            callbacks=callbacks_of(options, options.epochs),
            anchor=options.anchor,
        )
        run_safely(again, net, options, optimizer)
    finally:
        hardened.soften()
    if not trainer.append_history(again):
        with torch.no_grad():
            for parameter, kept in chosen.items():
                parameter.copy_(kept)
    net.history = trainer.history


_SEEN_ROWS_WARNING = (
    "The rows that validate may be rows that the pipeline was fitted on: then the untouched "
    "pipeline looks better there than it is, and improvements may be missed.\n"
    "Hint: name rows it never saw, validation=(X, y), or use pipegrad.FineTuner, which splits "
    "before it fits."
)


def _make_trainer(
    net: PipelineNetwork,
    data: TrainingData,
    optimizer: torch.optim.Optimizer,
    options: Options,
    generator: np.random.Generator,
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
    )


def run_safely(
    trainer: Trainer, net: PipelineNetwork, options: Options, optimizer: torch.optim.Optimizer
) -> None:
    was_training = net.training
    before = [p.detach().clone() for p in net.trainable_parameters().values()]
    try:
        with isolated_rng(options.seed, optimizer), torch.enable_grad(), net.fused_linear_maps():
            trainer.fit(None)
        trainer.restore()
    except BaseException as error:
        with torch.no_grad():
            for parameter, kept in zip(net.trainable_parameters().values(), before, strict=True):
                parameter.copy_(kept)
                parameter.grad = None
        if isinstance(error, torch.linalg.LinAlgError):
            raise DivergedError(f"{error}\n{_LOWER_LR_HINT}") from error
        raise
    finally:
        for _, callback in getattr(trainer, "callbacks_", ()):
            if hasattr(callback, "close"):
                callback.close()
        net.train(was_training)
        net.history = trainer.history


_LOWER_LR_HINT = (
    "Hint: try a smaller learning rate (optim=lambda p: torch.optim.Adam(p, lr=1e-4)), "
    "standardised columns, or clipped gradients (skorch.callbacks.GradientNormClipping)."
)


def _warn_outcome(trainer: Trainer) -> None:
    """Say what the user would not see otherwise."""
    if not math.isfinite(trainer.best_loss_):
        raise DivergedError(
            "No loss was finite, not that of the untouched pipeline either; its parameters are as "
            f"they were.\n{_LOWER_LR_HINT}"
        )
    if trainer.diverged_:
        kept = f"those of epoch {trainer.best_epoch_}" if trainer.improved_ else "the original ones"
        warn(
            f"Training stopped in epoch {trainer.history[-1, 'epoch']}: {trainer.reason_}. The "
            f"best parameters so far are kept, {kept}.\n{_LOWER_LR_HINT}",
        )
    elif not trainer.improved_:
        part = "training" if trainer.valid is None else "validation"
        losses = [row[trainer.monitor] for row in trainer.history[1:]]
        reached = f"; the best epoch reached {min(losses):.6g}" if losses else ""
        warn(
            f"Training did not lower the {part} loss (it was {trainer.start_loss_:.6g}{reached}). "
            "The pipeline is as it was.\nHint: try another learning rate or more rows.",
        )
