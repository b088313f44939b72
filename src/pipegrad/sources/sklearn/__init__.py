"""Translations for scikit-learn, one file per family of operators."""

from ...registry import refuse
from .. import structural
from . import (
    boosting,
    cluster,
    composites,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    distributions,
    dummy,
    elementwise,
    encoders,
    ensembles,
    glm,
    imputation,
    isotonic,
    kernels,
    linear,
    linear_classifiers,
    linear_robust,
    mixture,
    naive_bayes,
    neural_network,
    power,
    scaling,
    selection,
    sgd,
    trees,
)
from ._base import SklearnTranslation
from .unsupported import REFUSED

refuse(REFUSED)

__all__ = [
    "SklearnTranslation",
    "boosting",
    "cluster",
    "composites",
    "cross_decomposition",
    "decomposition",
    "discriminant_analysis",
    "distributions",
    "dummy",
    "elementwise",
    "encoders",
    "ensembles",
    "glm",
    "imputation",
    "isotonic",
    "kernels",
    "linear",
    "linear_classifiers",
    "linear_robust",
    "mixture",
    "naive_bayes",
    "neural_network",
    "power",
    "scaling",
    "selection",
    "sgd",
    "structural",
    "trees",
]
