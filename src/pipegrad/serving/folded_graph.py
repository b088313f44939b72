"""Fewer operators for the same answers: consecutive affine maps become one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

# Constants that are added after scaling to about one. With larger ones, the product of all maps
# would lose digits of numbers that are close to the mean.
_LARGEST_SHIFT = 100.0
_BY_ENTRY = ("Sub", "Add", "Div", "Mul")
_UNARY = ("Sigmoid", "Neg", "Exp", "Log", "Tanh", "Softplus", "Erf", "Abs", "Relu")


@dataclass
class _Map:
    """``scale * x + added``, or ``x @ weight + added``, of a tensor.

    Parameters
    ----------
    origin : str
        The tensor x.
    added : array
        Constant, (), (features,) or (outputs,).
    scale : array, optional
        Factor of each column.
    weight : array, optional
        Matrix (features, outputs).
    steps : int
        Number of operators that it stands for.
    """

    origin: str
    added: NDArray[Any]
    scale: NDArray[Any] | None = None
    weight: NDArray[Any] | None = None
    steps: int = 0


def folded(model: ModelProto) -> ModelProto:
    """A model with the same answers and fewer operators.

    Parameters
    ----------
    model : ModelProto
        The model, which changes.

    Returns
    -------
    ModelProto
        The model itself.
    """
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    _drop_identities(model)
    _fold_affine_maps(model, constants)
    _drop_squeezes(model, constants)
    return model


def _drop_identities(model: ModelProto) -> None:
    """Let readers of a copy read the original; outputs keep their copy."""
    outputs = {one.name for one in model.graph.output}
    same: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        _rename(node, same)
        if node.op_type == "Identity" and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    _replace(model, kept)


def _fold_affine_maps(model: ModelProto, constants: dict[str, NDArray[Any]]) -> None:
    readers = Counter(name for node in model.graph.node for name in node.input)
    outputs = {one.name for one in model.graph.output}
    maps: dict[str, _Map] = {}
    standing: dict[str, list[NodeProto]] = {}
    kept: list[NodeProto] = []
    for node in model.graph.node:
        found = _continued(node, maps, constants)
        if found is not None and readers[node.output[0]] == 1 and node.output[0] not in outputs:
            source = next((name for name in node.input if name in maps), "")
            standing[node.output[0]] = [*standing.pop(source, []), node]
            maps[node.output[0]] = found
            continue
        for name in node.input:
            if name in standing:
                kept += _written(model, name, maps[name], standing.pop(name))
        kept.append(node)
    _replace(model, kept)


def _continued(
    node: NodeProto, maps: dict[str, _Map], constants: dict[str, NDArray[Any]]
) -> _Map | None:
    """The map of which a node is the last step; None for another operator."""
    if node.op_type not in (*_BY_ENTRY, "MatMul") or len(node.input) != 2:
        return None
    first, second = node.input
    if first in constants and node.op_type in ("Add", "Mul"):
        first, second = second, first
    if first in constants or second not in constants:
        return None
    value = constants[second]
    if value.dtype.kind != "f" or not np.isfinite(value).all():
        return None
    before = maps.get(first) or _Map(first, np.zeros((), value.dtype))
    if node.op_type == "MatMul":
        return _multiplied(before, value)
    if value.ndim > 1:
        return None
    return _by_entry(before, node.op_type, value)


def _multiplied(before: _Map, value: NDArray[Any]) -> _Map | None:
    if value.ndim != 2:
        return None
    if before.weight is not None:
        added = _row(before.added, value.shape[0]) @ value
        return _Map(before.origin, added, weight=before.weight @ value, steps=before.steps + 1)
    if before.scale is None:
        if before.steps:
            return None  # A shift of the columns, whose digits a product would lose.
        return _Map(before.origin, np.zeros(value.shape[1], value.dtype), weight=value, steps=1)
    if np.abs(before.added).max(initial=0) > _LARGEST_SHIFT:
        return None
    added = _row(before.added, value.shape[0]) @ value
    weight = _row(before.scale, value.shape[0])[:, None] * value
    return _Map(before.origin, added, weight=weight, steps=before.steps + 1)


def _by_entry(before: _Map, kind: str, value: NDArray[Any]) -> _Map | None:
    steps = before.steps + 1
    if kind in ("Sub", "Add"):
        added = before.added - value if kind == "Sub" else before.added + value
        return _Map(before.origin, added, before.scale, before.weight, steps)
    with np.errstate(all="ignore"):
        factor = 1 / value if kind == "Div" else value
    if not np.isfinite(factor).all():
        return None
    scale = None
    if before.weight is None:
        scale = factor if before.scale is None else before.scale * factor
        return _Map(before.origin, before.added * factor, scale, None, steps)
    return _Map(before.origin, before.added * factor, None, before.weight * factor, steps)


def _row(values: NDArray[Any], width: int) -> NDArray[Any]:
    return np.broadcast_to(values, (width,))


def _written(model: ModelProto, name: str, found: _Map, nodes: list[NodeProto]) -> list[NodeProto]:
    """The operators of a map: a product and a sum, or those that were there."""
    if found.weight is None or found.steps < 3:
        return nodes
    width = found.weight.shape[1]
    for suffix, value in (("weight", found.weight), ("added", _row(found.added, width))):
        model.graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(value), f"{name}/{suffix}")
        )
    return [
        helper.make_node("MatMul", [found.origin, f"{name}/weight"], [f"{name}/product"]),
        helper.make_node("Add", [f"{name}/product", f"{name}/added"], [name]),
    ]


def _drop_squeezes(model: ModelProto, constants: dict[str, NDArray[Any]]) -> None:
    """Keep a column (n, 1) in this shape where its readers need that shape again."""
    columns: set[str] = set()
    ends: dict[str, str] = {}
    dropped: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "Squeeze" and _along_columns(node, constants):
            columns.add(node.output[0])
            ends[node.output[0]] = node.input[0]
            dropped.append(node)
        elif columns.intersection(node.input):
            if node.op_type == "Unsqueeze" and _along_columns(node, constants):
                ends[node.output[0]] = node.input[0]
                dropped.append(node)
            elif node.op_type in _UNARY or _with_number(node, constants):
                columns.add(node.output[0])
            else:
                return
    if columns.intersection(one.name for one in model.graph.output):
        return
    same: dict[str, str] = {}
    for new, old in ends.items():
        same[new] = same.get(old, old)
    kept = [node for node in model.graph.node if not any(node is gone for gone in dropped)]
    for node in kept:
        _rename(node, same)
    _replace(model, kept)


def _along_columns(node: NodeProto, constants: dict[str, NDArray[Any]]) -> bool:
    axes = constants.get(node.input[1]) if len(node.input) == 2 else None
    return axes is not None and axes.ravel().tolist() in ([1], [-1])


def _with_number(node: NodeProto, constants: dict[str, NDArray[Any]]) -> bool:
    """Whether a node combines a column with a single number."""
    others = [constants.get(name) for name in node.input if name in constants]
    return node.op_type in _BY_ENTRY and len(others) == 1 and others[0].ndim == 0  # type: ignore[union-attr]


def _rename(node: NodeProto, same: dict[str, str]) -> None:
    for place, name in enumerate(node.input):
        if name in same:
            node.input[place] = same[name]


def _replace(model: ModelProto, nodes: list[NodeProto]) -> None:
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(copies)
