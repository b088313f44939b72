"""The answers of one method by an ONNX Runtime session, in the format of the source."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from ..errors import ArgumentError, UntranslatableError
from ..export.answers import SCORES
from ..module import PipelineModule
from ..modules import OneVsOneHead
from ..named import NamedPipeline
from .raw_rows import ArrayReader, TableReader, reader_of


class OnnxAnswers:
    """Answers of one method.

    Parameters
    ----------
    session : InferenceSession
        A session whose only output is the answer.
    reader : ArrayReader or TableReader
        Turns raw rows into the inputs of the session.
    """

    def __init__(self, session: Any, reader: ArrayReader | TableReader) -> None:
        self.run = session.run
        self.outputs = [session.get_outputs()[0].name]
        self.reader, self.read = reader, reader.feeds
        self.dtype: Any = None
        self.flat = self.numbers = False

    def takes_format_of(self, answer: Any, X: Any) -> bool:
        """Answer in the type and shape of an answer of the module from now on.

        Returns
        -------
        bool
            Whether the session gives that answer; otherwise it must not be used.
        """
        feeds = self.read(X)
        if feeds is None or type(answer) is not np.ndarray or answer.ndim not in (1, 2):
            return False
        (mine,) = self.run(self.outputs, feeds)
        flat = answer.ndim == 1 and mine.ndim == 2
        if flat and mine.shape[1] != 1:
            return False
        mine = (mine.ravel() if flat else mine).astype(answer.dtype)
        if mine.shape != answer.shape or not _agree(mine, answer):
            return False
        self.dtype, self.flat, self.numbers = answer.dtype, flat, answer.dtype.kind == "f"
        return True

    def __call__(self, X: Any) -> Any:
        """The answer; None for rows that the module should see."""
        feeds = self.read(X)
        if feeds is None:
            return None
        answer = self.run(self.outputs, feeds)[0]
        if self.flat:
            answer = answer.ravel()
        if answer.dtype is not self.dtype:
            return answer.astype(self.dtype)
        # Where the source raises an error for a value, there is NaN.
        if self.numbers and not isfinite(answer.sum()):
            return None
        return answer


def _agree(mine: Any, answer: Any) -> bool:
    if answer.dtype.kind != "f":
        return bool((mine == answer).all())
    tolerance = 1e-9 if answer.dtype == np.float64 else 1e-5
    size = np.abs(answer).max(initial=1e-300)
    return bool((np.abs(mine - answer) <= tolerance * size).all())


def onnx_answers(net: PipelineModule, threads: int, rows: Any) -> dict[str, OnnxAnswers]:
    """A session for each method that ONNX Runtime can answer.

    Parameters
    ----------
    net : PipelineModule
        The pipeline.
    threads : int
        Number of threads of each session.
    rows : object, optional
        Rows in the format of the pipeline, for one that does not know its number of columns.
    """
    import onnx

    from ..export.measured import session
    from ..export.onnx_file import onnx_file
    from .folded_graph import folded

    if isinstance(net, NamedPipeline):
        return {}  # Its methods choose among columns, which a file gives under their names.
    if isinstance(net.head, OneVsOneHead) and net.head.platt is not None:
        return {}  # A file has each step of the coupling of pairs, and takes minutes to make.
    known = rows is None or hasattr(net.source, "n_features_in_")
    try:
        content = onnx_file(net.source, dtype=None, rows=None if known else rows, opset=20)
    except (UntranslatableError, ArgumentError):  # The module answers.
        return {}
    model = onnx.load_from_string(content)
    inputs = [one.name for one in model.graph.input]
    extractor = onnx.utils.Extractor(model)
    found = {}
    for method, output in _outputs(net, {one.name for one in model.graph.output}).items():
        # A session computes all that it was given, so that other outputs are cut off.
        part = folded(extractor.extract_model(inputs, [output]))
        running = session(part.SerializeToString(), threads)
        reader = reader_of(net, running.get_inputs())
        if reader is not None:
            found[method] = OnnxAnswers(running, reader)
    return found


def _outputs(net: PipelineModule, names: set[str]) -> dict[str, str]:
    """The output, among those of the file, that answers each method."""
    found = {}
    if "label" in names:
        found["predict"] = "label"
    if "variable" in names:
        found["predict" if hasattr(net, "predict") else "transform"] = "variable"
    second = names & {"probabilities", "scores"}
    method = next((name for name in SCORES if hasattr(net, name)), None)
    if second and method is not None:
        found[method] = second.pop()
    return {method: output for method, output in found.items() if hasattr(net, method)}
