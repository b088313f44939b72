"""Translations for H2O, one file per family of operators."""

from . import (
    clusters,
    columns,
    composites,
    encoders,
    isolation,
    models,
    networks,
    predictors,
    rules,
    survival,
    trees,
)

__all__ = [
    "clusters",
    "columns",
    "composites",
    "encoders",
    "isolation",
    "models",
    "networks",
    "predictors",
    "rules",
    "survival",
    "trees",
]
