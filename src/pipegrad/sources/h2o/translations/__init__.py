"""Translations for H2O, one file per family of operators."""

from . import columns, isolation, models, predictors, trees

__all__ = ["columns", "isolation", "models", "predictors", "trees"]
