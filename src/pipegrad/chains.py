"""Chains of linear predictors in a graph, each of which takes the answers of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import nn

from .calls import Call, Chain, has_hooks
from .modules import ChainedModules, Concatenate, chained_structure, link_of

# Fewer members take less time one after the other.
_FEWEST = 3

_Link: TypeAlias = tuple[Call, Call, Call]
_Inputs: TypeAlias = list[tuple[str, str | None]]


def find_chains(plan: Sequence[Call], steps: nn.ModuleDict) -> list[Chain]:
    """The chains among steps that nobody watches.

    Parameters
    ----------
    plan : sequence of Call
        All steps in topological order.
    steps : ModuleDict
        The module of each step.
    """
    search = _Search(plan, steps)
    found = []
    used: set[Call] = set()
    for member in search.members:
        links = [] if member in used else search.links_after(member)
        used.update(other for _, _, other in links)
        if len(links) + 1 >= _FEWEST:
            found.append(_chain(member, links, steps))
    return found


def _chain(first: Call, links: list[_Link], steps: nn.ModuleDict) -> Chain:
    calls = [first, *(member for _, _, member in links)]
    responses = [steps[response.key] for response, _, _ in links]
    module = ChainedModules([steps[call.key] for call in calls], responses)
    return Chain(calls, module, None, [], [first, *(call for link in links for call in link)])


class _Search:
    """What each step of a graph may be in a chain."""

    def __init__(self, plan: Sequence[Call], steps: nn.ModuleDict) -> None:
        self.members = {c: k for c in plan if (k := chained_structure(steps[c.key])) is not None}
        plan = plan if len(self.members) >= _FEWEST else []
        self.calls = {call.step.name: call for call in plan}
        self.answers = {c: k for c in plan if (k := link_of(steps[c.key])) is not None}
        self.columns = {c: _inputs(c) for c in plan if _only_joins(steps[c.key])}
        self.hooked = {call for call in plan if has_hooks(steps[call.key])}
        self.readers: dict[str, list[Call]] = {}
        for call in plan:
            for name in call.step.inputs:
                self.readers.setdefault(name, []).append(call)

    def links_after(self, member: Call) -> list[_Link]:
        """What follows a member: answers, columns with the answer, and members that take them."""
        before = self.calls.get(member.step.inputs[0])
        # The columns of the first member may be answers themselves.
        inner = self.columns.get(before) if before is not None else None
        return self._links(member, _inputs(member)) or self._links(member, inner or [])

    def _links(self, member: Call, columns: _Inputs) -> list[_Link]:
        found: list[_Link] = []
        while (link := self._next(member, columns)) is not None:
            response, joined, member = link
            if found and self.answers[response] != self.answers[found[0][0]]:
                break
            columns = self.columns[joined]
            found.append(link)
        return found

    def _next(self, member: Call, columns: _Inputs) -> _Link | None:
        for response in self._after(member):
            wanted = [*columns, (response.step.name, None)]
            for joined in self._after(response) if response in self.answers else []:
                for other in self._after(joined) if self.columns.get(joined) == wanted else []:
                    alike = self.members.get(other) == self.members[member]
                    if alike and self.hooked.isdisjoint((member, response, joined, other)):
                        return response, joined, other
        return None

    def _after(self, call: Call) -> list[Call]:
        return self.readers.get(call.step.name, [])


def _inputs(call: Call) -> _Inputs:
    return list(zip(call.step.inputs, call.ports, strict=True))


def _only_joins(module: nn.Module) -> bool:
    return type(module) is Concatenate and module.sparse is None and module.weights is None
