"""Copies of source objects."""

from __future__ import annotations

import copy
from types import FunctionType, ModuleType
from typing import Any

from ..registry import translation

_PLAIN = {int, float, str, bool, bytes, type(None)}


def copy_source(source: Any, memo: dict[int, Any] | None = None) -> Any:
    """A deep copy of a source object; a translation can define how its operator is copied.

    Parameters
    ----------
    source : object
        Object to copy.
    memo : dict, optional
        Filled with the copies of all parts by the ``id`` of the original.

    Returns
    -------
    object
        The copy.
    """
    memo = {} if memo is None else memo
    _duplicate_parts(source, memo, set())
    return copy.deepcopy(source, memo)


def _duplicate_parts(value: Any, memo: dict[int, Any], seen: set[int]) -> None:
    if id(value) in memo or id(value) in seen:
        return
    if isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, list | tuple):
        parts = list(value)
    elif hasattr(value, "__dict__") and not isinstance(value, type | ModuleType | FunctionType):
        row = translation(value)
        duplicate = None if row is None else row.duplicate(value)
        if duplicate is not None:
            memo[id(value)] = duplicate
            return
        parts = list(vars(value).values())
    else:
        return
    seen.add(id(value))
    for part in parts:
        if type(part) not in _PLAIN:
            _duplicate_parts(part, memo, seen)
