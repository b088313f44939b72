"""The modules of sk2torch, whose classes wrap with pipegrad."""

from __future__ import annotations

import sys
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from answers import NotApplicableError, translate
from scipy import sparse

RULES: tuple[tuple[str, str], ...] = (
    (r"\bKernel\(", "the peer's own kernel module, no estimator"),
)
"""Patterns in the text of a test that concerns the peer's own machinery."""

_OLD = {"log": "log_loss", "deviance": "log_loss"}


class Wrapped:
    """Methods that take and return tensors, as those of sk2torch do."""

    def __init__(self, estimator: Any) -> None:
        self.answers = translate(estimator)

    def __call__(self, X: Any) -> Any:
        method = "predict" if self.answers.has("predict") else "transform"
        return self._ask(method, X)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "answers":
            raise AttributeError(name)
        return lambda X: self._ask(name, X)

    def _ask(self, method: str, X: Any) -> Any:
        return _tensors(self.answers.ask(method, X))


def _tensors(answer: Any) -> Any:
    if isinstance(answer, list):
        return [_tensors(part) for part in answer]
    answer = answer.toarray() if sparse.issparse(answer) else answer
    return torch.from_numpy(np.array(answer))


class _Class:
    """A class of sk2torch: it wraps, and it names what it supports."""

    @staticmethod
    def wrap(estimator: Any) -> Wrapped:
        return Wrapped(estimator)

    @staticmethod
    def supported_classes() -> Any:
        return _Everything()


class _Everything:
    def __contains__(self, item: Any) -> bool:
        return True


class _Stubs(MetaPathFinder, Loader):
    """Finds every module of sk2torch that holds no tests."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        package, _, module = name.partition(".")
        if package != "sk2torch" or not module or module.endswith("_test"):
            return None
        return ModuleSpec(name, self)

    def create_module(self, spec: Any) -> ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: Any) -> None:
        pass


class _Stub(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("Torch"):
            return _Class
        if name.startswith("__"):
            raise AttributeError(name)
        return _unknown


def _unknown(*_: Any, **__: Any) -> Any:
    raise NotApplicableError("a function of the peer itself")


def scripted(module: Any, *arguments: Any, **options: Any) -> Any:
    """`torch.jit.script` that leaves a stand-in as it is."""
    if isinstance(module, Wrapped):
        return module
    return _script(module, *arguments, **options)


_script = torch.jit.script


def install() -> None:
    """Put the stand-ins where the tests import them from."""
    sys.meta_path.insert(0, _Stubs())
    torch.jit.script = scripted
    accept_old_names()


def accept_old_names() -> None:
    """Let scikit-learn take the names of losses that it had when the tests were written."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import SGDClassifier

    for kind in (GradientBoostingClassifier, SGDClassifier):
        kind.fit = _with_new_names(kind.fit)


def _with_new_names(fit: Any) -> Any:
    @wraps(fit)
    def renamed(self: Any, *arguments: Any, **options: Any) -> Any:
        self.loss = _OLD.get(self.loss, self.loss)
        return fit(self, *arguments, **options)

    return renamed
