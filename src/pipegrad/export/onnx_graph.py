"""An ONNX graph under construction, and what it makes of raw columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from .table import Part, Table, TableWriter, is_missing

ELEMENT = {
    "float64": TensorProto.DOUBLE,
    "float32": TensorProto.FLOAT,
    **{
        name: getattr(TensorProto, name.upper())
        for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
    },
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}


class GraphWriter(TableWriter):
    """The nodes, constants and inputs of an ONNX graph under construction.

    Parameters
    ----------
    real : {"float64", "float32"}
        Type of real numbers.
    """

    def __init__(self, real: str) -> None:
        super().__init__(real)
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.named = False  # whether each input is a column of a table
        self._count = 0
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._columns: dict[tuple[str, tuple[int, ...]], str] = {}

    def add_inputs(self, names: list[str] | None, kinds: list[str]) -> Table:
        """An input for each column, or one for all columns of an array of one type."""
        if names is None and len(set(kinds)) == 1:
            self.add_input("X", kinds[0], ["rows", len(kinds)])
            return Table((Part("X", len(kinds), kinds[0]),))
        self.named = names is not None
        names = [f"X{i}" for i in range(len(kinds))] if names is None else names
        for name, kind in zip(names, kinds, strict=True):
            self.add_input(name, kind, ["rows", 1])
        pairs = zip(names, kinds, strict=True)
        return Table(tuple(Part(name, 1, kind) for name, kind in pairs))

    def add_input(self, name: str, kind: str, shape: Sequence[Any]) -> None:
        """Declare an input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENT[kind], shape))

    def add_output(self, name: str, value: str, kind: str, shape: Sequence[Any]) -> None:
        """Declare a tensor as an output of the graph."""
        self.node("Identity", value, output=name)
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENT[kind], shape))

    def node(
        self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output; return the name of the output."""
        self._count += 1
        output = output or f"host/{operator}_{self._count}"
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

    def columns(self, part: Part, chosen: list[int]) -> Part:
        """Some columns of a part."""
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

    def look_up(self, column: Part, categories: list[Any], numbers: NDArray[Any]) -> Part:
        """The numbers that stand for the entries of a column; the last for unknown ones."""
        index = self._index(column, categories)
        if numbers.shape[1] == 1:
            name = self.node("Gather", self.reals(numbers[:, 0]), index, axis=0)
        else:
            index = self.node("Squeeze", index, self.constant([1]))
            name = self.node("Gather", self.reals(numbers), index, axis=0)
        return Part(name, numbers.shape[1], self.real)

    def _index(self, column: Part, categories: list[Any]) -> str:
        """The place (n, 1) of each entry among some categories; their number if it is none."""
        missing = [place for place, value in enumerate(categories) if is_missing(value)]
        present = [place for place, value in enumerate(categories) if not is_missing(value)]
        count = len(categories)
        if any(isinstance(categories[place], str) for place in present):
            keys = [str(categories[place]) for place in present]
            places = [*present, *missing]
            return self.node(
                "LabelEncoder",
                column.name if column.kind == "string" else self.cast(column.name, "string"),
                domain="ai.onnx.ml",
                keys_strings=[*keys, *("" for _ in missing)],
                values_int64s=places,
                default_int64=count,
            )
        return self.index_of_numbers(column, categories, present, missing)

    def index_of_numbers(
        self, column: Part, categories: list[Any], present: list[int], missing: list[int]
    ) -> str:
        """The place (n, 1) of each entry among numbers, some of which may be missing (NaN)."""
        number = self.cast(column.name, "float64", column.kind)
        values = [float(categories[place]) for place in present]
        hits = self.node("Equal", number, self.constant(np.array([values])))
        if missing:
            hits = self.node("Concat", hits, self.node("IsNaN", number), axis=1)
            present = [*present, missing[0]]
        # No more than one hit, so that the sum of the places after the last one is exact.
        ranks = np.array([[place - len(categories)] for place in present], dtype=np.float64)
        rank = self.node("MatMul", self.cast(hits, "float64"), self.constant(ranks))
        rank = self.cast(rank, "int64")
        return self.node("Add", rank, self.constant(np.array([len(categories)])))

    def replaced(self, part: Part, mark: Any, new: Any, otherwise: float | None = None) -> Part:
        """A part with another value where its entries are a mark, and a number or itself else."""
        hit = self._equal(part, mark)
        if otherwise is not None:
            name = self.node("Where", hit, self.reals([new]), self.reals([otherwise]))
            return Part(name, part.width, self.real)
        text = part.kind == "string"
        value = self.constant(np.array([str(new)], dtype=object) if text else [float(new)])
        value = value if text else self.cast(value, part.kind)
        return Part(self.node("Where", hit, value, part.name), part.width, part.kind)

    def _equal(self, part: Part, mark: Any) -> str:
        """Whether entries are a mark."""
        if part.kind == "string":
            text = "" if is_missing(mark) else str(mark)
            return self.node("Equal", part.name, self.constant(np.array([text], dtype=object)))
        if is_missing(mark):
            return self.node("IsNaN", part.name)
        value = self.cast(self.constant(np.array([float(mark)])), part.kind)
        return self.node("Equal", part.name, value)

    def whole(self, part: Part) -> Part:
        """Real numbers without their fractions."""
        name = self.cast(self.cast(part.name, "int64", part.kind), self.real)
        return Part(name, part.width, self.real)

    def zeros(self, table: Table) -> Part:
        """A column of zeros, in as many rows as a table has."""
        shape = self.node("Shape", table.parts[0].name, start=0, end=1)
        shape = self.node("Concat", shape, self.constant(np.array([1])), axis=0)
        return Part(self.node("Expand", self.reals([0.0]), shape), 1, self.real)

    def graph(self, name: str) -> GraphProto:
        """The finished graph."""
        return helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, initializer=self.constants
        )
