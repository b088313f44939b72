"""The mathematics: modules named for what they compute, ignorant of where numbers come from."""

from ._base import Module, Positive, parameter
from ._boosting import Boosted, Isolation, LeafIndicators, WeightedMedian
from ._distances import Distances
from ._elementwise import Apply, Chain, Monomials, Threshold
from ._encoding import NONE, Bins, Codes, Lookup, OneHot
from ._glue import Average, Concatenate, Inverse, Labels, Predictor, Vote
from ._heads import (
    Binary,
    Head,
    Linked,
    Mean,
    Multiclass,
    Multilabel,
    Nearest,
    Outliers,
    Probabilities,
    Raw,
    Share,
    Votes,
)
from ._imputation import Impute, Missing
from ._kernels import (
    AdditiveChi2Features,
    Kernel,
    KernelFeatures,
    PolynomialSketch,
    RandomFourierFeatures,
)
from ._linear import Linear
from ._power import BoxCox, InverseBoxCox, InverseYeoJohnson, YeoJohnson
from ._projection import Pattern, Projection, SparseProjection
from ._scaling import NormalizeRows, Rescale, Standardize
from ._select import Select
from ._sparse import Block, SparseRows, dense
from ._trees import AS_ZERO, NAN, ZERO, Simplex, TreeEnsemble

__all__ = [
    "AS_ZERO",
    "NAN",
    "NONE",
    "ZERO",
    "AdditiveChi2Features",
    "Apply",
    "Average",
    "Binary",
    "Bins",
    "Block",
    "Boosted",
    "BoxCox",
    "Chain",
    "Codes",
    "Concatenate",
    "Distances",
    "Head",
    "Impute",
    "Inverse",
    "InverseBoxCox",
    "InverseYeoJohnson",
    "Isolation",
    "Kernel",
    "KernelFeatures",
    "Labels",
    "LeafIndicators",
    "Linear",
    "Linked",
    "Lookup",
    "Mean",
    "Missing",
    "Module",
    "Monomials",
    "Multiclass",
    "Multilabel",
    "Nearest",
    "NormalizeRows",
    "OneHot",
    "Outliers",
    "Pattern",
    "PolynomialSketch",
    "Positive",
    "Predictor",
    "Probabilities",
    "Projection",
    "RandomFourierFeatures",
    "Raw",
    "Rescale",
    "Select",
    "Share",
    "Simplex",
    "SparseProjection",
    "SparseRows",
    "Standardize",
    "Threshold",
    "TreeEnsemble",
    "Vote",
    "Votes",
    "WeightedMedian",
    "YeoJohnson",
    "dense",
    "parameter",
]
