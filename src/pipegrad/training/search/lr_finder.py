"""``lr="auto"``: finds a learning rate by a short race."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..dataset import EncodedDataset
from ..deadline import Deadline
from ..optimizers import LEARNING_RATE
from .batched_module import preserve_state
from .configuration import Configuration
from .successive_halving import SuccessiveHalving

if TYPE_CHECKING:
    from ...network import PipelineNetwork
    from ..options import Options
    from ..trainer import Trainer

RATES = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 0))
# Optimizer steps of the race, and the maximal number of validation rows.
_STEPS, _JUDGES = 200, 4096
# A short race favors large rates, so the smallest rate within this many standard errors of the
# best, and not below this fraction of the best rate, is selected instead.
_WITHIN, _SHARE = 1.0, 0.1
# Share of the time that is left.
_TIME_SHARE = 1 / 3


def find_lr(net: PipelineNetwork, trainer: Trainer, options: Options, deadline: Deadline) -> float:
    """Return a learning rate relative to each parameter's size; the module is left unchanged.

    Parameters
    ----------
    net : PipelineNetwork
        The module before training.
    trainer : Trainer
        Provides the loss, the rows and the batch size.
    options : Options
        Provides the anchor, the number of epochs and the seed.
    deadline : Deadline
        When training has to end; the search takes at most a third of the time. Without a finished
        epoch, the rate is the default one.
    """
    generator = np.random.default_rng(options.seed)
    training = _some(trainer.train, _STEPS * trainer.batch_size, generator)
    validating = _some(trainer.valid or training, _JUDGES, generator)
    steps = math.ceil(len(training) / trainer.batch_size)
    epochs = min(options.epochs, max(1, _STEPS // steps))
    found = [Configuration(rate, anchor=float(options.anchor)) for rate in RATES]
    with preserve_state(net):
        field = SuccessiveHalving(net, trainer.criterion, training, validating)
        limit = deadline.sooner(_TIME_SHARE * deadline.left)
        field.run(found, epochs, trainer.batch_size, generator, halving=False, deadline=limit)
    return RATES[select_lr(field.rows)] if field.epochs.any() else LEARNING_RATE


def select_lr(rows: NDArray[np.float64]) -> int:
    """Return the index of the smallest rate whose loss is within noise of the best.

    Parameters
    ----------
    rows : array of shape (rates, rows)
        Per-sample losses; not finite where a rate failed.
    """
    means = np.where(np.isfinite(rows).all(axis=1), rows.mean(axis=1), math.inf)
    best = int(means.argmin())
    if not math.isfinite(means[best]):
        return 0
    for place in range(best):
        if not math.isfinite(means[place]) or RATES[place] < _SHARE * RATES[best] * (1 - 1e-9):
            continue
        behind = rows[place] - rows[best]
        if behind.mean() <= _WITHIN * behind.std() / math.sqrt(len(behind)):
            return place
    return best


def _some(rows: EncodedDataset, most: int, generator: np.random.Generator) -> EncodedDataset:
    if len(rows) <= most:
        return rows
    return rows.subset(np.sort(generator.choice(len(rows), most, replace=False)))
