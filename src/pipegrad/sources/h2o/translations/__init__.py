"""Translations for H2O, one file per family of operators."""

from . import columns, composites, encoders, models, predictors, rules

__all__ = ["columns", "composites", "encoders", "models", "predictors", "rules"]
