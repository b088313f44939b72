"""Every distance of the source, as a formula with a gradient and inside of neighbors."""

import warnings

import numpy as np
import pytest
import torch
from scipy.spatial import distance
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import DistanceMetric, pairwise_distances
from sklearn.metrics.pairwise import PAIRWISE_DISTANCE_FUNCTIONS
from sklearn.neighbors import (
    VALID_METRICS,
    KernelDensity,
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
    RadiusNeighborsRegressor,
    RadiusNeighborsTransformer,
)

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.sources.sklearn._neighbors import metric_by_name
from pipegrad.testing import assert_same_answers

OPTIONS = {
    "seuclidean": {"V": np.arange(1.0, 7.0)},
    "mahalanobis": {"VI": np.diag(np.arange(1.0, 7.0)) + 0.3},
    "minkowski": {"p": 3, "w": np.arange(6.0)},
    "p": {"p": 1.5},
}


def by(algorithm):
    """The names of the metrics that serve an algorithm with any points."""
    names = set(VALID_METRICS[algorithm]) - {"precomputed", "pyfunc"}
    if algorithm == "brute":  # scikit-learn 1.5 lists metrics that SciPy 1.17 has dropped.
        names = {n for n in names if n in PAIRWISE_DISTANCE_FUNCTIONS or hasattr(distance, n)}
    return sorted(names)


NAMES = sorted({*VALID_METRICS["brute"], *VALID_METRICS["ball_tree"]} - {"precomputed", "pyfunc"})


def rows(name, count, seed):
    rng = np.random.default_rng(seed)
    metric = metric_by_name(name, OPTIONS.get(name))
    if not metric.smooth:
        values = (rng.random((count, 6)) < 0.5).astype(float)
        values[:, 0] = 1  # Some distances of two rows of zeros are not defined.
        return values
    return rng.normal(size=(count, 2 if name == "haversine" else 6))


def of_source(name, a, b):
    options = OPTIONS.get(name, {})
    try:
        return DistanceMetric.get_metric(name, **options).pairwise(a, b)
    except ValueError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataConversionWarning)
            return pairwise_distances(a, b, metric=name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_formulas_are_those_of_the_source_and_have_gradients(name):
    metric = metric_by_name(name, OPTIONS.get(name))
    a, b = rows(name, 9, 0), rows(name, 7, 1)
    expected = of_source(name, a, b)
    x, points = torch.tensor(a), torch.tensor(b)
    np.testing.assert_allclose(metric(x, points), expected, atol=1e-14)
    index = torch.tensor(np.random.default_rng(2).integers(0, 7, (9, 3)))
    near = np.take_along_axis(expected, index.numpy(), 1)
    np.testing.assert_allclose(metric.near(x, points, index), near, atol=1e-14)
    if metric.smooth:
        x.requires_grad_()
        assert torch.autograd.gradcheck(lambda x: metric.near(x, points, index), (x,))
        assert torch.autograd.gradcheck(lambda x: metric(x, points), (x,))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "russellrao"])
def test_a_row_at_distance_zero_has_a_finite_gradient(name):
    metric = metric_by_name(name, OPTIONS.get(name))
    points = torch.tensor(rows(name, 5, 0))
    x = points.clone().requires_grad_()
    out = metric.near(x, points, torch.arange(5)[:, None])
    np.testing.assert_allclose(out.detach(), 0, atol=1e-7)
    if metric.smooth and name != "nan_euclidean":
        out.sum().backward()
        assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("algorithm", ["brute", "ball_tree", "kd_tree"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbors_by_every_metric_are_those_of_the_source(algorithm, weights):
    for name in by(algorithm):
        params = {"algorithm": algorithm, "weights": weights, "metric": name}
        X, more = rows(name, 40, 0), rows(name, 20, 1)
        y = np.random.default_rng(2).integers(0, 3, 40)
        options = {"p": 3} if name == "minkowski" else OPTIONS.get(name)  # kd_tree has no weights
        operator = KNeighborsClassifier(4, metric_params=options, **params)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataConversionWarning)
            warnings.simplefilter("ignore", SyntaxWarning)  # p is in metric_params
            net = pg.to_torch(operator.fit(X, y))
            np.testing.assert_array_equal(net.predict_proba(more), operator.predict_proba(more))
            np.testing.assert_array_equal(net.predict(more), operator.predict(more))


def test_missing_entries_of_rows_are_skipped():
    pytest.importorskip("sklearn", minversion="1.6")
    rng = np.random.default_rng(0)
    X, more = rng.normal(size=(40, 5)), rng.normal(size=(20, 5))
    for table in (X, more):
        table[rng.random(table.shape) < 0.2] = np.nan
    operator = KNeighborsRegressor(4, metric="nan_euclidean", weights="distance")
    net = pg.to_torch(operator.fit(X, rng.normal(size=40)))
    np.testing.assert_array_equal(net.predict(more), operator.predict(more))
    x = torch.tensor(more, requires_grad=True)
    net(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad[torch.isnan(x)] == 0).all()
    assert (x.grad != 0).any()


def test_distances_without_a_formula_are_refused():
    X, y = rows("euclidean", 20, 0), np.arange(20.0)
    for reason, operator in {
        "metric='seuclidean' has no gradient": KNeighborsRegressor(
            metric="seuclidean", algorithm="brute"
        ),
        "metric='pyfunc' with": KNeighborsRegressor(
            metric="pyfunc", algorithm="ball_tree", metric_params={"func": of_nothing}
        ),
        "metric='of_nothing' has no gradient": KNeighborsRegressor(metric=of_nothing),
        "has no gradient": KNeighborsRegressor(metric=DistanceMetric.get_metric("euclidean")),
    }.items():
        with pytest.raises(UntranslatableError, match=reason):
            pg.to_torch(operator.fit(X, y))


def of_nothing(a, b):
    return 0.0


@pytest.mark.parametrize("algorithm", ["brute", "ball_tree"])
def test_other_estimators_by_every_metric_answer_as_the_source(algorithm):
    for name in by(algorithm):
        X, more = rows(name, 40, 0), rows(name, 20, 1)
        radius = np.quantile(of_source(name, X, X), 0.3)
        params = {"metric": name, "metric_params": OPTIONS.get(name), "algorithm": algorithm}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of truth values, and rows without neighbors.
            for operator in (
                RadiusNeighborsRegressor(radius, weights="distance", **params),
                LocalOutlierFactor(5, novelty=True, **params),
                KNeighborsTransformer(n_neighbors=4, **params),
                RadiusNeighborsTransformer(radius=radius, **params),
            ):
                if isinstance(operator, LocalOutlierFactor):
                    operator.fit(X)
                else:
                    operator.fit(X, np.arange(40.0))
                assert_same_answers(pg.to_torch(operator), operator, more, 0.0)


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_densities_by_every_metric(kernel):
    for name in VALID_METRICS["ball_tree"]:
        if name == "pyfunc":
            continue
        X, more = rows(name, 40, 0), rows(name, 20, 1)
        width = np.quantile(of_source(name, X, X), 0.9)
        options = {"metric": name, "metric_params": OPTIONS.get(name), "algorithm": "ball_tree"}
        operator = KernelDensity(bandwidth=width, kernel=kernel, **options).fit(X)
        expected = operator.score_samples(more)
        np.testing.assert_allclose(pg.to_torch(operator).score_samples(more), expected, rtol=1e-6)
