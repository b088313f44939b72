"""An online learner: its own parameters, their optimizer, and its losses."""

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
from ..training.saved_state import OptimizerState

if TYPE_CHECKING:
    from ..network import PipelineNetwork


Make = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]


# Batch size, and the maximum number of steps per call; more rows are taken in larger batches.
BATCH_ROWS, _MOST_STEPS = 32, 256


_MEASURED_ROWS = 4096


class Learner:
    """A copy of the parameters of a network, with the optimizer that trains it.

    Parameters
    ----------
    name : str
        The name in the history.
    net : PipelineNetwork
        The network. Learners may share it: its own parameters do not change.
    make : callable, optional
        A function from parameters to an optimizer; None never trains.
    passes : int
        Number of passes over new rows.
    copies : bool
        Whether to copy the parameters; False trains them in place.
    only : str
        Name prefix of the parameters to train; the others change only when the learner restarts
        from another one.
    """

    def __init__(
        self,
        name: str,
        net: PipelineNetwork,
        make: Make | None,
        passes: int = 1,
        copies: bool = True,
        only: str = "",
    ) -> None:
        self.name, self.make, self.passes, self.only = name, make, passes, only
        self.net = net
        self.values: dict[str, Tensor] = dict(net.trainable_parameters())
        self.optimizer: torch.optim.Optimizer | None = None
        self.pull: Anchor | None = None
        if copies:
            self.adopt(net, self.values)
        else:
            self._begin()

    def _begin(self) -> None:
        """Create a new optimizer, and an anchor at the current parameters."""
        if self.make is not None:
            parameters = [p for p in self.values.values() if isinstance(p, nn.Parameter)]
            self.optimizer = self.make(parameters)
            self.rates = [group["lr"] for group in self.optimizer.param_groups]
            self.pull = Anchor(parameters, 1.0)

    def score(self, encoded: Any) -> Tensor:
        """Return the raw score of encoded rows."""
        return functional_call(self.net, self.values, (encoded,))

    def losses(self, criterion: Criterion, rows: EncodedDataset) -> Tensor:
        """Return weighted per-sample losses (n,), or losses of batches if there are none."""
        parts = []
        with torch.no_grad():
            for batch in Loader(rows, self._measured(criterion, rows)):
                parts.append(criterion.terms(self.score(batch[0]), batch[1], batch.weight))
        return torch.cat(parts)

    def _measured(self, criterion: Criterion, rows: EncodedDataset) -> int:
        encoded, target = rows.batch(rows.index[:2])
        per_sample = criterion.rows(self.score(encoded), target).ndim > 0
        return _MEASURED_ROWS if per_sample else BATCH_ROWS

    def learn(self, criterion: Criterion, batches: Loader, strength: float) -> None:
        """Train on the rows; if parameters become non-finite, restart from those before.

        A restart begins with a new optimizer.
        """
        if self.optimizer is None:
            return
        before = self.copied()
        if isinstance(self.make, RelativeAdam):
            # Smaller batches make noisier steps, and more of them.
            share = math.sqrt(min(1.0, len(batches.rows) / len(batches) / BATCH_ROWS))
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * share
        if not self.take_steps(criterion, batches, strength):
            self.load(before)

    def take_steps(self, criterion: Criterion, batches: Loader, strength: float) -> bool:
        """Train on the rows; return whether the parameters stayed finite."""
        assert self.optimizer is not None
        for _ in range(self.passes):
            for batch in batches:
                self._step(criterion, batch, strength)
        self.optimizer.zero_grad()
        return all(bool(value.isfinite().all()) for value in self.values.values())

    def _step(self, criterion: Criterion, batch: Batch, strength: float) -> None:
        assert self.optimizer is not None
        assert self.pull is not None
        pull = self.pull

        def closure() -> Tensor:
            self.optimizer.zero_grad()  # type: ignore[union-attr]
            loss = criterion(self.score(batch[0]), batch[1], batch.weight)
            loss = loss + strength * pull() if strength else loss
            loss.backward()
            return loss

        self.optimizer.step(closure)  # type: ignore[arg-type]

    def written(self) -> PipelineNetwork:
        """Return the network with the parameters of this learner."""
        with torch.no_grad():
            for name, parameter in self.net.trainable_parameters().items():
                parameter.copy_(self.values[name])
        return self.net

    def copied(self) -> dict[str, Tensor]:
        """Return a copy of the current parameters."""
        return {name: value.detach().clone() for name, value in self.values.items()}

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Restart from other parameters."""
        self.set(values)
        self._begin()

    def set(self, values: Mapping[str, Tensor]) -> None:
        """Change the parameters, and keep the state of the optimizer."""
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(values[name])

    def restore(self, net: PipelineNetwork, values: Mapping[str, Tensor]) -> None:
        """Return to parameters that this learner had before."""
        if net is self.net:
            self.load(values)
        else:
            self.adopt(net, values)

    def adopt(self, net: PipelineNetwork, values: Mapping[str, Tensor]) -> None:
        """Restart from other parameters, which may belong to another network."""
        own = {name: value.detach().clone() for name, value in values.items()}
        self.net = net
        self.values = {
            name: nn.Parameter(value) if name.startswith(self.only) else value
            for name, value in own.items()
        }
        self._begin()


class SavedLearner:
    """The parameters, the optimizer and all else that a learner had at some time.

    Parameters
    ----------
    learner : Learner
        The learner; it does not change.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.values = learner.copied()
        self._attributes = dict(vars(learner))
        self._optimizer = None if learner.optimizer is None else OptimizerState(learner.optimizer)

    def restore(self) -> None:
        """Return to that time."""
        vars(self.learner).clear()
        vars(self.learner).update(self._attributes)
        self.learner.set(self.values)
        if self._optimizer is not None:
            self._optimizer.restore()


@dataclass(frozen=True)
class RelativeAdam:
    """Adam with steps relative to the magnitude of each parameter; a class, so that it pickles."""

    rate: float

    def __call__(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make_optimizer(torch.optim.Adam, parameters)
        for group in optimizer.param_groups:
            group["lr"] *= self.rate / LEARNING_RATE
        return optimizer


@dataclass(frozen=True)
class UserOptimizer:
    """The optimizer of the user."""

    optim: Any
    lr: float | None

    def __call__(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return make_optimizer(self.optim, parameters, self.lr)
