"""Parameters of alike modules in one tensor, which trains in their place."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor, nn

_GRADIENT = attrgetter("grad")


class ParameterStack:
    """Parameters of several modules that share the memory of a few tensors.

    A hundred small tensors cost a hundred accumulated gradients and optimizer steps; one tensor of
    the same numbers costs one. As long as the stack exists, a change of it is a change of the
    parameters, and the other way round.

    Parameters
    ----------
    members : sequence of Parameter
        Parameters of the same shape, except for the first dimension.
    parts : sequence of sequence of int
        The places of the members of each tensor.
    """

    def __init__(self, members: Sequence[nn.Parameter], parts: Sequence[Sequence[int]]) -> None:
        self.members = list(members)
        self.parts = [list(part) for part in parts]
        self.leaves = [self._leaf(part) for part in self.parts]
        order = torch.argsort(torch.cat([self._entries(i) for part in self.parts for i in part]))
        self._order = None if len(self.leaves) == 1 else order.to(members[0].device)

    def _leaf(self, part: list[int]) -> nn.Parameter:
        chosen = [self.members[i] for i in part]
        leaf = nn.Parameter(torch.cat([member.detach() for member in chosen]))
        for member, view in zip(chosen, self._split(leaf.detach(), part), strict=True):
            member.data = view
        return leaf

    def _entries(self, place: int) -> Tensor:
        start = sum(len(member) for member in self.members[:place])
        return torch.arange(start, start + len(self.members[place]))

    def _split(self, values: Tensor, part: list[int]) -> tuple[Tensor, ...]:
        return values.split([len(self.members[i]) for i in part])

    def joined(self) -> Tensor:
        """All parameters, one after the other in their first dimension."""
        if self._order is None:
            return self.leaves[0]
        return torch.cat([*self.leaves]).index_select(0, self._order)

    def forget_gradients(self) -> None:
        """Drop the gradients of the parameters themselves."""
        for member in self.members:
            member.grad = None

    def collect_gradients(self) -> None:
        """Add gradients that reached the parameters themselves to those of the stack."""
        if set(map(_GRADIENT, self.members)) == {None}:
            return
        for leaf, part in zip(self.leaves, self.parts, strict=True):
            if leaf.grad is None:
                leaf.grad = torch.zeros_like(leaf)
            for i, view in zip(part, self._split(leaf.grad, part), strict=True):
                gradient = self.members[i].grad
                if gradient is not None:
                    view.add_(gradient)
        self.forget_gradients()

    def split_state(self, leaf: nn.Parameter, value: object) -> list[object]:
        """What an optimizer knows of a tensor of the stack, for each of its parameters."""
        part = next(part for one, part in zip(self.leaves, self.parts, strict=True) if one is leaf)
        if isinstance(value, Tensor) and value.shape == leaf.shape:
            return [own.clone() for own in self._split(value, part)]
        return [value.clone() if isinstance(value, Tensor) else value for _ in part]

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for member in self.members:
            member.data = member.detach().clone()
