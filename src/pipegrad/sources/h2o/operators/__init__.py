"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import (
    additive,
    answers,
    boosters,
    clusters,
    components,
    composites,
    embeddings,
    encoders,
    isolation,
    isotonic,
    linear,
    margins,
    networks,
    rules,
    survival,
    trees,
)

__all__ = [
    "additive",
    "answers",
    "boosters",
    "clusters",
    "components",
    "composites",
    "embeddings",
    "encoders",
    "isolation",
    "isotonic",
    "linear",
    "margins",
    "networks",
    "rules",
    "survival",
    "trees",
]
