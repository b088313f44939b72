"""The contract of a translation, over every row of the table and every example."""

import pytest

from pipegrad.testing import CHECKS, Case, cases


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
@pytest.mark.parametrize("case", cases("sklearn.*"), ids=str)
def test_contract(case: Case, check) -> None:
    check(case)
