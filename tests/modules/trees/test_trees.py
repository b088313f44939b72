"""Trees beyond the contract: exact routing, the ways to train, what goes back."""

import copy
import pickle
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import ensemble, tree
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import NODE_DTYPE, Tree

import pipegrad as pg
from pipegrad.modules import AS_ZERO, NAN, ZERO, Simplex, TreeEnsemble
from pipegrad.registry import lookup
from pipegrad.sources.sklearn._flat_trees import flatten_trees, leaf_values

FEATURES = 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = X[:, 0] + np.abs(X[:, 1]) + 0.1 * RNG.normal(size=300)
HOLES = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
EDGES = [0.0, -0.0, 0.1, float(np.float32(0.1)), 1.0, -1.0, 1 / 3, 1e-40, 3e38, -3e38]


def topology(draw, leaves):
    """Children (-1 for none) and depths of a random tree, parents before children."""
    left, right, depth = [-1], [-1], [0]
    for _ in range(leaves - 1):
        open_ends = [i for i, c in enumerate(left) if c < 0]
        at = draw(st.sampled_from(open_ends))
        left[at], right[at] = len(left), len(left) + 1
        left += [-1, -1]
        right += [-1, -1]
        depth += [depth[at] + 1] * 2
    return np.array(left), np.array(right), np.array(depth)


@st.composite
def sklearn_trees(draw):
    left, right, depth = topology(draw, draw(st.integers(1, 12)))
    count = len(left)
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["left_child"], nodes["right_child"] = left, right
    nodes["feature"] = [draw(st.integers(0, FEATURES - 1)) for _ in left]
    edge = st.sampled_from([*EDGES, np.inf]) | st.floats(-2, 2)
    nodes["threshold"] = [draw(edge) for _ in left]
    nodes["missing_go_to_left"] = [draw(st.booleans()) for _ in left]
    nodes["n_node_samples"] = 1
    values = np.arange(count, dtype=float).reshape(-1, 1, 1)
    made = Tree(FEATURES, np.array([1], dtype=np.intp), 1)
    made.__setstate__(
        {"max_depth": int(depth.max()), "node_count": count, "nodes": nodes, "values": values}
    )
    return made


def assert_each(module, x, expected):
    """Few rows, small trees and others take different ways to the same leaves."""
    x = torch.from_numpy(x)
    planned = module._scan
    most = 10**9
    for few, narrow, scan in (
        (most, most, planned),
        (most, 3 * len(x), planned),
        (0, 0, planned),
        (0, 0, None),
    ):
        module._scan = scan
        with mock.patch.multiple("pipegrad.modules.trees.routing", _FEW=few, _NARROW=narrow):
            assert_array_equal(module.each(x).detach(), expected)
    module._scan = planned


def rows(thresholds):
    """Values on the thresholds, beside them, and beyond all."""
    t = np.unique(np.concatenate([*thresholds, EDGES]))
    t = t[np.isfinite(t)]
    single = t.astype(np.float32).astype(float)
    up, down = (np.nextafter(t.astype(np.float32), np.float32(s * np.inf)) for s in (1, -1))
    values = np.concatenate([t, single, up, down, [np.nan, np.inf, -np.inf, 1e300, -1e300]])
    grid = np.random.default_rng(0).choice(values, (300, FEATURES))
    grid[: len(values), 0] = values[:300]
    return grid


@settings(deadline=None, max_examples=60)
@given(st.lists(sklearn_trees(), min_size=1, max_size=4))
def test_leaves_of_made_trees(trees):
    flat = flatten_trees(trees)
    values = torch.from_numpy(leaf_values(trees)[:, :, 0])
    module = TreeEnsemble(**flat.structure, leaf_values=values, single=True)
    X = rows([t.threshold for t in trees])
    with np.errstate(over="ignore"):
        theirs = np.column_stack([t.apply(X.astype(np.float32)) for t in trees])
    # The value of a leaf is its number.
    assert_each(module, X, theirs)
    with np.errstate(over="ignore"):
        assert_each(copy.deepcopy(module).float(), X.astype(np.float32), theirs)


@st.composite
def hist_trees(draw):
    left, right, depth = topology(draw, draw(st.integers(1, 12)))
    count = len(left)
    nodes = np.zeros(count, PREDICTOR_RECORD_DTYPE)
    nodes["is_leaf"] = left < 0
    nodes["left"], nodes["right"] = np.maximum(left, 0), np.maximum(right, 0)
    nodes["depth"] = depth
    nodes["value"] = np.arange(count)
    nodes["feature_idx"] = [draw(st.integers(0, FEATURES - 1)) for _ in left]
    edge = st.sampled_from([*EDGES, np.inf]) | st.floats(-2, 2)
    nodes["num_threshold"] = [draw(edge) for _ in left]
    nodes["missing_go_to_left"] = [draw(st.booleans()) for _ in left]
    # The last column holds categories.
    categorical = (nodes["feature_idx"] == FEATURES - 1) & (left >= 0)
    nodes["is_categorical"] = categorical
    nodes["bitset_idx"][categorical] = np.arange(categorical.sum())
    word = st.integers(0, 2**12 - 1)
    sets = np.zeros((int(categorical.sum()), 8), np.uint32)
    sets[:, 0] = [draw(word) for _ in sets]
    sets[:, 0] &= KNOWN
    return TreePredictor(nodes, sets, sets)


NO_CATEGORIES = np.zeros((0, 8), np.uint32), np.zeros(4, np.uint32)
KNOWN = np.uint32(0b101111011)


def known_categories():
    sets = np.zeros((1, 8), np.uint32)
    sets[0, 0] = KNOWN
    return sets, np.zeros(FEATURES, np.uint32)


@settings(deadline=None, max_examples=60)
@given(st.lists(hist_trees(), min_size=1, max_size=4))
def test_values_of_made_histogram_trees(trees):
    operator = SimpleNamespace(
        _predictors=[[t] for t in trees],
        n_trees_per_iteration_=1,
        _baseline_prediction=np.zeros((1, 1)),
        _bin_mapper=SimpleNamespace(make_known_categories_bitsets=known_categories),
    )
    row = lookup(ensemble.HistGradientBoostingRegressor)
    module = row.to_torch(operator)
    X = rows([t.nodes["num_threshold"] for t in trees])
    X[:, -1] = np.random.default_rng(1).choice([*range(14), 0.5, 2.9, -1, -0.0, np.nan], len(X))
    theirs = np.column_stack([t.predict(X, *known_categories(), 1) for t in trees])
    assert_each(module, X, theirs)


@pytest.mark.parametrize("leaves", [2, 31, 32, 33, 63, 64, 65, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_nodes_at_once_or_one_after_the_other(leaves, dtype):
    x = HOLES.astype(dtype)
    model = ensemble.HistGradientBoostingRegressor(
        max_iter=7, max_leaf_nodes=leaves, min_samples_leaf=1, max_depth=None
    ).fit(x, Y)
    row = lookup(type(model))
    module = row.to_torch(model)
    assert (module._scan is not None) == (leaves <= 64)
    theirs = [part[0].predict(x.astype(float), *NO_CATEGORIES, 1) for part in model._predictors]
    assert_each(module, x, np.column_stack(theirs))
    assert_allclose(module(torch.from_numpy(x)).detach(), model.predict(x), rtol=1e-12)


@pytest.mark.parametrize("labels", ["numbers", "words"])
def test_several_targets(labels):
    y = np.column_stack([np.digitize(Y, [0, 1, 2]), X[:, 0] > 0])
    if labels == "words":
        y = np.array(["ant", "bee", "cat", "dog"])[y.astype(int)]
    for kind in (tree.DecisionTreeClassifier, ensemble.RandomForestClassifier):
        model = kind(max_depth=4, random_state=0).fit(X[:200], y[:200])
        net = pg.to_torch(model)
        assert_array_equal(net.predict(X), model.predict(X))
        assert net.predict(X).dtype == model.predict(X).dtype
        ours, theirs = net.predict_proba(X), model.predict_proba(X)
        assert isinstance(ours, list)
        for mine, other in zip(ours, theirs, strict=True):
            assert_allclose(mine, other, rtol=1e-12)
        assert [list(c) for c in net.classes_] == [list(c) for c in model.classes_]
        with pytest.warns(pg.PipegradWarning):
            net.fit(X[:200], y[:200], epochs=2)
        with pytest.raises(pg.ArgumentError, match="must have 2 columns, got shape"):
            net.fit(X[:200], y[:200, 0], epochs=2)
        better = pg.FineTuner(kind(max_depth=4, random_state=0), epochs=5, random_state=0)
        assert_array_equal(better.fit(X, y).predict(X).shape, y.shape)


# -- where others are silently wrong ---------------------------------------------------------------


def test_histogram_trees_with_missing_values():
    X_all = np.where(RNG.random(X.shape) < 0.5, np.nan, X)
    for missing in (HOLES, X_all, np.where(X > 1, np.nan, X)):
        model = ensemble.HistGradientBoostingRegressor(max_iter=20).fit(missing, Y)
        net = pg.to_torch(model)
        for rows_ in (missing, X, np.full_like(X, np.nan)):
            assert_allclose(net.predict(rows_), model.predict(rows_), rtol=1e-12)


def test_missing_told_from_known_by_a_split_at_infinity():
    x = np.repeat([[1.0], [np.nan]], 50, axis=0)
    model = ensemble.HistGradientBoostingRegressor(max_iter=1).fit(x, np.isnan(x[:, 0]) * 1.0)
    assert np.isinf(model._predictors[0][0].nodes["num_threshold"]).any()
    probe = np.array([[1.0], [np.inf], [-np.inf], [np.nan], [1e300]])
    net = pg.to_torch(model)
    assert_array_equal(net.predict(probe), model.predict(probe))
    body = net.steps["histgradientboostingregressor"].body.soften("soft")
    net.train()
    assert_allclose(net(probe).detach(), model.predict(probe))
    body.leaf_values.data += 1
    assert_allclose(pg.from_torch(net).predict(probe), model.predict(probe) + 1)


def test_histogram_trees_with_categories():
    codes = RNG.integers(0, 30, (300, 2)).astype(float)
    codes[:5] = np.nan
    y = np.isin(codes[:, 0], [1, 5, 7, 20]) * 2.0 + X[:, 0]
    both = np.hstack([X, codes])
    model = ensemble.HistGradientBoostingRegressor(max_iter=20, categorical_features=[4, 5])
    model.fit(both, y)
    probe = both.copy()
    probe[:6, 4] = [31, -1, 400, 2.5, np.nan, 29]
    assert_allclose(pg.to_torch(model).predict(probe), model.predict(probe), rtol=1e-12)


def test_a_threshold_of_zero():
    x = np.tile([[-1.0], [0.0], [1.0]], (40, 1))
    model = ensemble.HistGradientBoostingRegressor(max_iter=3).fit(x, (x[:, 0] > 0) * 1.0)
    for part in model._predictors:
        nodes = part[0].nodes
        nodes["num_threshold"][nodes["is_leaf"] == 0] = 0.0
    probe = np.array([[0.0], [-0.0], [5e-324], [-5e-324], [1e-40]])
    assert_allclose(pg.to_torch(model).predict(probe), model.predict(probe), rtol=1e-12)


def test_forests_with_missing_values():
    for kind in (ensemble.RandomForestRegressor, tree.DecisionTreeRegressor):
        model = kind(random_state=0).fit(HOLES, Y)
        net = pg.to_torch(model)
        for rows_ in (HOLES, X, np.full_like(X, np.nan)):
            assert_allclose(net.predict(rows_), model.predict(rows_), rtol=1e-12)


def test_missing_values_are_refused_where_the_forest_saw_none():
    model = ensemble.RandomForestRegressor(2).fit(X, Y)
    single = tree.DecisionTreeRegressor(max_depth=2).fit(X, Y)
    for each in (model, single):
        accepts = True
        try:
            each.predict(HOLES)
        except ValueError:
            accepts = False
        if accepts:
            assert_allclose(pg.to_torch(each).predict(HOLES), each.predict(HOLES))
        else:
            with pytest.raises(ValueError, match="NaN"):
                pg.to_torch(each).predict(HOLES)


def test_numbers_beyond_float32_are_refused():
    net = pg.to_torch(tree.DecisionTreeRegressor().fit(X, Y))
    with pytest.raises(ValueError, match="float32"):
        net.predict(np.where(X > 1, 1e300, X))


def test_three_classes_stacked_over_trees():
    y = np.digitize(Y, [0.3, 1.5])
    stack = ensemble.StackingClassifier(
        [
            ("hist", ensemble.HistGradientBoostingClassifier(max_iter=5)),
            ("forest", ensemble.RandomForestClassifier(5, random_state=0)),
            ("boosted", ensemble.GradientBoostingClassifier(n_estimators=3)),
        ]
    ).fit(X, y)
    net = pg.to_torch(stack)
    assert_allclose(net.predict_proba(X), stack.predict_proba(X), rtol=1e-9)
    assert_array_equal(net.predict(X), stack.predict(X))


# -- the ways to train -----------------------------------------------------------------------------


def body(net):
    return next(m for m in net.modules() if isinstance(m, TreeEnsemble))


MODELS = [
    tree.DecisionTreeRegressor(max_depth=5),
    ensemble.RandomForestRegressor(4, max_depth=4, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=5),
    ensemble.HistGradientBoostingRegressor(max_iter=5),
]


@pytest.mark.parametrize("way", ["soft", "straight-through"])
@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_gradients_reach_thresholds_and_input(model, way):
    model = copy.deepcopy(model).fit(HOLES if "Hist" in type(model).__name__ else X, Y)
    net = pg.to_torch(model)
    trees = body(net).soften(way)
    x = torch.tensor(X, requires_grad=True)
    net.train()
    out = net(x)
    out.square().sum().backward()
    for grad in (x.grad, trees.shift.grad, trees.leaf_values.grad):
        assert torch.isfinite(grad).all()
        assert grad.abs().max() > 0
    if way == "straight-through":
        assert_allclose(out.detach(), model.predict(X), rtol=1e-9)
    # What is measured is what goes back: hard trees.
    assert_allclose(net.predict(X), model.predict(X), rtol=1e-9)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_moved_thresholds_go_back(model):
    model = copy.deepcopy(model).fit(X, Y)
    net = pg.to_torch(model)
    trees = body(net).soften("soft")
    with torch.no_grad():
        trees.shift += 0.05 * torch.randn(trees.shift.shape, dtype=torch.float64)
    changed = pg.from_torch(net)
    assert not np.allclose(changed.predict(X), model.predict(X))
    assert_allclose(changed.predict(X), net.predict(X), rtol=1e-9)
    again = pg.to_torch(pickle.loads(pickle.dumps(changed)))
    assert_allclose(again.predict(X), net.predict(X), rtol=1e-9)
    trees.soften("leaves")
    assert "shift" not in dict(trees.named_parameters())
    assert_allclose(changed.predict(X), net.predict(X), rtol=1e-9)


def test_soft_trees_are_hard_when_cold():
    model = ensemble.HistGradientBoostingRegressor(max_iter=8).fit(HOLES, Y)
    trees = body(pg.to_torch(model))
    x = torch.tensor(HOLES)
    hard = trees(x)
    trees.soften("soft", temperature=1e-9).train()
    assert_allclose(trees(x).detach(), hard.detach(), rtol=1e-6, atol=1e-9)
    trees.soften("soft", temperature=0.02, spread=torch.full((4,), 1e-9))
    assert_allclose(trees(x).detach(), hard.detach(), rtol=1e-6, atol=1e-9)


def test_soft_gradients_are_right():
    model = ensemble.HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=5).fit(X, Y)
    trees = body(pg.to_torch(model)).soften("soft", temperature=0.5).train()
    x = torch.tensor(X[:3], requires_grad=True)

    def call(x, shift, leaves):
        values = {"shift": shift, "leaf_values": leaves}
        return torch.func.functional_call(trees, values, (x,))

    assert torch.autograd.gradcheck(call, (x, trees.shift, trees.leaf_values))


def test_soft_parts_are_recomputed(monkeypatch):
    model = ensemble.HistGradientBoostingRegressor(max_iter=3).fit(X, Y)
    trees = body(pg.to_torch(model)).soften("soft").train()
    x = torch.tensor(X)
    whole = trees(x)
    whole.sum().backward()
    grad = trees.shift.grad.clone()
    trees.zero_grad()
    monkeypatch.setattr("pipegrad.modules.trees.soft._SOFT_CELLS", 1000)
    parts = trees(x)
    parts.sum().backward()
    assert_allclose(parts.detach(), whole.detach())
    assert_allclose(trees.shift.grad, grad)


def test_leaves_can_be_kept():
    model = ensemble.GradientBoostingClassifier(n_estimators=4).fit(X, np.digitize(Y, [0.3, 1.5]))
    trees = body(pg.to_torch(model))
    x = torch.tensor(X)
    kept = trees.leaves(x)
    assert kept.shape == (300, 12)
    assert_allclose(trees.score(kept).detach(), model.decision_function(X), rtol=1e-12)


def test_kept_leaves_may_be_short():
    for model in (
        ensemble.RandomForestClassifier(6, max_depth=5, random_state=0),
        ensemble.GradientBoostingRegressor(n_estimators=5),
    ):
        trees = body(pg.to_torch(model.fit(X, np.digitize(Y, [0.3, 1.5]))))
        x = torch.tensor(X)
        kept, short = trees.leaves(x), trees.leaves(x, torch.int32)
        assert short.dtype == torch.int32
        assert_array_equal(short, kept)
        grads = []
        for leaves in (kept, short, kept.T.contiguous().T):
            trees.zero_grad()
            out = trees.score(leaves)
            assert_allclose(out.detach(), trees(x).detach(), rtol=1e-12)
            out.square().sum().backward()
            grads.append([p.grad.clone() for p in trees.parameters()])
        for other in grads[1:]:
            for mine, first in zip(other, grads[0]):
                assert_allclose(mine, first, rtol=1e-12)


def test_many_outputs_are_added_as_few_are(monkeypatch):
    model = ensemble.RandomForestClassifier(6, max_depth=5, random_state=0)
    trees = body(pg.to_torch(model.fit(X, np.digitize(Y, [0.3, 1.5]))))
    few = trees(torch.tensor(X)).detach()
    monkeypatch.setattr("pipegrad.modules.trees.ensemble._FEW_OUTPUTS", 2)
    assert_allclose(trees(torch.tensor(X)).detach(), few, rtol=1e-12)


@pytest.mark.parametrize("way", ["_walk", "_scan", "leaves"])
def test_rows_divided_among_threads(way, monkeypatch):
    depth = 7 if way == "_walk" else 4
    model = ensemble.GradientBoostingRegressor(n_estimators=9, max_depth=depth).fit(X, Y)
    trees = body(pg.to_torch(model))
    x = torch.tensor(np.tile(X, (7, 1))[:-1])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = trees(x)
        alone.sum().backward()
        grad = trees.leaf_values.grad.clone()
        ends = trees.leaves(x)
        trees.zero_grad()
        torch.set_num_threads(3)
        monkeypatch.setattr("pipegrad.modules.trees.routing._CELLS", 1000)
        if way == "leaves":
            with torch.inference_mode():
                assert_array_equal(trees.leaves(x), ends)
            return
        together = trees(x)
        together.sum().backward()
        assert torch.get_num_threads() == 3
        with torch.no_grad():
            assert not trees(x).requires_grad
        state = dict(trees.named_parameters())
        call = torch.func.functional_call
        apart = torch.func.grad(lambda p: call(trees, p, (x,)).sum())(state)
    finally:
        torch.set_num_threads(before)
    assert_allclose(together.detach(), alone.detach(), rtol=1e-12)
    assert_allclose(trees.leaf_values.grad, grad, rtol=1e-12)
    assert_allclose(apart["leaf_values"], grad, rtol=1e-12)


def even_tree(depth, generator):
    """Children, columns and thresholds of a tree whose levels ask one question each."""
    nodes = (1 << depth) - 1
    child = 2 * torch.arange(nodes) + 1
    code = torch.stack([child, child + 1])
    code = torch.where(code < nodes, code, ~(code - nodes))
    level = (torch.arange(nodes) + 1).log2().floor().long()
    questions = torch.randn(depth, generator=generator).round(decimals=1).double()
    columns = torch.randint(FEATURES, (depth,), generator=generator)
    return code, columns[level], questions[level]


@pytest.mark.parametrize("strict", [False, True])
def test_even_trees(strict):
    generator = torch.Generator().manual_seed(0)
    parts, nodes, leaves, roots = [], 0, 0, []
    for depth in (3, 7, 1, 0, 7):
        code, columns, questions = even_tree(depth, generator)
        roots.append(nodes if depth else ~leaves)
        parts.append((torch.where(code < 0, code - leaves, code + nodes), columns, questions))
        nodes, leaves = nodes + code.shape[1], leaves + code.shape[1] + 1
    code, columns, questions = (torch.cat(part, -1) for part in zip(*parts))
    trees = TreeEnsemble(
        torch.tensor(roots), columns, questions, *code, torch.arange(leaves).double()[:, None],
        strict=strict,
    )  # fmt: skip
    assert trees._scan.even
    x = torch.randn(500, FEATURES, generator=generator).double().round(decimals=1)
    with mock.patch("pipegrad.modules.trees.routing._FEW", 0):
        quick, scan = trees.leaves(x), trees._scan
        trees._scan = None
        assert_array_equal(quick, trees.leaves(x))
        # Once a threshold has moved, a level asks several questions.
        trees._scan = scan
        trees.threshold[20] += 0.5
        moved = trees.leaves(x)
        trees._scan = None
        assert_array_equal(moved, trees.leaves(x))
        assert (moved != quick).any()


def test_fine_tuned_leaves_go_back():
    model = ensemble.RandomForestClassifier(5, max_depth=4, random_state=0).fit(X, Y > 0.8)
    tuned = pg.from_torch(pg.to_torch(model).fit(X, Y > 0.8, epochs=3, validation=None))
    shares = tuned.predict_proba(X)
    assert_allclose(shares.sum(1), 1)
    assert (shares >= 0).all()
    assert tuned.feature_importances_.shape == (4,)
    assert type(pickle.loads(pickle.dumps(tuned))) is type(model)


def test_simplex():
    start = torch.tensor([[1.0, 0, 0], [0.25, 0.25, 0.5], [0.1, 0.2, 0.7]], dtype=torch.float64)
    simplex = Simplex(start)
    assert_array_equal(simplex().detach(), start)
    # A class that a leaf never saw can still gain.
    torch.log(simplex()[:, 1] + 1e-3).sum().neg().backward()
    assert simplex.weight.grad[0, 1] < 0
    with torch.no_grad():
        simplex.weight.copy_(torch.randn(3, 3))
        simplex.weight[0] = -1
    assert_allclose(simplex().sum(1).detach(), 1)
    assert_allclose(simplex()[0].detach(), 1 / 3)


# -- rules of other libraries ----------------------------------------------------------------------


def stump(**options):
    def tensor(*values):
        return torch.tensor(values)

    return TreeEnsemble(
        tensor(0),
        tensor(0),
        torch.tensor([options.pop("threshold", 0.5)], dtype=torch.float64),
        tensor(-1),
        tensor(-2),
        torch.tensor([[0.0], [1.0]], dtype=torch.float64),
        squeeze=True,
        **options,
    )


def goes_right(module, *values):
    out = module(torch.tensor(values, dtype=torch.float64)[:, None]).tolist()
    return [bool(v) for v in out]


def test_equality_goes_right_if_strict():
    assert goes_right(stump(), 0.5, 0.4999999) == [False, False]
    assert goes_right(stump(strict=True), 0.5, 0.4999999) == [True, False]
    # In float32 both are the threshold itself.
    close = 0.5 - 1e-12
    assert goes_right(stump(strict=True, single=True), 0.5, close) == [True, True]
    assert goes_right(stump(strict=True, threshold=-np.inf), -np.inf, 0.0) == [True, True]
    assert goes_right(stump(threshold=np.inf), np.inf, np.nan) == [False, True]


def test_what_is_missing():
    left = torch.tensor([True])
    nan, tiny = np.nan, 1e-36
    assert goes_right(stump(missing=NAN), nan, 0.0, 1.0) == [True, False, True]
    assert goes_right(stump(missing=NAN, default_left=left), nan, 1.0) == [False, True]
    assert goes_right(stump(missing=AS_ZERO), nan, 0.0) == [False, False]
    assert goes_right(stump(missing=AS_ZERO, threshold=-1.0), nan, 0.0) == [True, True]
    assert goes_right(stump(missing=ZERO), nan, 0.0, tiny, 0.1) == [True, True, True, False]
    zero_left = stump(missing=ZERO, default_left=left, threshold=-1.0)
    assert goes_right(zero_left, nan, 0.0, -tiny, 0.1) == [False, False, False, True]


def test_categories():
    options = {
        "category_width": torch.tensor([3]),
        "category_left": torch.tensor([False, True, False]),
    }
    probe = (0.0, 1.0, 1.9, 2.0, 3.0, -1.0, -0.5, np.nan, 1e12, np.inf)
    right = [True, False, False, True, True, True, True, True, True, True]
    assert goes_right(stump(**options), *probe) == right
    yes = torch.tensor([True])
    unknown = goes_right(stump(**options, unknown_left=yes), *probe)
    assert unknown == [True, False, False, True, False, False, True, True, False, False]
    assert not goes_right(stump(**options, default_left=yes), np.nan)[0]


def test_linear_leaves():
    linear = (
        torch.tensor([1.0, 2.0], dtype=torch.float64),
        torch.tensor([[0, 1], [1, -1]]),
        torch.tensor([[10.0, 1.0], [3.0, 99.0]], dtype=torch.float64),
    )
    module = stump(linear=linear)
    x = torch.tensor([[0.1, 2.0], [0.9, 2.0], [0.9, np.nan], [0.1, np.nan]], dtype=torch.float64)
    expected = [1 + 1 + 2, 2 + 6, 1, 0]
    assert_allclose(module(x).detach(), expected)
    module.soften("soft", temperature=1e-9).train()
    assert_allclose(module(x).detach(), expected)


def test_a_tree_may_be_a_leaf():
    empty = torch.zeros(0, dtype=torch.int64)
    values = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    module = TreeEnsemble(torch.tensor([-1, -2]), empty, values[:0, 0], empty, empty, values)
    x = torch.zeros(5, 3, dtype=torch.float64)
    assert_array_equal(module(x).detach(), np.full((5, 1), 3.0))
    assert_array_equal(module(x[:0]).detach(), np.zeros((0, 1)))
    module.soften("soft").train()
    assert_array_equal(module(x).detach(), np.full((5, 1), 3.0))
