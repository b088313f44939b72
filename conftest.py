"""What the tests and the examples in docstrings share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

# MLflow tells its makers of its use unless this is set before it is imported.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
# Examples that need what the tests do not install.
collect_ignore_glob = [] if find_spec("mlflow") else ["src/pipegrad/mlflow/*"]


@pytest.fixture(autouse=True)
def _table_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Examples that register a row leave none behind for the tests that follow."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    from pipegrad import registry

    before = dict(registry._ROWS)
    yield
    added = set(registry._ROWS) - set(before)
    for name in added:
        if not name.startswith(("sklearn.", "pipegrad.")):
            del registry._ROWS[name]
    registry._FOUND.clear()
