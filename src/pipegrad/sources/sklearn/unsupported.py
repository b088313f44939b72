"""The public estimators of scikit-learn without a translation, each with the reason.

Before the first trained step they are still allowed; there they run once, in scikit-learn.
"""

from __future__ import annotations

_NO_NEW_ROWS = (
    "cannot be applied to new samples: it only says something about the rows of its own fit"
)

_BY_REASON: dict[str, tuple[str, ...]] = {
    _NO_NEW_ROWS: (
        "cluster.AgglomerativeClustering",
        "cluster.DBSCAN",
        "cluster.HDBSCAN",
        "cluster.OPTICS",
        "cluster.SpectralBiclustering",
        "cluster.SpectralClustering",
        "cluster.SpectralCoclustering",
        "manifold.ClassicalMDS",
        "manifold.MDS",
        "manifold.SpectralEmbedding",
        "manifold.TSNE",
    ),
}

REFUSED: dict[str, str] = {
    f"sklearn.{name}": reason for reason, names in _BY_REASON.items() for name in names
}
"""Maps dotted names to reasons."""
