"""Translations for Spark, one file per family of operators."""

from . import categories, columns, documents, models, predictors, scaling, trees

__all__ = ["categories", "columns", "documents", "models", "predictors", "scaling", "trees"]
