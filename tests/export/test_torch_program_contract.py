"""Every row of the mapping table as a program of torch."""

from __future__ import annotations

from pathlib import Path

import pipegrad as pg
from helpers import first_examples
from pipegrad.export.host_steps import NOT_IN_TORCH
from pipegrad.registry import Translation, rows
from pipegrad.testing.program_check import check_program

QUICK = {
    "sklearn.preprocessing.OneHotEncoder",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.tree.DecisionTreeClassifier",
}


@first_examples(QUICK)
def test_torch_answers_as_the_operator(case):
    check_program(case)


def test_at_least_90_of_100_rows_have_a_program():
    names = [row.name for row in pg.supported()]
    table = dict(rows())
    lacking = [
        name
        for name in names
        if name in NOT_IN_TORCH
        or (isinstance(table[name], Translation) and table[name].not_exported)
    ]
    assert len(lacking) <= 0.1 * len(names), lacking
    page = " ".join((Path(__file__).parents[2] / "docs" / "deploy.md").read_text("utf-8").split())
    assert f"{len(names) - len(lacking)} of the {len(names)} classes" in page
