"""Learning from rows as they arrive: a few learners side by side, each tested before it learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from ..registry import Objective
from ._criterion import Criterion, make_criterion
from ._data import aligned, gather
from ._loader import Loader, Rows
from ._loop import Anchor
from ._optim import make_optimizer
from ._trees import measure_spreads, routed
from .training import Options, probe, weigh

if TYPE_CHECKING:
    from ..module import PipelineModule

# Steps of Adam relative to the size of each parameter; zero is the pipeline as it was. The calmer
# come first.
RATES = (0.0, 1e-3, 4e-3, 1.6e-2, 6e-2)
# Rows of a step, and the most steps that new rows make; rows beyond that make larger steps.
_BATCH_ROWS, _MOST_STEPS = 32, 256
# Rows after which a loss counts half.
_HALF_LIFE = 1000
# Standard errors by which a bolder learner has to be ahead of the pipeline as it was, and of a
# calmer learner.
_WANTED, _AHEAD = 2.0, 1.0
# Standard errors behind the best after which a learner starts again from there.
_LOST = 4.0
# Share of the loss that the pull towards the start weighs, as long as no new rows came.
_PULL = 1e-2
_MEASURED_ROWS = 4096


class Learner:
    """The parameters of a pipeline on their own way, with the optimizer that moves them.

    Parameters
    ----------
    start : mapping of str to Tensor
        Parameters by name; copied.
    rate : float
        Steps relative to the size of each parameter; zero never moves.
    """

    def __init__(self, start: Mapping[str, Tensor], rate: float) -> None:
        self.rate = rate
        self.values = {name: nn.Parameter(value.clone()) for name, value in start.items()}
        self.begin()

    def begin(self) -> None:
        """A new optimizer, and an anchor where the parameters stand."""
        parameters = list(self.values.values())
        self.pull = Anchor(parameters, 1.0)
        self.optimizer = make_optimizer(torch.optim.Adam, parameters)
        for group in self.optimizer.param_groups:
            group["lr"] *= self.rate / 1e-2

    def losses(self, net: PipelineModule, criterion: Criterion, rows: Rows) -> Tensor:
        """Loss of each row, shape (n,)."""
        parts = []
        with torch.no_grad():
            for batch in Loader(rows, _MEASURED_ROWS):
                terms = criterion.rows(functional_call(net, self.values, (batch[0],)), batch[1])
                terms = terms.reshape(-1).expand(len(batch[0]))
                parts.append(terms if batch.weight is None else terms * batch.weight)
        return torch.cat(parts)

    def learn(
        self,
        net: PipelineModule,
        criterion: Criterion,
        batches: Loader,
        scale: float,
        strength: float,
    ) -> None:
        """One pass; parameters that left the finite numbers come back and begin anew."""
        if not self.rate:
            return
        before = self.copied()
        for batch in batches:
            self.optimizer.zero_grad()
            score = functional_call(net, self.values, (batch[0],))
            loss = scale * criterion(score, batch[1], batch.weight)
            (loss + strength * self.pull() if strength else loss).backward()
            self.optimizer.step()
        self.optimizer.zero_grad()
        if not all(bool(value.isfinite().all()) for value in self.values.values()):
            self.take(before)

    def copied(self) -> dict[str, Tensor]:
        """The parameters as they are now."""
        return {name: value.detach().clone() for name, value in self.values.items()}

    def take(self, values: Mapping[str, Tensor]) -> None:
        """Go on from other parameters."""
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(values[name])
        self.begin()


class Evidence:
    """What the learners' losses were before they learned, forgotten little by little.

    Parameters
    ----------
    count : int
        How many learners.
    """

    def __init__(self, count: int) -> None:
        self.weight = 0.0
        self.squares = 0.0
        self.sums = np.zeros(count)
        self.gaps = np.zeros((count, count))

    def add(self, losses: NDArray[np.float64]) -> None:
        """Take the losses (learners, n) of new rows."""
        count = losses.shape[1]
        kept = 0.5 ** (count / _HALF_LIFE)
        gaps = losses[:, None] - losses[None]
        self.weight = kept * self.weight + count
        self.squares = kept**2 * self.squares + count
        self.sums = kept * self.sums + losses.sum(axis=1)
        self.gaps = kept * self.gaps + np.square(gaps).sum(axis=2)

    def forget(self, learner: int, like: int) -> None:
        """A learner that starts again from another one has that one's past."""
        self.sums[learner] = self.sums[like]
        self.gaps[learner] = self.gaps[like]
        self.gaps[:, learner] = self.gaps[:, like]

    def behind(self, other: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """By how much each learner's mean loss is above that of another one, and the noise."""
        gap = (self.sums - self.sums[other]) / self.weight
        variance = np.maximum(self.gaps[other] / self.weight - gap**2, 0.0)
        # As of one row less: a single row tells nothing.
        rows = max(self.weight**2 / self.squares - 1, 1e-9)
        return gap, np.sqrt(variance / rows)

    def choose(self) -> int:
        """The calmest learner that is not behind the best by more than the noise."""
        best = int(np.argmin(self.sums))
        gap, error = self.behind(best)
        wanted = np.where(np.arange(len(gap)) == 0, _WANTED, _AHEAD)
        return int(np.argmax(gap <= wanted * error))
