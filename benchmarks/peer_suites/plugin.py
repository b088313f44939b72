"""A pytest plugin: puts a stand-in before a peer's tests, and writes down how each test ended."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import signal
import sys
import textwrap
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

PEER = os.environ["PEER_SUITE"]
ITSELF = os.environ.get("PEER_ITSELF") == "1"
RESULTS = Path(os.environ["PEER_RESULTS"])
LIMIT = int(os.environ.get("PEER_LIMIT", "60"))

_adapter: Any = importlib.import_module(f"{PEER}_adapter")
_answers: Any = importlib.import_module("answers")
_answers.OPTIONS.update(json.loads(os.environ.get("PEER_OPTIONS", "{}")))


class _TooLongError(Exception):
    pass


def pytest_configure(config: Any) -> None:
    if not ITSELF:
        _adapter.install()
    elif hasattr(_adapter, "accept_old_names"):
        _adapter.accept_old_names()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        reason = _rule(item)
        if reason is not None:
            item.user_properties.append(("machinery", reason))


def _rule(item: Any) -> str | None:
    """Why a test concerns the peer's own machinery, by the text of the test."""
    try:
        text = textwrap.dedent(inspect.getsource(item.function))
    except (OSError, TypeError):
        return None
    return next((why for pattern, why in _adapter.RULES if re.search(pattern, text)), None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Iterator[Any]:
    _answers.EVENTS.clear()

    def stop(*_: Any) -> None:
        raise _TooLongError(f"more than {LIMIT} seconds")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        return (yield)
    finally:
        signal.alarm(0)


_SUBTESTS: dict[str, list[str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[Any]:
    report = yield
    if call.when == "call" or (call.when == "setup" and report.outcome != "passed"):
        _write(item, report, call.excinfo)
    return report


def _write(item: Any, report: Any, failure: Any) -> None:
    error = "" if failure is None else f"{failure.typename}: {failure.value}"
    line = {
        "test": item.nodeid,
        "outcome": report.outcome,
        "error": error[:600],
        "place": _place(failure),
        "events": list(_answers.EVENTS),
        "machinery": dict(item.user_properties).get("machinery"),
    }
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _place(failure: Any) -> str:
    if failure is None or not failure.traceback:
        return ""
    last = failure.traceback[-1]
    return f"{last.path}:{last.lineno + 1}"


_ = unittest
