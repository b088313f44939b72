"""What a report shows: what moved, how training went, where the time went."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..modules import Positive, TreeEnsemble, bare
from ..translate import fresh_module

if TYPE_CHECKING:
    from ..module import PipelineModule

# A number that grew by more than this factor was nothing before.
_NOTHING = 1e6
# So is what is smaller than this share of the largest parameter of its step: the mean of centred
# columns, which only rounding keeps from zero.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class MovedParameter:
    """How far one parameter of a step moved.

    Attributes
    ----------
    name : str
        Which.
    count : int
        How many numbers it holds.
    size : float
        Their root mean square as they were fitted.
    change : float
        Root mean square of their changes.
    """

    name: str
    count: int
    size: float
    change: float

    @property
    def share(self) -> float:
        """``change`` as a share of ``size``; infinite for what was zero."""
        if self.change == 0:
            return 0.0
        return math.inf if self.change > _NOTHING * self.size else self.change / self.size


@dataclass(frozen=True)
class MovedStep:
    """How far one step moved from where it was fitted.

    Attributes
    ----------
    name : str
        Path of the step.
    kind : str
        Name of its class.
    parameters : tuple of MovedParameter
        What of it trained.
    """

    name: str
    kind: str
    parameters: tuple[MovedParameter, ...]

    @property
    def count(self) -> int:
        """How many numbers trained."""
        return sum(parameter.count for parameter in self.parameters)

    @property
    def share(self) -> float:
        """Root mean square of all changes, each as a share of its parameter's size.

        Parameters that were zero have no size, and count only if there are no others.
        """
        sized = [p for p in self.parameters if math.isfinite(p.share)]
        if not sized:
            return math.inf if self.parameters else 0.0
        squares = sum(p.count * p.share**2 for p in sized)
        return math.sqrt(squares / sum(p.count for p in sized))

    @property
    def largest(self) -> MovedParameter:
        """The parameter that moved farthest for its size."""
        return max(self.parameters, key=lambda p: (math.isfinite(p.share), p.share))


@dataclass(frozen=True)
class Curve:
    """Losses of one run by checkpoint; the first is the fitted pipeline.

    Attributes
    ----------
    candidate : str
        Which way to train.
    split : int
        On which split, from 0.
    train, valid : tuple of float
        Mean losses.
    seconds : tuple of float
        Time since the start of the run.
    checkpoint : int
        The best one over all splits; of the chosen candidate, the chosen one.
    """

    candidate: str
    split: int
    train: tuple[float, ...]
    valid: tuple[float, ...]
    seconds: tuple[float, ...]
    checkpoint: int


@dataclass(frozen=True)
class Times:
    """Seconds spent.

    Attributes
    ----------
    fitting : float
        Fitting the pipeline, on all rows and on each split.
    comparing : float
        Training the candidates on the splits, and choosing.
    training : float
        The final training: with the chosen candidate on all rows, or with the user's settings.
    """

    fitting: float
    comparing: float
    training: float


@dataclass
class Clock:
    """Measures where the time goes."""

    began: float = field(default_factory=time.perf_counter)
    spent: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its seconds counted under a name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - began

        return call

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self.began

    def times(self, compared: bool = True) -> Times:
        """What is left of the time was comparing; or training, where nothing was compared."""
        fitting, training = (self.spent.get(name, 0.0) for name in ("fitting", "training"))
        rest = max(0.0, self.seconds - fitting - training)
        return Times(fitting, rest, training) if compared else Times(fitting, 0.0, training + rest)


# What moved


def moved_steps(net: PipelineModule) -> tuple[MovedStep, ...]:
    """How far each trained step is from where it was translated."""
    found, seen = [], set()
    for step in net._neural():
        if step.status != "trainable" or id(step.operator) in seen:
            continue
        seen.add(id(step.operator))
        pairs = _pairs(fresh_module(net, step), bare(net._module(step.name)))
        parameters = _without_rounding([_moved(*pair) for pair in pairs])
        if parameters:
            found.append(MovedStep(step.name, step.kind.rpartition(".")[2], parameters))
    return tuple(found)


def _pairs(fresh: nn.Module, present: nn.Module) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, start and present value of everything that trains, in the source's own terms."""
    both = zip(fresh.named_modules(), present.modules(), strict=True)
    with torch.no_grad():
        for (path, then), now in both:
            own = {name for name, p in now.named_parameters(recurse=False) if p.requires_grad}
            if own and isinstance(now, Positive):
                yield path, then(), now()
                continue
            if isinstance(then, TreeEnsemble) and isinstance(now, TreeEnsemble) and "shift" in own:
                own.remove("shift")
                yield f"{path}.thresholds".lstrip("."), then.thresholds(), now.thresholds()
            for name in sorted(own):
                yield f"{path}.{name}".lstrip("."), getattr(then, name), getattr(now, name)


def _moved(name: str, start: Tensor, now: Tensor) -> MovedParameter:
    start, now = start.detach().cpu().double(), now.detach().cpu().double()
    known = start.isfinite() & now.isfinite()
    start, change = start[known], (now - start)[known]
    return MovedParameter(name, len(start), _rms(start), _rms(change))


def _without_rounding(moved: list[MovedParameter]) -> tuple[MovedParameter, ...]:
    least = _ROUNDING * max((p.size for p in moved), default=0.0)
    return tuple(
        replace(p, size=p.size * (p.size > least), change=p.change * (p.change > least))
        for p in moved
    )


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt()) if len(values) else 0.0


# Learning curves


def curve(name: str, split: int, history: Any, checkpoint: int) -> Curve:
    """The losses in a history, whose first row is the fitted pipeline."""
    seconds = np.cumsum([row.get("dur", 0.0) for row in history])
    train, valid = (
        tuple(float(row[key]) for row in history) for key in ("train_loss", "valid_loss")
    )
    return Curve(name, split, train, valid, tuple(seconds.tolist()), checkpoint)


def curves(folds: Sequence[Any], names: Sequence[str], checkpoints: Sequence[int]) -> Any:
    """Of all runs on all splits that came to an end."""
    return tuple(
        curve(name, split, fold.runs[place].history, checkpoint)
        for place, (name, checkpoint) in enumerate(zip(names, checkpoints, strict=True))
        for split, fold in enumerate(folds)
        if fold.runs[place] is not None
    )
