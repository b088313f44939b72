"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import (
    additive,
    clusters,
    components,
    embeddings,
    isotonic,
    linear,
    margins,
    networks,
    survival,
    trees,
)

__all__ = [
    "additive",
    "clusters",
    "components",
    "embeddings",
    "isotonic",
    "linear",
    "margins",
    "networks",
    "survival",
    "trees",
]
