"""The calls that evaluate modules: of one step, of alike steps, of the members of a chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from .graph import Step
from .modules import AlikeModules, ChainedModules, Predictor


@dataclass(eq=False)
class Call:
    """A step with its module.

    Parameters
    ----------
    step : Step
        The step.
    key : str
        Key of its module.
    ports : list of str
        For each input, the port of its block, or None if it is the output of another module.
    sources : list of Group, str or (str, str)
        For a step that joins the outputs of members: the groups that they belong to, the names of
        other steps, and ports.
    places : list of int
        Place of each input among the outputs of all sources.
    orders : dict
        Keeps the order of columns; see `side_by_side`.
    """

    step: Step
    key: str
    ports: list[str | None]
    sources: list[Any] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    orders: dict[Any, Tensor | None] = field(default_factory=dict)


@dataclass(eq=False)
class Group:
    """Steps with alike modules, which one call evaluates.

    Parameters
    ----------
    calls : list of Call
        The steps.
    module : AlikeModules
        Their modules as one.
    source : JointBlock, Group or None
        Where their inputs are side by side; None if they have the same one.
    places : list of int
        The place of the input of each.
    """

    calls: list[Call]
    module: AlikeModules
    source: Any
    places: list[int]

    def __post_init__(self) -> None:
        self.names = [call.step.name for call in self.calls]
        first = self.calls[0].step.translation
        self.takes_missing = first is None or first.missing

    @property
    def all_calls(self) -> list[Call]:
        """All calls that the group stands for, in the order of the graph."""
        return self.calls


@dataclass(eq=False)
class Chain(Group):
    """Linear predictors of which each takes the answers of those before it as further columns.

    Parameters
    ----------
    calls, module, source, places
        See `Group`.
    whole : list of Call
        The predictors, the steps that answer, and those that add the answers to the columns, in
        the order of the graph.
    """

    module: ChainedModules
    whole: list[Call]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.names = [call.step.name for call in self.whole]

    @property
    def all_calls(self) -> list[Call]:
        """All calls that the chain stands for, in the order of the graph."""
        return self.whole


def hooks_of(module: nn.Module) -> list[Any]:
    """The functions that watch a module itself, by kind."""
    return [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]


def called_parts(module: nn.Module) -> Iterator[nn.Module]:
    """A module with all parts that its forward pass calls; a raw score needs no head."""
    if isinstance(module, Predictor) and module.method == "score":
        yield module
        module = module.body
    yield from module.modules()


def has_hooks(module: nn.Module) -> bool:
    """Whether someone watches a module, or has given it a function of its own."""
    return any(any(hooks_of(part)) or "forward" in vars(part) for part in called_parts(module))
