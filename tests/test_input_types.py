"""Input of every type that sources take: tensors, and arrays of any dtype and layout."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelBinarizer,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
    TargetEncoder,
)

import pipegrad as pg
from pipegrad.finetune import losses

rng = np.random.default_rng(0)
X = rng.integers(0, 5, size=(60, 4)).astype(float)
y = X[:, 0] - X[:, 1] * X[:, 2] + rng.normal(size=60)
HIGH = y > np.median(y)

SOURCES = {
    "linear": make_pipeline(StandardScaler(), PCA(2), Ridge()),
    "logistic": LogisticRegression(),
    "centers": KMeans(5, n_init=1, random_state=0),
    "kernel": Nystroem(n_components=10, gamma=0.3, random_state=0),
    "fourier": RBFSampler(random_state=0),
    "norms": Normalizer(),
    "products": PolynomialFeatures(),
    "forest": RandomForestClassifier(5, random_state=0),
    "histograms": HistGradientBoostingRegressor(max_iter=5),
    "one-hot": make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()),
    "ordinal": OrdinalEncoder(),
    "target encoder": TargetEncoder(random_state=0),
    "host part": make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), Ridge()),
}


def fitted(name):
    source = SOURCES[name]
    if hasattr(source, "n_features_in_"):
        return source
    return source.fit(X, HIGH if "log" in name or "forest" in name else y)


def answer(operator, rows):
    for method in ("predict_proba", "predict", "transform"):
        if hasattr(operator, method):
            out = getattr(operator, method)(rows)
            return out.toarray() if sparse.issparse(out) else out
    raise AssertionError("no method")


TENSORS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8]


@pytest.mark.parametrize("dtype", TENSORS, ids=str)
@pytest.mark.parametrize("name", SOURCES)
def test_tensors_mean_the_arrays_of_their_numbers(name, dtype):
    source = fitted(name)
    net, rows = pg.to_torch(source), torch.tensor(X).to(dtype)
    array = rows.float().numpy() if dtype == torch.bfloat16 else rows.numpy()
    try:
        desired = answer(source, array)
    except ValueError as error:
        if "Buffer dtype mismatch" not in str(error):
            raise
        desired = answer(source, array.astype(np.float64))  # KMeans does not take float32
    # Sources compute in float16, too, and np.log1p of one byte is float16.
    coarse = dtype == torch.float16 or (dtype == torch.uint8 and name == "host part")
    tolerance = 2e-2 if coarse else 1e-5
    assert_allclose(answer(net, rows), desired, rtol=tolerance, atol=tolerance)
    assert answer(net, rows).dtype == desired.dtype
    out = net(rows)
    assert_array_equal(out.detach(), net(array).detach())


@pytest.mark.parametrize("name", SOURCES)
def test_tensors_of_any_layout(name):
    net = pg.to_torch(fitted(name))
    rows = torch.tensor(X)
    desired = answer(net, X)
    wide = torch.stack([rows, -rows], 2)[:, :, 0]
    assert not wide.is_contiguous()
    for given in (wide, rows.T.contiguous().T, rows.clone().requires_grad_(), list(rows)):
        assert_allclose(answer(net, given), desired, rtol=1e-12, atol=1e-14)
    assert_allclose(answer(net, rows[::2]), desired[::2], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [6, 10, 12, 24], [1, 5]])
def test_labels_as_tensors(labels):
    source = LabelBinarizer().fit(labels)
    net = pg.to_torch(source)
    for dtype in (torch.int64, torch.float64):
        given = torch.tensor(labels, dtype=dtype)
        assert_array_equal(net.transform(given), source.transform(given.numpy()))
        column = given[:, None]
        assert_array_equal(net.transform(column), source.transform(column.numpy()))


def test_sparse_tensors():
    source = make_pipeline(StandardScaler(with_mean=False), Ridge()).fit(sparse.csr_matrix(X), y)
    net, rows = pg.to_torch(source), torch.tensor(X)
    for given in (rows.to_sparse(), rows.to_sparse().to(torch.float32)):
        assert_allclose(net.predict(given), source.predict(X), rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_reach_tensors_of_any_precision(dtype):
    net = pg.to_torch(fitted("linear"))
    x = torch.tensor(X[:5], dtype=dtype, requires_grad=True)
    net(x).sum().backward()
    desired = torch.tensor(X[:5], requires_grad=True)
    net(desired).sum().backward()
    assert x.grad.dtype == dtype
    assert_allclose(x.grad, desired.grad, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 5), (2, 2, 4)])
def test_tensors_of_another_shape(shape):
    source = fitted("linear")
    net = pg.to_torch(source)
    with pytest.raises(ValueError, match=r"Expected 2D|features|dim"):
        source.predict(np.ones(shape))
    for call in (net, net.predict):
        with pytest.raises(ValueError, match=r"Expected 2D|features|dim"):
            call(torch.ones(shape))


def test_training_takes_tensors():
    source = make_pipeline(StandardScaler(), Ridge(100.0)).fit(X, y)
    weight = rng.uniform(size=60)
    nets = []
    for wrap in (np.asarray, torch.tensor):
        rows = (wrap(X), wrap(y))
        net = pg.to_torch(source).fit(
            *rows, validation=(*rows, wrap(weight)), epochs=3, sample_weight=wrap(weight)
        )
        nets.append(net.partial_fit(*rows, sample_weight=wrap(weight)))
    assert_array_equal(nets[0].predict(X), nets[1].predict(X))
    tuners = [
        pg.FineTuner(source, epochs=2, random_state=0).fit(wrap(X), wrap(y), wrap(weight))
        for wrap in (np.asarray, torch.tensor)
    ]
    assert_array_equal(tuners[0].predict(X), tuners[1].predict(torch.tensor(X)))


ARRAYS = {
    "big-endian": X.astype(">f8"),
    "big-endian float32": X.astype(">f4"),
    "big-endian integers": X.astype(">i2"),
    "longdouble": X.astype(np.longdouble),
    "float16": X.astype(np.float16),
    "uint8": X.astype(np.uint8),
    "uint64": X.astype(np.uint64),
    "objects": X.astype(object),
    "negative strides": X[::-1, ::-1][::-1, ::-1],
    "fortran": np.asfortranarray(X),
    "masked": np.ma.masked_array(X, mask=False),
    "subclass": X.view(type("Own", (np.ndarray,), {})),
    "lists": X.tolist(),
    "frame": pd.DataFrame(X),
    "nullable": pd.DataFrame(X).astype("Float64"),
    "nullable integers": pd.DataFrame(X).astype("Int64"),
}


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", SOURCES)
def test_arrays_of_any_kind(name, kind):
    source, given = fitted(name), ARRAYS[kind]
    net = pg.to_torch(source)
    try:
        desired = answer(source, given)
    except (TypeError, ValueError):
        with pytest.raises((TypeError, ValueError)):
            answer(net, given)
        return
    coarse = kind == "float16" or (kind == "uint8" and name == "host part")
    tolerance = 2e-2 if coarse else 1e-6
    found = answer(net, given)
    assert_allclose(
        np.asarray(found, dtype=float), np.asarray(desired, dtype=float), tolerance, tolerance
    )
    assert np.asarray(found).dtype == np.asarray(desired).dtype


@pytest.mark.parametrize("kind", ["big-endian", "longdouble", "float16", "objects"])
def test_fitted_on_and_trained_with_any_array(kind):
    given, target = ARRAYS[kind], y.astype(ARRAYS[kind].dtype)
    source = make_pipeline(StandardScaler(), Ridge(100.0)).fit(given, target)
    net = pg.to_torch(source)
    tolerance = 3e-2 if kind == "float16" else 1e-9
    assert_allclose(net.predict(given), source.predict(given), tolerance, tolerance)
    net.fit(given, target, validation=(given, target), epochs=2)
    assert_allclose(pg.from_torch(net).predict(given), net.predict(given), tolerance, tolerance)


WHOLE = ["uint8", "int8", "int64", ">i4", "bool", "float16"]
FUNCTIONS = [np.square, np.negative, np.reciprocal, np.exp, np.abs, np.log1p]
CHAINS = {
    "alone": lambda f: FunctionTransformer(f),
    "before a predictor": lambda f: make_pipeline(FunctionTransformer(f), Ridge()),
    "twice": lambda f: make_pipeline(FunctionTransformer(f), FunctionTransformer(f), Ridge()),
    "beside others": lambda f: make_union(FunctionTransformer(f), PCA(1)),
    "of some columns": lambda f: make_pipeline(
        make_column_transformer((FunctionTransformer(f), [0, 2]), remainder="passthrough"), Ridge()
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("translate", ["trainable", "all"])
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", WHOLE)
def test_functions_of_whole_numbers(dtype, function, chain, translate):
    rows = (1 + X * 25).astype(dtype)
    try:
        source = CHAINS[chain](function).fit(rows, y)
        desired = answer(source, rows)
    except (TypeError, ValueError):
        return  # such as the negative of a boolean
    net = pg.to_torch(source, translate=translate)
    found = answer(net, rows)
    assert found.dtype == desired.dtype
    assert_allclose(found.astype(float), desired.astype(float), rtol=2e-3, atol=1e-8)
    if not dtype.startswith(">"):
        assert_array_equal(answer(net, torch.tensor(rows)), found)


def test_training_on_whole_numbers_that_wrap():
    rows = (X * 25).astype("uint8")
    source = make_pipeline(FunctionTransformer(np.square), StandardScaler(), Ridge(1e3))
    source.fit(rows, y)
    nets = [pg.to_torch(source, translate=t) for t in ("trainable", "all")]
    for net in nets:
        net.fit(rows, y, validation=(rows, y), epochs=2)
    assert_allclose(nets[0].predict(rows), nets[1].predict(rows), rtol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"a_min": np.arange(4.0), "a_max": np.full(4, 3.0)},
        {"a_min": [0.5] * 4, "a_max": 2.0},
        {"a_min": None, "a_max": np.arange(4)},
        {"a_min": 1, "a_max": None},
        {"min": 0.5, "max": np.full((1, 4), 2.0)},
    ],
    ids=str,
)
def test_bounds_of_each_column(options):
    if "min" in options and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("np.clip does not take min and max")
    clip = FunctionTransformer(np.clip, kw_args=options)
    source = make_pipeline(StandardScaler(), clip, Ridge()).fit(X, y)
    assert_allclose(pg.to_torch(source).predict(X), source.predict(X), rtol=1e-9)
    lone = clip.fit(X)
    for translated in (pg.to_torch(lone), pg.to_torch(lone).to(torch.float32)):
        assert_allclose(translated.transform(X), lone.transform(X), rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"dtype": np.float32}, {"where": X > 1}], ids=["dtype", "where"]
)
def test_options_that_torch_does_not_have(options):
    source = FunctionTransformer(np.clip, kw_args={"a_min": 0.0, "a_max": 2.0, **options})
    pipe = make_pipeline(StandardScaler(), source, Ridge()).fit(X, y)
    with pytest.raises(pg.UntranslatableError, match="func=clip with kw_args"):
        pg.to_torch(pipe)


NEGATIVE, ZEROS = y - y.max() - 1, np.zeros(60)
RANGES = [
    (PoissonRegressor(), NEGATIVE, None, "non-negative"),
    (GammaRegressor(), ZEROS, None, "positive"),
    (Ridge(), NEGATIVE, "poisson", "non-negative"),
    (Ridge(), ZEROS, "gamma", "positive"),
    (Ridge(), NEGATIVE, "squared_log_error", "above -1"),
    (Ridge(), NEGATIVE, "cross_entropy", "between 0 and 1"),
    (Ridge(), NEGATIVE, "tweedie", "non-negative"),
    (Ridge(), ZEROS, losses.named("tweedie", power=2.5), "positive"),
    (Ridge(), NEGATIVE, losses.Sum("squared_error", "poisson"), "non-negative"),
]


@pytest.mark.parametrize(("source", "target", "loss", "words"), RANGES)
def test_targets_outside_of_the_range_of_the_loss(source, target, loss, words):
    net = pg.to_torch(source.fit(X, np.abs(y) + 1))
    before = [p.clone() for p in net.parameters()]
    for train in (net.fit, net.partial_fit):
        with pytest.raises(pg.ArgumentError, match=f"y must be {words}"):
            train(X, target, loss=loss)
    with pytest.raises(pg.ArgumentError, match=f"validation: y must be {words}"):
        net.fit(X, np.full(60, 0.5), loss=loss, validation=(X, target))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_transformed_targets_wrap_as_in_the_source():
    target = (np.arange(60) % 16 * 5).astype("uint8")
    source = TransformedTargetRegressor(
        Ridge(), func=np.square, inverse_func=np.sqrt, check_inverse=False
    ).fit(X, target)
    net = pg.to_torch(source)
    desired = source.transformer_.transform(target[:, None])[:, 0]
    assert desired.max() < 256
    for given in (target, torch.tensor(target)):
        assert_array_equal(net.encode_target(given), desired)


def test_labels_beyond_zero_and_one():
    labels = np.c_[HIGH, ~HIGH].astype(int)
    net = pg.to_torch(RidgeClassifier().fit(X, labels))
    for train in (net.fit, net.partial_fit):
        with pytest.raises(pg.ArgumentError, match="y must be between 0 and 1 for labels, got 2"):
            train(X, labels * 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_blocks_of_another_precision(dtype):
    net = pg.to_torch(fitted("linear"))
    blocks = {name: block.to(dtype) for name, block in net.encode(X).blocks.items()}
    assert_allclose(net(blocks).detach(), net(X).detach(), rtol=1e-6)


def test_unfitted_pipelines_take_their_shapes_from_tensors():
    pipe = make_pipeline(StandardScaler(), Ridge())
    data = torch.tensor(X), torch.tensor(y)
    assert pg.to_torch(pipe, init="random", data=data).predict(X).shape == y.shape


def test_constants_of_functions_in_single_precision():
    scaled = FunctionTransformer(lambda rows: rows * np.arange(1.0, 5.0))
    source = make_pipeline(StandardScaler(), scaled, Ridge()).fit(X, y)
    net = pg.to_torch(source, dtype=torch.float32)
    assert_allclose(net.predict(X), source.predict(X), rtol=1e-4, atol=1e-4)


def _in_memory(name, X):
    """The same numbers, stored in another way."""
    if name == "turned columns":
        return X[:, ::-1].copy()[:, ::-1]
    if name == "turned rows":
        return X[::-1].copy()[::-1]
    if name == "every other column":
        return np.repeat(X, 2, axis=1)[:, ::2]
    if name == "one row for all":
        return np.broadcast_to(X[:1], X.shape)
    rows = np.zeros(len(X), dtype=[("flag", "i1"), ("x", X.dtype, X.shape[1:])])
    rows["x"] = X
    return rows["x"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize(
    "name",
    ["turned columns", "turned rows", "every other column", "one row for all", "part of records"],
)
def test_numbers_may_be_anywhere_in_memory(name, dtype):
    rng = np.random.default_rng(0)
    X = (10 * rng.normal(size=(20, 4))).astype(dtype)
    source = make_pipeline(StandardScaler(), Ridge()).fit(X, X[:, 0])
    net = pg.to_torch(source)
    given = _in_memory(name, X)
    before = given.copy()
    np.testing.assert_allclose(net.predict(given), source.predict(before), rtol=1e-6)
    np.testing.assert_array_equal(net.encode(given).blocks["input"].numpy(), before)
    net.fit(given, before[:, 0], epochs=1, validation=None)
    np.testing.assert_array_equal(given, before)
