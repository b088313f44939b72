"""The pipelines of the study: functions that return an unfitted pipeline for a data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.decomposition import NMF, PCA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomTreesEmbedding,
    StackingClassifier,
    StackingRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR

import pipegrad as pg
from data import DataSet

WIDER = 2


def columns(data: DataSet, X: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Names of the categorical and of the numeric columns."""
    names = [c for c in X if c != data.text]
    categories = [c for c in names if X[c].dtype == object]
    return categories, [c for c in names if c not in categories]


def one_hot() -> OneHotEncoder:
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=25, sparse_output=False
    )


def prepared(data: DataSet, X: pd.DataFrame, scale: bool = True, encoder=None):
    """One-hot categories, imputed and scaled numbers; text is dropped."""
    categories, numbers = columns(data, X)
    parts = []
    if numbers:
        steps = [SimpleImputer(strategy="median")]
        parts.append((make_pipeline(*steps, StandardScaler()) if scale else steps[0], numbers))
    if categories:
        parts.append((encoder or one_hot(), categories))
    return make_column_transformer(*parts)


def width(data: DataSet, X: pd.DataFrame) -> int:
    """Number of columns that `prepared` returns."""
    categories, numbers = columns(data, X)
    return len(numbers) + sum(min(X[c].nunique(), 25) for c in categories)


def components(data: DataSet, X: pd.DataFrame, wider: bool = False) -> int:
    """Width of a bottleneck: two fifths of the columns, at most 10; ``wider`` doubles it."""
    most = width(data, X)
    some = max(2, min(10, 2 * most // 5))
    return min(WIDER * some, most) if wider else some


def linear(data: DataSet):
    """The final estimator: ridge, Poisson or logistic regression."""
    if data.task == "regression":
        return Ridge()
    if data.task == "count":
        return PoissonRegressor(alpha=1e-3, max_iter=300)
    return LogisticRegression(max_iter=300)


def above_median(y):
    """The binary label that featurizers are fitted to when the target is numeric."""
    return y > np.median(y)


def featurizers(data: DataSet):
    """The scores of two linear classifiers appended to their input, as in the paper's Figure 1."""
    target = above_median if data.task in ("count", "regression") else None
    return make_union(
        "passthrough",
        pg.Featurizer(SGDClassifier(loss="log_loss", random_state=0), target=target),
        pg.Featurizer(LogisticRegression(max_iter=300), target=target),
    )


def scale_linear(data: DataSet, X: pd.DataFrame, wider: bool = False):
    return make_pipeline(prepared(data, X), linear(data))


def pca(data: DataSet, X: pd.DataFrame, wider: bool = False):
    few = components(data, X, wider)
    return make_pipeline(prepared(data, X), PCA(few, random_state=0), linear(data))


def figure1(data: DataSet, X: pd.DataFrame, wider: bool = False):
    few = components(data, X, wider)
    steps = (PCA(few, random_state=0), MinMaxScaler(), featurizers(data), linear(data))
    return make_pipeline(prepared(data, X), *steps)


def figure1_full(data: DataSet, X: pd.DataFrame, wider: bool = False):
    """As in the paper: unscaled numbers next to one-hot columns."""
    few = components(data, X, wider)
    steps = (PCA(few, random_state=0), MinMaxScaler(), featurizers(data), linear(data))
    return make_pipeline(prepared(data, X, scale=False), *steps)


def kmeans(data: DataSet, X: pd.DataFrame, wider: bool = False):
    centers = KMeans(40 if wider else 20, n_init=1, random_state=0)
    return make_pipeline(prepared(data, X), centers, linear(data))


def nystroem(data: DataSet, X: pd.DataFrame, wider: bool = False):
    features = Nystroem(n_components=200 if wider else 100, random_state=0)
    return make_pipeline(prepared(data, X), features, linear(data))


def target_encoding(data: DataSet, X: pd.DataFrame, wider: bool = False):
    kind = "continuous" if data.task in ("count", "regression") else data.task
    encoder = TargetEncoder(target_type=kind, random_state=0)
    return make_pipeline(prepared(data, X, encoder=encoder), StandardScaler(), linear(data))


def bins(data: DataSet, X: pd.DataFrame, wider: bool = False):
    categories, numbers = columns(data, X)
    cut = KBinsDiscretizer(
        20 if wider else 10,
        strategy="quantile",
        quantile_method="averaged_inverted_cdf",
        encode="onehot-dense",
    )
    parts = [(make_pipeline(SimpleImputer(strategy="median"), cut), numbers)]
    if categories:
        parts.append((one_hot(), categories))
    return make_pipeline(make_column_transformer(*parts), linear(data))


def stacking(data: DataSet, X: pd.DataFrame, wider: bool = False):
    if data.task in ("count", "regression"):
        layer = [("linear", linear(data)), ("neighbours", KNeighborsRegressor(15))]
        bayes = pg.Featurizer(GaussianNB(), target=above_median)
        layer.append(("bayes", make_pipeline(bayes, Ridge())))
        model = StackingRegressor(layer, linear(data), cv=5)
    else:
        layer = [
            ("linear", linear(data)),
            ("neighbours", KNeighborsClassifier(15)),
            ("bayes", GaussianNB(var_smoothing=1e-3)),
        ]
        model = StackingClassifier(layer, linear(data), cv=5)
    return make_pipeline(prepared(data, X), model)


def gbdt(data: DataSet, X: pd.DataFrame, wider: bool = False):
    options = {"max_iter": 200 if wider else 100, "early_stopping": False, "random_state": 0}
    if data.task == "regression":
        model = HistGradientBoostingRegressor(**options)
    elif data.task == "count":
        model = HistGradientBoostingRegressor(loss="poisson", **options)
    else:
        model = HistGradientBoostingClassifier(**options)
    return make_pipeline(prepared(data, X), model)


def leaves(data: DataSet, X: pd.DataFrame, wider: bool = False):
    """A linear model on the one-hot leaves of random trees."""
    trees = RandomTreesEmbedding(200 if wider else 100, max_depth=4, random_state=0)
    return make_pipeline(prepared(data, X), trees, linear(data))


def tfidf(data: DataSet, X: pd.DataFrame, wider: bool = False):
    pick = FunctionTransformer(one_column)
    words = TfidfVectorizer(sublinear_tf=True, min_df=3, max_features=20_000)
    shorter = TruncatedSVD(200 if wider else 100, random_state=0)
    return make_pipeline(pick, words, shorter, linear(data))


def one_column(X: pd.DataFrame):
    """The text column of a table."""
    return X["text"].to_numpy(dtype=object)


def splines(data: DataSet, X: pd.DataFrame, wider: bool = False):
    """A linear model on cubic splines of each number."""
    categories, numbers = columns(data, X)
    knots = SplineTransformer(12 if wider else 6, knots="quantile", extrapolation="linear")
    steps = (SimpleImputer(strategy="median"), StandardScaler(), knots)
    parts = [(make_pipeline(*steps), numbers)]
    if categories:
        parts.append((one_hot(), categories))
    return make_pipeline(make_column_transformer(*parts), linear(data))


def svm(data: DataSet, X: pd.DataFrame, wider: bool = False):
    """Support vectors with an RBF kernel; a sigmoid makes probabilities of the scores."""
    if data.task == "regression":
        return make_pipeline(prepared(data, X), SVR())
    return make_pipeline(prepared(data, X), CalibratedClassifierCV(SVC(), ensemble=False))


def gaussian_process(data: DataSet, X: pd.DataFrame, wider: bool = False):
    reach = ConstantKernel() * RBF(np.sqrt(width(data, X)))
    if data.task == "regression":
        model = GaussianProcessRegressor(reach + WhiteKernel(0.1), normalize_y=True)
    else:
        model = GaussianProcessClassifier(reach)
    return make_pipeline(prepared(data, X), model)


def discriminant(data: DataSet, X: pd.DataFrame, wider: bool = False):
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return make_pipeline(prepared(data, X), model)


def naive_bayes(data: DataSet, X: pd.DataFrame, wider: bool = False):
    return make_pipeline(prepared(data, X), GaussianNB(var_smoothing=1e-3))


def nmf(data: DataSet, X: pd.DataFrame, wider: bool = False):
    few = components(data, X, wider)
    factors = NMF(few, init="nndsvda", max_iter=300, random_state=0)
    return make_pipeline(prepared(data, X), MinMaxScaler(clip=True), factors, linear(data))


def kernel_pca(data: DataSet, X: pd.DataFrame, wider: bool = False):
    few = components(data, X, wider)
    features = KernelPCA(2 * few, kernel="rbf", random_state=0)
    return make_pipeline(prepared(data, X), features, StandardScaler(), linear(data))


def mlp(data: DataSet, X: pd.DataFrame, wider: bool = False, stops: bool = True):
    options = {
        "hidden_layer_sizes": (100 if wider else 50,),
        "early_stopping": stops,
        "random_state": 0,
    }
    if data.task == "count":
        model = MLPRegressor(loss="poisson", **options)
    else:
        model = (MLPRegressor if data.task == "regression" else MLPClassifier)(**options)
    return make_pipeline(prepared(data, X), model)


def mlp_full(data: DataSet, X: pd.DataFrame, wider: bool = False):
    """Without early stopping, which ends the training of few rows long before it has converged."""
    return mlp(data, X, wider, stops=False)


Template = Callable[..., object]
TEMPLATES: dict[str, Template] = {
    "linear": scale_linear,
    "pca": pca,
    "figure1": figure1,
    "figure1_full": figure1_full,
    "kmeans": kmeans,
    "nystroem": nystroem,
    "target_encoding": target_encoding,
    "bins": bins,
    "stacking": stacking,
    "gbdt": gbdt,
    "leaves": leaves,
    "tfidf": tfidf,
    "splines": splines,
    "svm": svm,
    "gaussian_process": gaussian_process,
    "discriminant": discriminant,
    "naive_bayes": naive_bayes,
    "nmf": nmf,
    "kernel_pca": kernel_pca,
    "mlp": mlp,
    "mlp_full": mlp_full,
}
# Pipelines with a bottleneck or a kernel map.
BOTTLENECKS = ("pca", "figure1", "figure1_full", "kmeans", "nystroem", "tfidf")
# Pipelines of the reference portfolio: name in its file -> name here.
REFERENCE = {"pca": "pca", "fig1": "figure1", "kmeans": "kmeans", "nystroem": "nystroem"}
# Pipelines for classes only, and those without a model of counts.
_CLASSES = ("discriminant", "naive_bayes")
_NO_COUNTS = ("svm", "gaussian_process")


def applies(name: str, data: DataSet, X: pd.DataFrame) -> bool:
    """Whether the pipeline suits the columns of the table."""
    if data.text:
        return name == "tfidf"
    categories, numbers = columns(data, X)
    if name in _CLASSES:
        return data.task in ("binary", "multiclass")
    if name in _NO_COUNTS:
        return data.task != "count"
    needed = {"tfidf": False, "target_encoding": bool(categories)}
    needed |= dict.fromkeys(("bins", "splines"), bool(numbers))
    return needed.get(name, True)
