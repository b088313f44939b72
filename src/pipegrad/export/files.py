"""Export to a file whose form the end of its name says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..file_writing import check_target, write_file
from ..finetune.tuner import FineTuner
from ..module import PipelineModule
from ..translate import open_source
from ..write_back import latest_source

DTYPES = ("float64", "float32")
# The first has operators on strings; later ones than the last are unknown to the exporter of torch.
OPSETS = (20, 23)
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def export(
    thing: Any,
    path: Any,
    *,
    dtype: str | None = None,
    rows: Any = None,
    opset: int = 20,
) -> Path:
    """Write a fitted pipeline into a file that answers raw rows without Python.

    Parameters
    ----------
    thing : estimator, PipelineModule or FineTuner
        A fitted pipeline, the module of one, or a fitted `FineTuner`. It is not changed.
    path : str or path
        The file, whose name ends in ``.onnx``. It is written whole or not at all.
    dtype : {"float64", "float32"}, optional
        Type in which the file computes; that of the pipeline's own parameters by default.
    rows : array, DataFrame, sparse matrix or list, optional
        Rows in the format of the pipeline. The file answers them with ONNX Runtime, and the largest
        difference from the pipeline's own answers is written into the file's metadata. The types of
        columns of a DataFrame are those of the inputs.
    opset : int
        Version of ONNX's operators, from 20 to 23.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UntranslatableError
        When ONNX cannot express some steps; the error lists all of them, before any work.
    ArgumentError
        When an argument is invalid, or a package of the extra ``onnx`` is missing.

    Notes
    -----
    An array enters as ``X`` (n, features). A DataFrame enters column by column, each as (n, 1)
    under its name. Classifiers give ``label`` (n,) and ``probabilities`` (n, classes), or
    ``scores`` where there are no probabilities; regressors and transformers give ``variable``.
    """
    target = check_target(path, "an exported pipeline", tuple(_WRITERS))
    _check_options(dtype, opset)
    writer = _WRITERS[target.suffix.lower()]
    content = writer(_source(thing), {"dtype": dtype, "rows": rows, "opset": opset})
    write_file(target, content)
    return target


def _check_options(dtype: Any, opset: Any) -> None:
    if dtype is not None and (not isinstance(dtype, str) or dtype not in DTYPES):
        raise ArgumentError(
            f"dtype must be 'float64', 'float32' or None, got {dtype!r:.60}.\n"
            "Hint: by default, the file computes in the precision of the pipeline."
        )
    first, last = OPSETS
    whole = isinstance(opset, int) and not isinstance(opset, bool)
    if not whole or not first <= opset <= last:
        raise ArgumentError(
            f"opset must be a whole number from {first} to {last}, got {opset!r:.60}.\n"
            f"Hint: opset={first} runs in ONNX Runtime 1.17 and later."
        )


def _source(thing: Any) -> Any:
    """The fitted pipeline that answers for a module or a tuner."""
    if isinstance(thing, PipelineModule):
        return latest_source(thing)
    if isinstance(thing, FineTuner):
        if not hasattr(thing, "estimator_"):
            raise ArgumentError("export takes a fitted FineTuner.\nHint: call fit(X, y) first.")
        return thing.estimator_
    if isinstance(thing, str | os.PathLike) and Path(thing).suffix.lower() in _WRITERS:
        raise ArgumentError(
            f"export takes a fitted pipeline, got the path {os.fspath(thing)!r:.80}.\n"
            "Hint: export(pipeline, path)."
        )
    return open_source(thing)


def _onnx(source: Any, options: Mapping[str, Any]) -> bytes:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ArgumentError(
            f"An ONNX file requires {', '.join(missing)}.\nHint: pip install 'pipegrad[onnx]'."
        )
    from .onnx_file import onnx_file

    return onnx_file(source, **options)


_WRITERS: dict[str, Callable[[Any, Mapping[str, Any]], bytes]] = {".onnx": _onnx}
