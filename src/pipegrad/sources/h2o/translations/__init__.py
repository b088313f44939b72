"""Translations for H2O, one file per family of operators."""

from . import (
    additive,
    boosters,
    clusters,
    columns,
    composites,
    embeddings,
    encoders,
    isolation,
    low_rank,
    models,
    networks,
    predictors,
    rules,
    survival,
    trees,
)

__all__ = [
    "additive",
    "boosters",
    "clusters",
    "columns",
    "composites",
    "embeddings",
    "encoders",
    "isolation",
    "low_rank",
    "models",
    "networks",
    "predictors",
    "rules",
    "survival",
    "trees",
]
