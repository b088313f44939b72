"""Answers of a translated estimator, checked against its own before a test sees them."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator

import pipegrad as pg

EVENTS: list[tuple[str, str]] = []
"""What happened in the test that runs: ("begun", class), ("refused", reason) and so on."""

OPTIONS: dict[str, Any] = {}
"""Arguments of `to_torch`; the command sets them."""


class WrongAnswerError(AssertionError):
    """A module answered otherwise than its estimator: another type, shape, dtype or label."""


class NotApplicableError(Exception):
    """A test asks for what concerns the peer's own machinery."""

    def __init__(self, reason: str) -> None:
        EVENTS.append(("machinery", reason))
        super().__init__(reason)


def translate(model: Any) -> Answers:
    """Translate a fitted estimator; note its class, or why pipegrad refuses it."""
    foreign = sorted(_foreign(model))
    if foreign:
        raise NotApplicableError(f"an estimator that is not scikit-learn's ({foreign[0]})")
    EVENTS.append(("begun", type(model).__name__))
    try:
        answers = Answers(model)
    except Exception as error:
        EVENTS.append(("refused", f"{type(model).__name__}: {_reason(error)}"))
        raise
    EVENTS.append(("translated", type(model).__name__))
    return answers


def _reason(error: Exception) -> str:
    if isinstance(error, pg.UntranslatableError):
        return "; ".join(f"{kind}: {reason}" for _, kind, reason in error.problems)
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _foreign(model: Any) -> set[str]:
    """The classes of an estimator and its parts that are not scikit-learn's."""
    found, waiting, seen = set(), [model], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, BaseEstimator):
            if type(part).__module__.split(".")[0] != "sklearn":
                found.add(f"{type(part).__module__.split('.')[0]}.{type(part).__name__}")
            waiting += list(vars(part).values())
        elif isinstance(part, list | tuple):
            waiting += list(part)
        elif isinstance(part, dict):
            waiting += list(part.values())
    return found


class Answers:
    """The methods of a module, each answer compared with that of the estimator at once."""

    def __init__(self, model: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.net = pg.to_torch(model, **OPTIONS)
        self.model = copy.deepcopy(model)

    def has(self, method: str) -> bool:
        """Whether the estimator has a method."""
        return hasattr(self.model, method)

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The module's answer, which must be scikit-learn's."""
        try:
            wanted = self._asked(method, arguments, options)
        except ValueError as error:
            if "Buffer dtype mismatch" not in str(error):
                raise
            # k-means that was fitted on float64 takes nothing else.
            arguments = tuple(np.asarray(one, dtype=np.float64) for one in arguments)
            wanted = self._asked(method, arguments, options)
        answer = getattr(self.net, method)(*arguments, **options)
        if not self._is_random(method):
            compare(answer, wanted, f"{type(self.model).__name__}.{method}")
        return answer

    def _asked(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        given = map(without_tensors, copy.deepcopy(arguments))
        return getattr(self.model, method)(*given, **options)

    def _is_random(self, method: str) -> bool:
        strategy = getattr(self.model, "strategy", None)
        return isinstance(strategy, str) and strategy in ("stratified", "uniform")


def without_tensors(value: Any) -> Any:
    """A tensor as an array, as scikit-learn takes it."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def compare(answer: Any, wanted: Any, what: str) -> None:
    """Fail unless an answer has the type, shape, dtype and labels of the wanted one.

    Real numbers are left to the test, with its tolerance; differences above 1e-9 are noted.
    """
    if isinstance(wanted, list | tuple):
        if type(answer) is not type(wanted) or len(answer) != len(wanted):
            raise WrongAnswerError(f"{what}: {_kind(answer)} instead of {_kind(wanted)}")
        for one, other in zip(answer, wanted, strict=True):
            compare(one, other, what)
        return
    if _kind(answer) != _kind(wanted):
        raise WrongAnswerError(f"{what}: {_kind(answer)} instead of {_kind(wanted)}")
    ours, theirs = _dense(answer), _dense(wanted)
    if theirs.dtype.kind not in "fc":
        if not np.all(ours == theirs):
            raise WrongAnswerError(f"{what}: other values than scikit-learn's")
    elif not np.allclose(ours, theirs, rtol=0, atol=1e-9 * _largest(theirs), equal_nan=True):
        EVENTS.append(("inexact", f"{what}: {np.nanmax(np.abs(ours - theirs)):.1e}"))


def _kind(value: Any) -> str:
    if sparse.issparse(value):
        return f"{value.format} {value.dtype} {value.shape}"
    if hasattr(value, "columns"):
        return f"{type(value).__name__} {value.shape} {list(value.columns)} {list(value.dtypes)}"
    if isinstance(value, np.ndarray):
        # The length of texts is the library's own business.
        name = value.dtype.kind if value.dtype.kind in "US" else value.dtype.name
        return f"array {name} {value.shape}"
    return type(value).__name__


def _dense(value: Any) -> Any:
    value = value.toarray() if sparse.issparse(value) else value
    return value.to_numpy() if hasattr(value, "columns") else np.asarray(value)


def _largest(values: Any) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
