"""`partial_fit` of a translated pipeline: one pass over new rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import ArgumentError, DivergedError
from ..losses.checks import check_loss
from ..modules import preserved_modes, standard_settings
from ..training.data import check_trainable
from ..training.optimizers import check_own_parameters
from ..training.options import Options
from ..training.saved_state import ModuleState, OptimizerState, restored_on_error
from ..training.seeding import isolated_rng

if TYPE_CHECKING:
    from ..network import Network
    from ..training.criterion import Criterion, LossLike
    from ..training.dataset import Loader
    from ..training.optimizers import Optim
    from .learner import Learner


@standard_settings
def partial_fit(
    net: Network,
    X: Any,
    y: Any = None,
    *,
    optim: Optim | torch.optim.Optimizer = torch.optim.Adam,
    loss: LossLike | None = None,
    epochs: int = 1,
    batch_size: int | Literal["auto"] = "auto",
    lr: float | None = None,
    anchor: float = 0.0,
    sample_weight: ArrayLike | None = None,
    seed: int | None = 0,
) -> Network:
    """Train on new rows, in place and without validation.

    `pipegrad.FineTuner.partial_fit` also evaluates whether training helps, and needs no settings.

    Parameters
    ----------
    net : PipelineModule
        The module that `pipegrad.to_torch` returned.
    X : array, DataFrame, sparse matrix or list
        Input of the source, with n rows.
    y : array of shape (n,) or (n, k), optional
        Targets in the user's own form; omitted for clustering.
    optim : callable or Optimizer
        As in `fit`; or an optimizer over the module's parameters, which keeps its state from call
        to call.
    loss : str, Objective or callable, optional
        As in `fit`. ``class_weight="balanced"`` counts the new rows alone.
    epochs : int
        Number of passes over the rows.
    batch_size : int or "auto"
        Number of samples per optimizer step; "auto" uses the full batch for L-BFGS, and otherwise
        32.
    lr : float, optional
        Learning rate that is passed to ``optim`` as ``lr=``.
    anchor : float
        Strength of the L2-SP penalty towards the parameters before the call; see `fit`.
    sample_weight : array of shape (n,), optional
        Weight of each row.
    seed : int, optional
        Seed for shuffling; None uses a different one each time.

    Returns
    -------
    PipelineModule
        ``net`` itself.

    Raises
    ------
    ArgumentError
        If an argument is invalid; nothing was trained.
    DivergedError
        If the parameters become non-finite; they are restored, as they are after any other error
        and after an interrupt (Ctrl-C).

    Examples
    --------
    >>> import torch
    >>> from sklearn.linear_model import LinearRegression
    >>> import pipegrad as pg
    >>> net = pg.to_torch(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]))
    >>> adam = torch.optim.Adam(net.parameters(), lr=0.1)
    >>> for _ in range(100):
    ...     net = net.partial_fit([[0.0], [1.0]], [1.0, 3.0], optim=adam)
    >>> net.predict([[1.0]]).round(1)
    array([3.])
    """
    from ..training.dataset import Loader
    from .batches import BatchPreparer, ClassCounts
    from .learner import BATCH_ROWS, Learner, UserOptimizer

    known = optim if isinstance(optim, torch.optim.Optimizer) else None
    options = Options(
        torch.optim.Adam if known is not None else optim,  # type: ignore[arg-type]
        loss,
        epochs,
        batch_size,
        lr,
        seed=seed,
        anchor=anchor,
    )
    options.check()
    check_loss(loss, y)
    check_trainable(net)
    if known is not None and lr is not None:
        raise ArgumentError(
            "lr= was given, but the optimizer has its own learning rate.\nHint: omit lr."
        )
    if known is not None:
        trained = list(net.trainable_parameters().values())
        check_own_parameters("optim", known, trained)
    make = (lambda _: known) if known is not None else UserOptimizer(optim, lr)
    with restored_on_error(ModuleState(net)):
        criterion, rows = BatchPreparer(net, loss, ClassCounts()).take(X, y, sample_weight)
        learner = Learner("", net, make, epochs, copies=False)
        optimizer = learner.optimizer
        assert optimizer is not None
        if batch_size == "auto":
            batch_size = len(rows) if isinstance(optimizer, torch.optim.LBFGS) else BATCH_ROWS
        loader = Loader(rows, batch_size, np.random.default_rng(seed))
        with restored_on_error(OptimizerState(optimizer)):
            _learn(learner, criterion, loader, options)
    return net


def _learn(learner: Learner, criterion: Criterion, loader: Loader, options: Options) -> None:
    """Train in training mode with random numbers of its own."""
    net = learner.net
    with (
        preserved_modes(net),
        isolated_rng(options.seed, net, options.loss, learner.optimizer),
        torch.enable_grad(),
        net.fused_linear_maps(),
    ):
        net.train()
        finite = learner.take_steps(criterion, loader, options.anchor)
    if not finite:
        raise DivergedError(
            "The parameters became non-finite on these rows and were restored.\n"
            "Hint: a smaller learning rate (lr=1e-4), or clipped targets."
        )
