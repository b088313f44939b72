"""Translations for Spark, one file per family of operators."""

from . import categories, columns, models, predictors, scaling, trees

__all__ = ["categories", "columns", "models", "predictors", "scaling", "trees"]
