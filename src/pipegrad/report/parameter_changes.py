"""What a report shows: what moved, how training went, where the time went."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..modules import Positive, TreeEnsemble, unwrap_head
from ..network import fresh_module

if TYPE_CHECKING:
    from ..network import PipelineNetwork

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


# What moved


def moved_steps(net: PipelineNetwork) -> tuple[MovedStep, ...]:
    """How far each trained step is from where it was translated."""
    found, seen = [], set()
    for step in net.neural_steps():
        if step.status != "trainable" or id(step.operator) in seen:
            continue
        seen.add(id(step.operator))
        pairs = _pairs(fresh_module(net, step), unwrap_head(net.step_module(step.name)))
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
