"""The contract of a translation, over every row of the table and every example."""

import pytest

from pipegrad.testing import CHECKS, Case, cases

# Options of an operator seldom change whether these hold, and together they take half of the time.
SELDOM = {"export", "inference", "state"}


def pairs():
    """Every example with every check."""
    for case in cases("sklearn.*"):
        for name in CHECKS:
            marks = [pytest.mark.slow] if name in SELDOM and case.number else []
            yield pytest.param(case, name, marks=marks, id=f"{case}-{name}")


@pytest.mark.parametrize(("case", "check"), list(pairs()))
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)
