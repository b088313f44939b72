"""scikit-learn: a file for each family of operators."""

from ...registry import refuse
from .. import glue
from . import (
    boosting,
    cluster,
    composites,
    decomposition,
    elementwise,
    encoders,
    ensembles,
    glm,
    imputation,
    kernels,
    linear,
    linear_classifiers,
    linear_robust,
    power,
    scaling,
    selection,
    stochastic,
    trees,
)
from ._base import SklearnTranslation
from .refused import REFUSED

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
    "glm",
    "glue",
    "imputation",
    "kernels",
    "linear",
    "linear_classifiers",
    "linear_robust",
    "power",
    "scaling",
    "selection",
    "stochastic",
    "trees",
]
