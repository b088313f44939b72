"""Translations for H2O, one file per family of operators."""

from . import (
    additive,
    clusters,
    columns,
    embeddings,
    models,
    networks,
    predictors,
    survival,
    trees,
)

__all__ = [
    "additive",
    "clusters",
    "columns",
    "embeddings",
    "models",
    "networks",
    "predictors",
    "survival",
    "trees",
]
