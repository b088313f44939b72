"""The files of the accuracy study, which are no package, as modules for tests."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "accuracy"
MODULES = [path.stem for path in FOLDER.glob("*.py")]


@pytest.fixture(scope="module", autouse=True)
def importable():
    """For as long as the tests of a file run, and anew for each file."""
    sys.path.insert(0, str(FOLDER))
    for name in MODULES:
        sys.modules.pop(name, None)
    yield
    sys.path.remove(str(FOLDER))
    for name in MODULES:
        sys.modules.pop(name, None)


def module(name):
    return importlib.import_module(name)
