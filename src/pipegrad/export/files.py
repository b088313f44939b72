"""Export to a file whose form the end of its name says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import torch

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
    opset: int | None = None,
    compiled: bool = False,
) -> Path:
    """Write a fitted pipeline into a file that answers without pipegrad and without its library.

    Parameters
    ----------
    thing : estimator, PipelineModule, FineTuner or path
        A fitted pipeline, the module of one, a fitted `FineTuner`, or the model file of another
        library. It is not changed.
    path : str or path
        The file, whose name ends in ``.onnx`` for ONNX, or in ``.pt2`` for a program of
        `torch.export`. It is written whole or not at all.
    dtype : {"float64", "float32"}, optional
        Type in which the file computes; that of the pipeline's own parameters by default.
    rows : array, DataFrame, sparse matrix or list, optional
        Rows in the format of the pipeline. The file answers them, and the largest difference from
        the pipeline's own answers is written into the file. The types of columns of a DataFrame are
        those of the inputs.
    opset : int, optional
        Version of ONNX's operators, from 20 to 23; 20 by default.
    compiled : bool
        Whether a ``.pt2`` file is a package of AOTInductor: machine code for this kind of
        processor instead of a program. It takes a C++ compiler, and half a minute or more.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UntranslatableError
        When the file cannot express some steps; the error lists all of them, before any work.
    ArgumentError
        When an argument is invalid, or a package of the extra ``onnx`` or a compiler is missing.

    Notes
    -----
    Classifiers give ``label`` (n,) and ``probabilities`` (n, classes), or ``scores`` where there
    are no probabilities; regressors and transformers give ``variable``.

    In ONNX, an array enters as ``X`` (n, features), and a DataFrame column by column, each as
    (n, 1) under its name. A program of torch takes one matrix (n, columns), and gives a dict of
    tensors; `docs/deploy.md` shows how text becomes numbers before it.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import pipegrad as pg
    >>> import torch
    >>> from sklearn.linear_model import Ridge
    >>> X = np.arange(12.0).reshape(6, 2)
    >>> ridge = Ridge().fit(X, X[:, 0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pg.export(ridge, f"{folder}/ridge.pt2")
    ...     answers = torch.export.load(path).module()(torch.from_numpy(X))
    >>> np.allclose(answers["variable"][:, 0], ridge.predict(X), rtol=1e-12)
    True
    """
    target = check_target(path, "an exported pipeline", tuple(_WRITERS))
    form = target.suffix.lower()
    _check_options(dtype, opset, compiled, form)
    options = {"dtype": dtype, "rows": rows}
    options |= {"opset": opset or OPSETS[0]} if form == ".onnx" else {"compiled": compiled}
    content = _WRITERS[form](fitted_source(thing), options)
    write_file(target, content)
    return target


def _check_options(dtype: Any, opset: Any, compiled: Any, form: str) -> None:
    if dtype is not None and (not isinstance(dtype, str) or dtype not in DTYPES):
        raise ArgumentError(
            f"dtype must be 'float64', 'float32' or None, got {dtype!r:.60}.\n"
            "Hint: by default, the file computes in the precision of the pipeline."
        )
    if opset is not None:
        _check_opset(opset, form)
    if not isinstance(compiled, bool):
        raise ArgumentError(f"compiled must be True or False, got {compiled!r:.60}.")
    if compiled and form != ".pt2":
        raise ArgumentError(
            f"compiled must be False for a file that ends in {form}, got True.\n"
            "Hint: give a path that ends in .pt2."
        )


def _check_opset(opset: Any, form: str) -> None:
    first, last = OPSETS
    whole = isinstance(opset, int) and not isinstance(opset, bool)
    if not whole or not first <= opset <= last:
        raise ArgumentError(
            f"opset must be a whole number from {first} to {last}, got {opset!r:.60}.\n"
            f"Hint: opset={first} runs in ONNX Runtime 1.17 and later."
        )
    if form != ".onnx":
        raise ArgumentError(
            f"opset must be None for a file that ends in {form}, got {opset}.\n"
            "Hint: only ONNX files have versions of operators."
        )


def fitted_source(thing: Any) -> Any:
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


def _torch(source: Any, options: Mapping[str, Any]) -> bytes:
    from torch.export import ExportedProgram

    if "check_guards" not in signature(ExportedProgram.module).parameters:
        raise ArgumentError(
            f"A program of torch requires a newer torch than {torch.__version__}.\n"
            "Hint: pip install --upgrade torch."
        )
    from .torch_program import check_compiler, torch_program

    if options["compiled"]:
        check_compiler()
    return torch_program(source, **options)


_WRITERS: dict[str, Callable[[Any, Mapping[str, Any]], bytes]] = {".onnx": _onnx, ".pt2": _torch}
