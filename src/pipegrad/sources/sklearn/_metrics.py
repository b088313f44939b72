"""The distances that estimators with stored rows know by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...modules import Metric
from ..arrays import to_tensor

_METRICS: dict[str, Metric] = {
    "euclidean": Metric(),
    "l2": Metric(),
    "manhattan": Metric(power=1),
    "cityblock": Metric(power=1),
    "l1": Metric(power=1),
    "chebyshev": Metric("chebyshev"),
    "cosine": Metric("cosine"),
    "correlation": Metric("correlation"),
    "sqeuclidean": Metric("sqeuclidean"),
    "canberra": Metric("canberra"),
    "braycurtis": Metric("braycurtis"),
    "haversine": Metric("haversine"),
    "infinity": Metric("chebyshev"),
    "precomputed": Metric("precomputed"),
}


def metric_of(operator: Any) -> Metric | None:
    """The distance of an operator; None if there is no module of it."""
    options = dict(operator.effective_metric_params_ or {})
    return named_metric(operator.effective_metric_, options)


def named_metric(name: Any, options: dict[str, Any]) -> Metric | None:
    """The distance of a name and its options; None if there is no module of it."""
    given = {key: value for key, value in options.items() if value is not None and key != "p"}
    if name in ("minkowski", "p"):
        return _minkowski(float(options.get("p", 2)), given)
    if name in ("seuclidean", "mahalanobis"):
        return _mapped(name, given)
    if given or not isinstance(name, str):
        return None
    return _METRICS.get(name)


def _minkowski(power: float, options: dict[str, Any]) -> Metric | None:
    """The Minkowski distance, which may have weights of the columns."""
    weights = options.pop("w", None)
    if options:
        return None
    if weights is None:
        return Metric(power=power)
    factors = np.asarray(weights, dtype=np.float64) ** (0 if math.isinf(power) else 1 / power)
    return Metric(power=power, map=to_tensor(np.diag(factors)))


def _mapped(name: str, options: dict[str, Any]) -> Metric | None:
    """A distance that is Euclidean after a linear map."""
    if name == "seuclidean" and set(options) == {"V"}:
        return Metric(map=to_tensor(np.diag(np.asarray(options["V"], dtype=np.float64) ** -0.5)))
    if name == "mahalanobis" and set(options) in ({"V"}, {"VI"}):
        matrix = options["VI"] if "VI" in options else np.linalg.inv(options["V"])
        values, vectors = np.linalg.eigh(np.asarray(matrix, dtype=np.float64))
        return Metric(map=to_tensor(vectors * np.sqrt(np.maximum(values, 0))))
    return None
