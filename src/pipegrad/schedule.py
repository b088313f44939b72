"""The calls that evaluate the modules of a graph; alike members of a composite share a call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .calls import Call, Chain, Group, called_parts, has_hooks, hooks_of
from .chains import find_chains
from .joint_encoding import JointBlock
from .modules import (
    AlikeModules,
    Block,
    Concatenate,
    LeafIndices,
    Linear,
    Selected,
    structure,
    unwrap_head,
)

# Fewer modules take less time one after the other.
_FEWEST = 4

Blocks: TypeAlias = Mapping[str, Block | LeafIndices]


class Schedule:
    """Calls in an order in which their inputs are known.

    Parameters
    ----------
    plan : list of Call
        All steps in topological order.
    steps : ModuleDict
        The module of each step.
    joint : sequence of JointBlock
        Blocks that consist of several.
    """

    def __init__(
        self, plan: list[Call], steps: nn.ModuleDict, joint: Sequence[JointBlock] = ()
    ) -> None:
        self.steps = steps
        self.joint = {port: (one, i) for one in joint for i, port in enumerate(one.ports)}
        self._places: dict[JointBlock, Tensor] = {}
        self._selections: dict[Group, Selected] = {}
        self.groups: dict[str, tuple[Group, int]] = {}
        self.chains: dict[str, Chain] = {}
        self.between: dict[str, Call] = {}
        for found in find_chains(plan, steps):
            self.chains.update(dict.fromkeys(found.names, found))
            self.groups.update({c.step.name: (found, i) for i, c in enumerate(found.calls)})
            others = [call for call in found.whole if call not in found.calls]
            self.between.update({call.step.name: call for call in others})
        self._structures = {call.step.name: _structure(call, steps) for call in plan}
        levels = self._levels(plan)
        self.tasks: list[Call | Group] = list(plan)
        if levels:
            self.tasks = [task for level in levels for task in self._grouped(level)]
        self.scaling = _scaled_before_linear(self.tasks, steps)
        alike = [c.key for c in plan if self._structures[c.step.name] or c.step.name in self.chains]
        self._watched = _Watched(steps, alike if levels else [])

    def places(self, joint: JointBlock) -> Tensor:
        """The columns of a joint block that its selections consist of."""
        if joint not in self._places:
            self._places[joint] = torch.from_numpy(joint.places)
        return self._places[joint]

    def selection(self, group: Group, block: Tensor) -> Selected:
        """The inputs of a group, out of a joint block."""
        known = self._selections.get(group)
        if known is None or known.keep.device != block.device:
            joint = group.source
            whole = Selected(block, self.places(joint).to(block.device), joint.widths)
            known = self._selections[group] = whole.take(group.places).of(block[:0])
        return known.of(block)

    @property
    def valid(self) -> bool:
        """Whether the modules are those that were grouped."""
        return self._watched.unchanged()

    def _levels(self, plan: list[Call]) -> list[list[Call]]:
        """Calls by the length of the longest path to them; empty if no modules are alike."""
        found = Counter(s for s in self._structures.values() if s is not None)
        if max(found.values(), default=0) < _FEWEST and not self.chains:
            return []
        self._followers = _only_followers(plan)
        self._readers = Counter(port for call in plan for port in call.ports)
        depths: dict[str, int] = {}
        levels: dict[int, list[Call]] = {}
        for call in plan:
            if call.step.name in depths:  # in a chain
                continue
            depth = 1 + max((depths.get(name, 0) for name in call.step.inputs), default=0)
            chain = self.chains.get(call.step.name)
            depths.update(dict.fromkeys([call.step.name] if chain is None else chain.names, depth))
            levels.setdefault(depth, []).append(call)
        return [levels[depth] for depth in sorted(levels)]

    def _grouped(self, level: list[Call]) -> list[Call | Group]:
        alike: dict[Hashable, list[Call]] = {}
        for call in level:
            alike.setdefault(self._bucket(call), []).append(call)
        found: list[Call | Group] = []
        for bucket, calls in alike.items():
            if isinstance(bucket, Chain):
                found.append(bucket)
            elif isinstance(bucket, str) or len(calls) < _FEWEST:
                found.extend(self._joining(call) for call in calls)
            else:
                found.append(self._group(calls))
        return found

    def _bucket(self, call: Call) -> Hashable:
        """What the members of a group have in common; the chain that begins with a call."""
        if call.step.name in self.chains:
            return self.chains[call.step.name]
        kind = self._structures[call.step.name]
        if kind is None or has_hooks(self.steps[call.key]):
            return call.step.name
        row = call.step.translation
        origin, _ = self._origin(call)
        # Selections of columns that alike modules take belong together.
        after = self._structures.get(self._followers.get(call.step.name, ""))
        return kind, origin, row is None or row.missing, after

    def _origin(self, call: Call) -> tuple[Any, int]:
        """Where the input of a step is: in a group or a joint block, at a place, or by itself."""
        (port,), (name,) = call.ports, call.step.inputs
        if port is not None:
            alone = ("ports" if self._readers[port] == 1 else f"port {port}", 0)
            return self.joint.get(port, alone)
        return self.groups.get(name, (("step", name), 0))

    def _group(self, calls: list[Call]) -> Group:
        origins = [self._origin(call) for call in calls]
        source = origins[0][0] if isinstance(origins[0][0], Group | JointBlock) else None
        modules = AlikeModules([self.steps[call.key] for call in calls])
        group = Group(calls, modules, source, [place for _, place in origins])
        self.groups.update({call.step.name: (group, i) for i, call in enumerate(calls)})
        return group

    def _joining(self, call: Call) -> Call:
        """The call with the groups of its inputs, if it takes them side by side."""
        inputs = call.step.inputs
        module = self.steps[call.key]
        known = any(name in self.groups for name in inputs)
        if not known or side_by_side_of(module) is None:
            return Call(call.step, call.key, call.ports)
        origins = [
            self.groups.get(name, (name, 0)) if port is None else (("port", port), 0)
            for name, port in zip(inputs, call.ports, strict=True)
        ]
        sources = list(dict.fromkeys(origin for origin, _ in origins))
        starts, count = {}, 0
        for source in sources:
            starts[source] = count
            count += len(source.calls) if isinstance(source, Group) else 1
        places = [starts[origin] + place for origin, place in origins]
        return Call(call.step, call.key, call.ports, sources, places)


def _scaled_before_linear(tasks: list[Call | Group], steps: nn.ModuleDict) -> set[Call | Group]:
    """Groups that scale columns, and concatenations of these, that only linear maps take."""
    readers: dict[str, set[Call | Group]] = {}
    for task in tasks:
        for call in task.all_calls if isinstance(task, Group) else [task]:
            for name, port in zip(call.step.inputs, call.ports, strict=True):
                if port is None:
                    readers.setdefault(name, set()).add(task)
    found: set[Call | Group] = set()
    for task in reversed(tasks):
        calls = task.calls if isinstance(task, Group) else [task]
        after = [readers.get(call.step.name, set()) for call in calls]
        if isinstance(task, Chain) or not (all(after) and _may_wait(task, steps)):
            continue
        if all(_is_linear(one, steps) or one in found for one in set().union(*after)):
            found.add(task)
    return found


def _may_wait(task: Call | Group, steps: nn.ModuleDict) -> bool:
    if isinstance(task, Group):
        return hasattr(task.module.body, "affine")
    module = steps[task.key]
    plain = type(module) is Concatenate and not module.sparse and module.weights is None
    return (
        plain and all(isinstance(source, Group) for source in task.sources) and bool(task.sources)
    )


def _is_linear(task: Call | Group, steps: nn.ModuleDict) -> bool:
    if isinstance(task, Chain):
        return False
    module = task.module.body if isinstance(task, Group) else unwrap_head(steps[task.key])
    return isinstance(module, Linear)


def _structure(call: Call, steps: nn.ModuleDict) -> Hashable | None:
    return structure(steps[call.key]) if len(call.ports) == 1 else None


def side_by_side_of(module: nn.Module) -> str | None:
    """Whether a module takes inputs side by side: of "any" or of "alike" widths, or None."""
    how: str | None = vars(type(unwrap_head(module))).get("takes_side_by_side")
    return how


def _only_followers(plan: list[Call]) -> dict[str, str]:
    """The step that alone takes the output of another, by the name of the latter."""
    readers: dict[str, list[str]] = {}
    for call in plan:
        for name, port in zip(call.step.inputs, call.ports, strict=True):
            if port is None:
                readers.setdefault(name, []).append(call.step.name)
    return {name: found[0] for name, found in readers.items() if len(found) == 1}


class _Watched:
    """Modules that are computed as one as long as nobody has changed any of them."""

    def __init__(self, steps: nn.ModuleDict, keys: list[str]) -> None:
        self._present = steps._modules
        self._keys = keys
        self._first = [steps[key] for key in keys]
        self._parts = [part for module in self._first for part in called_parts(module)]
        self._kinds = list(map(type, self._parts))
        self._hooks = [hooks for part in self._parts for hooks in hooks_of(part)]
        self._hooked = list(map(bool, self._hooks))
        # New attributes, such as a function `forward`, make a module another one.
        self._own = list(map(vars, self._parts))
        self._sizes = list(map(len, self._own))
        self._inner = [part._modules for part in self._parts if part._modules]
        self._children = self._now()

    def _now(self) -> list[nn.Module | None]:
        return list(chain.from_iterable(map(dict.values, self._inner)))

    def unchanged(self) -> bool:
        """Whether the modules, their classes, hooks and attributes are the same."""
        return (
            list(map(self._present.get, self._keys)) == self._first
            and self._now() == self._children
            and list(map(type, self._parts)) == self._kinds
            and list(map(len, self._own)) == self._sizes
            and list(map(bool, self._hooks)) == self._hooked
        )
