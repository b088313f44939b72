"""Targets that an operator is not fitted on, although each of them is in the range of its loss."""

from __future__ import annotations

from typing import Any

import numpy as np


def one_class(classes: Any) -> str | None:
    """Rows of a single class."""
    return "are of one class only" if len(np.unique(classes)) < 2 else None


def all_zero(counts: Any) -> str | None:
    """Counts that are all zero, whose logarithm has no best value."""
    return None if np.any(counts) else "are all zero"


def constant(values: Any) -> str | None:
    """The same number for all rows."""
    return "are all equal" if np.all(values == values[:1]) else None
