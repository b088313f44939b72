"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import (
    answers,
    clusters,
    components,
    composites,
    encoders,
    isolation,
    linear,
    networks,
    rules,
    survival,
    trees,
)

__all__ = [
    "answers",
    "clusters",
    "components",
    "composites",
    "encoders",
    "isolation",
    "linear",
    "networks",
    "rules",
    "survival",
    "trees",
]
