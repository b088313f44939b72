"""Every translation of a part of a model file is met in a file that the library saved."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import pytest

import pipegrad as pg
from pipegrad.registry import Expansion, rows
from pipegrad.sources.named.operators import Operator

DATA = Path(__file__).parents[1] / "data"
PATTERNS = {"mlnet": "*.zip", "spark": "*.spark", "h2o": "*.zip"}
SOURCES = tuple(f"pipegrad.sources.{name}." for name in ("named", *PATTERNS))
# Met in files made by hand alone.
BY_HAND = {
    "pipegrad.sources.mlnet.operators.categories.LookupText",
    "pipegrad.sources.mlnet.operators.plumbing.Truth",
}


def nested(operator):
    yield operator
    for part in operator.held():
        if isinstance(part, Operator):
            yield from nested(part)


@pytest.fixture(scope="module")
def met():
    found = set()
    for source, pattern in PATTERNS.items():
        for path in sorted((DATA / source).glob(pattern)):
            with contextlib.suppress(pg.UntranslatableError):
                net = pg.to_torch(path)
            for step in net.graph:
                found.update(type(operator) for operator in nested(step.operator))
    gc.collect()
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in found}


def test_every_row_has_an_example_among_the_files(met):
    named = {
        name for name, row in rows() if name.startswith(SOURCES) and not isinstance(row, Expansion)
    }
    assert named - met - BY_HAND == set()
