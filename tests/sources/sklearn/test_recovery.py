"""Fitted numbers that are perturbed come back by training on the operator's own loss."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline

import pipegrad as pg
from helpers import fitted
from pipegrad.finetune.losses import get_loss
from pipegrad.registry import Translation, rows
from pipegrad.testing import Case, cases, perturb

# Further examples of classes whose options differ in what is trained. Of every other class, it is
# the first example with parameters and a loss.
MORE = {
    "sklearn.cluster.BisectingKMeans": (2,),
    "sklearn.covariance.EmpiricalCovariance": (2,),
    "sklearn.cross_decomposition.PLSRegression": (2,),
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": (1, 3),
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis": (2,),
    "sklearn.dummy.DummyClassifier": (3,),
    "sklearn.dummy.DummyRegressor": (2,),
    "sklearn.isotonic.IsotonicRegression": (1,),
    "sklearn.mixture.BayesianGaussianMixture": (1, 2),
    "sklearn.mixture.GaussianMixture": (1, 2, 3),
    "sklearn.naive_bayes.CategoricalNB": (1,),
    "sklearn.naive_bayes.ComplementNB": (1, 3),
    "sklearn.naive_bayes.GaussianNB": (2,),
    "sklearn.naive_bayes.MultinomialNB": (4,),
    "sklearn.neural_network.MLPClassifier": (4,),
}
# On columns of very different sizes, these saturate, or the kinks of their loss stop the optimizer;
# they are fitted on columns of one size.
SCALED = (
    "sklearn.kernel_approximation.Nystroem",
    "sklearn.linear_model.QuantileRegressor",
    "sklearn.linear_model.TheilSenRegressor",
    "sklearn.neural_network.",
    "sklearn.svm.LinearSVR",
    "sklearn.svm.NuSVC",
)
_STORED = "its stored rows do not train"
_QUERIES = "its loss compares the rows of a query, so that users name another one"
# Predictors of which nothing comes back, each with the reason.
EXCEPT = {
    "catboost.CatBoostRanker": _QUERIES,
    "lightgbm.LGBMRanker": _QUERIES,
    "xgboost.XGBRanker": _QUERIES,
    "sklearn.gaussian_process.GaussianProcessClassifier": _STORED,
    "sklearn.neighbors.KNeighborsClassifier": _STORED,
    "sklearn.neighbors.KNeighborsRegressor": _STORED,
    "sklearn.neighbors.RadiusNeighborsClassifier": _STORED,
    "sklearn.neighbors.RadiusNeighborsRegressor": _STORED,
    "sklearn.covariance.EllipticEnvelope": "it has no loss of single rows",
    "sklearn.semi_supervised.LabelPropagation": "its rows without a label are no targets",
    "sklearn.semi_supervised.LabelSpreading": "its rows without a label are no targets",
}
# How far the numbers are moved, relative to their size. Knots that pass a row no longer see it.
SIZES = {"sklearn.preprocessing.SplineTransformer": 0.02}
# Steps of the optimizer, from the shortest training to the longest that is tried.
EPOCHS = (2, 4, 8, 16)


def examples(predicts: bool) -> list[tuple[str, int | None]]:
    """Classes with their own loss or without one, with numbers of examples; None is the first."""
    found: list[tuple[str, int | None]] = []
    for name, row in rows():
        own = isinstance(row, Translation) and type(row).objective is not Translation.objective
        if isinstance(row, Translation) and own == predicts and cases(name):
            found += [(name, None), *((name, number) for number in MORE.get(name, ()))]
    return found


def first(name: str, number: int | None, predicts: bool) -> tuple[Case, Any] | None:
    """An example with parameters that train; of a predictor, with a loss as well."""
    for case in cases(name):
        if number in (None, case.number):
            operator = case.fitted()
            net = pg.to_torch(operator)
            if net.trainable_parameters() and (not predicts or net.objective is not None):
                return case, operator
    return None


def label(value: Any) -> str:
    return "first" if value is None else str(value).removeprefix("sklearn.")


def mean_loss(net: pg.PipelineModule, X: Any, y: Any) -> float:
    objective = net.objective
    assert objective is not None
    target = None if get_loss(objective.name).target == "none" else net.encode_target(y)
    options = {key: value for key, value in objective.options.items() if key != "weigh"}
    with torch.no_grad():
        return float(get_loss(objective.name)(net(X), target, **options).mean())


def assert_comes_back(net: pg.PipelineModule, X: Any, y: Any, size: float) -> None:
    before = mean_loss(net, X, y)
    perturb(net, size)
    moved = after = mean_loss(net, X, y)
    enough = before + 0.01 * abs(before) + 1e-9 * abs(moved)
    for epochs in EPOCHS:
        net.fit(X, y, optim=torch.optim.LBFGS, validation=None, epochs=epochs)
        after = mean_loss(net, X, y)
        if after <= enough and after < moved:
            break
    assert after <= enough, f"{before} became {moved}, and then {after}"
    assert after < moved - 1e-6 * abs(moved)
    again = pg.to_torch(pg.from_torch(net))
    np.testing.assert_allclose(mean_loss(again, X, y), after, rtol=1e-6, atol=1e-9 * abs(moved))


@pytest.mark.parametrize(("name", "number"), examples(predicts=True), ids=label)
def test_the_loss_comes_back(name: str, number: int | None) -> None:
    found = first(name, number, predicts=True)
    assert found is not None or name in EXCEPT, "nothing trains on its loss; name the reason"
    if found is None or name in EXCEPT:
        pytest.skip(EXCEPT[name])
    case, operator = found
    X, y = case.data()
    if name.startswith(SCALED):
        X = X / X.std(0)
        operator = fitted(operator, X, y)
    size = 0.5 if ".neural_network." in name else 0.1
    assert_comes_back(pg.to_torch(operator), X, y, size)


@pytest.mark.filterwarnings(
    "ignore:divide by zero:RuntimeWarning",
    "ignore:Maximum number of iterations",
    "ignore:.future.no_silent_downcasting",
)
@pytest.mark.parametrize(("name", "number"), examples(predicts=False), ids=label)
def test_the_loss_of_a_linear_model_behind_it_comes_back(name: str, number: int | None) -> None:
    found = first(name, number, predicts=False)
    if found is None or not hasattr(found[1], "transform"):
        pytest.skip("nothing of it trains, or it has neither a loss nor columns")
    case, operator = found
    X, y = case.data()
    if name.startswith(SCALED):
        X = X / X.std(0)
        operator = fitted(operator, X, y)
    columns = operator.transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the Ridge is nearly singular behind some columns
        last = Ridge(alpha=1e-3).fit(columns, numbers(y, columns))
    pipe = Pipeline([("it", operator), ("ridge", last)])
    net = pg.to_torch(pipe, train=["it"])
    assert_comes_back(net, X, numbers(y, columns), SIZES.get(name, 0.1))


def numbers(y: Any, columns: Any) -> Any:
    """Targets as numbers; without targets, some function of the columns."""
    if y is None:
        table = columns.toarray() if sparse.issparse(columns) else np.asarray(columns)
        return np.sin(table.sum(1))
    y = np.asarray(y)
    return y if y.dtype.kind in "fiu" else np.unique(y, return_inverse=True)[1].astype(float)
