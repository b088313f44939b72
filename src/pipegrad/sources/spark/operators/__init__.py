"""The stages of Spark that have translations, one file per family; each registers its readers."""

from . import (
    categories,
    clusters,
    columns,
    composites,
    hashes,
    linear,
    naive_bayes,
    networks,
    recommendation,
    scaling,
    sql,
    texts,
    topics,
    trees,
)

__all__ = [
    "categories",
    "clusters",
    "columns",
    "composites",
    "hashes",
    "linear",
    "naive_bayes",
    "networks",
    "recommendation",
    "scaling",
    "sql",
    "texts",
    "topics",
    "trees",
]
