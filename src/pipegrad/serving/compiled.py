"""A pipeline that answers raw rows as fast as possible."""

from __future__ import annotations

from importlib.util import find_spec
from threading import Lock
from time import perf_counter
from typing import Any

import torch
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if

from ..errors import ArgumentError
from ..export.files import fitted_source
from ..translate import to_torch
from .onnx_session import OnnxAnswers, onnx_answers
from .raw_rows import ArrayReader

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")
# Rows up to which ONNX Runtime answers where nothing was measured: for single rows it takes a
# fraction of the time, for many numbers the module is as fast.
_FEW = 256
_MANY = 1 << 62
_SIZES = (1, 32, 1_000, 10_000)


def _has(method: str) -> Any:
    return lambda self: method in self._methods


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

    def __init__(self, source: Any, rows: Any = None, threads: int | None = None) -> None:
        self._made = source, rows, threads
        self._net = to_torch(source).eval().requires_grad_(False)
        self._methods = [method for method in METHODS if hasattr(self._net, method)]
        count = torch.get_num_threads() if threads is None else threads
        self._waiting = onnx_answers(self._net, count) if _has_onnx() else {}
        self._fast: dict[str, OnnxAnswers] = {}
        self._most: dict[str, int] = {}
        self._lock = Lock()
        if rows is not None:
            self._measure(rows)

    @available_if(_has("predict"))
    def predict(self, X: Any) -> Any:
        """Predictions (n,) or (n, k) for n raw rows."""
        return self._answer("predict", X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Class probabilities (n, classes) for n raw rows."""
        return self._answer("predict_proba", X)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the class probabilities (n, classes) for n raw rows."""
        return self._answer("predict_log_proba", X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """Decision values (n,) or (n, k) for n raw rows."""
        return self._answer("decision_function", X)

    @available_if(_has("transform"))
    def transform(self, X: Any) -> Any:
        """Columns (n, k) for n raw rows."""
        return self._answer("transform", X)

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
        found = {}
        for method in self._methods:
            most = self._most.get(method, self._first_limit(method))
            known = method in self._fast or method in self._waiting
            until = "" if most == _MANY else f" up to {most:,} rows, else the module"
            found[method] = f"ONNX Runtime{until}" if known and most else "the module"
        return found

    def __repr__(self) -> str:
        return f"CompiledPipeline of {type(self._net.source).__name__}: {self.engines_}"

    def __reduce__(self) -> Any:
        return CompiledPipeline, self._made

    # -- internals -----------------------------------------------------------------------------

    def _answer(self, method: str, X: Any) -> Any:
        fast = self._fast.get(method)
        if fast is not None and _count(X) <= self._most[method]:
            answer = fast(X)
            if answer is not None:
                return answer
        answer = getattr(self._net, method)(self._table(X))
        if fast is None and method in self._waiting:
            self._try(method, X, answer)
        return answer

    def _try(self, method: str, X: Any, answer: Any) -> None:
        """Take a session into use if it gives the answer that the module gave."""
        with self._lock:
            waiting = self._waiting.get(method)
            if waiting is None or waiting.read(X) is None:
                return  # These rows tell nothing.
            del self._waiting[method]
            if waiting.takes_format_of(answer, X):
                self._most.setdefault(method, self._first_limit(method, waiting))
                self._fast[method] = waiting

    def _first_limit(self, method: str, answers: OnnxAnswers | None = None) -> int:
        answers = answers or self._fast.get(method) or self._waiting.get(method)
        if answers is None:
            return 0
        numbers = isinstance(getattr(answers.read, "__self__", None), ArrayReader)
        return _FEW if numbers else _MANY

    def _measure(self, rows: Any) -> None:
        """Find out up to how many rows a session is the faster one."""
        for method in self._methods:
            self._most.pop(method, None)
            self._answer(method, rows)
            fast = self._fast.get(method)
            if fast is None:
                continue
            most = 0
            for size in _SIZES:
                some = _repeated(rows, size)
                module = getattr(self._net, method)
                if _seconds(fast, some) > _seconds(lambda X, ask=module: ask(self._table(X)), some):
                    break
                most = size
            self._most[method] = _MANY if most == _SIZES[-1] else most

    def _table(self, X: Any) -> Any:
        """Raw rows in the format of the source: dicts become a table."""
        if isinstance(X, dict):
            X = [X]
        if isinstance(X, list) and X and all(isinstance(row, dict) for row in X):
            return self._table_of_dicts(X)
        return X

    def _table_of_dicts(self, rows: list[dict[str, Any]]) -> Any:
        names = getattr(self._net.source, "feature_names_in_", None)
        if names is None:
            raise ArgumentError(
                "X must be an array for a pipeline that was fitted on an array, got dicts.\n"
                "Hint: fit the pipeline on a DataFrame, which names its columns."
            )
        import pandas as pd

        missing = [str(name) for name in names if any(name not in row for row in rows)]
        if missing:
            raise ArgumentError(
                f"X must have the columns of the pipeline, but lacks {', '.join(missing[:10])}.\n"
                "Hint: pass None or NaN for a value that is missing."
            )
        return pd.DataFrame(rows)[list(names)]


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


def _has_onnx() -> bool:
    return all(find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime"))


def _count(X: Any) -> int:
    """The number of rows; 1 for a dict."""
    return 1 if isinstance(X, dict) else len(X)


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
