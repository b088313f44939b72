"""Computation of what depends on parameters only, once, before a module is exported."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram


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
    real = blocks[0].dtype if blocks else torch.float64
    graph = _folded(_graph(module, blocks, (any_rows(blocks),)))
    _with_inverses(graph)
    return _with_exact_numbers(_cleared(graph), real)


def folded(module: nn.Module, rows: Tensor) -> ExportedProgram:
    """The program of a module for any number of rows, with constants computed.

    It refers to no code but that of torch.

    Parameters
    ----------
    module : torch.nn.Module
        A module that takes one matrix.
    rows : Tensor
        A few rows of it.
    """
    shapes = any_rows((rows,))
    graph = _cleared(_folded(_graph(module, (rows,), shapes)))
    _keep_used_tensors(graph)
    program = torch.export.export(graph, (rows,), dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _graph(
    module: nn.Module, blocks: tuple[Tensor, ...], shapes: tuple[Any, ...]
) -> fx.GraphModule:
    program = torch.export.export(module, blocks, dynamic_shapes=shapes, strict=False)
    program = program.run_decompositions({})  # without operations in place
    graph_module = program.module(check_guards=False)
    assert isinstance(graph_module, fx.GraphModule)
    return graph_module


def _keep_used_tensors(module: fx.GraphModule) -> None:
    """Remove tensors that no node reads."""
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in (*module.named_parameters(), *module.named_buffers())]:
        if name not in used:
            owner, _, last = name.rpartition(".")
            delattr(module.get_submodule(owner), last)


def any_rows(blocks: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """The shapes of blocks that have the same number of rows, whatever it is."""
    rows = torch.export.Dim("rows", min=0)
    return tuple({0: rows} for _ in blocks)


# Numbers in the arguments of these are exact as tensors without dimensions.
_ATEN = torch.ops.aten
_WITH_TENSORS = {
    _ATEN.add.Tensor: _ATEN.add.Tensor,
    _ATEN.sub.Tensor: _ATEN.sub.Tensor,
    _ATEN.mul.Tensor: _ATEN.mul.Tensor,
    _ATEN.div.Tensor: _ATEN.div.Tensor,
    _ATEN.add.Scalar: _ATEN.add.Tensor,
    _ATEN.sub.Scalar: _ATEN.sub.Tensor,
    _ATEN.mul.Scalar: _ATEN.mul.Tensor,
    _ATEN.div.Scalar: _ATEN.div.Tensor,
    _ATEN.pow.Tensor_Scalar: _ATEN.pow.Tensor_Tensor,
    _ATEN.pow.Scalar: _ATEN.pow.Tensor_Tensor,
    _ATEN.gt.Scalar: _ATEN.gt.Tensor,
    _ATEN.ge.Scalar: _ATEN.ge.Tensor,
    _ATEN.lt.Scalar: _ATEN.lt.Tensor,
    _ATEN.le.Scalar: _ATEN.le.Tensor,
    _ATEN.eq.Scalar: _ATEN.eq.Tensor,
    _ATEN.ne.Scalar: _ATEN.ne.Tensor,
    _ATEN.masked_fill.Scalar: _ATEN.masked_fill.Tensor,
    _ATEN.where.ScalarOther: _ATEN.where.self,
    _ATEN.where.ScalarSelf: _ATEN.where.self,
    _ATEN.clamp.default: _ATEN.clamp.Tensor,
    _ATEN.clamp_min.default: _ATEN.clamp_min.Tensor,
    _ATEN.clamp_max.default: _ATEN.clamp_max.Tensor,
    _ATEN.xlogy.Scalar_Other: _ATEN.xlogy.Tensor,
}
_FILLED = {_ATEN.full.default: 0, _ATEN.full_like.default: -1, _ATEN.new_full.default: 1}


def _with_exact_numbers(module: fx.GraphModule, real: torch.dtype) -> fx.GraphModule:
    """The same module; the exporter of torch rounds numbers to float32 that are no tensors."""
    if real != torch.float64:
        return module
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        if node.target in _WITH_TENSORS and any(map(_is_rounded, _numbers(node))):
            with module.graph.inserting_before(node):
                node.args, node.kwargs = (
                    _tensors(module, node.args, real),
                    _tensors(module, node.kwargs, real),
                )
            node.target = _WITH_TENSORS[node.target]
        elif node.target in _FILLED and any(map(_is_rounded, _numbers(node))):
            _expand_instead(module, node, real)
    module.recompile()
    return module


def _numbers(node: fx.Node) -> list[float]:
    given = [*node.args, *node.kwargs.values()]
    return [value for value in given if isinstance(value, float)]


def _is_rounded(number: float) -> bool:
    """Whether float32 does not have a number."""
    return float(torch.tensor(number, dtype=torch.float32)) != number and number == number


def _tensors(module: fx.GraphModule, given: Any, real: torch.dtype) -> Any:
    """Arguments with tensors in the place of numbers."""
    if isinstance(given, dict):
        return {name: _number_node(module, value, real) for name, value in given.items()}
    return tuple(_number_node(module, value, real) for value in given)


def _number_node(module: fx.GraphModule, value: Any, real: torch.dtype) -> Any:
    if not isinstance(value, float | int) or isinstance(value, bool):
        return value
    name = f"number_{len(dict(module.named_buffers()))}"
    module.register_buffer(name, torch.tensor(value, dtype=real))
    return module.graph.get_attr(name)


def _expand_instead(module: fx.GraphModule, node: fx.Node, real: torch.dtype) -> None:
    """Fill a tensor of a size by expanding a number."""
    like = node.meta["val"]
    if like.dtype != real:
        return
    place = _FILLED[node.target]  # type: ignore[index]
    with module.graph.inserting_before(node):
        number = _number_node(module, next(iter(_numbers(node))), real)
        if place < 0:
            new = module.graph.call_function(_ATEN.expand_as.default, (number, node.args[0]))
        else:
            new = module.graph.call_function(_ATEN.expand.default, (number, node.args[place]))
    node.replace_all_uses_with(new)
    module.graph.erase_node(node)


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
    for node in reversed(list(module.graph.nodes)):
        # Also checks of constants, which count as side effects.
        if node in known and not node.users:
            module.graph.erase_node(node)
    return module


def _cleared(module: fx.GraphModule) -> fx.GraphModule:
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _with_inverses(module: fx.GraphModule) -> None:
    """Let products with inverse matrices replace systems of equations whose matrix is constant."""
    for node in list(module.graph.nodes):
        if node.target is not _ATEN.linalg_solve_triangular.default or not node.kwargs.get(
            "left", True
        ):
            continue
        matrix, right = node.args
        if not isinstance(matrix, fx.Node) or matrix.op != "get_attr":
            continue
        values = _attribute(module, str(matrix.target))
        unit = torch.eye(values.shape[-1], dtype=values.dtype)
        inverse = torch.linalg.solve_triangular(values, unit, **node.kwargs)
        name = f"inverse_{node.name}"
        module.register_buffer(name, inverse)
        with module.graph.inserting_before(node):
            new = module.graph.call_function(
                _ATEN.matmul.default, (module.graph.get_attr(name), right)
            )
        node.replace_all_uses_with(new)
        module.graph.erase_node(node)


def _known_values(module: fx.GraphModule) -> dict[fx.Node, Any]:
    """The value of each node that depends on parameters only."""
    known: dict[fx.Node, Any] = {}
    with torch.no_grad():
        for node in module.graph.nodes:
            if node.op == "get_attr":
                known[node] = _attribute(module, str(node.target))
            elif node.op == "call_function" and all(n in known for n in node.all_input_nodes):
                args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
                known[node] = node.target(*args, **kwargs)
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
