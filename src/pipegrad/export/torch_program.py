"""The file of `torch.export` with the program of a whole pipeline: numbers in, answers out."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import partial
from operator import setitem
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..errors import ArgumentError
from ..module import PipelineModule
from ..modules import standard_settings
from ..registry import dotted_name
from .answers import Answers
from .column_module import ColumnModule, ColumnWriter, RawColumn
from .constants import folded
from .inputs import input_table, raw_columns
from .measured import comparison
from .preparation import (
    UnknownOperationError,
    encoded_blocks,
    host_values,
    operation_refused,
    quiet,
    refused_for_fixed_rows,
    translated,
    version,
)
from .refusals import check_steps
from .table import labels_array

TABLE = "table.json"
"""Name of the file inside of the file, with what is beside the program."""


@standard_settings
def torch_program(source: Any, *, dtype: str | None, rows: Any, compiled: bool) -> bytes:
    """The content of the file.

    Parameters
    ----------
    source : object
        The fitted pipeline.
    dtype : {"float64", "float32"}, optional
        Type of real numbers.
    rows : object, optional
        Rows on which the program is compared with the pipeline.
    compiled : bool
        Whether the file has machine code instead of a program.
    """
    net = translated(source, dtype)
    needed, outside = net.host_part.needed, net.host_part.host & net.host_part.needed
    check_steps(net, "torch", needed, outside)
    real = str(net.reference_tensor().dtype).removeprefix("torch.")
    writer = ColumnWriter(real)
    values = host_values(writer, net, input_table(writer, source, net.graph, rows), outside)
    blocks = encoded_blocks(writer, net, values, needed)
    program = _program(net, writer.module(list(blocks.values())), list(blocks), len(writer.raw))
    table = _table(source, net, writer.raw, real)
    if rows is not None:
        with torch.no_grad():
            ours = labelled(program.module()(matrix(writer.raw, rows, real)), table)
        table |= comparison(net, source, rows, ours)
    return _compiled(program, table) if compiled else _saved(program, table)


class _Program(nn.Module):
    """A pipeline as a function of one matrix.

    Parameters
    ----------
    columns : ColumnModule
        What reads the matrix.
    net : PipelineModule
        The pipeline.
    ports : list of str
        Names of the blocks, in the order in which ``columns`` gives them.
    labels : list of array, optional
        The labels of each target that are numbers.
    """

    def __init__(
        self,
        columns: ColumnModule,
        net: PipelineModule,
        ports: list[str],
        labels: list[NDArray[Any]] | None,
    ) -> None:
        super().__init__()
        self.columns = columns
        self.names: list[str] = []
        self.answers = Answers(net, ports, partial(setitem, self.names, slice(None)))
        self.targets = len(labels or [])
        for number, one in enumerate(labels or []):
            self.register_buffer(f"classes_{number}", torch.as_tensor(one))
        self.several = net.head is not None and net.head.task == "several"

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """The outputs by name."""
        values = self.answers(*self.columns(X))
        found = dict(zip(self.names, values, strict=True))
        if self.targets and "label" in found:
            found["label"] = self._labels(found["label"])
        return found

    def _labels(self, places: Tensor) -> Tensor:
        classes = [self.get_buffer(f"classes_{number}") for number in range(self.targets)]
        if not self.several:
            return classes[0][places]
        columns = zip(classes, places.unbind(1), strict=True)
        return torch.stack([labels[place] for labels, place in columns], dim=1)


def _program(
    net: PipelineModule, columns: ColumnModule, ports: list[str], width: int
) -> ExportedProgram:
    classes = _classes(net)
    numbers = classes is not None and all(one.dtype.kind != "O" for one in classes)
    module = _Program(columns, net, ports, classes if numbers else None).eval()
    example = torch.ones(3, width, dtype=net.reference_tensor().dtype)
    with torch.no_grad(), quiet(), refused_for_fixed_rows(net):
        program = folded(module.requires_grad_(False), example)
    for node in program.graph.nodes:
        if node.op == "call_function" and not _is_of_torch(node.target):
            stack = list(node.meta.get("nn_module_stack", {}).values())
            error = UnknownOperationError(str(node.target), stack[-1][0] if stack else "")
            raise operation_refused(net, error, "torch")
    return program


def _is_of_torch(operation: Any) -> bool:
    """Whether a process that has torch alone has an operation."""
    if isinstance(operation, torch._ops.OpOverload):
        return operation.namespace in ("aten", "prims")
    return operation.__module__.partition(".")[0] in ("_operator", "math", "torch", "builtins")


def _classes(net: PipelineModule) -> list[NDArray[Any]] | None:
    """The labels of each target; None where labels are no classes."""
    task = None if net.head is None else net.head.task
    if task not in ("classification", "several"):
        return None
    classes = net.target_classes if task == "several" else [net.classes_]
    return [labels_array(np.asarray(one).astype(classes[0].dtype)) for one in classes]


def _table(source: Any, net: PipelineModule, columns: list[RawColumn], real: str) -> dict[str, Any]:
    """What a user of the program has to know."""
    found: dict[str, Any] = {
        "dtype": real,
        "columns": [
            {"name": one.name} if one.texts is None else {"name": one.name, "texts": [*one.texts]}
            for one in columns
        ],
        "source": dotted_name(type(source)),
        "versions": {"pipegrad": version(), "torch": torch.__version__},
    }
    classes = _classes(net)
    if classes is not None:
        several = net.head is not None and net.head.task == "several"
        lists = [one.tolist() for one in classes]
        found["classes"] = lists if several else lists[0]
        found["labels"] = "places" if any(one.dtype.kind == "O" for one in classes) else "values"
    return found


def matrix(columns: list[RawColumn], rows: Any, dtype: str) -> Tensor:
    """Rows in the format of the pipeline as the input of its program."""
    values = raw_columns([column.name for column in columns], rows)
    found = [column.numbers(one) for column, one in zip(columns, values, strict=True)]
    return torch.from_numpy(np.column_stack([np.asarray(one, dtype=dtype) for one in found]))


def labelled(answers: Mapping[str, Tensor], table: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs as arrays, with labels in the place of their numbers."""
    found = {name: value.numpy() for name, value in answers.items()}
    if table.get("labels") != "places" or "label" not in found:
        return found
    places, classes = found["label"], table["classes"]
    if not isinstance(classes[0], list):
        found["label"] = np.array(classes)[places]
    else:
        columns = zip(classes, places.T, strict=True)
        found["label"] = np.column_stack([np.array(one)[place] for one, place in columns])
    return found


def _saved(program: ExportedProgram, table: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={TABLE: json.dumps(table)})
    return buffer.getvalue()


def _compiled(program: ExportedProgram, table: dict[str, Any]) -> bytes:
    """Machine code of the program for this processor, as a package of AOTInductor."""
    from torch._inductor import aoti_compile_and_package

    configs = {"aot_inductor.metadata": {TABLE: json.dumps(table)}}
    with TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "program.pt2"
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=configs)
        return path.read_bytes()


def check_compiler() -> None:
    """Raise an error if there is no C++ compiler."""
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ArgumentError(
            f"compiled=True requires a C++ compiler, and there is none of {config.cpp.cxx}.\n"
            "Hint: install g++ or clang++, or name one in the environment variable CXX."
        ) from error
