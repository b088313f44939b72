"""What models that are fitted already, such as model files, are to scikit-learn."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if

from ..module import PipelineModule
from ..registry import lookup
from ..source_catalog import source_of
from ..source_methods import source_has
from ..typing import Features, Targets

_KINDS = {"classification": "classifier", "regression": "regressor", "clustering": "clusterer"}


def is_fitted_already(estimator: Any) -> bool:
    """Whether an object is the path of a model, or a fitted model that is not fitted anew."""
    if isinstance(estimator, str | os.PathLike):
        return True
    if isinstance(estimator, type | PipelineModule):
        return False
    catalogued = source_of(type(estimator))
    if catalogued is not None and catalogued.object_loader:
        fitted: bool = import_module(catalogued.object_loader).is_fitted(estimator)
        return fitted
    return not hasattr(estimator, "fit") and lookup(type(estimator)) is not None


class FittedModel(BaseEstimator):
    """A module with the tags of scikit-learn, for what asks an estimator for its kind.

    Parameters
    ----------
    net : PipelineModule
        The module.
    """

    def __init__(self, net: PipelineModule) -> None:
        self.net = net

    def fit(self, X: Features, y: Targets = None) -> FittedModel:
        """Change nothing."""
        return self

    def _offers(self, method: str) -> bool:
        return hasattr(self.net, method)

    def predict(self, X: Features) -> Any:
        """Predictions of the module."""
        return self.net.predict(X)

    @available_if(source_has("predict_proba"))
    def predict_proba(self, X: Features) -> Any:
        """Class probabilities of the module."""
        return self.net.predict_proba(X)

    @available_if(source_has("decision_function"))
    def decision_function(self, X: Features) -> Any:
        """Decision values of the module."""
        return self.net.decision_function(X)

    @property
    def classes_(self) -> Any:
        """The class labels."""
        return self.net.classes_

    @property
    def _kind(self) -> str | None:
        return None if self.net.head is None else _KINDS.get(self.net.head.task)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = self._kind
        tags.classifier_tags = ClassifierTags() if self._kind == "classifier" else None
        tags.regressor_tags = RegressorTags() if self._kind == "regressor" else None
        return tags

    # scikit-learn before 1.6 uses this instead.

    @property
    def _estimator_type(self) -> str | None:
        return self._kind
