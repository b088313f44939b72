"""The contract of an ONNX file, which ONNX Runtime runs."""

from __future__ import annotations

from ..export.measured import onnx_answers, session
from ..export.onnx_file import onnx_file
from .checks import Case
from .export_check import check_answers, check_refusal, needed_rows


def check_onnx(case: Case) -> None:
    """ONNX Runtime gives the answers of the operator, or the export is refused with a reason.

    Parameters
    ----------
    case : Case
        A translation with one of its examples.

    Raises
    ------
    AssertionError
        When answers differ.
    """
    operator = case.fitted()
    if case.row.not_exported:
        check_refusal(
            lambda: onnx_file(operator, dtype=None, rows=None, opset=20), case.row.not_exported
        )
        return
    content = onnx_file(operator, dtype=None, rows=needed_rows(case, operator), opset=20)
    running = session(content)
    names = [one.name for one in running.get_outputs()]
    check_answers(
        case, operator, lambda rows: onnx_answers(running, rows), names, case.row.export_tolerance
    )
