"""The mathematics: modules named for what they compute, ignorant of where numbers come from."""

from ._base import Module, Positive, parameter
from ._calibration import LogOdds, OneVersusRest, PairwiseCoupling, PiecewiseLinear, Steps
from ._distances import Distances
from ._elementwise import Apply, Chain, Monomials, Threshold
from ._encoding import NONE, Bins, Codes, Lookup, OneHot
from ._factors import FieldFactorization, LocalMachine, StepFunctions
from ._formula import Formula
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
    SeveralTargets,
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
from ._keys import BestColumn, KeyAbove, KeyBits, KeyIndicator, KeyNumber
from ._linear import Linear
from ._normalizing import Affine, BinPosition, NormalDistribution, RowNorm
from ._power import BoxCox, InverseBoxCox, InverseYeoJohnson, YeoJohnson
from ._projection import Pattern, Projection, ResidualShare, SparseProjection
from ._scaling import NormalizeRows, Rescale, Standardize
from ._select import Select
from ._sparse import Block, SparseRows, dense
from ._structural import Average, Concatenate, Inverse, Labels, Predictor, Vote, bare
from .trees.boosting import Boosted, Isolation, LeafIndicators, WeightedMedian
from .trees.ensemble import TreeEnsemble
from .trees.features import AnyPositive, TreeFeatures
from .trees.relaxation import Routed, Splits, Way, take
from .trees.routing import AS_ZERO, NAN, ZERO
from .trees.simplex import Simplex

__all__ = [
    "AS_ZERO",
    "NAN",
    "NONE",
    "ZERO",
    "AdditiveChi2Features",
    "Affine",
    "AnyPositive",
    "Apply",
    "Average",
    "BestColumn",
    "BinPosition",
    "Binary",
    "Bins",
    "Block",
    "Boosted",
    "BoxCox",
    "Chain",
    "Codes",
    "Concatenate",
    "Distances",
    "FieldFactorization",
    "Formula",
    "Head",
    "Impute",
    "Inverse",
    "InverseBoxCox",
    "InverseYeoJohnson",
    "Isolation",
    "Kernel",
    "KernelFeatures",
    "KeyAbove",
    "KeyBits",
    "KeyIndicator",
    "KeyNumber",
    "Labels",
    "LeafIndicators",
    "Linear",
    "Linked",
    "LocalMachine",
    "LogOdds",
    "Lookup",
    "Mean",
    "Missing",
    "Module",
    "Monomials",
    "Multiclass",
    "Multilabel",
    "Nearest",
    "NormalDistribution",
    "NormalizeRows",
    "OneHot",
    "OneVersusRest",
    "Outliers",
    "PairwiseCoupling",
    "Pattern",
    "PiecewiseLinear",
    "PolynomialSketch",
    "Positive",
    "Predictor",
    "Probabilities",
    "Projection",
    "RandomFourierFeatures",
    "Raw",
    "Rescale",
    "ResidualShare",
    "Routed",
    "RowNorm",
    "Select",
    "SeveralTargets",
    "Share",
    "Simplex",
    "SparseProjection",
    "SparseRows",
    "Splits",
    "Standardize",
    "StepFunctions",
    "Steps",
    "Threshold",
    "TreeEnsemble",
    "TreeFeatures",
    "Vote",
    "Votes",
    "Way",
    "WeightedMedian",
    "YeoJohnson",
    "bare",
    "dense",
    "parameter",
    "take",
]
