"""`partial_fit` of a translated pipeline: one pass over new rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import ArgumentError, DivergedError
from ..losses.checks import check_loss
from ..training.data import check_trainable
from ..training.options import Options
from ..training.seeding import isolated_rng

if TYPE_CHECKING:
    from ..network import Network, PipelineNetwork
    from ..training.criterion import Criterion, LossLike
    from ..training.dataset import Loader
    from ..training.optimizers import Optim
    from .learner import Learner


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
    """Train on new rows, in place: a plain step ahead, which nothing checks.

    `pipegrad.FineTuner.partial_fit` also tells whether learning helps, and sets nothing.

    Parameters
    ----------
    net : PipelineModule
        What `pipegrad.to_torch` made.
    X : array, DataFrame, sparse matrix or list
        What the source takes, n rows.
    y : array of shape (n,) or (n, k), optional
        Targets of the user's own kind; none for clustering.
    optim : callable or Optimizer
        As in `fit`; or an optimizer over the module's parameters, which keeps its state from call
        to call.
    loss : str, Objective or callable, optional
        As in `fit`. ``class_weight="balanced"`` counts the new rows alone.
    epochs : int
        Passes over the rows.
    batch_size : int or "auto"
        Rows of a step; "auto" takes all rows for L-BFGS, else 32.
    lr : float, optional
        Learning rate, given to ``optim`` as ``lr=``.
    anchor : float
        Strength of a pull towards the parameters as they are before the call; see `fit`.
    sample_weight : array of shape (n,), optional
        Weight of each row.
    seed : int, optional
        Of the order of rows; None draws anew each time.

    Returns
    -------
    PipelineModule
        ``net`` itself.

    Raises
    ------
    ArgumentError
        When an argument is wrong; no work was done.
    DivergedError
        When parameters are no longer finite; they are as they were.

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
    parameters = net.trainable_parameters()
    if known is not None and lr is not None:
        raise ArgumentError("lr= is given, and the optimizer has its own.\nHint: leave lr out.")
    criterion, rows = BatchPreparer(net, loss, ClassCounts()).take(X, y, sample_weight)
    make = (lambda _: known) if known is not None else UserOptimizer(optim, lr)
    learner = Learner("", parameters, make, epochs, copies=False)
    if batch_size == "auto":
        whole = isinstance(learner.optimizer, torch.optim.LBFGS)
        batch_size = len(rows) if whole else BATCH_ROWS
    loader = Loader(rows, batch_size, np.random.default_rng(seed))
    if not _learn(net, learner, criterion, loader, options):
        raise DivergedError(
            "Parameters were no longer finite after these rows; they are as they were.\n"
            "Hint: a smaller learning rate (lr=1e-4), or clipped targets."
        )
    return net


def _learn(
    net: PipelineNetwork,
    learner: Learner,
    criterion: Criterion,
    loader: Loader,
    options: Options,
) -> bool:
    """Train in training mode with random numbers of its own; whether parameters stayed finite."""
    assert learner.optimizer is not None
    was_training = net.training
    net.train()
    try:
        with (
            isolated_rng(options.seed, learner.optimizer),
            torch.enable_grad(),
            net.fused_linear_maps(),
        ):
            return learner.learn(net, criterion, loader, options.anchor)
    finally:
        net.train(was_training)
