"""A transformer that brings outliers close to the rest; it knows nothing of pipegrad."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

__all__ = ["Squash"]


class Squash(TransformerMixin, BaseEstimator):
    """``height * tanh((x - center_) / width_)``, column by column.

    Parameters
    ----------
    height : float
        What comes out lies between ``-height`` and ``height``.
    """

    def __init__(self, height: float = 1.0) -> None:
        self.height = height

    def fit(self, X: Any, y: Any = None) -> Squash:
        X = check_array(X, dtype=float)
        self.n_features_in_ = X.shape[1]
        self.center_ = np.median(X, axis=0)
        self.width_ = X.std(axis=0) + 1e-12
        return self

    def transform(self, X: Any) -> Any:
        check_is_fitted(self)
        X = check_array(X, dtype=float)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {X.shape[1]} columns, not {self.n_features_in_}.")
        return self.height * np.tanh((X - self.center_) / self.width_)
