"""Operators of ML.NET as plain data, a file for each family; torch is not needed to read them."""

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
