"""Translations for H2O, one file per family of operators."""

from . import clusters, columns, models, networks, predictors, survival, trees

__all__ = ["clusters", "columns", "models", "networks", "predictors", "survival", "trees"]
