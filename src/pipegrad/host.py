"""Tables, arrays and sparse matrices become tensors; the host part runs once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .errors import ArgumentError
from .glue import Glue
from .graph import INPUT, Graph
from .modules import Block, LeafIndices, take


class Encoded:
    """The blocks of rows that flow into the neural part.

    ``len(encoded)`` is the number of rows, ``encoded[index]`` (a slice or int64 indices) picks
    some of them.

    Parameters
    ----------
    blocks : mapping of str to Tensor, SparseRows or Routed
        Blocks by the name of the port through which they enter; all have the same rows. One named
        ``">step"`` stands for the whole input of that step; one named ``"+step"`` is added to what
        the step gives.
    """

    def __init__(self, blocks: Mapping[str, Block | LeafIndices]) -> None:
        self.blocks = dict(blocks)

    def __len__(self) -> int:
        return rows_of(self.blocks)

    def __getitem__(self, index: Any) -> Encoded:
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
        return Encoded({name: take(block, index) for name, block in self.blocks.items()})

    def to(self, *args: Any, **kwargs: Any) -> Encoded:
        """Every block moved or cast, as `Tensor.to` does."""
        return Encoded({name: block.to(*args, **kwargs) for name, block in self.blocks.items()})


class HostPart:
    """The steps that stay with their own library, and the ports into the neural part.

    Parameters
    ----------
    graph : Graph
        A partitioned graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.host = {step.name for step in graph if step.status == "host"}
        self.ports = _input_ports(graph, self.host)
        self._whole = whole_composites(graph, self.host)
        self.needed = graph.ancestors(graph.output)

    def run(
        self, X: Any, wanted: set[str] | None = None, values: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Numbers at each port: dense or CSR arrays.

        ``wanted`` names the steps to serve, those behind the output by default; ``values`` takes
        what the host steps gave.
        """
        values = {} if values is None else values
        values[INPUT] = X
        wanted = self.needed if wanted is None else wanted
        blocks: dict[str, Any] = {}
        for step in self.graph:
            if step.name in self.host or step.name not in wanted:
                continue
            row = step.translation
            assert row is not None
            for name in step.inputs:
                if name == INPUT or name in self.host:
                    raw = self.value(name, values)
                    encoded = row.encode(step.operator, raw)
                    blocks.setdefault(self.ports[step.name, name], encoded)
        return blocks

    def value(self, name: str, values: dict[str, Any]) -> Any:
        """What a host step gives; ``values`` has those that are known, and takes new ones."""
        if name not in values:
            values[name] = self._compute(name, values)
        return values[name]

    def _compute(self, name: str, values: dict[str, Any]) -> Any:
        composite = self._whole.get(name)
        if composite is not None:
            return call_operator(
                composite.operator, composite.method, self.value(composite.source, values)
            )
        step = self.graph[name]
        inputs = [self.value(source, values) for source in step.inputs]
        if isinstance(step.operator, Glue):
            return step.operator.run(*inputs)
        return call_operator(step.operator, step.method, *inputs)


def _input_ports(graph: Graph, host: set[str]) -> dict[tuple[str, str], str]:
    """Name of the block that enters each neural step from the host part."""
    ports = {}
    for step in graph:
        if step.name in host:
            continue
        row = step.translation
        shared = row is None or not row.has_private_encoding(step.operator)
        for name in step.inputs:
            if name == INPUT or name in host:
                ports[step.name, name] = name if shared else f"{name}>{step.name}"
    return ports


def whole_composites(graph: Graph, host: set[str]) -> dict[str, Any]:
    """Composites that run on the host as a whole, by the value they give; outermost wins.

    Their own method is quicker, and it is what the user had.
    """
    found = {}
    for composite in graph.composites:
        inner = steps_between(graph, composite.source, composite.value)
        if inner and inner <= host:
            found[composite.value] = composite
    return found


def steps_between(graph: Graph, source: str, value: str) -> set[str]:
    """Steps that the value needs and that the source does not."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        name = waiting.pop()
        if name not in (source, INPUT) and name not in found:
            found.add(name)
            waiting.extend(graph[name].inputs)
    return found


def call_operator(operator: Any, method: str, X: Any) -> Any:
    """What a source operator answers when asked for one of our methods."""
    if method == "rest_proba":
        return operator.predict_proba(X)[:, 1:]
    if method == "features":
        from .featurizer import predictor_features

        return predictor_features(operator, X)
    if method == "votes":
        return np.eye(len(operator.classes_))[operator.predict(X)]
    return getattr(operator, method)(X)


def in_container(operator: Any, columns: Any, X: Any = None) -> Any:
    """Columns (n, k) as the DataFrame or array that the operator was told to give.

    Its rows are named as those of ``X``, if that is a DataFrame.
    """
    from sklearn.utils._set_output import _get_output_config

    container = _get_output_config("transform", operator)["dense"]
    if container == "default":
        return columns
    import pandas as pd

    try:
        names = operator.get_feature_names_out()
    except Exception:  # the source, too, gives numbers to columns without names
        names = None
    index = X.index if isinstance(X, pd.DataFrame) else None
    table = pd.DataFrame(columns, columns=names, index=index)
    if container == "polars":
        import polars as pl

        return pl.from_pandas(table)
    return table


def cached(host: HostPart, X: Any, folder: Any) -> dict[str, Any]:
    """The host part's output, kept on disk in ``folder`` and found again for the same input."""
    from pickle import PicklingError

    from joblib import Memory
    from joblib import hash as hash_of

    # Those at the ports encode what enters.
    runs = host.host | {step for step, _ in host.ports}
    operators = [step.operator for step in host.graph if step.name in runs]
    try:
        key = hash_of([operators, host.graph.to_json()])
    except (PicklingError, AttributeError, TypeError) as error:
        raise ArgumentError(
            "cache= needs steps that can be pickled; give a named function of a module instead of "
            f"a lambda or a local one. {str(error).splitlines()[0]:.120}"
        ) from error
    memory = Memory(folder, mmap_mode="r", verbose=0)
    with warnings.catch_warnings():
        # joblib's remark on large input, of which it keeps but a short description.
        warnings.filterwarnings("ignore", "Persisting input arguments")
        return memory.cache(_run, ignore=["host"])(host, X, key)


def _run(host: HostPart, X: Any, key: str) -> dict[str, Any]:
    return host.run(X)


def rows_of(blocks: Mapping[str, Any]) -> int:
    """Number of rows of the blocks."""
    return int(next(iter(blocks.values())).shape[0])
