"""The contract of a translation, over every row of the table and every example."""

from helpers import contract_of
from pipegrad.testing import CHECKS, Case


@contract_of("sklearn.*")
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)
