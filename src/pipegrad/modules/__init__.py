"""The mathematics: modules named after what they compute, independent of any source library."""

from ._base import Module, NonNegative, Positive, parameter
from ._calibration import LogOdds, OneVersusRest, PairwiseCoupling, PiecewiseLinear, StepFunction
from ._constant import Constant, ConstantProbabilities
from ._distances import Distances
from ._elementwise import Elementwise, Monomials, Sequential, Threshold
from ._encoding import NONE, Bins, Lookup, OneHot, OrdinalEncode
from ._evaluation import evaluation_view, preserved_modes
from ._events import BernoulliEvents, CategoryEvents, ComplementEvents, MultinomialEvents
from ._factorization import Factorization, NonNegativeWeights
from ._factors import FieldFactorization, LocalDeepSVM, StepFunctions
from ._formula import ExpressionProgram
from ._gaussian_process import (
    ClassShares,
    CombinedCovariance,
    ConstantCovariance,
    Covariance,
    DotProductCovariance,
    GaussianProcess,
    LaplaceClassifier,
    NamedCovariance,
    StationaryCovariance,
    WhiteNoise,
)
from ._gaussians import DiagonalGaussians, FullGaussians
from ._heads import (
    BernoulliHead,
    Head,
    IdentityHead,
    LinkHead,
    MulticlassHead,
    MultilabelHead,
    MultioutputHead,
    NearestHead,
    OutlierHead,
    ProbabilityHead,
    RegressionHead,
    ShareHead,
    VotesHead,
)
from ._imputation import Impute, Missing
from ._isotonic import MonotoneInterpolation
from ._kernels import (
    AdditiveChi2Features,
    Kernel,
    KernelCentering,
    KernelFeatures,
    PolynomialSketch,
    RandomFourierFeatures,
)
from ._keys import BestColumn, KeyAbove, KeyBits, KeyIndicator, KeyNumber
from ._likelihood import DiscriminantHead, JointLogLikelihood, LikelihoodHead, LogProbabilities
from ._linear import Linear
from ._neighbors import (
    CentroidHead,
    CentroidScores,
    KernelDensity,
    LocalOutlierFactor,
    Metric,
    NeighborMean,
    RadiusMean,
    VotesOfScores,
    WithGradientOf,
)
from ._normalizing import Affine, BinPosition, NormalDistribution, RowNorm
from ._one_vs_one import OneVsOneHead, PlattScaling, coupled_probabilities
from ._perceptron import MultilayerPerceptron
from ._pooling import PooledColumns
from ._power import BoxCox, InverseBoxCox, InverseYeoJohnson, YeoJohnson
from ._processes import sent_as_copy
from ._projection import (
    FactorScores,
    Projection,
    ReconstructionError,
    RidgeScores,
    SparseParameter,
    SparseProjection,
)
from ._quantiles import QuantileRanks, QuantilesOfRanks
from ._scaling import NormalizeRows, Rescale, Standardize
from ._select import Select
from ._settings import settle_after_fork, standard_settings, tensors_on_cpu
from ._sparse import Block, SparseRows, dense
from ._sparse_codes import Coding, SparseCodes
from ._splines import SplineBasis
from ._structural import Average, Concatenate, Inverse, Labels, Predictor, Vote, unwrap_head
from ._support_vectors import SupportVectorMachine
from ._topics import Inference, TopicShares
from .trees.boosting import InitializedBoosting, Isolation, LeafIndicators, WeightedMedian
from .trees.ensemble import TreeEnsemble
from .trees.features import AnyPositive, TreeFeatures
from .trees.order import LeafOrder
from .trees.relaxation import LeafIndices, SplitMode, SplitRelaxation, take
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
    "Average",
    "BernoulliEvents",
    "BernoulliHead",
    "BestColumn",
    "BinPosition",
    "Bins",
    "Block",
    "BoxCox",
    "CategoryEvents",
    "CentroidHead",
    "CentroidScores",
    "ClassShares",
    "Coding",
    "CombinedCovariance",
    "ComplementEvents",
    "Concatenate",
    "Constant",
    "ConstantCovariance",
    "ConstantProbabilities",
    "Covariance",
    "DiagonalGaussians",
    "DiscriminantHead",
    "Distances",
    "DotProductCovariance",
    "Elementwise",
    "ExpressionProgram",
    "FactorScores",
    "Factorization",
    "FieldFactorization",
    "FullGaussians",
    "GaussianProcess",
    "Head",
    "IdentityHead",
    "Impute",
    "Inference",
    "InitializedBoosting",
    "Inverse",
    "InverseBoxCox",
    "InverseYeoJohnson",
    "Isolation",
    "JointLogLikelihood",
    "Kernel",
    "KernelCentering",
    "KernelDensity",
    "KernelFeatures",
    "KeyAbove",
    "KeyBits",
    "KeyIndicator",
    "KeyNumber",
    "Labels",
    "LaplaceClassifier",
    "LeafIndicators",
    "LeafIndices",
    "LeafOrder",
    "LikelihoodHead",
    "Linear",
    "LinkHead",
    "LocalDeepSVM",
    "LocalOutlierFactor",
    "LogOdds",
    "LogProbabilities",
    "Lookup",
    "Metric",
    "Missing",
    "Module",
    "Monomials",
    "MonotoneInterpolation",
    "MulticlassHead",
    "MultilabelHead",
    "MultilayerPerceptron",
    "MultinomialEvents",
    "MultioutputHead",
    "NamedCovariance",
    "NearestHead",
    "NeighborMean",
    "NonNegative",
    "NonNegativeWeights",
    "NormalDistribution",
    "NormalizeRows",
    "OneHot",
    "OneVersusRest",
    "OneVsOneHead",
    "OrdinalEncode",
    "OutlierHead",
    "PairwiseCoupling",
    "PiecewiseLinear",
    "PlattScaling",
    "PolynomialSketch",
    "PooledColumns",
    "Positive",
    "Predictor",
    "ProbabilityHead",
    "Projection",
    "QuantileRanks",
    "QuantilesOfRanks",
    "RadiusMean",
    "RandomFourierFeatures",
    "ReconstructionError",
    "RegressionHead",
    "Rescale",
    "RidgeScores",
    "RowNorm",
    "Select",
    "Sequential",
    "ShareHead",
    "Simplex",
    "SparseCodes",
    "SparseParameter",
    "SparseProjection",
    "SparseRows",
    "SplineBasis",
    "SplitMode",
    "SplitRelaxation",
    "Standardize",
    "StationaryCovariance",
    "StepFunction",
    "StepFunctions",
    "SupportVectorMachine",
    "Threshold",
    "TopicShares",
    "TreeEnsemble",
    "TreeFeatures",
    "Vote",
    "VotesHead",
    "VotesOfScores",
    "WeightedMedian",
    "WhiteNoise",
    "WithGradientOf",
    "YeoJohnson",
    "coupled_probabilities",
    "dense",
    "evaluation_view",
    "parameter",
    "preserved_modes",
    "sent_as_copy",
    "settle_after_fork",
    "standard_settings",
    "take",
    "tensors_on_cpu",
    "unwrap_head",
]
