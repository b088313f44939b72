"""Many candidates at once: their parameters stacked, one batched module, one Adam over all."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import vmap

from ..errors import ArgumentError
from ._criterion import Criterion
from ._loader import Batch, Loader, Rows
from ._loop import Anchor
from ._optim import LEARNING_RATE, size

if TYPE_CHECKING:
    from ..module import PipelineModule

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_PROBED_ROWS = 16
# Rows of a measurement, and rows times candidates of one call.
_MEASURED, _AT_ONCE = 4096, 16_384
# A loss that cannot be told by row is told by parts of the rows.
_PARTS = 32

Schedule = Callable[[float], float]


class NotBatchable(Exception):  # noqa: N818
    """The module, or its loss, cannot run for many candidates at once."""


@dataclass(frozen=True)
class Configuration:
    """One way to train with Adam.

    Parameters
    ----------
    lr : float
        Learning rate.
    relative : bool
        Whether ``lr`` is a share of each parameter's own size (rounded to powers of four), as
        `PipelineModule.fit` has it by default, or the same for all parameters.
    anchor : float
        Strength of the pull towards the start; see `pipegrad.finetune.fit`.
    train : str or tuple of str, optional
        Patterns of the steps that train, among those that the module trains; None: all.

    Examples
    --------
    >>> from pipegrad.finetune import Configuration
    >>> print(Configuration(lr=0.003, anchor=0.1))
    lr=0.003, relative, anchor=0.1
    """

    lr: float = LEARNING_RATE
    relative: bool = True
    anchor: float = 0.0
    train: str | tuple[str, ...] | None = None

    def check(self) -> None:
        """Refuse wrong values."""
        if not (_is_number(self.lr) and self.lr > 0):
            raise ArgumentError(f"Configuration: lr={self.lr!r}; it is a positive number.")
        if not (_is_number(self.anchor) and self.anchor >= 0):
            raise ArgumentError(
                f"Configuration: anchor={self.anchor!r}; it is a number of at least 0."
            )

    def trained(self, net: PipelineModule) -> list[bool]:
        """Whether each of the module's trainable parameters trains here."""
        names = net.trainable_parameters()
        if self.train is None:
            return [True] * len(names)
        patterns = [self.train] if isinstance(self.train, str) else list(self.train)
        steps = net.graph.select(patterns, "Configuration: train")
        prefixes = tuple(f"steps.{key}." for step, key, _ in net._plan if step.name in steps)
        found = [name.startswith(prefixes) for name in names]
        if not any(found):
            raise ArgumentError(
                f"Configuration: train={self.train!r} names no step that the module trains.\n"
                "Hint: pipegrad.inspect."
            )
        return found

    def __str__(self) -> str:
        parts = [f"lr={self.lr:.4g}"] + ["relative"] * self.relative
        if self.anchor:
            parts.append(f"anchor={self.anchor:.4g}")
        if self.train is not None:
            parts.append(
                "train=" + (self.train if isinstance(self.train, str) else "+".join(self.train))
            )
        return ", ".join(parts)


class Copies:
    """A module and its loss for any values of its trainable parameters, many at a time.

    Values are of shape (candidates, numbers): a row holds all trainable parameters, one after the
    other. Two ways give the same numbers: all candidates in one batched pass, or one candidate
    after the other with the module's own parameters.

    Parameters
    ----------
    net : PipelineModule
        The module; its parameters are written to where candidates take turns.
    criterion : Criterion
        Its loss.
    """

    def __init__(self, net: PipelineModule, criterion: Criterion) -> None:
        self.net, self.criterion = net, criterion
        self.batched = False
        self.parameters = list(net.trainable_parameters().values())
        self.sizes = [p.numel() for p in self.parameters]
        self._dtype = max((p.dtype for p in self.parameters), key=lambda d: torch.finfo(d).bits)
        numbers_of = {id(p): i for i, p in enumerate(self.parameters)}
        # Every place that holds a parameter; a shared one has several.
        self._places = [
            (module, name, numbers_of[id(p)])
            for module in net.modules()
            for name, p in module._parameters.items()
            if id(p) in numbers_of
        ]

    def now(self) -> Tensor:
        """The module's present values, shape (numbers,)."""
        return torch.cat([p.detach().reshape(-1).to(self._dtype) for p in self.parameters])

    def put(self, values: Tensor) -> None:
        """Write one candidate's values, shape (numbers,), into the module."""
        with torch.no_grad():
            for parameter, part in zip(self.parameters, values.split(self.sizes), strict=True):
                parameter.copy_(part.view_as(parameter))

    def cut(self, values: Tensor) -> list[Tensor]:
        """Values (candidates, numbers) as one tensor (candidates, *shape) for each parameter."""
        parts = zip(values.split(self.sizes, 1), self.parameters, strict=True)
        return [part.view(-1, *p.shape).to(p.dtype) for part, p in parts]

    def over(self, parts: Sequence[Tensor | float]) -> Tensor:
        """One number for each parameter, repeated for all of its entries; shape (numbers,)."""
        return torch.cat(
            [
                torch.full((count,), float(part), dtype=self._dtype, device=p.device)
                for part, count, p in zip(parts, self.sizes, self.parameters, strict=True)
            ]
        )

    # The loss and its gradient

    def gradient(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses (candidates,) and gradients (candidates, numbers) of a batch."""
        if self.batched:
            try:
                return self._gradient_together(values, batch)
            except torch.linalg.LinAlgError:
                pass  # One candidate went astray; it shall not take the others with it.
        found = [self._gradient_alone(row, batch) for row in values]
        return torch.stack([loss for loss, _ in found]), torch.stack([g for _, g in found])

    def _gradient_together(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        values = values.detach().requires_grad_()

        def loss(parts: list[Tensor]) -> Tensor:
            with self._lent(parts):
                return self.criterion(self.net(batch[0]), batch[1], batch.weight)

        losses = vmap(loss)(self.cut(values))
        (gradient,) = torch.autograd.grad(losses.sum(), values)
        return losses.detach(), gradient

    def _gradient_alone(self, row: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        self.put(row)
        try:
            loss = self.criterion(self.net(batch[0]), batch[1], batch.weight)
            found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        except torch.linalg.LinAlgError:
            return row.new_tensor(math.nan), torch.full_like(row, math.nan)
        parts = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(self.parameters, found, strict=True)
        ]
        return loss.detach(), torch.cat([part.reshape(-1).to(row.dtype) for part in parts])

    # Losses of rows

    def terms(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weighted losses (candidates, rows) and scores (candidates, rows, ...) of a batch."""
        if self.batched:
            try:
                return self._terms_together(values, batch)
            except torch.linalg.LinAlgError:
                pass
        found = []
        for row in values:
            self.put(row)
            found.append(self._terms(batch))
        return torch.stack([terms for terms, _ in found]), torch.stack([s for _, s in found])

    def _terms_together(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        def terms(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
            with self._lent(parts):
                return self._terms(batch)

        found = vmap(terms)(self.cut(values))
        return found[0], found[1]

    def _terms(self, batch: Batch) -> tuple[Tensor, Tensor]:
        score = self.net(batch[0])
        terms = self.criterion.rows(score, batch[1])
        return terms.reshape(-1) if batch.weight is None else terms * batch.weight, score

    @contextmanager
    def _lent(self, parts: Sequence[Tensor]) -> Iterator[None]:
        """The module computes with other tensors in place of its parameters.

        As `torch.func.functional_call`, which looks for shared parameters in every call.
        """
        try:
            for module, name, number in self._places:
                module._parameters[name] = parts[number]  # type: ignore[assignment]
            yield
        finally:
            for module, name, number in self._places:
                module._parameters[name] = self.parameters[number]

    # Whether one batched pass is possible

    def try_batched(self, rows: Rows) -> None:
        """Run all candidates in one pass from now on.

        Raises
        ------
        NotBatchable
            When the module or the loss refuses, or gives other numbers than one after the other.
        """
        batch = rows.take(rows.index[:_PROBED_ROWS])
        now = self.now()
        values = torch.stack([now, now * (1 + 1e-3) + 1e-6])
        ways = []
        for batched in (False, True):
            self.batched = batched
            try:
                ways.append(self._probe(values, batch))
            except Exception as error:
                if not batched:
                    raise
                self.batched = False
                told = (str(error).splitlines() or [""])[0]
                raise NotBatchable(f"{type(error).__name__}: {told}") from error
            finally:
                self.put(now)
        for alone, together in zip(*ways, strict=True):
            if not _alike(together, alone):
                self.batched = False
                raise NotBatchable("The batched module gives other numbers.")

    def _probe(self, values: Tensor, batch: Batch) -> list[Tensor]:
        self.net.train()
        found = list(self.gradient(values, batch))
        self.net.eval()
        with torch.no_grad():
            return found + list(self.terms(values, batch))


def _alike(actual: Tensor, desired: Tensor) -> bool:
    if actual.shape != desired.shape:
        return False
    width = math.sqrt(torch.finfo(desired.dtype).eps) if desired.is_floating_point() else 0.0
    finite = desired[desired.isfinite()].abs()
    most = float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(actual, desired, rtol=width, atol=width * most, equal_nan=True)


class Ensemble:
    """Candidates that train together: the same batches in the same order for all of them.

    Each is what `torch.optim.Adam` would make of it alone.

    Parameters
    ----------
    copies : Copies
        The module for many values.
    configurations : sequence of Configuration
        A candidate each; all start from the module's present values.
    training : Rows
        Rows to train on.
    batch_size : int
        Rows of a step.
    epochs : int
        For the schedule.
    generator : numpy Generator
        Shuffles.
    schedule : callable, optional
        From the share of the steps done to a share of the rates; None: constant.
    """

    def __init__(
        self,
        copies: Copies,
        configurations: Sequence[Configuration],
        training: Rows,
        batch_size: int,
        epochs: int,
        generator: np.random.Generator,
        schedule: Schedule | None = None,
    ) -> None:
        self.copies, self.training, self.schedule = copies, training, schedule
        self.start = copies.now()
        self.alive = np.arange(len(configurations))
        self.loader = Loader(training, batch_size, generator)
        self.steps, self._total = 0, epochs * len(self.loader)
        self.values = self.start.repeat(len(configurations), 1)
        self._mean, self._square = torch.zeros_like(self.values), torch.zeros_like(self.values)
        made = [_rates_and_pulls(copies, one) for one in configurations]
        self._rates = torch.stack([rates for rates, _ in made])
        self._pulls: Tensor | None = None
        if any(one.anchor for one in configurations):
            self._pulls = torch.stack([pulls for _, pulls in made])

    def epoch(self) -> NDArray[np.float64]:
        """One pass over the rows; the mean loss of each candidate along the way."""
        self.copies.net.train()
        total: Tensor | float = 0.0
        with torch.enable_grad():
            for batch in self.loader:
                losses, gradient = self.copies.gradient(self.values, batch)
                self._step(gradient)
                total = total + losses * len(batch[0])
        assert isinstance(total, Tensor)
        return (total / len(self.training)).cpu().double().numpy()

    @torch.no_grad()
    def _step(self, gradient: Tensor) -> None:
        """Adam with a rate for each candidate and each parameter."""
        if self._pulls is not None:
            gradient = gradient.addcmul(self.values - self.start, self._pulls)
        share = 1.0 if self.schedule is None else self.schedule(self.steps / self._total)
        self.steps += 1
        first, second = _BETAS
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        step = self._square.sqrt().div_(math.sqrt(1 - second**self.steps)).add_(_EPSILON)
        torch.div(self._mean, step, out=step)
        self.values.addcmul_(step, self._rates, value=-share / (1 - first**self.steps))

    def measure(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Losses (candidates, rows) and scores (candidates, rows, ...) as they are now."""
        self.copies.net.eval()
        with torch.no_grad():
            parts = [self._terms(batch) for batch in self._measured(rows)]
        losses, scores = (torch.cat(some, 1).cpu() for some in zip(*parts, strict=True))
        return losses.double().numpy(), scores.float().numpy()

    def _terms(self, batch: Batch) -> tuple[Tensor, Tensor]:
        few = max(1, _AT_ONCE // len(batch[0]))
        parts = [self.copies.terms(some, batch) for some in self.values.split(few)]
        losses, scores = (torch.cat(some) for some in zip(*parts, strict=True))
        return losses, scores

    def _measured(self, rows: Rows) -> Loader:
        encoded, target = rows.take(rows.index[:2])
        told = self.copies.criterion.rows(self.copies.net(encoded), target).ndim > 0
        return Loader(rows, _MEASURED if told else math.ceil(len(rows) / _PARTS))

    def keep(self, places: NDArray[Any]) -> None:
        """Go on with some of the candidates, by their places among those still there."""
        if len(places) == len(self.alive):
            return
        self.alive = self.alive[places]
        index = torch.as_tensor(places, device=self.values.device)
        for name in ("values", "_mean", "_square", "_rates", "_pulls"):
            kept = getattr(self, name)
            setattr(self, name, None if kept is None else kept[index])


def _rates_and_pulls(copies: Copies, one: Configuration) -> tuple[Tensor, Tensor]:
    """What each parameter's steps are multiplied with, and how strongly it is pulled back."""
    trained = one.trained(copies.net)
    rates = [
        one.lr * (4.0 ** round(math.log(size(p), 4)) if one.relative else 1.0) * trains
        for p, trains in zip(copies.parameters, trained, strict=True)
    ]
    pulls = [0.0] * len(trained)
    if one.anchor:
        chosen = [i for i, trains in enumerate(trained) if trains]
        anchor = Anchor([copies.parameters[i] for i in chosen], one.anchor)
        for place, scale in zip(chosen, anchor.scales, strict=True):
            pulls[place] = 2 * scale
    return copies.over(rates), copies.over(pulls)


@contextmanager
def undisturbed(net: PipelineModule) -> Iterator[None]:
    """Parameters, gradients and mode of the module come back; torch's warnings stay away."""
    parameters = list(net.trainable_parameters().values())
    before = [(p.detach().clone(), p.grad) for p in parameters]
    training = net.training
    try:
        with warnings.catch_warnings():
            # Where torch has no batched form of an operation it loops over that one.
            warnings.filterwarnings("ignore", "There is a performance drop")
            yield
    finally:
        net.train(training)
        with torch.no_grad():
            for parameter, (values, gradient) in zip(parameters, before, strict=True):
                parameter.copy_(values)
                parameter.grad = gradient


@dataclass(frozen=True)
class Trained:
    """What came of one candidate.

    Attributes
    ----------
    losses : array of shape (epochs + 1, rows)
        Weighted loss of each row that validates, at the start and after each epoch.
    scores : array of shape (epochs + 1, rows, ...)
        Its scores.
    train_losses : array of shape (epochs,)
        Mean loss along each epoch.
    parameters : list of Tensor
        The trainable parameters at the end.
    """

    losses: NDArray[np.float64]
    scores: NDArray[np.float32]
    train_losses: NDArray[np.float64]
    parameters: list[Tensor]


def together(
    net: PipelineModule,
    criterion: Criterion,
    training: Rows,
    validating: Rows,
    configurations: Sequence[Configuration],
    batch_size: int,
    epochs: int,
    generator: np.random.Generator,
    schedule: Schedule | None = None,
) -> list[Trained]:
    """Train all candidates from the module's present parameters, which stay as they are.

    A generator in the same state gives the batches of a `Trainer`, so that a candidate's numbers
    are those of a run of its own, up to rounding.

    Raises
    ------
    NotBatchable
        When the module or the loss cannot run for many candidates at once; nothing was trained.
    """
    with undisturbed(net):
        copies = Copies(net, criterion)
        copies.try_batched(training)
        ensemble = Ensemble(
            copies, configurations, training, batch_size, epochs, generator, schedule
        )
        measured, trained = [ensemble.measure(validating)], []
        for _ in range(epochs):
            trained.append(ensemble.epoch())
            measured.append(ensemble.measure(validating))
        ends = copies.cut(ensemble.values)
    losses, scores = (np.stack(some, 1) for some in zip(*measured, strict=True))
    return [
        Trained(losses[k], scores[k], np.array([t[k] for t in trained]), [e[k].clone() for e in ends])
        for k in range(len(configurations))
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(float(value))
