"""The host part: steps that run in their own library, once, and whose output becomes tensors."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Set
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from scipy import sparse

from .array_cache import cached_arrays, check_cache
from .errors import ArgumentError
from .glue import Checked, Columns, Glue
from .graph import INPUT, Graph, Step
from .joint_encoding import JointBlock, joint_blocks, shared_encoding
from .modules import Block, LeafIndices, SparseRows, take
from .registry import Translation, translation

# The names of float32 and float64 in NumPy and pandas, and in Polars.
_FLOATING = ("float32", "float64", "f4", "f8")
# Nesting from which composites run step by step: each composite of scikit-learn asks the ones
# inside whether they are fitted, which takes twice the time for each further level.
DEEP = 6


class Encoded:
    """Encoded rows: the input blocks of the neural part.

    ``len(encoded)`` is the number of rows; ``encoded[index]`` selects rows by a slice or by int64
    indices.

    Parameters
    ----------
    blocks : mapping of str to Tensor, SparseRows or LeafIndices
        Blocks by the name of the port through which they enter; all have the same rows. A block
        named ``">step"`` replaces the whole input of that step; one named ``"=step"`` is the output
        of the step, and one named ``"+step"`` is added to it.
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
        """Move or cast every block, as `Tensor.to` does."""
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
        self._typed = _steps_that_keep_integers(graph, self.host)
        self._first = _readers_of_types(graph)
        self.needed = graph.ancestors(graph.output)
        self.joint: list[JointBlock] = []
        self._border = [
            (step, step.translation, shared_encoding(step), ports)
            for step in graph
            if (ports := self._ports_of(step))
        ]

    def _ports_of(self, step: Step) -> list[tuple[str, str]]:
        """The inputs of a step from the host part, with their ports."""
        found = [(name, self.ports.get((step.name, name))) for name in step.inputs]
        return [(name, port) for name, port in found if port is not None]

    def depends_on_type(self, X: Any) -> bool:
        """Whether only the source itself answers as it does for input of this type."""
        if not self._first or isinstance(X, Encoded | SparseRows | Mapping):
            return False
        if sparse.issparse(X) and getattr(getattr(X, "indices", None), "dtype", None) == np.int64:
            return True  # Sources search rows with indices of this size in another way.
        dtype = _common_type(X)
        return dtype is not None and any(
            row.depends_on_type(step.operator, dtype) for step, row in self._first
        )

    def join(self, names: Collection[str]) -> None:
        """Let alike steps among these have one block for the inputs of all of them."""
        self.joint = joint_blocks(self.graph, self.ports, names)

    def run(
        self, X: Any, wanted: set[str] | None = None, values: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the host part and encode its output for the neural part.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            Raw input of the source.
        wanted : set of str, optional
            Names of the steps to compute; by default, the output step and its ancestors.
        values : dict of str to object, optional
            Filled with the outputs of the host steps.

        Returns
        -------
        dict of str to array
            Dense or CSR array at each port.
        """
        values = {} if values is None else values
        values[INPUT] = X
        wanted = self.needed if wanted is None else wanted
        blocks = self._outputs_of_integers(wanted, values)
        done = self._encode_together(wanted, values, blocks) if self.joint else set()
        known: set[Any] = set()
        for step, row, checks, ports in self._border:
            if step.name in done or step.name not in wanted or f"={step.name}" in blocks:
                continue
            assert row is not None
            for name, port in ports:
                if checks is None or (port, checks) not in known:
                    known.add((port, checks))
                    _reject_objects(step, row)
                    encoded = row.encode(step.operator, self.value(name, values))
                    blocks.setdefault(port, encoded)
        return blocks

    def _encode_together(
        self, wanted: set[str], values: dict[str, Any], blocks: dict[str, Any]
    ) -> set[str]:
        """Add the joint blocks; return the steps that they are for."""
        done: set[str] = set()
        for block in self.joint:
            names = {step.name for step in block.steps}
            if names <= wanted and not any(f"={name}" in blocks for name in names):
                encoded = block.encoded(self.value(block.source, values))
                if encoded is not None:
                    blocks[block.name] = encoded
                    done |= names
        return done

    def _outputs_of_integers(self, wanted: set[str], values: dict[str, Any]) -> dict[str, Any]:
        """Outputs of the first modules where their operators would compute in another type."""
        places = self._typed & wanted
        if not places:
            return {}
        typed = [step for step in self.graph if step.name in places]
        raw = {name for step in typed for name in step.inputs} - self._typed
        if all(_is_floating_point(self.value(name, values)) for name in raw):
            return {}
        return {f"={step.name}": _numbers(self.value(step.name, values)) for step in typed}

    def value(self, name: str, values: dict[str, Any]) -> Any:
        """The output of a host step; ``values`` caches known outputs and receives new ones."""
        # Without recursion, whose depth would grow with the number of steps.
        waiting = [name]
        while waiting:
            next_ = waiting[-1]
            missing = [] if next_ in values else self._missing(next_, values)
            if missing:
                waiting += reversed(missing)
                continue
            if next_ not in values:
                values[next_] = self._compute(next_, values)
            waiting.pop()
        return values[name]

    def _missing(self, name: str, values: dict[str, Any]) -> list[str]:
        """The inputs of a host step that have to be computed before it."""
        composite = self._whole.get(name)
        inputs = self.graph[name].inputs if composite is None else (composite.source,)
        return [source for source in inputs if source not in values]

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
        row = step.translation
        if row is not None and step.method == "transform":
            known = row.transformed(step.operator, *inputs)
            if known is not None:
                return known
        return call_operator(step.operator, step.method, *inputs)


def _reject_objects(step: Step, row: Translation) -> None:
    """Raise an error if a step has no tensors because it returns text or other objects."""
    reason = row.no_numbers(step.operator)
    if reason is not None:
        name = type(step.operator).__name__
        raise ArgumentError(
            f"The output must be numbers for a tensor, but {name}{reason.removeprefix('it')}.\n"
            "Hint: call net.transform(X), or put an encoder after this step."
        )


def _steps_that_keep_integers(graph: Graph, host: set[str]) -> set[str]:
    """Steps without parameters whose modules get the numbers of the input, up to such a step."""
    found: set[str] = set()
    keep = False
    for step in graph:
        row = step.translation
        if step.name in host or row is None or step.method != "transform":
            continue
        if (found | host | {INPUT}).issuperset(step.inputs) and not row.trainable(step.operator):
            found.add(step.name)
            keep = keep or row.keeps_integers
    return found if keep else set()


def _readers_of_types(graph: Graph) -> list[tuple[Step, Translation]]:
    """The steps that read the input as it is and may depend on its type, with their rows."""
    plain = {INPUT}
    found = []
    for step in graph:
        row = step.translation
        if row is None or not plain.issuperset(step.inputs):
            continue
        if isinstance(step.operator, Checked | Columns):
            plain.add(step.name)
        elif type(row).depends_on_type is not Translation.depends_on_type:
            found.append((step, row))
    return found


def _common_type(X: Any) -> np.dtype[Any] | None:
    """The NumPy dtype of all numbers of an input; None if they have none in common."""
    try:
        if isinstance(X, torch.Tensor):
            return torch.empty(0, dtype=X.dtype).numpy().dtype
        if hasattr(X, "dtypes"):
            return np.result_type(*np.ravel(X.dtypes))
        return np.dtype(X.dtype) if hasattr(X, "dtype") else np.asarray(X).dtype
    except (TypeError, ValueError):  # Of another library, or of rows that are unlike in length.
        return None


def _is_floating_point(values: Any) -> bool:
    """Whether all numbers are float32 or float64, as in a module."""
    types = getattr(values, "dtypes", None)
    if types is None:
        types = values.dtype if hasattr(values, "dtype") else np.asarray(values).dtype
    types = types if hasattr(types, "__iter__") else [types]
    return all(str(one).lower().lstrip("<>=") in _FLOATING for one in types)


def _numbers(values: Any) -> Any:
    if sparse.issparse(values):
        return values.tocsr().astype(np.float64)
    return np.asarray(values, dtype=np.float64)


def _input_ports(graph: Graph, host: set[str]) -> dict[tuple[str, str], str]:
    """Name of each block that enters a neural step from the host part."""
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


def whole_composites(
    graph: Graph, host: set[str], without: Set[str] = frozenset()
) -> dict[str, Any]:
    """Composites that run entirely on the host, by the name of their value; the outermost wins.

    Calling the composite's own method is faster and reproduces the source exactly. None of the
    steps ``without`` lies before the value of such a composite within it.
    """
    found = {}
    complete = _with_all_before(graph, host)
    for composite, depth in zip(graph.composites, graph.nesting, strict=True):
        value, source = composite.value, composite.source
        if value in (source, INPUT) or value not in host:
            continue
        if depth > DEEP and composite.method == "transform":
            continue
        if without and not without.isdisjoint(steps_between(graph, source, value) - {value}):
            continue
        if value in complete or steps_between(graph, source, value) <= host:
            found[value] = composite
    return found


def _with_all_before(graph: Graph, host: set[str]) -> set[str]:
    """The host steps that only host steps precede."""
    found: set[str] = set()
    for step in graph:
        if step.name in host and found.issuperset(name for name in step.inputs if name != INPUT):
            found.add(step.name)
    return found


def steps_between(graph: Graph, source: str, value: str) -> set[str]:
    """The steps needed to compute ``value`` from ``source``."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        name = waiting.pop()
        if name not in (source, INPUT) and name not in found:
            found.add(name)
            waiting.extend(graph[name].inputs)
    return found


def call_operator(operator: Any, method: str, X: Any) -> Any:
    """Call a method of a source operator, including the methods that only graphs know."""
    if method in ("rest_proba", "label_proba"):
        found = operator.predict_proba(X)
        if isinstance(found, list):
            return np.hstack([part[:, 1:] for part in found])
        return found[:, 1:] if method == "rest_proba" else found
    if method == "features":
        from .featurizer import predictor_features

        return predictor_features(operator, X)
    if method == "votes":
        places = np.searchsorted(operator.classes_, operator.predict(X))
        return np.eye(len(operator.classes_))[places]
    return getattr(operator, method)(X)


def in_container(operator: Any, columns: Any, X: Any = None) -> Any:
    """Columns (n, k) in the container that the operator's ``set_output`` configures.

    A DataFrame takes over the index of ``X``, if ``X`` is a DataFrame.
    """
    from sklearn.utils._set_output import _get_output_config

    container = _get_output_config("transform", operator)["dense"]
    row = translation(operator)
    if container == "default" and row is not None:
        container = row.container(operator)
    if container == "default":
        return columns
    import pandas as pd

    try:
        names = operator.get_feature_names_out()
    except Exception:  # the source, too, numbers columns without names
        names = None
    index = X.index if isinstance(X, pd.DataFrame) else None
    table = pd.DataFrame(columns, columns=names, index=index)
    if container == "polars":
        import polars as pl

        return pl.from_pandas(table)
    return table


def cached(host: HostPart, X: Any, folder: Any) -> Mapping[str, Any]:
    """The output of the host part, cached on disk in ``folder`` by input, pipeline and versions."""
    check_cache(folder)
    rows = X.shape[0] if hasattr(X, "shape") else len(X)
    return cached_arrays(folder, _cache_key(host, X), rows, lambda: host.run(X))


def _cache_key(host: HostPart, X: Any) -> str:
    """A digest of everything that the output of the host part depends on."""
    from pickle import PicklingError

    from joblib import hash as hash_of

    # Operators at the ports take part too: they encode their input.
    runs = host.host | {step for step, _ in host.ports}
    operators = [step.operator for step in host.graph if step.name in runs]
    used = {"numpy", "scipy", "pandas", "pipegrad"}
    used |= {type(operator).__module__.partition(".")[0] for operator in operators}
    versions = {name: getattr(sys.modules.get(name), "__version__", "") for name in sorted(used)}
    try:
        parts = (hash_of(operators), host.graph.to_json(), hash_of(X), versions)
    except (PicklingError, AttributeError, TypeError) as error:
        raise ArgumentError(
            "cache= requires steps that can be pickled; use a top-level function of a module "
            f"instead of a lambda or a local function. {str(error).splitlines()[0]:.120}"
        ) from error
    return sha256(json.dumps(parts).encode()).hexdigest()


def rows_of(blocks: Mapping[str, Any]) -> int:
    """The number of rows of the blocks."""
    return int(next(iter(blocks.values())).shape[0])
