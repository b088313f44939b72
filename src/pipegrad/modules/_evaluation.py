"""Evaluation mode as a view of a module, which itself does not change.

`torch.nn.Module.eval` sets a flag on the module. While one thread has it set, another thread that
trains or predicts sees it, too; and whoever sets it has to restore it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def evaluation_view(module: nn.Module) -> nn.Module:
    """A module that computes what ``module.eval()`` would compute.

    Parameters
    ----------
    module : torch.nn.Module
        Any module, in any mode. Neither it nor its children change.

    Returns
    -------
    torch.nn.Module
        The module itself if it is in evaluation mode, or else a shallow copy that shares all
        parameters, buffers and hooks. A class with a ``train`` of its own is copied deeply, unless
        its attribute ``mode_is_flag`` says that ``train`` changes no more than the flag.
    """
    if _has_own_mode(module):
        return copy.deepcopy(module).eval() if module.training else module
    own = children = module._modules
    if own:
        children = {name: child and evaluation_view(child) for name, child in own.items()}
    if not module.training and all(child is own[name] for name, child in children.items()):
        return module
    view = object.__new__(module.__class__)
    state = vars(view)
    state.update(vars(module))
    state["training"], state["_modules"] = False, children
    state.pop("_compiled_call_impl", None)  # It is bound to the module itself.
    return view


@contextmanager
def preserved_modes(module: nn.Module) -> Iterator[None]:
    """Context at whose end the module and all its children are in the mode they were in before."""
    before = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in before:
            if part.training != training:
                part.training = training


def _has_own_mode(module: nn.Module) -> bool:
    """Whether the mode is more than the flag of a Python object."""
    if isinstance(module, torch.jit.ScriptModule):
        return True
    kind = type(module)
    return kind.train is not nn.Module.train and not getattr(kind, "mode_is_flag", False)
