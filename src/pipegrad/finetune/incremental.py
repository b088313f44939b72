"""`partial_fit`: of a module, one pass over new rows; of a tuner, a stream of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples

from ..errors import ArgumentError, DivergedError
from ..losses.composition import check_loss
from ..report.results import Report
from ..training.data import check_trainable
from ..training.fit import Options, own_randomness
from .input_checks import checked_weight, part_of

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..online.batches import Known
    from ..online.stream import Stream
    from ..training.criterion import LossLike
    from ..training.optimizers import Optim
    from .tuner import FineTuner


def partial_fit(
    net: PipelineModule,
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
) -> PipelineModule:
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
    from ..online.batches import Arrivals, Known
    from ..online.stream import BATCH_ROWS, Given, Learner
    from ..training.dataset import Loader

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
    criterion, rows = Arrivals(net, loss, Known()).take(X, y, sample_weight)
    make = (lambda _: known) if known is not None else Given(optim, lr)
    learner = Learner("", parameters, make, epochs, copies=False)
    if batch_size == "auto":
        whole = isinstance(learner.optimizer, torch.optim.LBFGS)
        batch_size = len(rows) if whole else BATCH_ROWS
    assert learner.optimizer is not None
    was_training = net.training
    net.train()
    try:
        with own_randomness(seed, learner.optimizer), torch.enable_grad(), net.joining():
            generator = np.random.default_rng(seed)
            finite = learner.learn(net, criterion, Loader(rows, batch_size, generator), anchor)
    finally:
        net.train(was_training)
    if not finite:
        raise DivergedError(
            "Parameters were no longer finite after these rows; they are as they were.\n"
            "Hint: a smaller learning rate (lr=1e-4), or clipped targets."
        )
    return net


def take_in(tuner: FineTuner, X: Any, y: Any, classes: Any, weight: Any) -> None:
    """What `FineTuner.partial_fit` does."""
    check_loss(tuner.loss, y)
    X, y = indexable(X, y)
    rows = np.arange(_num_samples(X))
    if weight is not None and hasattr(tuner, "estimator_") and not np.any(weight):
        return
    weight = checked_weight(weight, X)
    if weight is not None:
        rows = rows[weight > 0]
    if classes is not None and not is_classifier(tuner.estimator):
        raise ArgumentError("classes= was given, and the pipeline is no classifier.")
    part: tuple[Any, ...] = (X, y, weight)
    if len(rows) < _num_samples(X):
        part = part_of(part, rows)
    if hasattr(tuner, "estimator_"):
        _go_on(tuner, part, classes)
    else:
        _begin(tuner, part, classes)


def _begin(tuner: FineTuner, part: tuple[Any, ...], classes: Any) -> None:
    """The first rows: the pipeline is fitted on all of them."""
    X, y, weight = part
    if classes is not None:
        _check_shown(classes, y)
    if is_classifier(tuner.estimator) and y is not None:
        check_classification_targets(y)
    fitted = tuner._fitted(part)
    known = counted(X, y, weight, is_classifier(tuner.estimator))
    stream = _stream(tuner, fitted, known)
    tuner.estimator_, tuner._stream, tuner._known = fitted, stream, known
    tuner.improved_, tuner.history_, tuner.stream_ = False, None, []
    tuner.report_ = Report(None, "partial_fit fitted it; rows that come later are its test")
    tuner._take_attributes()


def _go_on(tuner: FineTuner, part: tuple[Any, ...], classes: Any) -> None:
    """Further rows."""
    from ..translate import from_torch

    X, y, weight = part
    if classes is not None:
        _check_same(classes, tuner.classes_)
    stream = tuner._stream
    if stream is None:
        stream = _stream(tuner, tuner.estimator_, tuner._known)
    stream.learn(X, y, weight)
    tuner._stream, tuner.stream_ = stream, stream.history
    tuner.estimator_ = from_torch(stream.write()) if stream.moved else stream.origin


def _stream(tuner: FineTuner, fitted: Any, known: Known) -> Stream:
    from ..online.stream import Stream

    seed = int(check_random_state(tuner.random_state).randint(np.iinfo(np.int32).max))
    # "auto" asks for a rate that is found, and learners of several rates find it.
    rate = None if tuner.lr == "auto" else tuner.lr
    own = any(setting is not None for setting in (tuner.optim, rate, tuner.epochs))
    options = replace(tuner._options(seed), epochs=tuner.epochs or 1)
    return Stream(fitted, tuner._translated(fitted), known, options, own)


def counted(X: Any, y: Any, weight: NDArray[Any] | None, labels: bool) -> Known:
    """The rows that weigh something, and how many have each label."""
    from ..online.batches import Known

    rows = np.arange(_num_samples(X)) if weight is None else np.flatnonzero(weight > 0)
    known = Known()
    known.add(len(rows), _safe_indexing(y, rows) if labels and y is not None else None)
    return known


def _check_shown(classes: Any, y: Any) -> None:
    """The pipeline is fitted on these rows and knows their labels for ever."""
    from ..online.batches import columns_of

    for wanted, column in zip(_lists(classes), columns_of(y), strict=True):
        shown = np.unique(column)
        missing = [str(label) for label in wanted if label not in shown]
        if missing:
            raise ArgumentError(
                f"No row of the first call has the labels {', '.join(missing[:5])}, and the "
                "pipeline cannot grow classes.\nHint: let the first rows show every label of "
                "classes=, or fit on rows that do."
            )
        unknown = [str(label) for label in shown if label not in wanted]
        if unknown:
            raise ArgumentError(f"y has labels that classes= lacks: {', '.join(unknown[:5])}.")


def _check_same(classes: Any, known: Any) -> None:
    given, had = _lists(classes), _lists(known)
    if [sorted(g.tolist()) for g in given] != [sorted(h.tolist()) for h in had]:
        raise ArgumentError(
            f"classes={classes!r:.60} is not what the pipeline was fitted on, {known!r:.60}.\n"
            "Hint: leave classes out, or fit anew."
        )


def _lists(classes: Any) -> list[NDArray[Any]]:
    """Labels of each target, also where there is but one."""
    several = isinstance(classes, list) and len(classes) and np.ndim(classes[0]) == 1
    return [np.asarray(one) for one in (classes if several else [classes])]
