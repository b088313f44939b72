"""The public estimators of scikit-learn without a translation, each with the reason.

Before the first trained step they are still allowed; there they run once, in scikit-learn.
"""

from __future__ import annotations

_NEIGHBORS = "predicts from stored neighbors; no module yet"
_TEXT = "reads text or dictionaries, which have no gradient"
_NO_NEW_ROWS = "cannot be applied to new samples"
_DENSITY = "estimates a density, covariance or outliers; no module yet"
_KERNEL_MACHINE = "predicts from stored support vectors or training rows; no module yet"
_DECOMPOSITION = "runs a solver for each new sample, or has no module yet"
_META = "a composite without an expansion yet"
_ELEMENT = "a transformer without a module yet"

_BY_REASON: dict[str, tuple[str, ...]] = {
    _NEIGHBORS: (
        "impute.KNNImputer",
        "neighbors.KNeighborsTransformer",
        "neighbors.NearestNeighbors",
        "neighbors.NeighborhoodComponentsAnalysis",
        "neighbors.RadiusNeighborsTransformer",
    ),
    _TEXT: (
        "feature_extraction.DictVectorizer",
        "feature_extraction.FeatureHasher",
        "feature_extraction.image.PatchExtractor",
        "feature_extraction.text.CountVectorizer",
        "feature_extraction.text.HashingVectorizer",
        "feature_extraction.text.TfidfVectorizer",
    ),
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
    _DENSITY: (
        "covariance.EllipticEnvelope",
        "covariance.EmpiricalCovariance",
        "covariance.GraphicalLasso",
        "covariance.GraphicalLassoCV",
        "covariance.LedoitWolf",
        "covariance.MinCovDet",
        "covariance.OAS",
        "covariance.ShrunkCovariance",
    ),
    _KERNEL_MACHINE: (
        "semi_supervised.LabelPropagation",
        "semi_supervised.LabelSpreading",
    ),
    _DECOMPOSITION: (
        "manifold.Isomap",
        "manifold.LocallyLinearEmbedding",
    ),
    _META: (
        "calibration.CalibratedClassifierCV",
        "model_selection.FixedThresholdClassifier",
        "model_selection.TunedThresholdClassifierCV",
        "multiclass.OneVsOneClassifier",
        "multiclass.OneVsRestClassifier",
        "multiclass.OutputCodeClassifier",
        "multioutput.ClassifierChain",
        "multioutput.MultiOutputClassifier",
        "multioutput.MultiOutputRegressor",
        "multioutput.RegressorChain",
        "semi_supervised.SelfTrainingClassifier",
    ),
    _ELEMENT: (
        "feature_extraction.text.TfidfTransformer",
        "preprocessing.LabelEncoder",
        "preprocessing.MultiLabelBinarizer",
    ),
}

REFUSED: dict[str, str] = {
    f"sklearn.{name}": reason for reason, names in _BY_REASON.items() for name in names
}
"""Maps dotted names to reasons."""
