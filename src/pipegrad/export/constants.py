"""Computation of what depends on parameters only, once, before a module is exported."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn


def traced(module: nn.Module, blocks: tuple[Tensor, ...]) -> fx.GraphModule:
    """The graph of a module's forward pass for any number of rows, with constants computed.

    Parameters
    ----------
    module : torch.nn.Module
        A module that takes some blocks of as many rows.
    blocks : tuple of Tensor
        A few rows of each block.

    Returns
    -------
    torch.fx.GraphModule
        A module that computes the same; each result that depends on parameters only is a buffer.
    """
    rows = torch.export.Dim("rows", min=0)
    shapes = (tuple({0: rows} for _ in blocks),)
    program = torch.export.export(module, blocks, dynamic_shapes=shapes, strict=False)
    program = program.run_decompositions({})  # without operations in place
    graph_module = program.module(check_guards=False)
    assert isinstance(graph_module, fx.GraphModule)
    return _folded(graph_module)


def _folded(module: fx.GraphModule) -> fx.GraphModule:
    known = _known_values(module)
    for node, value in known.items():
        later = [user for user in node.users if user not in known]
        if node.op == "get_attr" or not later:
            continue
        new: Any = value
        if isinstance(value, Tensor):
            name = f"constant_{node.name}"
            module.register_buffer(name, value.detach().clone())
            with module.graph.inserting_before(node):
                new = module.graph.get_attr(name)
        for user in later:
            _replace(user, node, new)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _known_values(module: fx.GraphModule) -> dict[fx.Node, Any]:
    """The value of each node that depends on parameters only."""
    known: dict[fx.Node, Any] = {}
    with torch.no_grad():
        for node in module.graph.nodes:
            if node.op == "get_attr":
                known[node] = _attribute(module, str(node.target))
            elif node.op == "call_function" and all(n in known for n in node.all_input_nodes):
                args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
                known[node] = node.target(*args, **kwargs)  # type: ignore[operator]
    return known


def _attribute(module: nn.Module, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _replace(user: fx.Node, old: fx.Node, new: Any) -> None:
    """Let a node take a value, or the result of another node, instead of that of the old one."""
    swap = lambda node: new if node is old else node  # noqa: E731
    user.args = fx.map_arg(user.args, swap)
    user.kwargs = fx.map_arg(user.kwargs, swap)
