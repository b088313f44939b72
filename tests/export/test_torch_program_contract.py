"""Every row of the mapping table as a program of torch."""

from __future__ import annotations

import pytest

from pipegrad.testing import cases
from pipegrad.testing.program_check import check_program

FIRST = [case for case in cases() if case.number == 0 and not case.name.startswith("pipegrad.")]
QUICK = {
    "sklearn.preprocessing.OneHotEncoder",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.tree.DecisionTreeClassifier",
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=() if case.name in QUICK else pytest.mark.slow)
        for case in FIRST
    ],
)
def test_torch_answers_as_the_operator(case):
    check_program(case)
