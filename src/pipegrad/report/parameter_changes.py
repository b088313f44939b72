"""How far training moved the parameters of each step from their fitted values."""

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

# A parameter that grew by more than this factor counts as zero before.
_NOTHING = 1e6
# So does one below this share of the largest parameter of its step, such as the mean of centred
# columns, which differs from zero by rounding only.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class MovedParameter:
    """The change of one parameter tensor of a step.

    Attributes
    ----------
    name : str
        Name of the parameter.
    count : int
        Number of its entries.
    size : float
        Root mean square of the fitted entries.
    change : float
        Root mean square of the changes.
    """

    name: str
    count: int
    size: float
    change: float

    @property
    def share(self) -> float:
        """The relative change, ``change / size``; infinite if the parameter was zero."""
        if self.change == 0:
            return 0.0
        return math.inf if self.change > _NOTHING * self.size else self.change / self.size


@dataclass(frozen=True)
class MovedStep:
    """The change of one step relative to its fitted parameters.

    Attributes
    ----------
    name : str
        Path of the step.
    kind : str
        Name of its class.
    parameters : tuple of MovedParameter
        Its trained parameters.
    """

    name: str
    kind: str
    parameters: tuple[MovedParameter, ...]

    @property
    def count(self) -> int:
        """The number of trained entries."""
        return sum(parameter.count for parameter in self.parameters)

    @property
    def share(self) -> float:
        """Root mean square of all changes, each relative to the size of its parameter.

        Parameters that were zero have no size; they count only if there are no others.
        """
        sized = [p for p in self.parameters if math.isfinite(p.share)]
        if not sized:
            return math.inf if self.parameters else 0.0
        squares = sum(p.count * p.share**2 for p in sized)
        return math.sqrt(squares / sum(p.count for p in sized))

    @property
    def largest(self) -> MovedParameter:
        """The parameter with the largest relative change."""
        return max(self.parameters, key=lambda p: (math.isfinite(p.share), p.share))


def moved_steps(net: PipelineNetwork) -> tuple[MovedStep, ...]:
    """The change of each trained step since the translation.

    Parameters
    ----------
    net : PipelineNetwork
        The trained network.

    Returns
    -------
    tuple of MovedStep
        The trained steps in the order of the pipeline.
    """
    found, seen = [], set()
    for step in net.neural_steps():
        place = id(step.holder), step.projects
        if step.status != "trainable" or place in seen:
            continue
        seen.add(place)
        pairs = _pairs(fresh_module(net, step), unwrap_head(net.step_module(step.name)))
        parameters = _without_rounding([_moved(*pair) for pair in pairs])
        if parameters:
            found.append(MovedStep(step.name, step.kind.rpartition(".")[2], parameters))
    return tuple(found)


def _pairs(fresh: nn.Module, present: nn.Module) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, initial and present value of each trained parameter, as the source defines it."""
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
