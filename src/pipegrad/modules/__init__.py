"""The mathematics: modules named after what they compute, independent of any source library."""

from ._answers import WithGradientOf
from ._base import Module, NonNegative, Positive, is_finite, parameter, with_results_held
from ._batching import AlikeModules, NotAlike, structure
from ._calibrated import (
    CalibratedMean,
    MonotoneColumns,
    NormalizedColumns,
    SigmoidColumns,
    TemperatureScaling,
)
from ._calibration import LogOdds, OneVersusRest, PairwiseCoupling, PiecewiseLinear, StepFunction
from ._chains import Chained, ChainedModules, chained_structure, link_of
from ._class_scores import (
    InverseLink,
    Multiples,
    Product,
    ScaledLargest,
    Total,
    ordered_shares,
    place_of_largest,
    place_of_smallest,
    second_column,
    shares_with_floor,
    two_scores,
    two_shares,
)
from ._constant import Constant, ConstantProbabilities
from ._covariance import DistanceOutliers, FactoredPrecision, NormalLaw, PatternedPrecision
from ._distances import Distances, NearestDescent
from ._distributions import Distributions, KernelDistributions
from ._elementwise import Elementwise, Monomials, Sequential, Threshold
from ._encoding import NONE, Bins, Lookup, LookupColumns, OneHot, OrdinalEncode
from ._estimates import FiniteDifferences, GradientOf, StraightThrough
from ._evaluation import evaluation_view, preserved_modes
from ._events import BernoulliEvents, CategoryEvents, ComplementEvents, MultinomialEvents
from ._expanded_categories import ExpandedCategories
from ._factorization import Factorization, NonNegativeWeights
from ._factors import FieldFactorization, LocalDeepSVM, StepFunctions
from ._formula import ExpressionProgram
from ._gaussian_process import (
    CombinedCovariance,
    ConstantCovariance,
    Covariance,
    DotProductCovariance,
    GaussianProcess,
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
    ProbabilityHead,
    RegressionHead,
    ShareHead,
    VotesHead,
)
from ._imputation import Impute, ImputedColumn, Missing, NearestDonors, UnlessAllMissing
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
from ._laplace import ClassShares, LaplaceClassifier, PairVotes
from ._likelihood import DiscriminantHead, JointLogLikelihood, LikelihoodHead, LogProbabilities
from ._linear import Linear
from ._members import (
    ConstantHead,
    FirstSharesHead,
    JoinScores,
    MembersHead,
    MultioutputMembersHead,
    MultioutputRegressionHead,
    OneVsRestHead,
    OutputCodeHead,
    PairsHead,
    Response,
    ThresholdHead,
)
from ._metrics import METRICS, Metric
from ._neighbor_search import (
    NO_NEIGHBOR,
    BarycentricMap,
    NeighborDistances,
    NeighborGraph,
    NeighborSearch,
    ShortestPaths,
)
from ._neighbors import (
    CentroidHead,
    CentroidScores,
    KernelDensity,
    LocalOutlierFactor,
    NeighborDistributions,
    NeighborMean,
    RadiusMean,
    VotesOfScores,
)
from ._normalizing import Affine, BinPosition, NormalDistribution, RowNorm
from ._one_vs_one import OneVsOneHead, PlattScaling, coupled_probabilities
from ._own_network import OwnNetwork, converted_modules
from ._pairwise_products import PairwiseProducts
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
from ._quantized import QuantizedLinear, quantize_linear_
from ._scaling import NormalizeRows, Rescale, Standardize
from ._select import Select
from ._settings import settle_after_fork, standard_settings, tensors_on_cpu
from ._side_by_side import Scaled, ScaledParts, Selected, SideBySide, scaled_parts, side_by_side
from ._single import FactorProducts, SingleMap
from ._sparse import Block, SparseRows, dense
from ._sparse_codes import Coding, SparseCodes
from ._splines import SplineBasis
from ._squashing import SquashedColumns
from ._stacks import ParameterStack
from ._structural import (
    Average,
    BoostedVotes,
    Concatenate,
    Inverse,
    Labels,
    Median,
    Predictor,
    Vote,
    unwrap_head,
)
from ._support_vectors import SupportVectorMachine
from ._term_weights import TermWeights
from ._threads import map_in_threads, threads_for
from ._topics import Inference, TopicShares
from ._unsupervised_heads import NearestHead, NormalHead, OutlierHead
from ._vector_columns import (
    Centered,
    ChosenColumns,
    CosineTransform,
    ExpandedProducts,
    IndexIndicators,
    Intervals,
    NumberOfIndex,
    OneColumn,
    OuterProducts,
    PlacesOfValues,
    Shift,
    UnitRows,
)
from .trees.boosting import (
    InitializedBoosting,
    Isolation,
    LeafIndicators,
    LeafNumbers,
    WeightedMedian,
)
from .trees.ensemble import TreeEnsemble
from .trees.features import AnyPositive, TreeFeatures
from .trees.order import LeafOrder
from .trees.relaxation import LeafIndices, SplitMode, SplitRelaxation, take
from .trees.routing import AS_ZERO, NAN, ZERO
from .trees.simplex import Simplex

__all__ = [
    "AS_ZERO",
    "METRICS",
    "NAN",
    "NONE",
    "NO_NEIGHBOR",
    "ZERO",
    "AdditiveChi2Features",
    "Affine",
    "AlikeModules",
    "AnyPositive",
    "Average",
    "BarycentricMap",
    "BernoulliEvents",
    "BernoulliHead",
    "BestColumn",
    "BinPosition",
    "Bins",
    "Block",
    "BoostedVotes",
    "BoxCox",
    "CalibratedMean",
    "CategoryEvents",
    "Centered",
    "CentroidHead",
    "CentroidScores",
    "Chained",
    "ChainedModules",
    "ChosenColumns",
    "ClassShares",
    "Coding",
    "CombinedCovariance",
    "ComplementEvents",
    "Concatenate",
    "Constant",
    "ConstantCovariance",
    "ConstantHead",
    "ConstantProbabilities",
    "CosineTransform",
    "Covariance",
    "DiagonalGaussians",
    "DiscriminantHead",
    "DistanceOutliers",
    "Distances",
    "Distributions",
    "DotProductCovariance",
    "Elementwise",
    "ExpandedCategories",
    "ExpandedProducts",
    "ExpressionProgram",
    "FactorProducts",
    "FactorScores",
    "FactoredPrecision",
    "Factorization",
    "FieldFactorization",
    "FiniteDifferences",
    "FirstSharesHead",
    "FullGaussians",
    "GaussianProcess",
    "GradientOf",
    "Head",
    "IdentityHead",
    "Impute",
    "ImputedColumn",
    "IndexIndicators",
    "Inference",
    "InitializedBoosting",
    "Intervals",
    "Inverse",
    "InverseBoxCox",
    "InverseLink",
    "InverseYeoJohnson",
    "Isolation",
    "JoinScores",
    "JointLogLikelihood",
    "Kernel",
    "KernelCentering",
    "KernelDensity",
    "KernelDistributions",
    "KernelFeatures",
    "KeyAbove",
    "KeyBits",
    "KeyIndicator",
    "KeyNumber",
    "Labels",
    "LaplaceClassifier",
    "LeafIndicators",
    "LeafIndices",
    "LeafNumbers",
    "LeafOrder",
    "LikelihoodHead",
    "Linear",
    "LinkHead",
    "LocalDeepSVM",
    "LocalOutlierFactor",
    "LogOdds",
    "LogProbabilities",
    "Lookup",
    "LookupColumns",
    "Median",
    "MembersHead",
    "Metric",
    "Missing",
    "Module",
    "Monomials",
    "MonotoneColumns",
    "MonotoneInterpolation",
    "MulticlassHead",
    "MultilabelHead",
    "MultilayerPerceptron",
    "MultinomialEvents",
    "MultioutputHead",
    "MultioutputMembersHead",
    "MultioutputRegressionHead",
    "Multiples",
    "NamedCovariance",
    "NearestDescent",
    "NearestDonors",
    "NearestHead",
    "NeighborDistances",
    "NeighborDistributions",
    "NeighborGraph",
    "NeighborMean",
    "NeighborSearch",
    "NonNegative",
    "NonNegativeWeights",
    "NormalDistribution",
    "NormalHead",
    "NormalLaw",
    "NormalizeRows",
    "NormalizedColumns",
    "NotAlike",
    "NumberOfIndex",
    "OneColumn",
    "OneHot",
    "OneVersusRest",
    "OneVsOneHead",
    "OneVsRestHead",
    "OrdinalEncode",
    "OuterProducts",
    "OutlierHead",
    "OutputCodeHead",
    "OwnNetwork",
    "PairVotes",
    "PairsHead",
    "PairwiseCoupling",
    "PairwiseProducts",
    "ParameterStack",
    "PatternedPrecision",
    "PiecewiseLinear",
    "PlacesOfValues",
    "PlattScaling",
    "PolynomialSketch",
    "PooledColumns",
    "Positive",
    "Predictor",
    "ProbabilityHead",
    "Product",
    "Projection",
    "QuantileRanks",
    "QuantilesOfRanks",
    "QuantizedLinear",
    "RadiusMean",
    "RandomFourierFeatures",
    "ReconstructionError",
    "RegressionHead",
    "Rescale",
    "Response",
    "RidgeScores",
    "RowNorm",
    "Scaled",
    "ScaledLargest",
    "ScaledParts",
    "Select",
    "Selected",
    "Sequential",
    "ShareHead",
    "Shift",
    "ShortestPaths",
    "SideBySide",
    "SigmoidColumns",
    "Simplex",
    "SingleMap",
    "SparseCodes",
    "SparseParameter",
    "SparseProjection",
    "SparseRows",
    "SplineBasis",
    "SplitMode",
    "SplitRelaxation",
    "SquashedColumns",
    "Standardize",
    "StationaryCovariance",
    "StepFunction",
    "StepFunctions",
    "StraightThrough",
    "SupportVectorMachine",
    "TemperatureScaling",
    "TermWeights",
    "Threshold",
    "ThresholdHead",
    "TopicShares",
    "Total",
    "TreeEnsemble",
    "TreeFeatures",
    "UnitRows",
    "UnlessAllMissing",
    "Vote",
    "VotesHead",
    "VotesOfScores",
    "WeightedMedian",
    "WhiteNoise",
    "WithGradientOf",
    "YeoJohnson",
    "chained_structure",
    "converted_modules",
    "coupled_probabilities",
    "dense",
    "evaluation_view",
    "is_finite",
    "link_of",
    "map_in_threads",
    "ordered_shares",
    "parameter",
    "place_of_largest",
    "place_of_smallest",
    "preserved_modes",
    "quantize_linear_",
    "scaled_parts",
    "second_column",
    "sent_as_copy",
    "settle_after_fork",
    "shares_with_floor",
    "side_by_side",
    "standard_settings",
    "structure",
    "take",
    "tensors_on_cpu",
    "threads_for",
    "two_scores",
    "two_shares",
    "unwrap_head",
    "with_results_held",
]
