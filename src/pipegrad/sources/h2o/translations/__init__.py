"""Translations for H2O, one file per family of operators."""

from . import columns, models, predictors, trees

__all__ = ["columns", "models", "predictors", "trees"]
