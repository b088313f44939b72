"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import (
    additive,
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
    "additive",
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
