"""Preprocessing beyond the contract: edges of each transform, and what is refused."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse, special
from sklearn import preprocessing as pre
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import pipegrad as pg
from pipegrad import modules
from pipegrad.registry import lookup
from pipegrad.sources.numpy_calls import ELEMENTWISE, NumpyCall
from pipegrad.sources.sklearn._base import SKLEARN
from pipegrad.testing import identical, perturb

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)) * [1, 10, 0.1] + [0, 5, 1]
POSITIVE = np.abs(X) + 0.2

# Earlier versions lose digits near an exponent of zero, and take roots of negative numbers.
OF_LATE = pytest.mark.skipif(SKLEARN.release < (1, 9), reason="formulas of 1.9")


def row_of(operator):
    return lookup(type(operator))


def run(operator, X):
    row = row_of(operator)
    out = row.to_torch(operator)(torch.from_numpy(np.array(row.encode(operator, X))))
    return modules.dense(out).detach().numpy()


@pytest.mark.parametrize(
    ("operator", "data"),
    [
        (pre.StandardScaler(), X),
        (pre.StandardScaler(with_mean=False), X),
        (pre.StandardScaler(with_std=False), X),
        (pre.MinMaxScaler((-1, 3)), X),
        (pre.MaxAbsScaler(), X),
        (pre.RobustScaler(), X),
        (pre.RobustScaler(with_centering=False, with_scaling=False), X),
        (pre.PowerTransformer(), X),
        (pre.PowerTransformer(standardize=False), X),
        (pre.PowerTransformer("box-cox"), POSITIVE),
        (pre.PowerTransformer("box-cox", standardize=False), POSITIVE),
        (pre.FunctionTransformer(np.log1p, np.expm1), POSITIVE),
        (pre.FunctionTransformer(np.sqrt, np.square), POSITIVE),
        (pre.FunctionTransformer(), X),
    ],
    ids=str,
)
def test_inverse(operator, data):
    operator.fit(data)
    between = operator.transform(data)
    expected = operator.inverse_transform(between.copy())
    module = row_of(operator).inverse(operator)
    assert_allclose(module(torch.tensor(between)).detach(), expected, rtol=1e-9, atol=1e-12)


@OF_LATE
def test_inverse_of_box_cox_leaves_the_range_as_the_source_does():
    operator = pre.PowerTransformer("box-cox", standardize=False).fit(POSITIVE)
    operator.lambdas_ = np.array([0.5, 0.0, -0.5])
    far = np.array([[-5.0, 1.0, 5.0], [1.0, -3.0, np.nan]])
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = operator.inverse_transform(far.copy())
    assert_allclose(row_of(operator).inverse(operator)(torch.tensor(far)).detach(), expected)


@OF_LATE
@pytest.mark.parametrize("power", [-3.0, -1e-9, 0.0, 1e-12, 1e-4, 0.999e-3, 1.0, 2.0, 2 + 1e-9])
@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
def test_power_at_special_exponents(method, power):
    data = POSITIVE if method == "box-cox" else X
    operator = pre.PowerTransformer(method=method, standardize=False).fit(data)
    operator.lambdas_ = np.full(3, power)
    assert_allclose(run(operator, data), operator.transform(data.copy()), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize(
    "kind", [modules.YeoJohnson, modules.InverseYeoJohnson, modules.BoxCox, modules.InverseBoxCox]
)
def test_gradients_of_powers(kind):
    powers = [-0.4, 0.0, 1e-5, 1.0, 2.0, 2.3]
    x = torch.tensor([[0.1], [0.4], [1e-4], [2e-3]], dtype=torch.float64).repeat(1, len(powers))
    if kind in (modules.YeoJohnson, modules.InverseYeoJohnson):
        x = torch.cat([x, -x])
    x.requires_grad_()
    module = kind(torch.tensor(powers, dtype=torch.float64))

    def call(x, power):
        return torch.func.functional_call(module, {"power": power}, (x,))

    assert torch.autograd.gradcheck(call, (x, module.power), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "operator",
    [
        pre.StandardScaler(),
        pre.MinMaxScaler(clip=True),
        pre.MaxAbsScaler(),
        pre.RobustScaler(),
        pre.PowerTransformer(),
        pre.PowerTransformer("box-cox"),
    ],
    ids=str,
)
def test_missing_values_pass_and_leave_gradients_alone(operator):
    holes = POSITIVE.copy()
    holes[3, 1] = holes[5, 2] = np.nan
    operator.fit(holes)
    module = row_of(operator).to_torch(operator)
    x = torch.tensor(holes, requires_grad=True)
    out = module(x)
    assert_array_equal(torch.isnan(out), np.isnan(holes))
    # A later imputer gives these entries a gradient of zero.
    torch.where(torch.isnan(out), 0.0, out).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    for p in module.parameters():
        assert torch.isfinite(p.grad).all()
        assert p.grad.abs().max() > 0


def test_zero_gradient_is_right_at_zero():
    module = modules.YeoJohnson(torch.ones(1, dtype=torch.float64))
    x = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    module(x).sum().backward()
    assert x.grad.item() == 1.0


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_rows_of_zeros_have_finite_gradients(norm):
    x = torch.tensor([[0.0, 0.0], [1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    modules.NormalizeRows(norm)(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_constant_columns_keep_their_attributes():
    data = X.copy()
    data[:, 1] = 4.0
    for operator in (pre.StandardScaler(), pre.MinMaxScaler(), pre.RobustScaler()):
        operator.fit(data)
        row, state = row_of(operator), dict(vars(operator))
        row.write_back(row.to_torch(operator), operator)
        for name, before in state.items():
            assert_array_equal(getattr(operator, name), before, err_msg=name)
        assert_allclose(run(operator, data), operator.transform(data), atol=1e-12)


def test_min_max_range_follows():
    operator = pre.MinMaxScaler((-1, 2)).fit(X)
    row = row_of(operator)
    module = row.to_torch(operator)
    with torch.no_grad():
        module.scale.log_ratio.add_(0.3)
        module.offset.add_(0.2)
    row.write_back(module, operator)
    ends = np.stack([operator.data_min_, operator.data_max_])
    assert_allclose(operator.transform(ends), [[-1] * 3, [2] * 3])
    assert_allclose(operator.data_range_, operator.data_max_ - operator.data_min_)


def test_robust_scales_that_are_not_positive_are_refused():
    operator = pre.RobustScaler(quantile_range=(0.0, 100.0), unit_variance=True).fit(X)
    assert "quantile_range" in row_of(operator).refuse(operator)


# -- functions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ELEMENTWISE, ids=lambda f: f.__name__)
def test_known_functions(function):
    x = np.array([-np.inf, -2.5, -1.0, -0.5, -0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 2.5, np.inf, np.nan])
    with np.errstate(all="ignore"):
        expected = function(x)
    given = ELEMENTWISE[function](torch.tensor(x)).numpy()
    assert_allclose(given, expected, rtol=1e-12, atol=1e-300)


def shifted_log(X):
    return np.log1p(np.abs(X)) * np.sign(X) + 1


def ratio(X):
    return X[:, [0]] / X[:, [1]]


def widened(X):
    return np.hstack([X, np.where(X > 0, X, 0.1 * X), X.sum(axis=1, keepdims=True)])


def by_row(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True) + np.clip(X, -1, None).astype(float)


def in_torch(X):
    return X.clip(-1, 1) ** 2


@pytest.mark.parametrize("function", [shifted_log, ratio, widened, by_row, in_torch])
def test_callables_are_tried_out(function):
    operator = pre.FunctionTransformer(function).fit(X)
    assert row_of(operator).refuse(operator) is None
    assert_allclose(run(operator, X), function(X))


def large(X):
    return X > 1.5


def signs_and_sizes(X):
    return np.hstack([np.heaviside(X, 0.5), np.sinc(X), np.copysign(2.0, X), np.fmod(X, 2.0)])


def special_functions(X):
    return special.xlogy(2.0, np.abs(X) + 1) + special.log_expit(X) + np.i0(X / 9)


@pytest.mark.parametrize(
    ("function", "smooth"),
    [(large, False), (np.isfinite, False), (signs_and_sizes, True), (special_functions, True)],
)
def test_functions_with_and_without_gradients(function, smooth):
    y = X[:, 0] > 0
    operator = pre.FunctionTransformer(function)
    pipe = make_pipeline(pre.StandardScaler(), operator, Ridge()).fit(X, y)
    net = pg.to_torch(pipe, translate="all")
    assert_allclose(net.predict(X), pipe.predict(X), rtol=1e-9, atol=1e-12)
    # Steps before a comparison are out of the reach of gradients, so that they do not train.
    assert (net.graph["standardscaler"].status == "trainable") is smooth
    alone = pre.FunctionTransformer(function).fit(X)
    assert identical(pg.to_torch(alone).transform(X).dtype, alone.transform(X).dtype)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.LBFGS])
@pytest.mark.parametrize(
    "scaler",
    [pre.StandardScaler(), pre.MinMaxScaler(), pre.MaxAbsScaler(), pre.RobustScaler()],
    ids=lambda scaler: type(scaler).__name__,
)
@pytest.mark.filterwarnings(
    "ignore:All-NaN slice:RuntimeWarning",
    "ignore:invalid value:RuntimeWarning",
    "ignore:Skipping features:UserWarning",
)
def test_a_column_without_numbers_does_not_stop_the_others_from_training(scaler, optimizer):
    table = X.copy()
    table[:, 1] = np.nan
    table[3, 0] = np.nan
    y = X[:, 0] + X[:, 2]
    pipe = make_pipeline(clone(scaler), SimpleImputer(), Ridge(alpha=30.0)).fit(table, y)
    net = pg.to_torch(pipe)
    first = type(scaler).__name__.lower()
    assert net.graph[first].status == "trainable"
    assert_allclose(net.predict(table), pipe.predict(table), rtol=1e-9)
    net.fit(table, y, optim=optimizer, epochs=3, validation=None)
    trained = pg.from_torch(net)
    assert np.mean((trained.predict(table) - y) ** 2) < np.mean((pipe.predict(table) - y) ** 2)
    assert_allclose(trained.predict(table), net.predict(table), rtol=1e-9)
    assert np.isnan(trained[0].scale_[1])
    assert (trained[0].scale_[[0, 2]] != pipe[0].scale_[[0, 2]]).all()


def test_scales_of_infinity_are_refused():
    wide = pre.RobustScaler(quantile_range=(0.0, 100.0), unit_variance=True).fit(X)
    assert "scales of zero or infinity" in row_of(wide).refuse(wide)


def rows_mixed(X):
    return X - X.mean(axis=0)


def one_dimensional(X):
    return X.sum(axis=1)


def of_table(X):
    return X["a"]


def with_strings(X):
    return np.array([[len(str(v)) for v in row] for row in X])


def through_numpy(X):
    return np.apply_along_axis(np.sort, 1, X)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (rows_mixed, "mixes rows"),
        (one_dimensional, "one row per input row"),
        (of_table, "fails on an array of numbers"),
        (with_strings, "torch cannot differentiate"),
        (through_numpy, "torch cannot differentiate"),
    ],
)
def test_callables_that_are_refused(function, reason):
    operator = pre.FunctionTransformer(function)
    operator.fit(X)
    refusal = row_of(operator).refuse(operator)
    assert function.__name__ in refusal
    assert reason in refusal


def test_functions_that_change_their_argument_are_refused():
    def in_place(X):
        X += 1
        return X

    operator = pre.FunctionTransformer(in_place).fit(X.copy())
    row = row_of(operator)
    x = torch.tensor(X)
    if row.refuse(operator) is None:
        row.to_torch(operator)(x)
    assert_array_equal(x.numpy(), X)


def test_options_without_a_module_are_refused():
    operator = pre.FunctionTransformer(np.log, kw_args={"where": True}).fit(POSITIVE)
    assert "where" in row_of(operator).refuse(operator)


def test_numpy_call_says_what_it_cannot():
    with pytest.raises(TypeError, match="no counterpart"):
        NumpyCall(np.fft.fft)(torch.ones(2, 2))


# -- categories ----------------------------------------------------------------------------------

TABLE = pd.DataFrame(
    {"color": ["red", "blue", "red", None, "green", "red"], "size": [1.0, 2.0, 2.0, np.nan, 3.0, 1]}
)
STRANGE = pd.DataFrame({"color": ["red", "pink", None], "size": [7.0, 2.0, np.nan]})


@pytest.mark.parametrize("drop", [None, "first", "if_binary", ["blue", 2.0], [None, np.nan]])
@pytest.mark.parametrize("unknown", ["ignore", "infrequent_if_exist"])
@pytest.mark.parametrize("limit", [{}, {"max_categories": 2}, {"min_frequency": 2}])
def test_one_hot_of_unknown_categories(drop, unknown, limit):
    operator = pre.OneHotEncoder(drop=drop, handle_unknown=unknown, sparse_output=False, **limit)
    try:
        operator.fit(TABLE)
    except (ValueError, AttributeError):
        pytest.skip("a category that is infrequent cannot be dropped")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_array_equal(run(operator, STRANGE), operator.transform(STRANGE))
        operator.sparse_output = True
        assert_array_equal(run(operator, STRANGE), operator.transform(STRANGE).toarray())


def test_one_hot_refuses_and_warns_as_the_source():
    operator = pre.OneHotEncoder().fit(TABLE)
    with pytest.raises(ValueError, match="Found unknown categories"):
        run(operator, STRANGE)
    operator = pre.OneHotEncoder(handle_unknown="ignore", drop="first").fit(TABLE)
    with pytest.warns(UserWarning, match="unknown categories"):
        run(operator, STRANGE)


def test_one_hot_of_a_single_category_may_leave_nothing():
    operator = pre.OneHotEncoder(drop="first", sparse_output=True).fit([["a"], ["a"]])
    assert run(operator, [["a"]]).shape == (1, 0)


def test_output_settings_do_not_matter():
    operator = pre.OneHotEncoder(sparse_output=False).fit(TABLE).set_output(transform="pandas")
    assert_array_equal(run(operator, TABLE), operator.transform(TABLE).to_numpy())
    operator = pre.OrdinalEncoder().fit(TABLE).set_output(transform="pandas")
    assert_array_equal(run(operator, TABLE), operator.transform(TABLE).to_numpy())


@pytest.mark.parametrize("y", [[1.5, 2, 0, 1, 5, 2.5], list("abcabc"), list("abaaab")], ids=str)
def test_target_encoder(y):
    operator = pre.TargetEncoder(cv=2).fit(TABLE, y)
    assert_allclose(run(operator, STRANGE), operator.transform(STRANGE))
    assert_allclose(run(operator, TABLE), operator.transform(TABLE))


def test_target_encoder_trains_each_class():
    operator = pre.TargetEncoder(cv=2).fit(TABLE, list("abcabc"))
    row = row_of(operator)
    module = row.to_torch(operator)
    with torch.no_grad():
        module.values.add_(torch.randn_like(module.values))
    row.write_back(module, operator)
    codes = torch.tensor(row.encode(operator, STRANGE))
    assert_allclose(operator.transform(STRANGE), module(codes).detach())


@pytest.mark.parametrize("sparse_output", [False, True])
@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a", "b"], ["a"], [3, 1, 2], [True, False]])
def test_label_binarizer(labels, sparse_output):
    operator = pre.LabelBinarizer(sparse_output=sparse_output, pos_label=3).fit(labels)
    expected = operator.transform(labels)
    assert_array_equal(run(operator, labels), modules_dense(expected))
    if len(labels) == 3:
        unseen = np.array([labels[0], labels[1], labels[0] * 9])
        assert_array_equal(run(operator, unseen), modules_dense(operator.transform(unseen)))


def modules_dense(array):
    return array.toarray() if hasattr(array, "toarray") else array


# -- missing values ------------------------------------------------------------------------------


def test_imputer_of_strings_stays_on_the_host():
    operator = SimpleImputer(strategy="most_frequent").fit(TABLE[["color"]].astype(object))
    row = row_of(operator)
    assert "text" in row.no_numbers(operator)
    assert not row.trainable(operator)


def test_imputer_of_whole_numbers_does_not_train():
    data = np.array([[1, -1], [-1, 4], [3, 4]])
    operator = SimpleImputer(missing_values=-1, strategy="most_frequent").fit(data)
    row = row_of(operator)
    assert not row.trainable(operator)
    assert not list(row.to_torch(operator).parameters())
    assert_array_equal(run(operator, data), operator.transform(data))


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("flags", [False, True])
def test_imputer_of_empty_columns(strategy, keep, flags):
    data = X.copy()
    data[:, 1] = np.nan
    data[2, 0] = np.nan
    operator = SimpleImputer(strategy=strategy, keep_empty_features=keep, add_indicator=flags)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        operator.fit(data)
        row, before = row_of(operator), operator.statistics_.copy()
        assert_allclose(run(operator, data), operator.transform(data))
        row.write_back(row.to_torch(operator), operator)
        assert identical(operator.statistics_, before)
        module = row.to_torch(operator)
        with torch.no_grad():
            module.fill.add_(0.25)
        row.write_back(module, operator)
        assert_allclose(module(torch.tensor(data)).detach(), operator.transform(data))


def test_random_start():
    for module in (
        modules.Lookup([torch.ones(3)], [0], torch.zeros(1)),
        modules.Impute(torch.ones(3)),
        modules.YeoJohnson(torch.zeros(2)),
        modules.Sequential(modules.BoxCox(torch.zeros(2)), modules.Standardize(torch.ones(2))),
    ):
        before = [p.detach().clone() for p in module.parameters()]
        module.reset_parameters()
        for p, old in zip(module.parameters(), before, strict=True):
            assert not torch.equal(p, old)


def test_exported_graphs_serve_missing_values_too():
    module = modules.Standardize(torch.zeros(3), torch.ones(3))
    whole = torch.ones(4, 3)
    program = torch.export.export(module, (whole,), strict=False).module()
    holes = whole.masked_fill(torch.eye(4, 3, dtype=torch.bool), torch.nan)
    holes.requires_grad_()
    out = program(holes)
    torch.where(torch.isnan(out), 0.0, out).sum().backward()
    assert torch.isfinite(program.scale.log_ratio.grad).all()


@pytest.mark.parametrize("kind", ["array", "tensor", "table", "sparse"])
def test_scaled_float32_is_rounded_as_in_the_source(kind):
    rows = np.random.default_rng(0).normal(1000.0, 300.0, size=(200, 5)).astype(np.float32)
    options = {"with_mean": False} if kind == "sparse" else {"with_std": False}
    given = {
        "array": rows,
        "tensor": torch.from_numpy(rows),
        "table": pd.DataFrame(rows),
        "sparse": sparse.csr_matrix(rows),
    }[kind]
    net = pg.to_torch(pre.StandardScaler(**options).fit(rows))
    for _ in range(2):
        ours = net.transform(given)
        theirs = pg.from_torch(net).transform(rows if kind == "tensor" else given)
        assert ours.dtype == theirs.dtype == np.float32
        assert abs(ours - theirs).max() == 0
        perturb(net)
