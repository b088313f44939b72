"""Translations for H2O, one file per family of operators."""

from . import boosters, columns, isolation, models, predictors, trees

__all__ = ["boosters", "columns", "isolation", "models", "predictors", "trees"]
