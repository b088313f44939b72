"""The contract of a file of `torch.export`, which torch alone runs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import torch

from ..export.column_module import RawColumn
from ..export.host_steps import NOT_IN_TORCH
from ..export.torch_program import TABLE, labelled, matrix, torch_program
from .checks import Case
from .export_check import check_answers, check_refusal, needed_rows


def check_program(case: Case) -> None:
    """The program of torch gives the answers of the operator, or is refused with a reason.

    Parameters
    ----------
    case : Case
        A translation with one of its examples.

    Raises
    ------
    AssertionError
        When answers differ, or when the program calls operations that torch does not have.
    """
    operator = case.fitted()
    export = lambda: torch_program(  # noqa: E731
        operator, dtype=None, rows=needed_rows(case, operator), compiled=False
    )
    reason = case.row.not_exported or NOT_IN_TORCH.get(case.name)
    if reason:
        check_refusal(export, reason)
        return
    run = running(export())
    names = list(run(case.data()[0]))
    check_answers(case, operator, run, names, case.row.export_tolerance)


def running(content: bytes) -> Callable[[Any], dict[str, Any]]:
    """What runs a program on rows in the format of the pipeline.

    Parameters
    ----------
    content : bytes
        The content of a file.
    """
    extra = {TABLE: ""}
    loaded = torch.export.load(io.BytesIO(content), extra_files=extra)
    for node in loaded.graph.nodes:
        assert "pipegrad" not in str(node.target), node.target
    table = json.loads(extra[TABLE])
    columns = [
        RawColumn(
            one["name"],
            {text: place for place, text in enumerate(one["texts"])} if "texts" in one else None,
        )
        for one in table["columns"]
    ]
    program = loaded.module()

    def run(rows: Any) -> dict[str, Any]:
        with torch.no_grad():
            return labelled(program(matrix(columns, rows, table["dtype"])), table)

    return run
