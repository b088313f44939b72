"""Translations for scikit-learn, one file per family of operators."""

from ...registry import refuse
from .. import structural
from . import (
    boosting,
    cluster,
    composites,
    decomposition,
    elementwise,
    encoders,
    ensembles,
    gaussian_process,
    glm,
    imputation,
    kernel_machines,
    kernels,
    linear,
    linear_classifiers,
    linear_robust,
    neighbors,
    power,
    scaling,
    selection,
    sgd,
    svm,
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
    "decomposition",
    "elementwise",
    "encoders",
    "ensembles",
    "gaussian_process",
    "glm",
    "imputation",
    "kernel_machines",
    "kernels",
    "linear",
    "linear_classifiers",
    "linear_robust",
    "neighbors",
    "power",
    "scaling",
    "selection",
    "sgd",
    "structural",
    "svm",
    "trees",
]
