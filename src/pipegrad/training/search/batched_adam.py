"""Trains many candidates at once: stacked parameters, one batched module, one Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..anchor import Anchor
from ..criterion import Criterion
from ..dataset import EncodedDataset, Loader
from ..deadline import Deadline, Pace
from ..optimizers import magnitude
from ..trainer import loss_scale
from .batched_module import BatchedModule, preserve_state
from .configuration import Configuration

if TYPE_CHECKING:
    from ...network import PipelineNetwork

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
Schedule = Callable[[float], float]


class BatchedAdam:
    """Trains candidates together on the same batches in the same order.

    Each candidate gets the updates that `torch.optim.Adam` would give it alone.

    Parameters
    ----------
    copies : BatchedModule
        The batched module.
    configurations : sequence of Configuration
        One per candidate; all start from the current parameters of the module.
    training : EncodedDataset
        Training rows.
    batch_size : int
        Number of samples per optimizer step.
    epochs : int
        Number of epochs that the schedule spans.
    generator : numpy Generator
        Generator for shuffling.
    schedule : callable, optional
        Maps the completed fraction of the steps to a learning-rate factor; constant if None.
    """

    def __init__(
        self,
        copies: BatchedModule,
        configurations: Sequence[Configuration],
        training: EncodedDataset,
        batch_size: int,
        epochs: int,
        generator: np.random.Generator,
        schedule: Schedule | None = None,
    ) -> None:
        self.copies, self.training, self.schedule = copies, training, schedule
        self.start = copies.flat_parameters()
        self.alive = np.arange(len(configurations))
        self.loader = Loader(training, batch_size, generator)
        self.steps, self._total = 0, epochs * len(self.loader)
        # Small losses are scaled up as in a separate run; see `loss_scale`.
        self._unit = loss_scale(float(copies.measure(self.start[None], training)[0].mean()))
        self.values = self.start.repeat(len(configurations), 1)
        self._mean, self._square = torch.zeros_like(self.values), torch.zeros_like(self.values)
        made = [_rates_and_pulls(copies, one) for one in configurations]
        self._rates = torch.stack([rates for rates, _ in made])
        self._pulls: Tensor | None = None
        if any(one.anchor for one in configurations):
            self._pulls = torch.stack([pulls for _, pulls in made])

    def epoch(self, deadline: Deadline = Deadline()) -> NDArray[np.float64]:  # noqa: B008
        """Train for one epoch; return the mean training loss of each candidate.

        Raises
        ------
        TimeLimitReached
            If the epoch does not end by the deadline.
        """
        pace = Pace(deadline)
        self.copies.net.train()
        total: Tensor | float = 0.0
        with torch.enable_grad(), self.copies.net.fused_linear_maps():
            for batch in self.loader:
                with pace:
                    losses, gradient = self.copies.gradient(self.values, batch)
                    self._step(gradient)
                total = total + losses * len(batch[0])
        assert isinstance(total, Tensor)
        return (total / len(self.training)).cpu().double().numpy()

    @torch.no_grad()
    def _step(self, gradient: Tensor) -> None:
        """Take an Adam step with a learning rate per candidate and parameter."""
        if self._pulls is not None:
            gradient = gradient.addcmul(self.values - self.start, self._pulls)
        gradient = gradient * self._unit
        share = 1.0 if self.schedule is None else self.schedule(self.steps / self._total)
        self.steps += 1
        first, second = _BETAS
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        step = self._square.sqrt().div_(math.sqrt(1 - second**self.steps)).add_(_EPSILON)
        torch.div(self._mean, step, out=step)
        self.values.addcmul_(step, self._rates, value=-share / (1 - first**self.steps))

    def keep(self, places: NDArray[np.int64]) -> None:
        """Keep only the candidates at the given positions among the remaining ones."""
        if len(places) == len(self.alive):
            return
        self.alive = self.alive[places]
        index = torch.as_tensor(places, device=self.values.device)
        for name in ("values", "_mean", "_square", "_rates", "_pulls"):
            kept = getattr(self, name)
            setattr(self, name, None if kept is None else kept[index])


def _rates_and_pulls(copies: BatchedModule, one: Configuration) -> tuple[Tensor, Tensor]:
    """Learning rate and strength of the pull towards the anchor, for each parameter."""
    trained = one.trained(copies.net)
    rates = [
        one.lr * (4.0 ** round(math.log(magnitude(p), 4)) if one.relative else 1.0) * trains
        for p, trains in zip(copies.parameters, trained, strict=True)
    ]
    pulls = [0.0] * len(trained)
    if one.anchor:
        chosen = [i for i, trains in enumerate(trained) if trains]
        anchor = Anchor([copies.parameters[i] for i in chosen], one.anchor)
        for place, scale in zip(chosen, anchor.scales, strict=True):
            pulls[place] = 2 * scale
    return copies.broadcast(rates), copies.broadcast(pulls)


@dataclass(frozen=True)
class BatchedResult:
    """Result of one candidate.

    Attributes
    ----------
    losses : array of shape (epochs + 1, rows)
        Weighted per-sample validation losses, at the start and after each epoch.
    scores : array of shape (epochs + 1, rows, ...)
        Validation scores, at the same times.
    train_losses : array of shape (epochs,)
        Mean training loss during each epoch.
    parameters : list of Tensor
        The trainable parameters after the last epoch.
    """

    losses: NDArray[np.float64]
    scores: NDArray[np.float32]
    train_losses: NDArray[np.float64]
    parameters: list[Tensor]


def train_batched(
    net: PipelineNetwork,
    criterion: Criterion,
    training: EncodedDataset,
    validating: EncodedDataset,
    configurations: Sequence[Configuration],
    batch_size: int,
    epochs: int,
    generator: np.random.Generator,
    schedule: Schedule | None = None,
) -> list[BatchedResult]:
    """Train all candidates from the module's current parameters, which are left unchanged.

    A generator in the same state yields the batches of a `Trainer`, so that each candidate gives
    the results of a separate run, up to rounding.

    Raises
    ------
    NotBatchable
        If the module or the loss cannot be batched over candidates; nothing has been trained then.
    """
    with preserve_state(net):
        copies = BatchedModule(net, criterion)
        copies.try_batched(training)
        ensemble = BatchedAdam(
            copies, configurations, training, batch_size, epochs, generator, schedule
        )
        measured, trained = [copies.measure(ensemble.values, validating)], []
        for _ in range(epochs):
            trained.append(ensemble.epoch())
            measured.append(copies.measure(ensemble.values, validating))
        ends = copies.unflatten(ensemble.values)
    losses, scores = (np.stack(some, 1) for some in zip(*measured, strict=True))
    return [
        BatchedResult(
            losses[k], scores[k], np.array([t[k] for t in trained]), [e[k].clone() for e in ends]
        )
        for k in range(len(configurations))
    ]
