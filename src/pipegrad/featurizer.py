"""A predictor used as a featurizer, as in the paper's Figure 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone, is_classifier
from sklearn.utils.validation import check_is_fitted


def predictor_features(estimator: Any, X: Any) -> NDArray[Any]:
    """The outputs of a fitted predictor as feature columns.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier or regressor.
    X : array, DataFrame or sparse matrix
        Its input, n rows.

    Returns
    -------
    array of shape (n, k)
        Decision values and probabilities of a classifier, as far as it has them (for two classes,
        the probability of the second only); predictions of a regressor.
    """
    if not is_classifier(estimator):
        return _column(estimator.predict(X))
    columns = []
    if hasattr(estimator, "decision_function"):
        columns.append(_column(estimator.decision_function(X)))
    if hasattr(estimator, "predict_proba"):
        probabilities = estimator.predict_proba(X)
        for probability in probabilities if isinstance(probabilities, list) else [probabilities]:
            columns.append(probability[:, 1:] if probability.shape[1] == 2 else probability)
    return np.hstack(columns)


def _column(values: Any) -> NDArray[Any]:
    values = np.asarray(values)
    return values.reshape(-1, 1) if values.ndim == 1 else values


class Featurizer(MetaEstimatorMixin, TransformerMixin, BaseEstimator):
    """Turn a predictor into a transformer that returns its scores and probabilities.

    The predictor is trained on the pipeline's label, or on one derived from it. The paper's
    Figure 1 uses two linear classifiers in this way before a Poisson regression.

    Parameters
    ----------
    estimator : estimator
        A classifier or regressor, which is cloned.
    target : callable, optional
        Maps ``y`` (n,) to the label (n,) that the predictor learns; the identity by default.

    Attributes
    ----------
    estimator_ : estimator
        The fitted predictor.

    References
    ----------
    Yu et al., *Making Classical Machine Learning Pipelines Differentiable*, 2019, Figure 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> import pipegrad as pg
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 2, 7, 9])
    >>> busy = pg.Featurizer(LogisticRegression(), target=lambda y: y > 5)
    >>> busy.fit_transform(X, y).shape  # score and probability
    (4, 2)
    """

    def __init__(self, estimator: Any, target: Callable[[Any], Any] | None = None) -> None:
        self.estimator = estimator
        self.target = target

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Featurizer:
        """Fit a clone of the predictor on ``X`` (n, d) and the (derived) label."""
        label = y if self.target is None else self.target(y)
        self.estimator_ = clone(self.estimator).fit(X, label, **fit_params)
        self._n_outputs = 1 if np.ndim(label) < 2 else np.shape(label)[1]
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Score and probability columns, shape (n, k)."""
        check_is_fitted(self, "estimator_")
        return predictor_features(self.estimator_, X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names such as ``logisticregression_score_1`` and ``logisticregression_proba_1``."""
        check_is_fitted(self, "estimator_")
        prefix = type(self.estimator_).__name__.lower()
        if not is_classifier(self.estimator_):
            if self._n_outputs == 1:
                return np.array([f"{prefix}_prediction"], dtype=object)
            names = [f"{prefix}_prediction_{i}" for i in range(self._n_outputs)]
            return np.array(names, dtype=object)
        classes = list(self.estimator_.classes_)
        columns = classes[1:] if len(classes) == 2 else classes
        names = []
        if hasattr(self.estimator_, "decision_function"):
            names += [f"{prefix}_score_{c}" for c in columns]
        if hasattr(self.estimator_, "predict_proba"):
            names += [f"{prefix}_proba_{c}" for c in columns]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags

        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.target_tags.required = True
        return tags
