"""Values of an ONNX graph under construction: tables of columns that may differ in type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

ELEMENT = {
    "float64": TensorProto.DOUBLE,
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}
NUMBERS = ("float64", "float32", "int64", "bool")


@dataclass(frozen=True)
class Part:
    """Some columns of one type.

    Parameters
    ----------
    name : str
        Name of the tensor (n, width) in the graph.
    width : int
        Number of columns.
    kind : str
        Type of the entries, a key of `ELEMENT`.
    """

    name: str
    width: int
    kind: str


@dataclass(frozen=True)
class Table:
    """Columns side by side, in parts of one type each."""

    parts: tuple[Part, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(part.width for part in self.parts)

    def places(self) -> list[tuple[Part, int]]:
        """For each column, its part and its place in there."""
        return [(part, place) for part in self.parts for place in range(part.width)]


class GraphWriter:
    """The nodes, constants and inputs of an ONNX graph under construction.

    Parameters
    ----------
    real : {"float64", "float32"}
        Type of real numbers.
    """

    def __init__(self, real: str) -> None:
        self.real = real
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._columns: dict[tuple[str, tuple[int, ...]], str] = {}

    def add_input(self, name: str, kind: str, shape: Sequence[Any]) -> None:
        """Declare an input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENT[kind], shape))

    def node(
        self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output; return the name of the output."""
        output = output or f"host/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def constant(self, values: Any) -> str:
        """The name of a constant; equal ones are stored once."""
        array = np.asarray(values)
        if array.dtype.kind in "UO":
            array = array.astype(object)
            key = ("string", array.shape, repr(array.tolist()).encode())
        else:
            key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            name = f"host/constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, name))
            self._known[key] = name
        return self._known[key]

    def reals(self, values: Any) -> str:
        """The name of a constant of real numbers."""
        return self.constant(np.asarray(values, dtype=self.real))

    def cast(self, name: str, kind: str, now: str = "") -> str:
        """A tensor in another type."""
        return name if kind == now else self.node("Cast", name, to=ELEMENT[kind])

    def select(self, table: Table, indices: Sequence[int]) -> Table:
        """Some columns of a table."""
        places = table.places()
        runs: list[tuple[Part, list[int]]] = []
        for index in indices:
            part, place = places[index]
            if runs and runs[-1][0] is part:
                runs[-1][1].append(place)
            else:
                runs.append((part, [place]))
        return Table(tuple(self._picked(part, chosen) for part, chosen in runs))

    def _picked(self, part: Part, chosen: list[int]) -> Part:
        if chosen == list(range(part.width)):
            return part
        key = (part.name, tuple(chosen))
        if key not in self._columns:
            places = self.constant(np.array(chosen, dtype=np.int64))
            self._columns[key] = self.node("Gather", part.name, places, axis=1)
        return Part(self._columns[key], len(chosen), part.kind)

    def numbers(self, table: Table) -> Part:
        """All columns as one block of real numbers."""
        names = [self.cast(part.name, self.real, part.kind) for part in table.parts]
        if len(names) == 1:
            return Part(names[0], table.width, self.real)
        if not names:
            raise ValueError("a table without columns")
        return Part(self.node("Concat", *names, axis=1), table.width, self.real)

    def graph(self, name: str) -> GraphProto:
        """The finished graph."""
        return helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, initializer=self.constants
        )


def column_kind(values: Any) -> str:
    """The type of the input for values of a column."""
    dtype = np.asarray(values).dtype if not hasattr(values, "dtype") else values.dtype
    name = str(dtype).lower()
    if name in ("bool", "boolean"):
        return "bool"
    if name.lstrip("u").startswith("int"):
        return "int64"
    if name.startswith("float"):
        return "float64"
    if name.startswith(("complex", "datetime", "timedelta")):
        return name
    return "string" if not _are_numbers(values) else "float64"


def _are_numbers(values: Any) -> bool:
    found = np.asarray(values, dtype=object).ravel()
    return all(isinstance(value, int | float | np.number) for value in found)


def labels_array(labels: Any) -> NDArray[Any]:
    """Labels as an array of a type that ONNX has."""
    array = np.asarray(labels)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    return np.array([str(label) for label in array.ravel()], dtype=object).reshape(array.shape)
