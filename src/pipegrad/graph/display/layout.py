"""Layered layout of a graph, from the input down, with few crossings.

The steps are those of Sugiyama, Tagawa and Toda, *Methods for visual understanding of hierarchical
system structures*, IEEE Transactions on Systems, Man, and Cybernetics, 1981: assignment to layers,
dummy nodes on long edges, ordering of each layer by barycentres, and assignment of coordinates.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_SWEEPS, _SETTLE = 8, 200


@dataclass
class Node:
    """A box, or a dummy node of an edge that crosses a layer.

    Parameters
    ----------
    name : str
        Name of the step; names of dummy nodes are generated.
    layer : int
        Index of the layer; 0 for the input.
    width : float
        Width of the box.
    bend : bool
        Whether it is a dummy node, at which an edge may bend.
    x : float
        Horizontal center, computed by `place`.
    above, below : list of Node
        Neighbors in the previous and in the next layer.
    """

    name: str
    layer: int
    width: float
    bend: bool = False
    x: float = 0.0
    above: list[Node] = field(default_factory=list, repr=False)
    below: list[Node] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Layout:
    """The result of `place`.

    Parameters
    ----------
    nodes : mapping of str to Node
        Boxes by name.
    edges : sequence of sequence of Node
        Edges as chains of nodes.
    layers : sequence of sequence of Node
        Nodes of each layer from left to right.
    width : float
        Total width.
    """

    nodes: Mapping[str, Node]
    edges: Sequence[Sequence[Node]]
    layers: Sequence[Sequence[Node]]
    width: float


def place(inputs: Mapping[str, Sequence[str]], widths: Mapping[str, float], gap: float) -> Layout:
    """Compute the positions of all boxes.

    Parameters
    ----------
    inputs : mapping of str to sequence of str
        Predecessors of each box, in topological order.
    widths : mapping of str to float
        Width of each box.
    gap : float
        Smallest distance between two boxes of a layer.

    Returns
    -------
    Layout
        The nodes with their positions, and the edges.
    """
    depth: dict[str, int] = {}
    for name, sources in inputs.items():
        depth[name] = 1 + max((depth[source] for source in sources), default=-1)
    _pull_down(inputs, depth)
    nodes = {name: Node(name, depth[name], widths[name]) for name in inputs}
    layers: list[list[Node]] = [[] for _ in range(1 + max(depth.values()))]
    for node in nodes.values():
        layers[node.layer].append(node)
    edges = [
        _route(nodes[source], nodes[name], layers)
        for name, sources in inputs.items()
        for source in dict.fromkeys(sources)
    ]
    _order(layers)
    width = _spread(layers, gap)
    return Layout(nodes, edges, layers, width)


def _pull_down(inputs: Mapping[str, Sequence[str]], depth: dict[str, int]) -> None:
    """Move boxes with a single predecessor down to the layer before their first successor."""
    consumers: dict[str, list[str]] = {}
    for name, sources in inputs.items():
        for source in sources:
            consumers.setdefault(source, []).append(name)
    for name in reversed(list(inputs)):
        fed = [depth[other] for other in consumers.get(name, ())]
        one_source = len(set(inputs[name])) == 1
        if fed and one_source:
            depth[name] = max(depth[name], min(fed) - 1)


def _route(source: Node, target: Node, layers: list[list[Node]]) -> list[Node]:
    chain = [source]
    for layer in range(source.layer + 1, target.layer):
        bend = Node(f"{source.name}\n{target.name}\n{layer}", layer, 0.0, bend=True)
        layers[layer].append(bend)
        chain.append(bend)
    chain.append(target)
    for upper, lower in pairwise(chain):
        upper.below.append(lower)
        lower.above.append(upper)
    return chain


def _order(layers: list[list[Node]]) -> None:
    """Order each layer by barycenters, in alternating sweeps, and keep the best order."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    rank = _ranks(layers)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            _sort(layer, rank, down)
            rank.update(_ranks([layer]))
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, order in zip(layers, best, strict=True):
        layer[:] = order


def _sort(layer: list[Node], rank: Mapping[int, int], down: bool) -> None:
    def wish(node: Node) -> float:
        near = node.above if down else node.below
        return sum(rank[id(n)] for n in near) / len(near) if near else rank[id(node)]

    layer.sort(key=wish)


def _ranks(layers: list[list[Node]]) -> dict[int, int]:
    return {id(node): i for layer in layers for i, node in enumerate(layer)}


def _crossings(layers: list[list[Node]]) -> int:
    rank, total = _ranks(layers), 0
    for layer in layers:
        before: list[int] = []
        for end in (end for node in layer for end in sorted(rank[id(n)] for n in node.below)):
            place = bisect_right(before, end)
            total += len(before) - place
            before.insert(place, end)
    return total


def _spread(layers: list[list[Node]], gap: float) -> float:
    """Center each node between its neighbors, subject to the order and distances in its layer."""
    for layer in layers:
        _set(layer, [0.0] * len(layer), gap)
    still = 0
    for sweep in range(_SETTLE):
        before = [node.x for layer in layers for node in layer]
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _set(layer, [_wish(node) for node in layer], gap)
        still = still + 1 if before == [node.x for layer in layers for node in layer] else 0
        if still == 2:  # A sweep in neither direction moves a node.
            break
    left = min(n.x - n.width / 2 for layer in layers for n in layer)
    for layer in layers:
        for node in layer:
            node.x -= left
    return max(n.x + n.width / 2 for layer in layers for n in layer)


def _wish(node: Node) -> float:
    near = [*node.above, *node.below]
    return sum(n.x for n in near) / len(near) if near else node.x


def _set(layer: list[Node], wishes: list[float], gap: float) -> None:
    """Isotonic regression on the desired positions, by pooling adjacent violators."""
    offsets = [0.0]
    for left, right in pairwise(layer):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + gap)
    blocks: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=False):
        value, size = wish - offset, 1
        while blocks and blocks[-1][0] > value:
            before, many = blocks.pop()
            value, size = (before * many + value * size) / (many + size), many + size
        blocks.append((value, size))
    values = [value for value, size in blocks for _ in range(size)]
    for node, value, offset in zip(layer, values, offsets, strict=False):
        node.x = value + offset
