"""What docs/adding-a-source.md promises: its code, as it stands there, makes a source."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

from pipegrad import registry, source_catalog
from pipegrad.source_catalog import Source

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-source.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```py\n# (\w+)\.py\n(.*?)```", PAGE, flags=re.DOTALL)
MODULES = ("abacus", "abacus_source", "test_abacus")


def code_of(name: str) -> str:
    """All blocks of the page that belong to one file."""
    return "\n\n".join(code for file, code in BLOCKS if file == name)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The library and the files of the page, for as long as the test runs."""
    for name in ("abacus_source", "test_abacus"):
        (tmp_path / f"{name}.py").write_text(code_of(name), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy_source"))
    importlib.invalidate_caches()
    list(registry.rows())  # what loads late would otherwise be forgotten with the copy
    monkeypatch.setattr(registry, "_ROWS", dict(registry._ROWS))
    monkeypatch.setattr(registry, "_LOADED", set(registry._LOADED))
    entry = eval(code_of("source_catalog"), {"Source": Source})
    monkeypatch.setattr(source_catalog, "SOURCES", (*source_catalog.SOURCES, entry))
    registry._FOUND.clear()
    yield entry
    registry._FOUND.clear()
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["test_operators", "test_chain", "test_file"])
def test_the_tests_of_the_page_pass(source, tmp_path, name):
    test = getattr(importlib.import_module("test_abacus"), name)
    test(**dict.fromkeys(inspect.signature(test).parameters, tmp_path))


def test_the_source_is_imported_when_one_of_its_objects_is_met(source):
    abacus = importlib.import_module("abacus")
    assert source.module not in sys.modules
    assert registry.lookup(abacus.Scaler) is not None
    assert source.module in sys.modules


def test_every_block_of_the_page_is_run():
    assert PAGE.count("```py\n") == len(BLOCKS)
    assert {name for name, _ in BLOCKS} == {"abacus_source", "test_abacus", "source_catalog"}
    defined = re.findall(r"^def (test_\w+)", code_of("test_abacus"), flags=re.MULTILINE)
    assert defined == ["test_operators", "test_chain", "test_file"]
