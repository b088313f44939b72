"""Learning from rows as they arrive: a few learners side by side, each tested before it learns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from ..training.criterion import Criterion
from ..training.data import check_trainable
from ..training.dataset import Batch, Loader, Rows
from ..training.fit import own_randomness
from ..training.optimizers import LEARNING_RATE, make_optimizer
from ..training.trainer import Anchor
from .batches import Arrivals, Known
from .prequential import Evidence

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..training.fit import Options

Make = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]

# Steps of Adam relative to the size of each parameter, and whether they are those of the last
# operator alone; the calmer come first.
RATES = (
    (1e-3, False),
    (4e-3, False),
    (1.6e-2, True),
    (1.6e-2, False),
    (6.4e-2, True),
    (6.4e-2, False),
)
STAYS = "as it was"
# Rows of a step, and the most steps that new rows make; more rows make larger steps.
BATCH_ROWS, _MOST_STEPS = 32, 256
# Standard errors behind the chosen one after which a learner starts again from there.
_LOST = 4.0
# Share of the loss that weighs a change of every parameter by its own size, while no rows are new.
_PULL = 1e-3
_MEASURED_ROWS = 4096
# Calls that the history keeps.
_REMEMBERED = 1000


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

    def losses(self, net: PipelineModule, criterion: Criterion, rows: Rows) -> Tensor:
        """Weighted loss of each row, shape (n,); of each few rows where it is told for no row."""
        parts = []
        with torch.no_grad():
            for batch in Loader(rows, self._measured(net, criterion, rows)):
                score = functional_call(net, self.values, (batch[0],))
                parts.append(criterion.terms(score, batch[1], batch.weight))
        return torch.cat(parts)

    def _measured(self, net: PipelineModule, criterion: Criterion, rows: Rows) -> int:
        encoded, target = rows.take(rows.index[:2])
        told = criterion.rows(functional_call(net, self.values, (encoded,)), target).ndim > 0
        return _MEASURED_ROWS if told else BATCH_ROWS

    def learn(
        self, net: PipelineModule, criterion: Criterion, batches: Loader, strength: float
    ) -> bool:
        """Take the rows in; parameters that leave the finite numbers come back and begin anew.

        Returns whether they stayed finite.
        """
        if self.optimizer is None:
            return True
        before = self.copied()
        if isinstance(self.make, Relative):
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
            self.take(before)
        return finite

    def _step(
        self, net: PipelineModule, criterion: Criterion, batch: Batch, strength: float
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

    def take(self, values: Mapping[str, Tensor]) -> None:
        """Go on from other parameters."""
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(values[name])
        self._begin()


@dataclass(frozen=True)
class Relative:
    """Adam, its steps relative to the size of each parameter; a class, so that it pickles."""

    rate: float

    def __call__(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make_optimizer(torch.optim.Adam, parameters)
        for group in optimizer.param_groups:
            group["lr"] *= self.rate / LEARNING_RATE
        return optimizer


@dataclass(frozen=True)
class Given:
    """The optimizer that the user wants."""

    optim: Any
    lr: float | None

    def __call__(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return make_optimizer(self.optim, parameters, self.lr)


def _portfolio(net: PipelineModule) -> Iterator[Learner]:
    """Learners of the whole pipeline, and of its last operator where that is not the whole."""
    start = net.trainable_parameters()
    last = net.prefix(net.graph.output)
    some = {name.startswith(last) for name in start} == {True, False}
    for rate, alone in RATES:
        if not alone:
            yield Learner(f"rate {rate:g}", start, Relative(rate))
        elif some:
            yield Learner(f"last step, rate {rate:g}", start, Relative(rate), only=last)


class Stream:
    """A fitted pipeline that learns from rows as they arrive.

    New rows are a test for what was learned before they came, and only then something to learn
    from. Several learners take the test, one of which never learns: the pipeline as it was. Nothing
    is kept of the rows.

    Parameters
    ----------
    origin : estimator
        The pipeline as it was.
    net : PipelineModule
        Translated from it; its own parameters stay as they are until `write`.
    known : Known
        What the pipeline was fitted on.
    options : Options
        Loss, seed, batch size, anchor, and the optimizer of ``own``.
    own : bool
        Whether the user set how to train: then one learner does that, beside the pipeline as it
        was.
    """

    def __init__(
        self,
        origin: Any,
        net: PipelineModule,
        known: Known,
        options: Options,
        own: bool = False,
    ) -> None:
        check_trainable(net)
        start = net.trainable_parameters()
        self.origin, self.net = origin, net
        self.fitted_rows = known.rows
        self.arrivals = Arrivals(net, options.loss, known)
        self.anchor = options.anchor
        self.batch_size = options.batch_size
        self.generator = np.random.default_rng(options.seed)
        self.seed = int(options.seed or 0)
        self.learners = [Learner(STAYS, start, None)]
        if own:
            make = Given(options.optim, options.rate)
            self.learners.append(Learner("the settings given", start, make, options.epochs))
        else:
            self.learners += list(_portfolio(net))
        self.evidence = Evidence(len(self.learners))
        self.chosen = 0
        self.history: list[dict[str, Any]] = []

    @property
    def moved(self) -> bool:
        """Whether a learner that learns is ahead of the pipeline as it was."""
        return self.chosen > 0

    def write(self) -> PipelineModule:
        """The module with the parameters of the learner that is kept."""
        values = self.learners[self.chosen].values
        with torch.no_grad():
            for name, parameter in self.net.trainable_parameters().items():
                parameter.copy_(values[name])
        return self.net

    def learn(self, X: Any, y: Any = None, weight: Any = None) -> None:
        """Test the learners on new rows, choose among them, and let them learn.

        Parameters
        ----------
        X, y, weight
            As `pipegrad.finetune.fit` takes them; of one row at least.

        Raises
        ------
        ArgumentError
            When something is wrong with the rows; no learner changed.
        """
        criterion, rows = self.arrivals.take(X, y, weight)
        losses = self._test(criterion, rows)
        with self._undone_by_errors(), torch.enable_grad():
            if losses is not None:
                self._compare(*losses)
            self._let_learn(criterion, rows)
        self.arrivals.learned(rows)

    def _test(self, criterion: Criterion, rows: Rows) -> tuple[NDArray[np.float64], float] | None:
        """Losses (learners, n) where the kept learner has one, and how many rows each is of."""
        self.net.eval()
        found = [one.losses(self.net, criterion, rows) for one in self.learners]
        losses = torch.stack(found).double().cpu().numpy()
        finite, each = np.isfinite(losses[self.chosen]), len(rows) / losses.shape[1]
        if not finite.all():
            self.net._score(rows.X)  # Refuses NaN between steps as the source does.
        losses = losses[:, finite]
        return (losses, each) if losses.shape[1] else None

    def _compare(self, losses: NDArray[np.float64], each: float) -> None:
        finite = np.isfinite(losses)
        worst = 1.0 + 10.0 * float(np.abs(losses[finite]).max())
        self.evidence.add(np.where(finite, losses, worst), each)
        served, self.chosen = self.chosen, self.evidence.choose()
        self._restart(np.asarray(finite.all(axis=1)))
        means = np.where(finite, losses, np.nan).mean(axis=1).tolist()
        names = [one.name for one in self.learners]
        self.history.append(
            {
                "rows": round(each * losses.shape[1]),
                "loss": means[served],
                "losses": dict(zip(names, means, strict=True)),
                "kept": names[self.chosen],
            }
        )
        del self.history[:-_REMEMBERED]

    def _restart(self, finite: NDArray[np.bool_]) -> None:
        """Learners that lost their way go on from the one that is kept."""
        gap, error = self.evidence.behind(self.chosen)
        lost = (gap > 0) & (gap > _LOST * error) | ~finite
        for place, learner in enumerate(self.learners):
            if lost[place] and learner.make is not None:
                learner.take(self.learners[self.chosen].values)
                self.evidence.take_over(place, self.chosen)

    def _let_learn(self, criterion: Criterion, rows: Rows) -> None:
        size = self.batch_size
        if size == "auto":
            size = max(BATCH_ROWS, -(-len(rows) // _MOST_STEPS))
        batches = Loader(rows, int(size), self.generator)
        strength = self._strength()
        self.net.train()
        for learner in self.learners[1:]:
            assert learner.optimizer is not None
            randomness = own_randomness(self.seed + self.arrivals.rows, learner.optimizer)
            with randomness, self.net.joining():
                learner.learn(self.net, criterion, batches, strength)
        self.net.eval()

    def _strength(self) -> float:
        """Of the pull towards the start: it fades as new rows outnumber those of the fit."""
        if self.anchor or not self.evidence.weight:
            return self.anchor
        share = self.fitted_rows / (self.fitted_rows + self.arrivals.rows)
        return _PULL * share * max(self.evidence.mean(self.chosen), 0.0)

    @contextmanager
    def _undone_by_errors(self) -> Iterator[None]:
        before = [one.copied() for one in self.learners]
        evidence, chosen, count = self.evidence.copied(), self.chosen, len(self.history)
        try:
            yield
        except BaseException:
            self.evidence, self.chosen = evidence, chosen
            del self.history[count:]
            for learner, values in zip(self.learners, before, strict=True):
                learner.take(values)
            raise
