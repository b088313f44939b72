"""Translations for ML.NET, one file per family of operators."""

from . import columns, models, predictors, scaling, trees

__all__ = ["columns", "models", "predictors", "scaling", "trees"]
