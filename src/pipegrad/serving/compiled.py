"""A pipeline that answers raw rows as fast as possible."""

from __future__ import annotations

import os
from importlib.util import find_spec
from threading import Lock
from time import perf_counter
from typing import Any
from weakref import WeakSet

import torch
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..export.files import NEEDED, fitted_source
from ..module import PipelineModule
from ..translate import to_torch
from .onnx_session import OnnxAnswers, onnx_answers
from .raw_rows import ArrayReader

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")
# Rows up to which ONNX Runtime answers where nothing was measured: for single rows it takes a
# fraction of the time, for many numbers the module is as fast.
_FEW = 256
_MANY = 1 << 62
_SIZES = (1, 32, 1_000, 10_000)

_WITH_THREADS: WeakSet[CompiledMethod] = WeakSet()


class CompiledMethod:
    """One method of a compiled pipeline, to call with raw rows.

    Parameters
    ----------
    net : PipelineModule
        The pipeline.
    name : str
        Name of the method.
    session : OnnxAnswers, optional
        A session that answers it, too.
    threads : int
        Number of threads of the session.
    """

    def __init__(
        self, net: PipelineModule, name: str, session: OnnxAnswers | None, threads: int
    ) -> None:
        self.net, self.name = net, name
        self.module = getattr(net, name)
        self.waiting = session
        self.fast: OnnxAnswers | None = None
        numbers = session is not None and isinstance(session.reader, ArrayReader)
        self.most = _FEW if numbers else _MANY
        self.lock = Lock()
        self.left: tuple[OnnxAnswers | None, OnnxAnswers | None] = None, None
        if session is not None and threads > 1:
            _WITH_THREADS.add(self)

    def leave_session(self) -> None:
        """Answer by the module from now on, and keep the session, which must not be destroyed."""
        self.left = self.fast, self.waiting
        self.fast = self.waiting = None
        self.lock = Lock()

    def __call__(self, X: Any) -> Any:
        """The answer of the pipeline's method to raw rows.

        Parameters
        ----------
        X : array, DataFrame, dict or list
            Raw rows; a dict is a single row, by column.

        Returns
        -------
        array
            What the method of the pipeline returns.
        """
        fast = self.fast
        if fast is not None and (type(X) is dict or len(X) <= self.most):
            answer = fast(X)
            if answer is not None:
                return answer
        answer = self.module(_in_format(self.net, X))
        if self.waiting is not None:
            self._try(X, answer)
        return answer

    def _try(self, X: Any, answer: Any) -> None:
        """Take the session into use if it gives the answer that the module gave."""
        with self.lock:
            waiting = self.waiting
            if waiting is None or waiting.read(X) is None:
                return  # These rows tell nothing.
            self.waiting = None
            if waiting.takes_format_of(answer, X):
                self.fast = waiting

    def measure(self, rows: Any) -> None:
        """Find out up to how many rows the session is the faster one."""
        self(rows)
        if self.fast is None:
            return
        most = 0
        for size in _SIZES:
            some = _repeated(rows, size)
            table = _in_format(self.net, some)
            if _seconds(self.fast, some) > _seconds(self.module, table):
                break
            most = size
        self.most = _MANY if most == _SIZES[-1] else most

    @property
    def engine(self) -> str:
        """What answers, and up to how many rows."""
        if (self.fast is None and self.waiting is None) or not self.most:
            return "the module"
        until = "" if self.most == _MANY else f" up to {self.most:,} rows, else the module"
        return f"ONNX Runtime{until}"


class CompiledPipeline:
    """A fitted pipeline that answers raw rows; made by `pipegrad.compile`.

    It has those of the methods ``predict``, ``predict_proba``, ``predict_log_proba``,
    ``decision_function`` and ``transform`` that the pipeline has. They take an array, a DataFrame,
    a dict (one row, by column) or a list of dicts, and give the pipeline's own answers and errors.
    Any number of threads may call them at once.

    Parameters
    ----------
    source : object
        The fitted pipeline.
    rows : array, DataFrame, list or dict, optional
        Rows to measure with.
    threads : int, optional
        Number of threads of ONNX Runtime.
    """

    predict: CompiledMethod
    predict_proba: CompiledMethod
    predict_log_proba: CompiledMethod
    decision_function: CompiledMethod
    transform: CompiledMethod

    def __init__(self, source: Any, rows: Any = None, threads: int | None = None) -> None:
        self._made = source, rows, threads
        self._net = net = to_torch(source).eval().requires_grad_(False)
        count = torch.get_num_threads() if threads is None else threads
        table = None if rows is None else _in_format(net, rows)
        sessions = onnx_answers(net, count, table) if _has_onnx() else {}
        self._methods: dict[str, CompiledMethod] = {}
        for name in METHODS:
            if hasattr(net, name):
                method = CompiledMethod(net, name, sessions.get(name), count)
                self._methods[name] = method
                # On the object, where a look-up takes less time than on its class.
                setattr(self, name, method)
        for method in self._methods.values() if rows is not None else ():
            method.measure(rows)

    @property
    def module(self) -> PipelineModule:
        """The module of the pipeline."""
        return self._net

    @property
    def classes_(self) -> Any:
        """Class labels of the pipeline."""
        return self._net.classes_

    @property
    def n_features_in_(self) -> int:
        """Number of columns of the pipeline's input."""
        return self._net.n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns of the pipeline's input."""
        return self._net.feature_names_in_

    @property
    def engines_(self) -> dict[str, str]:
        """For each method, what answers it, and up to how many rows."""
        return {name: method.engine for name, method in self._methods.items()}

    def __repr__(self) -> str:
        return f"CompiledPipeline of {type(self._net.source).__name__}: {self.engines_}"

    def __reduce__(self) -> Any:
        return CompiledPipeline, self._made


def _in_format(net: PipelineModule, X: Any) -> Any:
    """Raw rows in the format of the source: dicts become a table."""
    if isinstance(X, dict):
        X = [X]
    if not (isinstance(X, list) and X and all(isinstance(row, dict) for row in X)):
        return X
    names = getattr(net.source, "feature_names_in_", None)
    if names is None:
        raise ArgumentError(
            "X must be an array for a pipeline that was fitted on an array, got dicts.\n"
            "Hint: fit the pipeline on a DataFrame, which names its columns."
        )
    import pandas as pd

    missing = [str(name) for name in names if any(name not in row for row in X)]
    if missing:
        raise ArgumentError(
            f"X must have the columns of the pipeline, but lacks {', '.join(missing[:10])}.\n"
            "Hint: pass None or NaN for a value that is missing."
        )
    return pd.DataFrame(X)[list(names)]


def compile(  # noqa: A001
    thing: Any, *, rows: Any = None, threads: int | None = None
) -> CompiledPipeline:
    """Make an object that answers raw rows as fast as possible.

    Parameters
    ----------
    thing : estimator, PipelineModule, FineTuner or path
        A fitted pipeline, the module of one, a fitted `FineTuner`, or the file of a model. What is
        compiled is a copy: later training does not change its answers.
    rows : array, DataFrame, list or dict, optional
        Some rows, on which both ways to answer are timed, so that each number of rows is answered
        in the faster way. By default, ONNX Runtime answers up to 256 rows of numbers, and any
        number of rows with text.
    threads : int, optional
        Number of threads of ONNX Runtime; those of torch by default.

    Returns
    -------
    CompiledPipeline
        Has the methods ``predict``, ``predict_proba``, ``predict_log_proba``,
        ``decision_function`` and ``transform``, as far as the pipeline has them.

    Raises
    ------
    UntranslatableError
        When the pipeline has no module.
    ArgumentError
        When an argument is invalid.

    Notes
    -----
    With the extra ``onnx``, an ONNX Runtime session answers, which takes microseconds for a single
    row. The first answer of each method is the module's, and the session is used only if it gives
    the same. Rows that are unusual (NaN where the pipeline refuses it, unknown categories, other
    types) go to the module, so that errors and warnings are those of the source's library.

    Examples
    --------
    >>> import pipegrad as pg
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> serving = pg.compile(pipe, rows=X[:20])
    >>> row = {name: 5.0 for name in X.columns}
    >>> serving.predict(row)
    array([2])
    """
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and (not whole or threads < 1):
        raise ArgumentError(
            f"threads must be a positive whole number or None, got {threads!r:.60}."
        )
    return CompiledPipeline(fitted_source(thing), rows, threads)


def _leave_sessions() -> None:
    """Let modules answer in a forked process, which has none of the threads of its sessions."""
    for method in _WITH_THREADS:
        method.leave_session()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_sessions)


def _has_onnx() -> bool:
    return all(find_spec(name) is not None for name in NEEDED)


def _repeated(rows: Any, size: int) -> Any:
    """As many rows, again and again the ones given."""
    if isinstance(rows, dict):
        rows = [rows]
    places = [place % len(rows) for place in range(size)]
    if hasattr(rows, "iloc"):
        return rows.iloc[places]
    return [rows[place] for place in places] if isinstance(rows, list) else rows[places]


def _seconds(function: Any, X: Any) -> float:
    """The time of the fastest of some calls."""
    found: list[float] = []
    end = perf_counter() + 0.05
    while not found or (perf_counter() < end and len(found) < 50):
        start = perf_counter()
        function(X)
        found.append(perf_counter() - start)
    return min(found)
