"""The rows for ML.NET: a file for each family of operators."""

from . import columns, models, predictors, scaling, trees

__all__ = ["columns", "models", "predictors", "scaling", "trees"]
