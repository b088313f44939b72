"""Preparation of training data: the criterion, and the training and validation sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ArgumentError
from ..losses.composition import LossFunction, LossLike
from ..losses.group_penalty import Groups
from ..losses.table import find_loss
from ..registry import Objective
from .criterion import Criterion, check_shrinking, class_weights, make_criterion, metric_of
from .data import (
    Data,
    check_trainable,
    encode_samples,
    match_score_shape,
    ones_like_parameters,
)
from .deadline import Deadline, Pace, projected_seconds
from .options import Options
from .samples import Samples, Validation
from .seeding import isolated_rng
from .tree_splits import measure_spreads, precompute_leaves

if TYPE_CHECKING:
    from ..network import PipelineNetwork
    from .dataset import EncodedDataset


_PROBED_ROWS = 16


@dataclass(frozen=True)
class TrainingData:
    """The inputs of a trainer: the criterion, the training set and an optional validation set."""

    criterion: Criterion
    training: EncodedDataset
    validation: EncodedDataset | None


def build_training_data(
    net: PipelineNetwork,
    samples: Samples,
    validation: Validation,
    options: Options,
    generator: np.random.Generator,
    cache: str | PathLike[str] | None = None,
    deadline: Deadline = Deadline(),  # noqa: B008 (immutable)
    fit_seconds: float = 0.0,
) -> TrainingData:
    """Build the criterion and the encoded training and validation sets.

    Parameters
    ----------
    net : PipelineNetwork
        The network to train.
    samples : Samples
        The training samples; if ``validation`` is a share, the validation set is drawn from them.
    validation : float, Samples or None
        The share of samples to hold out, or held-out samples.
    options : Options
        The loss, the seed, and whether to use out-of-fold features.
    generator : numpy Generator
        Generator for the validation split.
    cache : str or path, optional
        Directory that caches the output of the host part.
    deadline : Deadline
        When training has to end. Encoding a part of the rows shows whether there is enough time.
    fit_seconds : float
        Seconds that the fit of the pipeline took, if they are known; cross-fitting takes no longer.

    Returns
    -------
    TrainingData
        The criterion and the encoded sets.

    Raises
    ------
    TimeLimitReached
        If encoding or cross-fitting would not end by the deadline.
    """
    check_trainable(net)
    function, objective = make_criterion(options.loss, net.objective, net.head)
    if deadline.limited and cache is None:
        deadline.check(_encoding_seconds(net, samples, validation, deadline))
    data = encode_samples(net, samples, validation, cache, options.loss)
    if options.cross_fit:
        from .cross_fitting import cross_fitted  # loads much of scikit-learn

        pace = Pace(deadline, fit_seconds)
        data = cross_fitted(net, data, samples.X, samples.y, samples.weight, options.seed, pace)
    return _prepare(net, data, objective, function, validation, generator, options.loss)


def _encoding_seconds(
    net: PipelineNetwork, samples: Samples, validation: Validation, deadline: Deadline
) -> float:
    """Estimate the seconds that encoding all rows takes."""
    from sklearn.utils import _safe_indexing
    from sklearn.utils.validation import _num_samples

    def encode(count: int) -> None:
        net.encode(_safe_indexing(samples.X, np.arange(count)))

    count = _num_samples(samples.X)
    others = _num_samples(validation.X) if isinstance(validation, Samples) else 0
    return projected_seconds(encode, count, deadline) * (count + others) / count


def _prepare(
    net: PipelineNetwork,
    data: Data,
    objective: Objective,
    function: LossFunction,
    validation: Validation,
    generator: np.random.Generator,
    loss: LossLike | None = None,
) -> TrainingData:
    """Split and weight encoded samples, and test the loss on a few of them."""
    from .dataset import EncodedDataset
    from .splitting import split

    task = None if net.head is None else net.head.task
    index = np.arange(len(data.blocks[0]))
    held: NDArray[np.int64] | None = None
    if isinstance(validation, float):
        if len(index) < 2:
            raise ArgumentError(
                f"{len(index)} row is too few to hold any out for validation (n_samples=1).\n"
                "Hint: validation=None trains on all rows."
            )
        target = data.targets[0]
        classes = None
        if task == "classification" and target is not None:
            classes = target.cpu().numpy()
        index, held = split(len(index), validation, generator, classes)
        if not len(held):
            raise ArgumentError(
                "Too few rows per class to hold any out.\nHint: use validation=None, or pass "
                "held-out data."
            )
    criterion, weights = build_criterion(net, data, objective, function, index, task)
    targets = match_score_shape(net, data)
    blocks = [precompute_leaves(net, b) for b in data.blocks]
    # Groups are weighted by sample weights only; class weights belong to the loss.
    groups = [
        None if c is None else Groups.of(c, ones_like_parameters(net, len(c)) if w is None else w)
        for c, w in zip(data.groups, data.weights, strict=False)
    ]
    rows = [
        EncodedDataset(b, t, w, np.arange(len(b)), raw, g)
        for b, t, w, raw, g in zip(blocks, targets, weights, data.raw, groups, strict=True)
    ]
    training = rows[0].subset(index)
    validating = rows[1] if len(rows) > 1 else None if held is None else rows[0].subset(held)
    measure_spreads(net, training)
    check_loss_on_batch(net, criterion, training, loss)
    return TrainingData(criterion, training, validating)


def build_criterion(
    net: PipelineNetwork,
    data: Data,
    objective: Objective,
    function: LossFunction,
    index: NDArray[np.int64],
    task: str | None,
) -> tuple[Criterion, list[Tensor | None]]:
    """Return the criterion with class weights, and the sample weights of each set."""
    check_shrinking(net, objective)
    name = objective.name or getattr(function, "__name__", type(function).__name__)
    metric, weights = metric_of(function, objective), list(data.weights)
    if net.graph.target is not None and find_loss(objective.name) is not None:
        metric = replace(metric, name=f"{metric.name} of the transformed target")
    if objective.class_weight is None or data.targets[0] is None:
        return Criterion(function, name=name, metric=metric), weights
    like = ones_like_parameters(net, 1)
    targets = [t for t in data.targets if t is not None]
    labels = net.classes_ if task in ("classification", "several") else None
    own, table = class_weights(objective, torch.cat(targets), index, labels, task)
    if own is not None:
        parts = own.to(like).split([len(t) for t in targets])
        weights = [p if w is None else p * w for p, w in zip(parts, weights, strict=True)]
    return Criterion(function, None if table is None else table.to(like), name, metric), weights


def check_loss_on_batch(
    net: PipelineNetwork, criterion: Criterion, rows: EncodedDataset, loss: LossLike | None = None
) -> None:
    """Test the loss on a few rows, so that errors surface before training.

    ``loss`` is the loss that the user gave, if any; it may draw random numbers.
    """
    positions = rows.index[:_PROBED_ROWS]
    batch = rows.batch(positions)
    encoded, target = batch
    with torch.enable_grad(), isolated_rng(None, net, loss):
        criterion.check(net(encoded), target, batch.weight)
