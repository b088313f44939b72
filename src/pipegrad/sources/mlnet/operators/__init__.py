"""ML.NET's operators as plain data, one file per family; reading them does not need torch."""

from . import (
    calibrators,
    categories,
    combinations,
    expression,
    factors,
    linear,
    normalizers,
    plumbing,
    projections,
    scoring,
    trees,
)

__all__ = [
    "calibrators",
    "categories",
    "combinations",
    "expression",
    "factors",
    "linear",
    "normalizers",
    "plumbing",
    "projections",
    "scoring",
    "trees",
]
