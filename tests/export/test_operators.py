"""Operations that ONNX files lack, and trees, compared number by number."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import special
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from torch import nn

import pipegrad as pg

pytest.importorskip("onnxruntime")
import onnx

from pipegrad.export.constants import traced
from pipegrad.export.measured import onnx_answers, session
from pipegrad.export.onnx_file import UnknownOperationError, converted, onnx_file
from pipegrad.testing import DATASETS, assert_close

# Of torch's exporter, about itself.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class _Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("edges", torch.tensor([-1.0, 0.0, 0.0, 2.5], dtype=torch.float64))
        self.register_buffer("points", torch.randn(5, 3, dtype=torch.float64))

    def forward(self, *blocks):
        return self.function(self, *blocks)


def answer(function, X):
    """What ONNX Runtime gives for a function of rows."""
    X = torch.as_tensor(X)
    with torch.no_grad():
        model = converted(_Function(function), (X,), lambda: 1, 20)
    return session(model.SerializeToString()).run(None, {"block_0": X.numpy()})[0]


ROWS = np.array([[-1.0, 0.0, 3.0], [np.nan, 2.5, -np.inf], [0.1, 1 / 3, np.inf]])


@pytest.mark.parametrize("right", [False, True])
def test_places_among_edges(right):
    found = answer(lambda self, x: torch.searchsorted(self.edges, x, right=right), ROWS)
    side = "right" if right else "left"
    assert (found == np.searchsorted([-1.0, 0.0, 0.0, 2.5], ROWS, side=side)).all()


def test_the_error_function_is_exact_in_double_precision():
    X = np.linspace(-8, 8, 3000).reshape(-1, 3)
    X[0] = -np.inf, np.inf, 0.0
    found = answer(lambda self, x: torch.erf(x), X)
    np.testing.assert_allclose(found, special.erf(X), rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("name", ["atan", "asin", "acos", "tan", "sinh", "cosh"])
def test_functions_without_double_precision_in_onnx_runtime_are_exact(name):
    X = np.linspace(-1, 1, 3000).reshape(-1, 3)
    if name not in ("asin", "acos"):
        X = X**3 * (20 if name == "tan" else 709)
        X[0] = -np.inf, np.inf, 0.0
    X[1] = np.nan, 1e-9, -1e-300
    X[2] = 1 + np.sqrt(2), 0.66, -0.67
    found = answer(lambda self, x: getattr(torch, name)(x), X)
    tolerance = 1e-12 if name == "tan" else 2e-15  # near a pole
    np.testing.assert_allclose(found, getattr(torch, name)(torch.as_tensor(X)), rtol=tolerance)


def test_binary_digits_are_shifted_as_in_torch():
    X = np.array([[-5.0, -1.0], [0.0, 7.0]])
    found = answer(lambda self, x: x.long()[..., None] >> torch.arange(3), X)
    assert (found == X.astype(int)[..., None] >> np.arange(3)).all()


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5, float("inf")])
def test_distances_of_equal_rows_are_zero(power):
    torch.manual_seed(0)
    module = _Function(None)
    X = torch.cat([module.points, torch.randn(4, 3, dtype=torch.float64)])

    mode = "donot_use_mm_for_euclid_dist"

    def distances(self, x):
        return torch.cdist(x, module.points, p=power, compute_mode=mode)

    found = answer(distances, X)
    assert_close(found, torch.cdist(X, module.points, p=power), 1e-14)
    assert (np.diag(found[:5]) == 0).all()


def test_numbers_are_not_rounded_to_float32():
    found = answer(lambda self, x: (0.1 * x + 1 / 3).clamp(min=-0.7) ** 1.1, np.ones((3, 2)))
    assert (found == (np.float64(0.1) + 1 / 3) ** 1.1).all()


def test_numbers_near_zero_and_one_are_kept():
    found = answer(lambda self, x: (x + 1e-9) * (1 + 1e-6) / (1 + 1e-7), np.ones((3, 2)))
    assert (found == (1 + 1e-9) * (1 + 1e-6) / (1 + 1e-7)).all()


def test_what_depends_on_parameters_only_is_computed_once():
    def forward(self, x):
        factor = torch.linalg.cholesky(self.points @ self.points.T + torch.eye(5))
        return x @ factor[:3].T.exp()[:3]

    graph = traced(_Function(forward), (torch.ones(3, 3, dtype=torch.float64),))
    called = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert len(called) == 1, called


@pytest.mark.parametrize("name", ["histogram", "forest"])
def test_rows_on_thresholds_reach_the_same_leaves(name):
    X, y = DATASETS["missing"]()
    if name == "histogram":
        model = HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=3).fit(X, y)
        nodes = [tree[0].nodes for tree in model._predictors]
        pairs = [
            (n["feature_idx"], n["num_threshold"]) for t in nodes for n in t if not n["is_leaf"]
        ]
    else:
        model = RandomForestClassifier(5, max_depth=4, random_state=0).fit(X, y > 0)
        trees = [tree.tree_ for tree in model.estimators_]
        pairs = [pair for t in trees for pair in zip(t.feature, t.threshold) if pair[0] >= 0]
    rows = []
    for feature, threshold in (pair for pair in pairs if np.isfinite(pair[1])):
        for value in (threshold, np.nextafter(threshold, 9e9), np.nextafter(threshold, -9e9)):
            rows.append(X[len(rows) % len(X)].copy())
            rows[-1][feature] = value
    rows = np.array(rows)
    ours = onnx_answers(session(onnx_file(model, dtype=None, rows=None, opset=20)), rows)
    if name == "histogram":
        assert_close(ours["variable"][:, 0], model.predict(rows), 1e-14)
    else:
        assert_close(ours["probabilities"], model.predict_proba(rows), 1e-14)
        assert (ours["label"] == model.predict(rows)).all()


def test_an_operation_without_operators_is_named_with_its_module():
    with pytest.raises(UnknownOperationError) as caught:
        answer(lambda self, x: torch.special.bessel_j0(x), ROWS)
    assert "bessel_j0" in caught.value.operation


def test_the_mode_of_a_gaussian_process_is_no_part_of_the_file():
    X, y = DATASETS["binary"]()
    model = GaussianProcessClassifier().fit(X, y)
    net = pg.to_torch(model)
    with torch.no_grad():  # as after training
        for name, parameter in net.named_parameters():
            parameter.add_(0.1 if name.endswith("log_ratio") else 0)
    content = onnx_file(pg.from_torch(net), dtype=None, rows=None, opset=20)
    assert len(onnx.load_from_string(content).graph.node) < 300
    ours = onnx_answers(session(content), X)
    assert_close(ours["probabilities"], pg.from_torch(net).predict_proba(X), 1e-11)


def test_rows_across_a_threshold_are_counted(tmp_path):
    X, y = DATASETS["regression"]()
    y = y + 100 * (X[:, 0] > np.median(X[:, 0]))  # so that a wrong leaf is seen
    pipe = make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=2)).fit(X, y)
    tree, scaler = pipe[-1].tree_, pipe[0]
    feature, threshold = tree.feature[0], tree.threshold[0]
    odd = X[:41].copy()
    edge = threshold * scaler.scale_[feature] + scaler.mean_[feature]
    odd[:, feature] = edge * (1 + np.linspace(-1e-6, 1e-6, 41))
    for rows in (X, odd):
        path = pg.export(pipe, tmp_path / "pipe.onnx", dtype="float32", rows=rows)
        facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        ours = onnx_answers(session(path.read_bytes()), rows)["variable"][:, 0]
        count = (abs(ours - pipe.predict(rows)) > 1).sum()
        assert int(facts["rows_across_thresholds"]) == count
        assert (count > 0) == (rows is odd)
        assert json.loads(facts["largest_difference"])["variable"] < 1e-6
    path = pg.export(pipe, tmp_path / "pipe.onnx", rows=odd)
    assert "rows_across_thresholds" not in {e.key for e in onnx.load(path).metadata_props}
