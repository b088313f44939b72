"""One pass through the modules of a graph, along its schedule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from .calls import Call, Chain, Group, has_hooks
from .graph import Step
from .joint_encoding import JointBlock
from .modules import (
    Block,
    LeafIndices,
    NotAlike,
    Scaled,
    ScaledParts,
    SideBySide,
    SparseRows,
    evaluation_view,
    is_finite,
    scaled_parts,
    side_by_side,
)
from .schedule import Schedule, side_by_side_of

Blocks: TypeAlias = Mapping[str, Block | LeafIndices]


class Values(dict[str, Any]):
    """Outputs of steps by name; those of members are taken out of their joint output when asked.

    Parameters
    ----------
    schedule : Schedule
        The calls.
    compute : callable
        ``compute(call)`` is the output of a step between the members of a chain.
    """

    def __init__(self, schedule: Schedule, compute: Callable[[Call], Any]) -> None:
        super().__init__()
        self.schedule, self.compute = schedule, compute
        self.joint: dict[Group, SideBySide] = {}
        self.waiting: dict[str, ScaledParts] = {}

    def __missing__(self, name: str) -> Any:
        if name in self.waiting:
            self[name] = self.waiting[name].columns
        elif name in self.schedule.groups:
            group, place = self.schedule.groups[name]
            self[name] = self.joint[group].parts[place]
        elif name in self.schedule.between:
            self[name] = self.compute(self.schedule.between[name])
        else:
            raise KeyError(name)
        return self[name]


class Evaluation:
    """One pass through the modules.

    Parameters
    ----------
    schedule : Schedule
        The calls.
    blocks : mapping of str to Block
        Blocks by port, and others that `Encoded` may have.
    fusable : collection of str, optional
        Linear maps that are multiplied with the next one; by default none. The scales of members
        then are, too, and otherwise only where no digits are lost.
    check : bool
        Whether to reject NaN between steps.
    views : dict of str to Module, optional
        Modules in evaluation mode, by key; those that are missing are added. None to compute in
        the mode that the modules are in.
    """

    def __init__(
        self,
        schedule: Schedule,
        blocks: Blocks,
        fusable: Collection[str] | None = None,
        check: bool = False,
        views: dict[str, nn.Module] | None = None,
    ) -> None:
        self.schedule = schedule
        self.steps = schedule.steps
        self.blocks = blocks
        self.fusable = () if fusable is None else fusable
        self.fusing = fusable is not None
        self.check = check
        self.evaluating = views is not None
        self.views = {} if views is None else views
        self.values = Values(schedule, self._output)
        self.own_blocks = {name for name in blocks if name[:1] in ("=", ">", "+")}

    def run(self, tasks: Sequence[Call | Group], wanted: set[str]) -> Values:
        """Evaluate the wanted steps, and all members of a group if one of them is wanted."""
        for task in tasks:
            if isinstance(task, Call):
                if task.step.name in wanted:
                    self._keep(task.step.name, self._output(task))
            elif not wanted.isdisjoint(task.names):
                self._evaluate_group(task)
        return self.values

    def _keep(self, name: str, output: Any) -> None:
        """Keep an output for the steps after it."""
        if isinstance(output, ScaledParts):
            self.values.waiting[name] = output
        else:
            self.values[name] = output

    def _value(self, name: str, reader: nn.Module) -> Any:
        """An output as a reader takes it; only linear maps that nobody watches take up scales."""
        found = self.values.waiting.get(name)
        return self.values[name] if found is None or has_hooks(reader) else found

    def _output(self, call: Call) -> Any:
        name = call.step.name
        if not self.own_blocks:
            return self._called(call, self._inputs(call))
        if f"={name}" in self.blocks:
            return self.blocks[f"={name}"]
        given = self.blocks.get(f">{name}")
        inputs = self._inputs(call) if given is None else [given]
        offset = self.blocks.get(f"+{name}")
        if offset is None:
            return self._called(call, inputs)
        return self._module(call)(*inputs) + offset

    def _called(self, call: Call, inputs: list[Any]) -> Any:
        module = self._module(call)
        if call.step.name in self.fusable:
            return module.deferred(*inputs)  # type: ignore[operator]
        return module(*inputs)

    def _module(self, call: Call) -> nn.Module:
        if not self.evaluating:
            return self.steps[call.key]
        if call.key not in self.views:
            self.views[call.key] = evaluation_view(self.steps[call.key])
        return self.views[call.key]

    def _inputs(self, call: Call) -> list[Any]:
        together = self._together(call) if call.sources else None
        if together is not None:
            if self.check and isinstance(together, SideBySide):
                check_finite(call.step, [together.columns])
            return [together]
        module = self.steps[call.key]
        inputs = [
            self._value(name, module) if port is None else self._block(port)
            for name, port in zip(call.step.inputs, call.ports, strict=True)
        ]
        if self.check:
            pairs = zip(inputs, call.ports, strict=True)
            check_finite(call.step, [value for value, port in pairs if port is None])
        return inputs

    def _together(self, call: Call) -> SideBySide | ScaledParts | None:
        """The inputs side by side, or None."""
        module = self.steps[call.key]
        if has_hooks(module):
            return None
        found = []
        for source in call.sources:
            value = self._source(source)
            if not isinstance(value, SideBySide | Tensor):
                return None
            found.append(value)
        if call in self.schedule.scaling:
            parts = scaled_parts(found, call.places, call.orders)
            if parts is not None:
                return parts
        out = side_by_side(found, call.places, call.orders)
        return out if side_by_side_of(module) == "any" or out.alike else None

    def _source(self, source: Any) -> Any:
        if isinstance(source, Group):
            return self.values.joint.get(source)
        return self.values[source] if isinstance(source, str) else self._block(source[1])

    def _evaluate_group(self, group: Group) -> None:
        out = self._joint_output(group)
        if out is None:
            with group.module.parameters_from_stacks():
                for call in group.all_calls:
                    self._keep(call.step.name, self._output(call))
        else:
            self.values.joint[group] = out

    def _joint_output(self, group: Group) -> SideBySide | None:
        if self.own_blocks and self._replaces_any(group):
            return None
        if isinstance(group, Chain):
            return self._chained(group)
        x = self._joint_input(group)
        if x is None or (self.check and not self._finite(group, x)):
            return None
        try:
            waits = group in self.schedule.scaling
            out = group.module.scaled(x, self.fusing) if waits else group.module(x)
            return self._with_offsets(group, out)
        except NotAlike:
            return None

    def _replaces_any(self, group: Group) -> bool:
        """Whether blocks replace the input or the output of any member, or add to a chain."""
        signs = "=>+" if isinstance(group, Chain) else "=>"
        return any(f"{sign}{name}" in self.own_blocks for name in group.names for sign in signs)

    def _chained(self, chain: Chain) -> SideBySide | None:
        (x,) = self._inputs(chain.calls[0])
        out = None if isinstance(x, Tensor) and x.ndim != 2 else chain.module(x)
        # Otherwise, each member says what is wrong.
        return None if out is not None and self.check and not _is_finite(out.answers) else out

    def _joint_input(self, group: Group) -> Any:
        if group.source is None:
            return self._shared_input(group)
        if isinstance(group.source, Group):
            value = self.values.joint.get(group.source)
        else:
            return self._joint_block(group)
        return None if value is None else value.take(group.places)

    def _shared_input(self, group: Group) -> Any:
        """The input of all members, or blocks with one for each of them, side by side."""
        ports = [call.ports[0] for call in group.calls]
        if ports[0] is None:
            return self._value(group.calls[0].step.inputs[0], group.module.body)
        if ports[0] == ports[1]:
            return self.blocks[ports[0]]
        return _joined_blocks([self._block(port) for port in ports if port is not None])

    def _joint_block(self, group: Group) -> SideBySide | None:
        joint: JointBlock = group.source
        block = self.blocks.get(joint.name)
        if not isinstance(block, Tensor) or not self.blocks.keys().isdisjoint(joint.ports):
            return self._shared_input(group)
        return self.schedule.selection(group, block)

    def _block(self, port: str) -> Any:
        """The block of a port, on its own or out of a joint one."""
        if port in self.blocks or port not in self.schedule.joint:
            return self.blocks[port]
        joint, place = self.schedule.joint[port]
        block: Any = self.blocks[joint.name]
        places = self.schedule.places(joint).split(joint.widths)[place]
        return block.index_select(1, places.to(block.device))

    def _finite(self, group: Group, x: Any) -> bool:
        """Whether the input is finite; otherwise, each member says what is wrong."""
        if group.takes_missing or group.calls[0].ports[0] is not None:
            return True
        if isinstance(x, Scaled | ScaledParts):
            return True  # Rows that are not finite are not waiting.
        return _is_finite(x.columns if isinstance(x, SideBySide) else x)

    def _with_offsets(self, group: Group, out: SideBySide) -> SideBySide:
        offsets = [self.blocks.get(f"+{name}") for name in group.names] if self.own_blocks else []
        known = [offset for offset in offsets if isinstance(offset, Tensor)]
        if not known:
            return out
        if len(known) < len(group.names):
            raise NotAlike
        more = torch.stack(known, 1) if out.flat else torch.cat(known, 1)
        return SideBySide(out.columns + more, out.widths, out.flat)


def _joined_blocks(blocks: list[Any]) -> SideBySide | None:
    if not all(isinstance(block, Tensor) and block.ndim == 2 for block in blocks):
        return None
    return SideBySide(torch.cat(blocks, 1), [block.shape[1] for block in blocks])


def _is_finite(value: Any) -> bool:
    return is_finite(value.values if isinstance(value, SparseRows) else value)


def check_finite(step: Step, inputs: list[Any]) -> None:
    """Reject NaN between steps, as the source does; raw input is checked when it is encoded."""
    row = step.translation
    if row is None or row.missing:
        return
    for value in inputs:
        if isinstance(value, ScaledParts):
            continue  # Rows that are not finite are not waiting.
        numbers = value.values if isinstance(value, SparseRows) else value
        if not is_finite(numbers):
            what = "NaN" if torch.isnan(numbers).any() else "infinity"
            raise ValueError(f"Input X of step {step.name!r} ({step.kind}) contains {what}.")


def _has_global_hooks() -> bool:
    return bool(
        torch_modules._global_forward_hooks
        or torch_modules._global_forward_pre_hooks
        or torch_modules._global_backward_hooks
        or torch_modules._global_backward_pre_hooks
    )


def batching_is_possible() -> bool:
    """Whether nothing watches or traces each module."""
    return not (torch.compiler.is_compiling() or _has_global_hooks())
