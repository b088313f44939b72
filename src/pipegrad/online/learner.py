"""One online learner: an optimizer with parameters of its own, and its losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..training.anchor import Anchor
from ..training.criterion import Criterion
from ..training.dataset import Batch, EncodedDataset, Loader
from ..training.optimizers import LEARNING_RATE, make_optimizer

if TYPE_CHECKING:
    from ..network import PipelineNetwork


Make = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]


# Rows of a step, and the most steps that new rows make; more rows make larger steps.
BATCH_ROWS, _MOST_STEPS = 32, 256


_MEASURED_ROWS = 4096


class Learner:
    """The parameters of a pipeline on their own way, with the optimizer that moves them.

    Parameters
    ----------
    name : str
        For the history.
    start : mapping of str to Tensor
        Parameters by name; copied.
    make : callable, optional
        From parameters to an optimizer; None leaves the parameters as they are.
    passes : int
        Over new rows.
    copies : bool
        False trains ``start`` itself.
    only : str
        How the names of the parameters begin that it trains; the others stay, unless it starts
        again from another learner.
    """

    def __init__(
        self,
        name: str,
        start: Mapping[str, nn.Parameter],
        make: Make | None,
        passes: int = 1,
        copies: bool = True,
        only: str = "",
    ) -> None:
        self.name, self.make, self.passes = name, make, passes
        self.values: dict[str, Tensor] = dict(start)
        if copies:
            own = {key: p.detach().clone() for key, p in start.items()}
            self.values = {k: nn.Parameter(v) if k.startswith(only) else v for k, v in own.items()}
        self.optimizer: torch.optim.Optimizer | None = None
        self.pull: Anchor | None = None
        self._begin()

    def _begin(self) -> None:
        """A new optimizer, and an anchor where the parameters stand."""
        if self.make is not None:
            parameters = [p for p in self.values.values() if isinstance(p, nn.Parameter)]
            self.optimizer = self.make(parameters)
            self.rates = [group["lr"] for group in self.optimizer.param_groups]
            self.pull = Anchor(parameters, 1.0)

    def losses(self, net: PipelineNetwork, criterion: Criterion, rows: EncodedDataset) -> Tensor:
        """Weighted loss of each row, shape (n,); of each few rows where it is told for no row."""
        parts = []
        with torch.no_grad():
            for batch in Loader(rows, self._measured(net, criterion, rows)):
                score = functional_call(net, self.values, (batch[0],))
                parts.append(criterion.terms(score, batch[1], batch.weight))
        return torch.cat(parts)

    def _measured(self, net: PipelineNetwork, criterion: Criterion, rows: EncodedDataset) -> int:
        encoded, target = rows.batch(rows.index[:2])
        told = criterion.rows(functional_call(net, self.values, (encoded,)), target).ndim > 0
        return _MEASURED_ROWS if told else BATCH_ROWS

    def learn(
        self, net: PipelineNetwork, criterion: Criterion, batches: Loader, strength: float
    ) -> bool:
        """Take the rows in; parameters that leave the finite numbers come back and begin anew.

        Returns whether they stayed finite.
        """
        if self.optimizer is None:
            return True
        before = self.copied()
        if isinstance(self.make, RelativeAdam):
            # Fewer rows: noisier steps, and more of them.
            share = math.sqrt(min(1.0, len(batches.rows) / len(batches) / BATCH_ROWS))
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * share
        for _ in range(self.passes):
            for batch in batches:
                self._step(net, criterion, batch, strength)
        self.optimizer.zero_grad()
        finite = all(bool(value.isfinite().all()) for value in self.values.values())
        if not finite:
            self.load(before)
        return finite

    def _step(
        self, net: PipelineNetwork, criterion: Criterion, batch: Batch, strength: float
    ) -> None:
        assert self.optimizer is not None
        assert self.pull is not None
        pull = self.pull

        def closure() -> Tensor:
            self.optimizer.zero_grad()  # type: ignore[union-attr]
            score = functional_call(net, self.values, (batch[0],))
            loss = criterion(score, batch[1], batch.weight)
            loss = loss + strength * pull() if strength else loss
            loss.backward()
            return loss

        self.optimizer.step(closure)  # type: ignore[arg-type]

    def copied(self) -> dict[str, Tensor]:
        """The parameters as they are now."""
        return {name: value.detach().clone() for name, value in self.values.items()}

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on from other parameters."""
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(values[name])
        self._begin()


@dataclass(frozen=True)
class RelativeAdam:
    """Adam, its steps relative to the size of each parameter; a class, so that it pickles."""

    rate: float

    def __call__(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make_optimizer(torch.optim.Adam, parameters)
        for group in optimizer.param_groups:
            group["lr"] *= self.rate / LEARNING_RATE
        return optimizer


@dataclass(frozen=True)
class UserOptimizer:
    """The optimizer that the user wants."""

    optim: Any
    lr: float | None

    def __call__(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return make_optimizer(self.optim, parameters, self.lr)
