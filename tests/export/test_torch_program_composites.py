"""Composites, which unfold into their parts, as programs of torch."""

from __future__ import annotations

import pytest

from composite_cases import CASES
from pipegrad.export.measured import source_answers
from pipegrad.export.torch_program import torch_program
from pipegrad.testing import DATASETS, assert_close
from pipegrad.testing.program_check import running

# Of members, searches and imputers that stop early.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "several targets" else pytest.mark.slow) for n in CASES],
)
def test_parts_answer_together_as_the_composite(name):
    data, model = CASES[name]
    X, y = DATASETS[data]()
    model = model.fit(X) if name == "IterativeImputer" else model.fit(X, y)
    run = running(torch_program(model, dtype=None, rows=None, compiled=False))
    ours = run(X)
    for output, theirs in source_answers(model, X, list(ours)).items():
        if theirs.dtype.kind == "f":
            assert_close(ours[output], theirs, 1e-12, output)
        else:
            assert (ours[output] == theirs).all(), output
    usual = {output: value.shape[1:] for output, value in ours.items()}
    assert {o: v.shape for o, v in run(X[:0]).items()} == {o: (0, *s) for o, s in usual.items()}
