import pytest

from pipegrad.testing import CHECKS, Case, cases


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
@pytest.mark.parametrize("case", cases("lightgbm.*"), ids=str)
def test_contract(case: Case, check) -> None:
    check(case)
