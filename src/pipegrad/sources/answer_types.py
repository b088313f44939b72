"""The types that a source gives its answers, which depend on the type of the input."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse

from ..modules import standard_settings
from ..source_catalog import SOURCES
from ..warning_filters import ignored_warnings
from .arrays import without_tensors

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class SparseArray:
    """The type of a sparse array, whose operators are unlike those of a sparse matrix."""

    dtype: np.dtype[Any]


_LIBRARIES = {package for source in SOURCES for package in source.packages}
# For each module, the types by method and type of input. They are no state of the module.
_KNOWN: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()


def in_types_of_source(method: F) -> F:
    """Decorate a method of a module that answers as the method of that name of its source does.

    The answer gets the dtypes of the source's answer to input of the same dtypes: scikit-learn
    computes some steps in float32 if the input is float32, others never, and some only if they were
    fitted on float32. The source answers the first row once for each dtype; a source whose host
    part has steps of the user's own does so only for input of low precision. Settings of torch that
    the caller changed have no effect.
    """

    @wraps(method)
    @standard_settings
    def answer(net: Any, X: Any, *arguments: Any, **options: Any) -> Any:
        out = method(net, X, *arguments, **options)
        if arguments or options:
            return out
        return with_types(out, _types(net, method.__name__, X))

    return answer  # type: ignore[return-value]


def with_types(answer: Any, types: Any) -> Any:
    """The answer with these dtypes, as `types_of` gives them; None changes nothing."""
    if isinstance(types, list):
        if not isinstance(answer, list):  # The source gives back the list that it was given.
            return answer
        return [with_types(part, one) for part, one in zip(answer, types, strict=True)]
    if hasattr(answer, "columns"):
        return _table_with_types(answer, types) if isinstance(types, tuple) else answer
    if isinstance(types, SparseArray):
        answer = sparse.csr_array(answer) if sparse.issparse(answer) else answer
        types = types.dtype
    if isinstance(types, tuple):  # The source gives a table where the module gives an array.
        types = types[0] if len(set(types)) == 1 else None
    if not isinstance(types, np.dtype) or answer.dtype == types:
        return answer
    if answer.dtype.kind == "O" and types.kind == "U":
        return answer.astype(str)
    if {answer.dtype.kind, types.kind} - set("fiub"):
        return answer
    if types.kind in "iu" and answer.dtype.kind == "f":
        answer = np.rint(answer)
    return answer.astype(types)


def types_of(answer: Any) -> Any:
    """The dtype of an array, the dtypes of the columns of a table, or a list of these."""
    if isinstance(answer, sparse.sparray):
        return SparseArray(answer.dtype)
    if isinstance(answer, np.ndarray) or sparse.issparse(answer):
        return answer.dtype
    if hasattr(answer, "columns"):
        return tuple(answer.dtypes)
    return [types_of(part) for part in answer] if isinstance(answer, list) else None


def _table_with_types(table: Any, types: tuple[Any, ...]) -> Any:
    if len(types) != len(table.columns) or tuple(table.dtypes) == types:
        return table
    wanted = dict(zip(table.columns, types, strict=True))
    return table.cast(wanted) if hasattr(table, "cast") else table.astype(wanted)


def _types(net: Any, method: str, X: Any) -> Any:
    kind = _kind(X)
    if kind is None:
        return None
    known = _KNOWN.setdefault(net, {})
    if (method, kind) not in known:
        spared = _runs_own_code(net) and not is_narrow(X)
        known[method, kind] = None if spared else _asked(net, method, X)
    return known[method, kind]


def _runs_own_code(net: Any) -> bool:
    """Whether a host step is the user's own, which may be slow and must not run needlessly."""
    operators = (net.graph[name].operator for name in net.host_part.host)
    return any(type(one).__module__.split(".")[0] not in _LIBRARIES for one in operators)


def is_narrow(X: Any) -> bool:
    """Whether numbers are of low precision, which only some answers have, too."""
    types = [X.dtype] if hasattr(X, "dtype") else getattr(X, "dtypes", ())
    return any(str(one).lower().endswith(("float32", "float16", "f4", "f2")) for one in types)


def _asked(net: Any, method: str, X: Any) -> Any:
    """The types of the source's answer to the first row; None if it has none."""
    rows = without_tensors(X)
    if sparse.issparse(rows):
        rows = rows.tocsr()
    try:
        with ignored_warnings():
            # A copy, since some operators work in place (``copy=False``).
            return types_of(net.ask_source(method, copy.deepcopy(rows[:1])))
    except Exception:
        return None  # The module answered, and keeps its own types.


def _kind(X: Any) -> Hashable | None:
    """What the types of answers depend on; None for input that the source does not take."""
    if isinstance(X, dict) or (not hasattr(X, "__len__") and not hasattr(X, "shape")):
        return None
    if (X.shape[0] if hasattr(X, "shape") else len(X)) == 0:
        return None
    if hasattr(X, "dtypes"):
        return type(X), frozenset(map(str, X.dtypes)) if hasattr(X, "columns") else str(X.dtypes)
    if isinstance(X, list | tuple):
        return type(X), _without_length(np.asarray(X[:1]).dtype)
    return (type(X), _without_length(X.dtype)) if hasattr(X, "dtype") else None


def _without_length(dtype: Any) -> Hashable:
    """A dtype; that of texts of any length is the same."""
    kind = getattr(dtype, "kind", "")
    return kind if kind in ("S", "U") else dtype
