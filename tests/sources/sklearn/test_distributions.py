"""Splines and quantiles, where the contract's examples do not reach."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, SplineTransformer, StandardScaler

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.registry import lookup
from pipegrad.testing import DATASETS, assert_close, perturb
from pipegrad.testing.promises import shake

X, y = DATASETS["regression"]()
BEYOND = np.vstack([X, 3 * X - 2 * X.mean(0), X.min(0), X.max(0), X.min(0) - 1e-9])


def knots_of(operator):
    return np.array([spline.t for spline in operator.bsplines_])


@pytest.mark.parametrize("beyond", ["constant", "linear", "continue", "periodic"])
@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize("knots", ["uniform", "quantile"])
def test_values_at_and_beyond_the_knots(beyond, degree, knots):
    if degree == 1 and beyond == "linear":
        pytest.skip("refused")
    operator = SplineTransformer(7, degree=degree, knots=knots, extrapolation=beyond).fit(X)
    net = pg.to_torch(operator)
    for rows in (BEYOND, knots_of(operator).T):
        assert_close(net.transform(rows), operator.transform(rows), 1e-9)
    perturb(net)
    assert_close(net.transform(BEYOND), pg.from_torch(net).transform(BEYOND), 1e-9)


_SPREAD = np.random.default_rng(0).random(200) * 3
# Quantiles coincide at the low end, the high end, in between, at both ends, and everywhere.
REPEATED = {
    "low": np.where(_SPREAD > 1.5, 0.0, _SPREAD),
    "high": np.where(_SPREAD > 1.5, 3.0, _SPREAD),
    "middle": np.where(_SPREAD % 1 > 0.5, 1.5, _SPREAD),
    "both": np.clip(_SPREAD, 1, 1.8),
    "few": np.round(_SPREAD),
    "constant": np.full(200, 2.0),
}


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("beyond", ["constant", "linear", "continue", "periodic"])
@pytest.mark.parametrize("values", REPEATED)
def test_repeated_knots(values, beyond, degree):
    column = REPEATED[values][:, None]
    options = {"knots": "quantile", "extrapolation": beyond, "degree": degree}
    operator = SplineTransformer(6, **options).fit(column)
    if (values, beyond) == ("constant", "periodic") and not hasattr(operator, "handle_missing"):
        with pytest.raises(UntranslatableError, match="answers NaN"):
            pg.to_torch(operator)
        return
    rows = np.concatenate([np.linspace(-2, 5, 15), operator.bsplines_[0].t, column[:5, 0]])
    net = pg.to_torch(operator)
    assert_close(net.transform(rows[:, None]), operator.transform(rows[:, None]), 1e-9)
    perturb(net)
    written = pg.from_torch(net)
    assert_close(net.transform(rows[:, None]), written.transform(rows[:, None]), 1e-9)


@pytest.mark.parametrize("degree", [0, 1])
def test_linear_continuations_with_jumps_are_refused(degree):
    splines = SplineTransformer(degree=degree, extrapolation="linear")
    pipe = make_pipeline(StandardScaler(), splines, Ridge()).fit(X, y)
    with pytest.raises(pg.UntranslatableError, match=f"degree={degree}.*wrong from the second"):
        pg.to_torch(pipe)
    both, alone = splines.fit(X).transform(BEYOND), splines.fit(X[:, 1:2]).transform(BEYOND[:, 1:2])
    width = alone.shape[1]
    assert not np.allclose(both[:, width : 2 * width], alone), "scikit-learn mended it"


@pytest.mark.parametrize("beyond", ["continue", "periodic"])
@pytest.mark.parametrize("knots", ["uniform", "quantile"])
def test_steps_answer_as_the_source_and_stop_gradients(beyond, knots):
    splines = SplineTransformer(degree=0, extrapolation=beyond, knots=knots)
    pipe = make_pipeline(StandardScaler(), splines, Ridge()).fit(X, y)
    net = pg.to_torch(pipe)
    assert_close(net.predict(BEYOND), pipe.predict(BEYOND), 1e-9)
    assert [step.name for step in net.graph if step.status == "trainable"] == ["ridge"]
    through = pg.to_torch(pipe, translate="all")
    assert_close(through.predict(BEYOND), pipe.predict(BEYOND), 1e-9)


def test_steps_at_repeated_knots():
    rows = np.column_stack([np.repeat([0.0, 1, 2, 5], 20), np.repeat([0.0, 0, 0, 1], 20)])
    operator = SplineTransformer(5, degree=0, knots="quantile", extrapolation="continue").fit(rows)
    between = np.vstack([rows, np.linspace(-0.5, 1.5, 80)[:, None] + rows])
    assert_close(pg.to_torch(operator).transform(between), operator.transform(between), 1e-9)


@pytest.mark.parametrize("degree", [0, 1])
def test_a_single_column_of_low_degree_goes_on_linearly(degree):
    operator = SplineTransformer(degree=degree, extrapolation="linear").fit(X[:, :1])
    assert_close(
        pg.to_torch(operator).transform(BEYOND[:, :1]), operator.transform(BEYOND[:, :1]), 1e-9
    )


def test_rows_beyond_the_knots_are_refused_where_the_source_refuses_them():
    for params in ({"extrapolation": "error"}, {"degree": 0}):
        operator = SplineTransformer(**params).fit(X)
        net = pg.to_torch(operator)
        assert not net.trainable_parameters()
        with pytest.raises(ValueError, match=r"limits of the knots(.|\n)*continue"):
            net.transform(BEYOND)
        with pytest.raises(ValueError, match=r"knots|shape mismatch"):
            operator.transform(BEYOND)


def test_knots_keep_their_order_and_those_that_do_not_change_stay():
    operator = SplineTransformer(6).fit(X)
    for seed in range(3):
        net = pg.to_torch(operator)
        shake(net, seed)
        assert (np.diff(knots_of(pg.from_torch(net)), axis=1) > 0).all()
    net = pg.to_torch(operator)
    next(p for name, p in net.named_parameters() if name.endswith("shift")).data[2] += 0.1
    same = knots_of(pg.from_torch(net)) == knots_of(operator)
    assert same.all(1).tolist() == [True, True, False, True, True, True]


def test_knots_train_with_the_steps_around_them():
    pipe = make_pipeline(StandardScaler(), SplineTransformer(4, degree=2), Ridge(1e-3)).fit(X, y)
    net = pg.to_torch(pipe)
    before = ((net.predict(X) - y) ** 2).mean()
    net.fit(X, y, optim=torch.optim.LBFGS, validation=None, epochs=4)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < 0.97 * before
    assert not np.array_equal(knots_of(tuned[1]), knots_of(pipe[1]))


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_repeated_quantiles_and_their_ends(output):
    rows = DATASETS["word_counts"]()[0]
    operator = QuantileTransformer(n_quantiles=40, output_distribution=output).fit(rows)
    net = pg.to_torch(operator)
    near = [rows, rows + 0.5, rows - 1e-8, rows + 1e-8, rows + 1e-6, rows * 2 - 3]
    for given in near:
        assert_close(net.transform(given), operator.transform(given.copy()), 1e-9)


@pytest.mark.parametrize("kind", [sparse.csc_array, sparse.coo_matrix, sparse.csr_array])
def test_sparse_columns(kind):
    rows = DATASETS["sparse"]()[0]
    operator = QuantileTransformer(n_quantiles=30, output_distribution="normal").fit(rows)
    ours = pg.to_torch(operator).transform(kind(rows))
    np.testing.assert_allclose(ours.toarray(), operator.transform(rows).toarray(), atol=1e-9)
    with pytest.raises(ValueError, match="non-negative"):
        pg.to_torch(operator).transform(-kind(rows))


def test_gradients_pass_through_ranks():
    operator = QuantileTransformer(n_quantiles=10, output_distribution="normal").fit(X)
    pipe = make_pipeline(StandardScaler(), operator, Ridge()).fit(X, y)
    net = pg.to_torch(pipe)
    net(X).square().sum().backward()
    gradients = [p.grad for p in net.trainable_parameters().values()]
    assert all(torch.isfinite(g).all() and g.abs().max() > 0 for g in gradients)
    x = torch.tensor(X[:5], requires_grad=True)
    pg.to_torch(operator)(x).sum().backward()
    step = 1e-6
    slope = (operator.transform(X[:5] + step) - operator.transform(X[:5] - step)) / (2 * step)
    np.testing.assert_allclose(x.grad, slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_targets_come_back_from_ranks(output):
    for count in (2, 20):
        ranks = QuantileTransformer(n_quantiles=count, output_distribution=output)
        member = TransformedTargetRegressor(
            make_pipeline(StandardScaler(), Ridge()), transformer=ranks, check_inverse=False
        )
        stack = StackingRegressor([("member", member), ("plain", Ridge())], Ridge(), cv=2)
        net = pg.to_torch(stack.fit(X, y))
        assert_close(net.predict(BEYOND), stack.predict(BEYOND), 1e-9)
        perturb(net)
        assert_close(net.predict(BEYOND), pg.from_torch(net).predict(BEYOND), 1e-9)


def test_ranks_of_quantiles_are_those_of_the_source():
    operator = QuantileTransformer(n_quantiles=9).fit(X)
    grid = np.concatenate([operator.references_, np.linspace(-0.2, 1.2, 50)])
    ranks = np.repeat(grid[:, None], X.shape[1], 1)
    for output in ("uniform", "normal"):
        operator.set_params(output_distribution=output)
        inverse = lookup(QuantileTransformer).inverse(operator)
        ours = inverse(torch.tensor(ranks)).numpy()
        assert_close(ours, operator.inverse_transform(ranks.copy()), 1e-9)
