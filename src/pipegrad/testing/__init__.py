"""The contract of a translation as checks, which plug-ins can run as well."""

from .checks import (
    CHECKS,
    Case,
    cases,
    check_attributes,
    check_export,
    check_gradients,
    check_inputs,
    check_nothing_is_shared,
    check_parity,
    check_perturbed_round_trip,
    check_promises,
    check_state,
    check_translation,
    check_untouched_round_trip,
)
from .comparison import (
    METHODS,
    answers,
    assert_close,
    assert_same_answers,
    identical,
    learned,
    perturb,
)
from .datasets import DATASETS, ROWS

__all__ = [
    "CHECKS",
    "DATASETS",
    "METHODS",
    "ROWS",
    "Case",
    "answers",
    "assert_close",
    "assert_same_answers",
    "cases",
    "check_attributes",
    "check_export",
    "check_gradients",
    "check_inputs",
    "check_nothing_is_shared",
    "check_parity",
    "check_perturbed_round_trip",
    "check_promises",
    "check_state",
    "check_translation",
    "check_untouched_round_trip",
    "identical",
    "learned",
    "perturb",
]
