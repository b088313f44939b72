"""Comparison of many configurations by successive halving, trained at once."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ...errors import ArgumentError, warn
from ...losses.checks import check_loss
from ...losses.loss_metric import LossMetric
from ...modules import standard_settings
from ...typing import Features, SampleWeight, Targets
from ..criterion import LossLike
from ..data import check_trainable
from ..fit import SEEN_ROWS_WARNING
from ..options import Options, batch_rows, checked_validation
from ..prepare import build_training_data
from ..samples import Samples, ValidationArgument
from ..saved_state import ModuleState
from ..seeding import isolated_rng
from .configuration import Configuration

if TYPE_CHECKING:
    from ...network import PipelineNetwork
    from .successive_halving import SuccessiveHalving


@dataclass(frozen=True)
class Raced:
    """One configuration of a race.

    Attributes
    ----------
    configuration : Configuration
        The configuration.
    epochs : int
        Number of epochs it was trained for; fewer than the race's if it dropped out.
    loss : float
        The lowest validation loss after any epoch, in the unit of scikit-learn's metric; NaN if
        none was finite.
    best_epoch : int
        The epoch of this loss.
    kept : bool
        Whether its parameters are now those of the module.
    """

    configuration: Configuration
    epochs: int
    loss: float
    best_epoch: int
    kept: bool


@dataclass(frozen=True)
class Race:
    """Results of all configurations; ``print`` it for a table.

    Attributes
    ----------
    results : tuple of Raced
        In the order in which the configurations were given.
    before : float
        Loss of the baseline: the module before training.
    batched : bool
        Whether one batched module trained all of them at once, or each had its turn.
    why : str
        Why a batched module was not possible; empty if it was.
    seconds : float
        Total time in seconds.
    """

    results: tuple[Raced, ...]
    before: float
    batched: bool
    why: str = ""
    seconds: float = 0.0

    @property
    def best(self) -> Raced | None:
        """The result whose parameters the module now has; None if it is unchanged."""
        return next((result for result in self.results if result.kept), None)

    def __str__(self) -> str:
        lines = [f"Loss before: {self.before:.5g}", ""]
        width = max(13, *(len(str(r.configuration)) for r in self.results))
        lines.append(f"{'configuration':<{width}}  epochs       loss  kept")
        for r in sorted(self.results, key=lambda r: (math.isnan(r.loss), r.loss)):
            kept = "yes" if r.kept else ""
            row = f"{r.configuration!s:<{width}}  {r.epochs:>6}  {r.loss:>9.5g}  {kept}"
            lines.append(row.rstrip())
        how = "all at once" if self.batched else f"one after the other ({self.why})"
        return "\n".join([*lines, "", f"Trained {how}, {self.seconds:.1f} seconds"])


@standard_settings
def race(
    net: PipelineNetwork,
    X: Features,
    y: Targets = None,
    configurations: Sequence[Configuration] = (),
    *,
    epochs: int = 20,
    batch_size: int | Literal["auto"] = "auto",
    validation: ValidationArgument = 0.2,
    sample_weight: SampleWeight = None,
    loss: LossLike | None = None,
    halving: bool = True,
    cycle: bool = False,
    seed: int | None = 0,
) -> Race:
    """Train many configurations from the same start, and keep the best parameters of all.

    All of them see the same rows in the same order. Where the module allows it they train as one
    batched module, by `torch.func.vmap`; otherwise one after the other, with the same result. The
    untouched module is a candidate as well: if nothing beats it, it stays as it is.

    Parameters
    ----------
    net : PipelineNetwork
        Trained in place.
    X : array, DataFrame, sparse matrix or list
        Input of the source, with n rows.
    y : array of shape (n,) or (n, k), optional
        Targets in the user's own form.
    configurations : sequence of Configuration
        The configurations to compare.
    epochs : int
        Number of epochs of the configurations that stay to the end.
    batch_size, validation, sample_weight, loss
        See `pipegrad.finetune.fit`.
    halving : bool
        Whether to use successive halving (Jamieson and Talwalkar 2016): with eight configurations
        and 20 epochs, four are left after 5 epochs and two after 10. Otherwise, all train to the
        end.
    cycle : bool
        Whether to use a one-cycle schedule (Smith and Topin 2019); otherwise, rates are constant.
    seed : int, optional
        Seed for the validation split and for shuffling.

    Returns
    -------
    Race
        A table of all configurations.

    Raises
    ------
    ArgumentError
        If an argument is invalid; nothing was trained.
    DivergedError
        If the initial loss is not finite.
    KeyboardInterrupt
        If the user interrupts the race (Ctrl-C); the module has the best parameters so far.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> from pipegrad.finetune import Configuration, race
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> y = 3 * X[:, 0]
    >>> net = pg.to_torch(Ridge(alpha=30).fit(X[::2], y[::2]))
    >>> rates = [Configuration(lr=10.0**power) for power in range(-4, 0)]
    >>> found = race(net, X[::2], y[::2], rates, validation=(X[1::2], y[1::2]))
    >>> found.best.configuration
    Configuration(lr=0.1, relative=True, anchor=0.0, train=None)
    >>> found.best.loss < found.before
    True
    """
    from ..schedules import one_cycle
    from .batched_module import preserve_state
    from .successive_halving import SuccessiveHalving

    began = time.perf_counter()
    options = Options(loss=loss, epochs=epochs, batch_size=batch_size, seed=seed)
    configurations = list(configurations)
    check_loss(loss, y, None)
    _check(net, configurations, options)
    held_out = checked_validation(validation)
    generator = np.random.default_rng(seed)
    if isinstance(validation, float) and net.init != "random":
        warn(SEEN_ROWS_WARNING)
    like = torch.optim.Adam(net.trainable_parameters().values())
    samples = Samples(X, y, sample_weight)
    state = ModuleState(net)
    fields: list[SuccessiveHalving] = []
    try:
        with preserve_state(net), isolated_rng(seed, net, loss):
            data = build_training_data(net, samples, held_out, options, generator)
            field = SuccessiveHalving(net, data.criterion, data.training, data.validation)
            fields.append(field)
            field.run(
                configurations,
                epochs,
                batch_rows(batch_size, like, len(data.training)),
                generator,
                one_cycle if cycle else None,
                halving,
            )
        field.load_best()
    except BaseException as error:
        state.restore()
        if isinstance(error, KeyboardInterrupt) and fields:
            fields[0].load_best()
        raise
    metric = data.criterion.metric
    shift = (data.validation or data.training).mean_offset(metric)
    results = _results(field, configurations, metric, shift)
    seconds = time.perf_counter() - began
    before = metric.value(field.before, shift)
    return Race(results, before, field.copies.batched, field.why, seconds)


def _results(
    field: SuccessiveHalving,
    configurations: Sequence[Configuration],
    metric: LossMetric,
    shift: float,
) -> tuple[Raced, ...]:
    best = field.best_index()
    losses = [metric.value(float(loss), shift) for loss in field.loss]
    return tuple(
        Raced(one, int(field.epochs[k]), losses[k], int(field.best_epoch[k]), k == best)
        for k, one in enumerate(configurations)
    )


def _check(
    net: PipelineNetwork,
    configurations: list[Configuration],
    options: Options,
) -> None:
    options.check()
    check_trainable(net)
    if not configurations:
        raise ArgumentError(
            "configurations is empty.\nHint: [Configuration(lr=1e-3), Configuration(lr=1e-2)]."
        )
    for one in configurations:
        if not isinstance(one, Configuration):
            raise ArgumentError(
                f"configurations must contain Configuration objects, got {one!r:.60}."
            )
        one.check()
        one.trained(net)
