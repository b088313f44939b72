"""Copies of source objects."""

from __future__ import annotations

import copy
from types import FunctionType, ModuleType
from typing import Any

from ..registry import Expansion, lookup

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
    # Innermost first: the copy of a composite finds those of its parts in the memo, and its
    # recursion does not grow with their nesting.
    for composite in _duplicate_parts(source, memo):
        copy.deepcopy(composite, memo)
    return copy.deepcopy(source, memo)


def _duplicate_parts(source: Any, memo: dict[int, Any]) -> list[Any]:
    """Copy the operators that define their own copy; return the composites, innermost first."""
    composites = []
    seen: set[int] = set()
    waiting = [source]
    while waiting:
        value = waiting.pop()
        if id(value) in memo or id(value) in seen:
            continue
        seen.add(id(value))
        if not isinstance(value, dict | list | tuple):
            if not hasattr(value, "__dict__") or isinstance(
                value, type | ModuleType | FunctionType
            ):
                continue
            row = lookup(type(value))
            if isinstance(row, Expansion):
                composites.append(value)
            duplicate = None if row is None or isinstance(row, Expansion) else row.duplicate(value)
            if duplicate is not None:
                memo[id(value)] = duplicate
                continue
        waiting += reversed([part for part in _parts(value) if type(part) not in _PLAIN])
    return composites[::-1]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    return list((value if isinstance(value, dict) else vars(value)).values())
