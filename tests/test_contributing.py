"""What CONTRIBUTING.md promises: an operator in fifteen lines, which keep the contract."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from pipegrad import registry

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The files of the document, importable for as long as the test runs."""
    for name, code in FILES:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    list(registry.rows())  # what loads late would otherwise be forgotten with the copy
    monkeypatch.setattr(registry, "_ROWS", dict(registry._ROWS))
    yield
    registry._FOUND.clear()
    for name, _ in FILES:
        sys.modules.pop(name, None)


def test_the_operator_of_the_document_keeps_the_contract(package):
    test = importlib.import_module("test_my_translations")
    test.test_median_scaler()


def test_the_translation_has_fifteen_lines_at_most():
    code = dict(FILES)["my_translations"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


def test_all_python_blocks_are_run():
    assert [name for name, _ in FILES] == ["my_package", "my_translations", "test_my_translations"]
    assert TEXT.count("```python") == len(FILES)


def test_test_files_have_names_of_their_own():
    """Python imports them by these names, the first of two for both."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names))
