"""Training of alike members as one: their parameters as a few tensors in the optimizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..modules import AlikeModules, ParameterStack

if TYPE_CHECKING:
    from ..network import PipelineNetwork

# Optimizers that treat each number alone, so that it does not matter in which tensor it is.
_ELEMENTWISE = (
    torch.optim.Adadelta,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.SGD,
)
# Most tensors that take the place of the parameters of a name, of members with other rates.
_MOST_PARTS = 12


@contextmanager
def stacked_parameters(
    net: PipelineNetwork, optimizer: Optimizer, allowed: bool = True
) -> Iterator[None]:
    """Context in which an optimizer trains the parameters of alike members as a few tensors.

    The parameters share the memory of these tensors, and after the context they and their state in
    the optimizer are on their own again. Nothing happens for optimizers that look at whole tensors,
    such as L-BFGS, and for those that have begun.

    Parameters
    ----------
    net : PipelineNetwork
        The network. Its training loop must call `ParameterStack.collect_gradients`.
    optimizer : Optimizer
        An optimizer of its parameters.
    allowed : bool
        Whether nobody else looks at the gradients of the parameters.
    """
    if not allowed or not _treats_each_number_alone(optimizer):
        yield
        return
    before = [list(group["params"]) for group in optimizer.param_groups]
    stacks = list(_stacks(net, optimizer))
    try:
        _train_stacks(optimizer, stacks)
        with net.trained_as(stacks):
            yield
    finally:
        for group, own in zip(optimizer.param_groups, before, strict=True):
            group["params"] = own
        for stack in stacks:
            _split_state(optimizer, stack)
            stack.release()


def _treats_each_number_alone(optimizer: Optimizer) -> bool:
    watched = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    named = any("param_names" in group for group in optimizer.param_groups)
    return type(optimizer) in _ELEMENTWISE and not (watched or named or optimizer.state)


def _stacks(net: PipelineNetwork, optimizer: Optimizer) -> Iterator[ParameterStack]:
    groups = enumerate(optimizer.param_groups)
    places = {id(p): number for number, group in groups for p in group["params"]}
    uses = Counter(id(p) for _, p in net.named_parameters(remove_duplicate=False))
    for module in net.alike_modules():
        for path in module.parameter_names():
            members = module.tensors(path)
            alone = all(uses[id(p)] == 1 and p.requires_grad and p.ndim for p in members)
            if not alone or any(id(p) not in places for p in members):
                continue
            parts: dict[int, list[int]] = {}
            for i, member in enumerate(members):
                parts.setdefault(places[id(member)], []).append(i)
            if len(parts) <= _MOST_PARTS:
                yield _stacked(module, path, members, list(parts.values()))


def _stacked(
    module: AlikeModules, path: str, members: list[nn.Parameter], parts: list[list[int]]
) -> ParameterStack:
    stack = ParameterStack(members, parts)
    module.stacks[path] = stack
    return stack


def _train_stacks(optimizer: Optimizer, stacks: list[ParameterStack]) -> None:
    """Put the tensors of the stacks in the place of their parameters."""
    instead: dict[int, nn.Parameter | None] = {}
    for stack in stacks:
        for leaf, part in zip(stack.leaves, stack.parts, strict=True):
            instead.update((id(stack.members[i]), None) for i in part)
            instead[id(stack.members[part[0]])] = leaf
    for group in optimizer.param_groups:
        found = [instead.get(id(p), p) for p in group["params"]]
        group["params"] = [p for p in found if p is not None]


def _split_state(optimizer: Optimizer, stack: ParameterStack) -> None:
    for leaf, part in zip(stack.leaves, stack.parts, strict=True):
        state: dict[str, Any] = optimizer.state.pop(leaf, {})
        own: list[dict[str, Any]] = [{} for _ in part]
        for name, value in state.items():
            for one, known in zip(own, stack.split_state(leaf, value), strict=True):
                one[name] = known
        if state:
            members = (stack.members[i] for i in part)
            optimizer.state.update(zip(members, own, strict=True))
