"""The ONNX file of a whole pipeline: raw columns in, answers out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from operator import setitem
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, ValueInfoProto, checker, compose, helper
from torch import fx, nn

from ..errors import UntranslatableError
from ..module import PipelineModule
from ..modules import standard_settings
from ..named import NamedPipeline
from ..registry import dotted_name
from .answers import Answers, example_blocks
from .columns import ColumnAnswers, GivenColumns, given_columns
from .constants import any_rows, traced
from .inputs import input_table
from .measured import comparison, onnx_answers, session
from .onnx_graph import ELEMENT, GraphWriter
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
from .refusals import HINT, check_steps
from .table import Part, Table, column_kind, labels_array
from .torch_operators import translations
from .trees import trees_as_operations

_NEURAL = "neural/"
_OTHER_OPSETS = {"ai.onnx.ml": 5, "com.microsoft": 1}


@standard_settings
def onnx_file(source: Any, *, dtype: str | None, rows: Any, opset: int) -> bytes:
    """The content of the file.

    Parameters
    ----------
    source : object
        The fitted pipeline.
    dtype : {"float64", "float32"}, optional
        Type of real numbers.
    rows : object, optional
        Rows on which the file is compared with the pipeline.
    opset : int
        Version of ONNX's operators.
    """
    net = translated(source, dtype)
    columns = given_columns(net) if isinstance(net, NamedPipeline) else None
    needed = net.host_part.needed if columns is None else columns.needed
    outside = net.host_part.host & needed if columns is None else columns.outside
    check_steps(net, "onnx", needed, outside)
    real = str(net.reference_tensor().dtype).removeprefix("torch.")
    writer = GraphWriter(real)
    table = Table(()) if columns else input_table(writer, source, net.graph, rows)
    values = host_values(writer, net, table, outside)
    blocks = encoded_blocks(writer, net, values, needed)
    neural, names = _neural_part(net, columns, blocks, opset)
    model = _joined(writer, list(blocks.values()), neural, net, (names, columns, values), opset)
    facts = {"dtype": real, "opset": str(opset), "source": dotted_name(type(source))}
    _describe(model, {"pipegrad": version(), **facts})
    if columns is not None and columns.left_out:
        _describe(model, {"columns_left_out": json.dumps(columns.left_out)})
    running = _session(model, net)
    if rows is not None:
        found = comparison(net, source, rows, onnx_answers(running, rows, source))
        _describe(model, {name: json.dumps(value) for name, value in found.items()})
    checker.check_model(model)
    return model.SerializeToString()


def _neural_part(
    net: PipelineModule, columns: GivenColumns | None, blocks: dict[str, Part], opset: int
) -> tuple[ModelProto, list[str]]:
    """The modules as an ONNX model from blocks to answers, and the names of these."""
    names: list[str] = []
    note = partial(setitem, names, slice(None))
    module: Answers | ColumnAnswers
    if columns is None:
        module = Answers(net, list(blocks), note)
    else:
        assert isinstance(net, NamedPipeline)
        module = ColumnAnswers(net, list(blocks), note, columns)
        if not module.names:
            return _nothing(opset), []
    dtype = net.reference_tensor().dtype
    example = example_blocks([block.width for block in blocks.values()], dtype)
    with torch.no_grad(), trees_as_operations(module), refused_for_fixed_rows(net):
        try:
            model = converted(module, example, lambda: len(names), opset)
        except UnknownOperationError as error:
            raise operation_refused(net, error, "ONNX") from error
    compose.add_prefix(model, _NEURAL, inplace=True)
    return model, names


def _nothing(opset: int) -> ModelProto:
    """A model without operators, for a pipeline without modules."""
    graph = helper.make_graph([], "nothing", [], [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _unknown_operation(graph: fx.GraphModule, error: BaseException) -> UnknownOperationError:
    """The operation in a graph that torch's exporter failed on."""
    while error.__cause__ is not None:
        error = error.__cause__
    known = re.search(r"op='(\w+)[.:]+(\w+)", str(error))
    if known is None:
        return UnknownOperationError(str(error).strip().partition("\n")[0], "")
    name = f"{known[1]}.{known[2]}"
    for node in graph.graph.nodes:
        if str(node.target).startswith(name):
            stack = list(node.meta.get("nn_module_stack", {}).values())
            return UnknownOperationError(name, stack[-1][0] if stack else "")
    return UnknownOperationError(name, "")


def converted(
    module: nn.Module, example: tuple[torch.Tensor, ...], outputs: Callable[[], int], opset: int
) -> ModelProto:
    """A module as an ONNX model from ``block_0``, ``block_1`` and so on to ``answer_0`` ...

    Parameters
    ----------
    module : torch.nn.Module
        A module that takes some blocks of as many rows.
    example : tuple of Tensor
        A few rows of each block.
    outputs : callable
        Gives the number of outputs after the module was traced.
    opset : int
        Version of ONNX's operators.

    Raises
    ------
    UnknownOperationError
        When an operation of the module has no operators in ONNX.
    """
    with quiet():
        graph = traced(module.eval(), example)
        try:
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=[f"block_{i}" for i in range(len(example))],
                output_names=[f"answer_{i}" for i in range(outputs())],
                dynamic_shapes=any_rows(example),
                custom_translation_table=translations(),
                optimize=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise _unknown_operation(graph, error) from error
    assert program is not None
    _simplify(program.model)
    return program.model_proto


def _simplify(model: Any) -> None:
    """Compute what is constant and leave out what is not used, in a model of ONNX IR.

    The exporter's own optimization also takes 1e-9 for zero and 1.000001 for one.
    """
    from onnx_ir.passes import Sequential, common
    from onnxscript import optimizer

    common.InlinePass()(model)
    optimizer.fold_constants(model, onnx_shape_inference=False)
    Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def _joined(
    writer: GraphWriter,
    blocks: list[Part],
    neural: ModelProto,
    net: PipelineModule,
    answers: tuple[list[str], GivenColumns | None, dict[str, Table]],
    opset: int,
) -> ModelProto:
    """One model: the inputs, what reads them, the neural part and the labels."""
    graph = neural.graph
    for block, port in zip(blocks, graph.input, strict=bool(graph.input)):
        writer.node("Identity", block.name, output=port.name)
    first = list(writer.nodes)
    writer.nodes.clear()
    names, columns, values = answers
    for number, name in enumerate(names):
        info = graph.output[number]  # which need not be named in order
        if columns is None:
            _add_output(writer, net, name, info)
        else:
            columns.add_answer(writer, name, Part(info.name, _widths(info)[0], writer.real))
    if columns is not None:
        columns.add_exact(writer, values)
    if writer.named:
        read = {name for node in [*first, *graph.node] for name in node.input}
        writer.inputs = [one for one in writer.inputs if one.name in read] or writer.inputs[:1]
    joined = helper.make_graph(
        [*first, *graph.node, *writer.nodes],
        "pipegrad",
        writer.inputs,
        writer.outputs,
        initializer=[*graph.initializer, *writer.constants],
    )
    opsets = {one.domain: one.version for one in neural.opset_import}
    used = {node.domain for node in joined.node}
    opsets = {**opsets, "": opset, **{name: v for name, v in _OTHER_OPSETS.items() if name in used}}
    versions = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(
        joined,
        opset_imports=versions,
        functions=neural.functions,
        ir_version=neural.ir_version,
        producer_name="pipegrad",
    )


def _add_output(writer: GraphWriter, net: PipelineModule, name: str, info: ValueInfoProto) -> None:
    """Declare an output of the file: an answer of the modules, with labels for indices."""
    answer, kind = info.name, info.type.tensor_type.elem_type
    shape: list[Any] = ["rows", *_widths(info)]
    task = None if net.head is None else net.head.task
    if name == "label" and task in ("classification", "several"):
        classes = net.target_classes if task == "several" else [net.classes_]
        labels = [labels_array(np.asarray(one).astype(classes[0].dtype)) for one in classes]
        kind = ELEMENT[column_kind(labels[0])]
        if task == "several":
            columns = [_label(writer, answer, one, place) for place, one in enumerate(labels)]
            writer.node("Concat", *columns, axis=1, output=name)
        else:
            writer.node("Gather", writer.constant(labels[0]), answer, axis=0, output=name)
    else:
        writer.node("Identity", answer, output=name)
    writer.outputs.append(helper.make_tensor_value_info(name, kind, shape))


def _label(writer: GraphWriter, answer: str, labels: Any, place: int) -> str:
    """The labels (n, 1) of one of several targets."""
    index = writer.node("Gather", answer, writer.constant(np.array([place])), axis=1)
    return writer.node("Gather", writer.constant(labels), index, axis=0)


def _widths(info: ValueInfoProto) -> list[Any]:
    """The sizes of an output after the first, the rows."""
    dims = list(info.type.tensor_type.shape.dim)[1:]
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _session(model: ModelProto, net: PipelineModule) -> Any:
    """What runs a file; ONNX Runtime may not, such as for a type that an operator lacks."""
    try:
        return session(model.SerializeToString())
    except Exception as error:  # Its errors have no common class.
        last = net.graph[net.graph.output]
        reason = f"ONNX Runtime cannot run it: {str(error).strip()}"
        raise UntranslatableError([(last.name, last.kind, reason)], len(net.graph), HINT) from error


def _describe(model: ModelProto, facts: dict[str, str]) -> None:
    for key, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
