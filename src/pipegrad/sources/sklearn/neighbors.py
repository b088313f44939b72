"""Nearest neighbors, nearest centroids and kernel density estimates.

Stored rows are data and do not train: a row that was moved would be one that nobody observed.
Predictions are those of scikit-learn itself, ties included; steps before the neighbors train by
soft weights of the neighbors.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.neighbors._kd_tree import kernel_norm
from torch import Tensor, nn

from ...modules import (
    CentroidHead,
    CentroidScores,
    Head,
    IdentityHead,
    KernelDensity,
    LocalOutlierFactor,
    MultioutputHead,
    NeighborMean,
    OutlierHead,
    ProbabilityHead,
    RadiusMean,
    RegressionHead,
    VotesOfScores,
    WithGradientOf,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SKLEARN, SklearnTranslation, parse_version, validate
from ._neighbors import (
    Answers,
    Neighbors,
    metric_by_name,
    metric_of,
    stored_rows,
    without_metric,
)


def indicators(operator: Any) -> Tensor:
    """The classes of the stored rows, a column for each class of each target."""
    columns = operator._y.reshape(len(operator._y), -1).T
    classes = operator.classes_ if operator.outputs_2d_ else [operator.classes_]
    return to_tensor(
        np.hstack([np.eye(len(c))[place] for c, place in zip(classes, columns, strict=True)])
    )


class NeighborClassifier(Neighbors):
    """The score is the table of probabilities."""

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ()
    unchanged_attributes: ClassVar[Any] = {}

    def to_torch(self, operator: Any) -> nn.Module:
        return WithGradientOf(
            self.mean(operator, indicators(operator)), Answers(operator, "predict_proba")
        )

    def mean(self, operator: Any, values: Tensor) -> nn.Module:
        """Return the module of the mean of values of stored rows."""
        return neighbor_mean(operator, values)

    def head(self, operator: Any) -> Head:
        if operator.outputs_2d_:
            return MultioutputHead(tuple(len(labels) for labels in operator.classes_))
        return ProbabilityHead()

    def objective(self, operator: Any) -> Objective:
        counts = [len(labels) for labels in operator.classes_] if operator.outputs_2d_ else ()
        return Objective("brier_score", {"counts": tuple(counts)} if counts else {})


class NeighborRegressor(Neighbors):
    """The score is the mean target of the neighbors."""

    data = "regression"

    def to_torch(self, operator: Any) -> nn.Module:
        values = to_tensor(np.asarray(operator._y, dtype=np.float64))
        return WithGradientOf(self.mean(operator, values), Answers(operator, "predict"))

    def mean(self, operator: Any, values: Tensor) -> nn.Module:
        """Return the module of the mean of values of stored rows."""
        return neighbor_mean(operator, values)

    def head(self, operator: Any) -> Head:
        return RegressionHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("squared_error")


def neighbor_mean(operator: Any, values: Tensor) -> nn.Module:
    """The mean of values of a number of neighbors."""
    metric = metric_of(operator)
    assert metric is not None
    inverse = operator.weights == "distance"
    return NeighborMean(stored_rows(operator), values, operator.n_neighbors, metric, inverse)


def radius_mean(operator: Any, values: Tensor) -> nn.Module:
    """The mean of values of the stored rows within a radius."""
    metric = metric_of(operator)
    assert metric is not None
    inverse = operator.weights == "distance"
    return RadiusMean(stored_rows(operator), values, float(operator.radius), metric, inverse)


_NEIGHBORS = (
    {"n_neighbors": 3},
    {"weights": "distance", "metric": "chebyshev"},
    {"n_neighbors": 4, "algorithm": "brute", "metric": "cosine"},
    {"algorithm": "ball_tree", "p": 3, "leaf_size": 5},
    {"algorithm": "kd_tree", "p": 1, "weights": "distance"},
)
_METRICS = (
    {"metric": "sqeuclidean", "algorithm": "brute", "weights": "distance"},
    {"metric": "canberra", "weights": "distance"},
    {"metric": "braycurtis", "algorithm": "ball_tree"},
    {"metric": "correlation"},
    {"metric": "seuclidean", "metric_params": {"V": np.arange(1.0, 7.0)}},
    {
        "metric": "mahalanobis",
        "metric_params": {"V": np.diag(np.arange(1.0, 7.0))},
        "algorithm": "ball_tree",
    },
    {"p": 1.5, "metric_params": {"w": np.arange(6.0)}, "weights": "distance"},
    {"p": 0.5, "algorithm": "brute"},
)


@register("sklearn.neighbors.KNeighborsClassifier")
class KNeighborsClassifier(NeighborClassifier):
    """The votes of the nearest rows. Nothing is trainable; steps before it train by soft votes."""

    examples = (
        *_NEIGHBORS,
        Example({"metric": "precomputed"}, data="similarities_multiclass"),
        Example({"metric": "nan_euclidean"}, data="missing_binary", since="1.6"),
        Example({}, data="binary_strings"),
        Example({"weights": "distance"}, data="several"),
        Example({}, data="sparse_multiclass"),
    )


@register("sklearn.neighbors.KNeighborsRegressor")
class KNeighborsRegressor(NeighborRegressor):
    """The mean of the nearest rows. Nothing is trainable; steps before it train by soft weights."""

    examples = (
        *_NEIGHBORS,
        *_METRICS,
        Example({"metric": "precomputed"}, data="similarities"),
        Example({"metric": "nan_euclidean"}, data="missing", since="1.6"),
        Example({"weights": "distance"}, data="multioutput"),
        Example({}, data="sparse"),
    )


class Radius:
    """Means over the rows within a radius."""

    limit: ClassVar[str] = "radius"

    def mean(self, operator: Any, values: Tensor) -> nn.Module:
        """Return the module of the mean of values of stored rows."""
        return radius_mean(operator, values)


@register("sklearn.neighbors.RadiusNeighborsClassifier")
class RadiusNeighborsClassifier(Radius, NeighborClassifier):
    """The votes of the rows within a radius. Nothing is trainable."""

    examples = (
        {"radius": 150.0, "outlier_label": "most_frequent"},
        {"radius": 150.0, "weights": "distance", "p": 1, "outlier_label": "most_frequent"},
        Example({"radius": 3.0, "algorithm": "brute"}, data="sparse_multiclass"),
        Example({"radius": 500.0}, data="several"),
        Example({"radius": 50.0, "outlier_label": "cow"}),
        Example(
            {"radius": 50.0, "outlier_label": [3, 7, 1], "algorithm": "kd_tree"}, data="several"
        ),
    )

    def head(self, operator: Any) -> Head:
        head = super().head(operator)
        labels = _outlier_labels(operator)
        if any(label is not None and label not in classes for label, classes in labels):
            # Another label has no probability, so that the source itself predicts.
            head.responses = tuple(name for name in head.responses if name != "predict")
        return head


def _outlier_labels(operator: Any) -> list[tuple[Any, Any]]:
    labels = operator.outlier_label_
    if not operator.outputs_2d_:
        one = labels[0] if isinstance(labels, list | np.ndarray) else labels
        return [(one, operator.classes_)]
    several = labels if isinstance(labels, list | np.ndarray) else [labels] * len(operator.classes_)
    return list(zip(several, operator.classes_, strict=True))


@register("sklearn.neighbors.RadiusNeighborsRegressor")
class RadiusNeighborsRegressor(Radius, NeighborRegressor):
    """The mean of the rows within a radius; NaN where there is none. Nothing is trainable."""

    examples = (
        {"radius": 150.0},
        {"radius": 150.0, "weights": "distance"},
        Example({"radius": 500.0}, data="multioutput"),
        Example({"radius": 3.0}, data="sparse"),
    )


@register("sklearn.neighbors.LocalOutlierFactor")
class LocalOutlierFactorTranslation(Neighbors):
    """The score is the decision function for new rows. Nothing is trainable."""

    export_tolerance = 1e-10
    examples = (
        {"novelty": True, "n_neighbors": 5},
        {"novelty": True, "contamination": 0.2, "metric": "manhattan"},
        Example({"novelty": True, "n_neighbors": 5}, data="sparse"),
    )

    def refuse(self, operator: Any) -> str | None:
        if not operator.novelty:
            return "novelty=False scores its own training rows only"
        return super().refuse(operator)

    def to_torch(self, operator: Any) -> nn.Module:
        metric = metric_of(operator)
        assert metric is not None
        count = int(operator.n_neighbors_)
        smooth = LocalOutlierFactor(
            stored_rows(operator),
            to_tensor(np.asarray(operator._distances_fit_X_[:, count - 1], dtype=np.float64)),
            to_tensor(np.asarray(operator._lrd, dtype=np.float64)),
            float(operator.offset_),
            count,
            metric,
        )
        return WithGradientOf(smooth, Answers(operator, "decision_function"))

    def head(self, operator: Any) -> Head:
        return OutlierHead()


_HAS_PRIORS = parse_version("1.6") <= SKLEARN


@register("sklearn.neighbors.NearestCentroid")
class NearestCentroid(SklearnTranslation):
    """centroids_ train; scores are negative squared distances, plus constants of the priors."""

    data = "multiclass"
    sparse = True
    adds_entries = False
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    examples = (
        Example({}, data="similarities_multiclass"),
        {"metric": "manhattan"},
        Example({"shrink_threshold": 0.2}, data="similarities_multiclass"),
        Example({"priors": [0.2, 0.5, 0.3]}, since="1.6"),
        Example({"priors": "empirical", "metric": "manhattan"}, since="1.6"),
    )
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "distances to the sum of both use the norms of each"
    }
    unchanged_attributes: ClassVar[Any] = {
        "class_prior_": "the priors do not change",
        "within_class_std_dev_": "the spread of the training rows, which are not stored",
        "deviations_": "records how the centroids were shrunk",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        city_block = operator.metric == "manhattan"
        centroids = to_tensor(operator.centroids_)
        if _has_equal_priors(operator):
            return CentroidScores(centroids, power=2 - city_block, city_block=city_block)
        spread = np.where(operator.within_class_std_dev_ == 0, 1, operator.within_class_std_dev_)
        with np.errstate(divide="ignore"):
            # The source looks at the priors of its classes alone, however many were given.
            constant = 2.0 * np.log(operator.class_prior_[: len(operator.centroids_)])
        return CentroidScores(
            centroids, to_tensor(spread), to_tensor(constant), city_block=city_block
        )

    def write_back(self, module: CentroidScores, operator: Any) -> None:
        operator.centroids_ = to_array(module.centroids, operator.centroids_)

    def head(self, operator: Any) -> Head:
        if _has_equal_priors(operator) or operator.metric == "manhattan":
            # Its probabilities are of other distances than its predictions.
            return VotesOfScores()
        return CentroidHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("log_loss")


def _has_equal_priors(operator: Any) -> bool:
    if not _HAS_PRIORS:
        return True
    return bool(np.isclose(operator.class_prior_, 1 / len(operator.classes_)).all())


@register("sklearn.neighbors.KernelDensity")
class KernelDensityTranslation(SklearnTranslation):
    """The score is the logarithm of the density; bandwidth_ trains, and stored rows do not."""

    unchanged_attributes: ClassVar[Any] = {"tree_": "stored rows do not train"}
    tolerance = 1e-6  # The source stops adding terms at a relative error of rtol=1e-8.
    examples = (
        {"bandwidth": 20.0},
        {"bandwidth": 200.0, "kernel": "epanechnikov"},
        {"bandwidth": 200.0, "kernel": "exponential", "algorithm": "ball_tree"},
        {"bandwidth": 400.0, "kernel": "linear", "leaf_size": 5},
        {"bandwidth": 400.0, "kernel": "cosine", "metric": "manhattan"},
        {"bandwidth": 400.0, "kernel": "tophat", "breadth_first": False},
        {"bandwidth": "scott"},
        {"bandwidth": "silverman"},
        Example({"bandwidth": 20.0}, fit={"sample_weight": np.arange(80) + 1.0}),
    )

    def refuse(self, operator: Any) -> str | None:
        if metric_by_name(operator.metric, operator.metric_params) is None:
            return without_metric(operator.metric, operator.metric_params)
        if operator.atol > 0 or operator.rtol > 1e-6:
            return "atol and rtol let the source round its answers; the module gives exact ones"
        return None

    def is_differentiable(self, operator: Any) -> bool:
        metric = metric_by_name(operator.metric, operator.metric_params)
        return metric is not None and metric.smooth

    def encode(self, operator: Any, X: Any) -> Any:
        return validate(operator, X, dtype=np.float64)

    def to_torch(self, operator: Any) -> nn.Module:
        rows, weights = np.asarray(operator.tree_.data), operator.tree_.sample_weight
        shares = np.ones(len(rows)) if weights is None else np.asarray(weights)
        metric, width = metric_by_name(operator.metric, operator.metric_params), rows.shape[1]
        assert metric is not None
        with np.errstate(divide="ignore"):
            logs = np.log(shares / shares.sum())
        return KernelDensity(
            to_tensor(rows),
            to_tensor(logs),
            to_tensor(np.float64(operator.bandwidth_)),
            operator.kernel,
            -float(kernel_norm(1.0, width, operator.kernel, return_log=True)),
            metric,
        )

    def write_back(self, module: KernelDensity, operator: Any) -> None:
        operator.bandwidth_ = float(to_array(module.bandwidth()))

    def head(self, operator: Any) -> Head:
        return IdentityHead(responses=("score_samples",))
