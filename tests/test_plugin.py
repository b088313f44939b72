"""A real plug-in package, installed by pip into a folder of its own, is found and works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"
FOUND = """
import sys
from squash import Squash
assert "squash.translations" not in sys.modules
from pipegrad.registry import lookup
row = lookup(Squash)
assert type(row).__module__ == "squash.translations", row
"""


def run(*command: str, **kwargs) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that has the plug-in."""
    folder = tmp_path_factory.mktemp("plugin")
    source, target = folder / "source", folder / "target"
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target"]
    run(sys.executable, "-m", "pip", "install", *options, str(target), str(source))
    path = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def test_the_row_is_found_through_entry_points(installed, tmp_path):
    run(sys.executable, "-c", FOUND, env=installed, cwd=tmp_path)


@pytest.mark.slow
def test_the_plugins_own_tests_pass(installed):
    run(sys.executable, "-m", "pytest", "-o", "xfail_strict=true", env=installed, cwd=PLUGIN)


def test_without_the_plugin_its_operator_is_unknown(monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGIN))
    from squash import Squash

    from pipegrad.registry import lookup

    assert lookup(Squash) is None
