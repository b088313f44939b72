"""What a run may change in a module and an optimizer, so that one that fails leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

# Attributes of every module that are tables: of parameters, buffers, children and hooks.
_TABLES = tuple(name for name, value in vars(nn.Module()).items() if isinstance(value, dict))


class ModuleState:
    """The attributes of all parts of a module, its trainable numbers and their gradients.

    Parameters
    ----------
    module : Module
        The module; it does not change.
    """

    def __init__(self, module: nn.Module) -> None:
        self._tables: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._tensors: dict[Tensor, tuple[bool, Tensor | None, Tensor | None]] = {}
        for part in module.modules():
            own = vars(part)
            tables = [own, *(own[name] for name in _TABLES if name in own)]
            self._tables += [(table, dict(table)) for table in tables]
            # Modules of this package replace their buffers, and write to parameters that train.
            writes = not type(part).__module__.startswith("pipegrad.")
            for tensor in [*part._parameters.values(), *part._buffers.values()]:
                if tensor is not None:
                    self._add(tensor, writes or tensor.requires_grad)

    def _add(self, tensor: Tensor, writes: bool) -> None:
        values = tensor.detach().clone() if writes else None
        if tensor.is_leaf:
            self._tensors[tensor] = tensor.requires_grad, tensor.grad, values

    def restore(self) -> None:
        """Restore everything; may be repeated."""
        for table, before in self._tables:
            for name in [name for name in table if name not in before]:
                del table[name]
            for name, value in before.items():
                if name not in table or table[name] is not value:
                    table[name] = value
        with torch.no_grad():
            for tensor, (trains, gradient, values) in self._tensors.items():
                if tensor.requires_grad != trains:
                    tensor.requires_grad_(trains)
                if values is not None:
                    tensor.copy_(values)
                tensor.grad = gradient


class OptimizerState:
    """The state and the groups of an optimizer, and the numbers of its parameters.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer; it does not change.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._groups = kept(optimizer.param_groups)
        self._own = kept(optimizer.state)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._numbers = [(p, p.detach().clone(), p.grad) for p in parameters]

    def restore(self) -> None:
        """Restore everything; may be repeated."""
        self._groups()
        self._own()
        with torch.no_grad():
            for parameter, values, gradient in self._numbers:
                parameter.copy_(values)
                parameter.grad = gradient


def kept(value: Any) -> Callable[[], None]:
    """Return a function that gives tensors, and what contains them, their present content back.

    They stay the same objects. Parameters keep the numbers that they then have.
    """
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return partial(_fill, value, value.detach().clone())
    if not isinstance(value, list | tuple | dict):
        return lambda: None
    content = value.copy() if isinstance(value, list | dict) else value
    parts = [kept(one) for one in (content.values() if isinstance(content, dict) else content)]

    def restore() -> None:
        for part in parts:
            part()
        if isinstance(value, list):
            value[:] = content
        elif isinstance(value, dict):
            value.clear()
            value.update(content)

    return restore


@torch.no_grad()
def _fill(tensor: Tensor, numbers: Tensor) -> None:
    tensor.copy_(numbers)


@contextmanager
def restored_on_error(*states: ModuleState | OptimizerState) -> Iterator[None]:
    """Context at whose end the saved states are restored if an error or an interrupt ended it."""
    try:
        yield
    except BaseException:
        for state in states:
            state.restore()
        raise
