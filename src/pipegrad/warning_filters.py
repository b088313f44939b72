"""Warnings that one thread ignores, without a change that other threads notice."""

from __future__ import annotations

import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_lock = threading.Lock()


@contextmanager
def ignored_warnings(message: str = "") -> Iterator[None]:
    """Context in which this thread ignores warnings.

    `warnings.catch_warnings` saves the filters of all threads and restores them, so that two
    threads that use it at once may leave the filters of one of them to the process.

    Parameters
    ----------
    message : str
        Regular expression for the beginning of the message; by default, all are ignored.
    """
    if getattr(sys.flags, "context_aware_warnings", False):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message)
            yield
        return
    own = _MessageOfThisThread(message)
    entry: Any = ("ignore", own, Warning, None, 0)
    with _lock:
        # A new list: other threads may be going through the present one.
        before: Any = warnings.filters
        added = warnings.filters = [entry, *before]
    try:
        yield
    finally:
        own.thread = None
        with _lock:
            _remove(entry, added, before)


def _remove(entry: tuple[Any, ...], added: list[Any], before: Any) -> None:
    rest = [one for one in warnings.filters if one is not entry]
    same = len(rest) == len(before) and all(a is b for a, b in zip(rest, before, strict=True))
    warnings.filters = before if same else rest
    with suppress(ValueError):  # Whoever saved the list may bring it back.
        added.remove(entry)


class _MessageOfThisThread:
    """A regular expression that matches in the thread that made it only; see `re.Pattern`."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.thread: int | None = threading.get_ident()

    def match(self, text: str) -> Any:
        """Match the beginning of a message."""
        if self.thread != threading.get_ident():
            return None
        return re.match(self.pattern, text)

    def __reduce__(self) -> tuple[Any, ...]:
        # joblib passes the filters to its processes.
        return re.compile, (self.pattern,)
