"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import (
    additive,
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
