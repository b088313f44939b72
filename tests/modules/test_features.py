"""Features: projections, kernels, distances and selections where they are at their edges."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import RFE, RFECV, SelectFromModel, SelectFwe, VarianceThreshold
from sklearn.kernel_approximation import AdditiveChi2Sampler, Nystroem
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression
from sklearn.metrics.pairwise import KERNEL_PARAMS, PAIRWISE_KERNEL_FUNCTIONS
from sklearn.pipeline import make_pipeline
from sklearn.random_projection import SparseRandomProjection

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.modules import Distances, Kernel, SparseRows
from pipegrad.modules._kernels import _KERNELS
from pipegrad.registry import lookup

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
Y = X @ RNG.normal(size=5) + 0.1 * RNG.normal(size=40)


def rows_of(matrix):
    matrix = matrix.tocsr()
    values = torch.tensor(matrix.data, dtype=torch.float64, requires_grad=True)
    starts = torch.from_numpy(matrix.indptr.astype(np.int64))
    columns = torch.from_numpy(matrix.indices.astype(np.int64))
    return SparseRows(starts, columns, values, matrix.shape[1])


@pytest.mark.parametrize("name", sorted(_KERNELS))
@pytest.mark.parametrize("as_sparse", [False, True])
def test_kernel_gradients_are_finite_at_zero_and_at_the_points(name, as_sparse):
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0]], dtype=torch.float64)
    start = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.5, 3.0]])
    x = rows_of(sparse.csr_matrix(start)) if as_sparse else torch.tensor(start, requires_grad=True)
    points.requires_grad_()
    out = Kernel(name)(x, points)
    numbers = {"gamma": 1.0} if "gamma" in KERNEL_PARAMS[name] else {}
    desired = PAIRWISE_KERNEL_FUNCTIONS[name](start, points.detach().numpy(), **numbers)
    np.testing.assert_allclose(out.detach().numpy(), desired, atol=1e-15)
    out.sum().backward()
    given = x.values.grad if as_sparse else x.grad
    assert torch.isfinite(given).all()
    assert torch.isfinite(points.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distance_zero_has_a_finite_gradient(dtype):
    module = Distances(torch.tensor(X[:3])).to(dtype)
    x = torch.tensor(X[:3], dtype=dtype, requires_grad=True)
    distances = module(x)
    assert (distances.diagonal() == 0).any() or distances.diagonal().max() < 1e-3
    distances.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(module.centers.grad).all()


def test_float32_distances_keep_their_digits_far_from_the_origin():
    far = (X + 1000).astype(np.float32)
    source = KMeans(2, n_init=1, random_state=0).fit(far)
    net = pg.to_torch(source)
    np.testing.assert_allclose(net.transform(far), source.transform(far), rtol=1e-6)


def test_whitening_without_variance_is_finite_and_trains_the_rest():
    flat = np.column_stack([X[:, 0], X[:, 0], X[:, 1]])
    source = PCA(svd_solver="covariance_eigh", whiten=True).fit(flat)
    source.explained_variance_[-1] = 0.0
    net = pg.to_torch(source)
    out = net(flat)
    np.testing.assert_allclose(net.transform(flat)[:, :2], source.transform(flat)[:, :2])
    out[:, :2].sum().backward()
    for parameter in net.parameters():
        assert torch.isfinite(parameter.grad).all()


def test_whitening_variance_takes_the_spectrum_with_it():
    source = PCA(3, whiten=True).fit(X)
    module = lookup(PCA).to_torch(source)
    with torch.no_grad():
        module.variance.log_ratio.fill_(np.log(4.0))
    before = source.singular_values_.copy(), source.explained_variance_ratio_.copy()
    lookup(PCA).write_back(module, source)
    np.testing.assert_allclose(source.singular_values_, 2 * before[0])
    np.testing.assert_allclose(source.explained_variance_ratio_, 4 * before[1])
    np.testing.assert_allclose(
        source.singular_values_**2 / (source.n_samples_ - 1), source.explained_variance_
    )


def test_nystroem_of_integers_writes_back_fractions():
    counts = RNG.integers(0, 9, size=(40, 5))
    source = Nystroem(n_components=6, random_state=0, gamma=0.01).fit(counts)
    row = lookup(Nystroem)
    module = row.to_torch(source)
    row.write_back(module, source)
    assert source.components_.dtype.kind == "i"
    with torch.no_grad():
        module.points.add_(0.25)
    row.write_back(module, source)
    desired = module(torch.tensor(counts, dtype=torch.float64)).detach().numpy()
    np.testing.assert_allclose(source.transform(counts), desired)


@pytest.mark.parametrize("kernel", ["chi2", "additive_chi2"])
def test_points_of_a_chi2_kernel_stay_allowed(kernel):
    positive = np.abs(X)
    positive[:5, 0] = 0
    source = Nystroem(kernel, n_components=8, random_state=0).fit(positive)
    net = pg.to_torch(source)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    np.testing.assert_allclose(pg.from_torch(net).transform(positive), net.transform(positive))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        net.transform(-positive)


def test_kernels_in_python_are_refused_with_the_reason():
    source = Nystroem(lambda a, b: a @ b, n_components=3).fit(X)
    with pytest.raises(UntranslatableError, match="Python code"):
        pg.to_torch(source)


def test_user_kernel_params_are_left_alone():
    params = {"gamma": 0.5, "coef0": 3.0}
    source = Nystroem("rbf", kernel_params=params, n_components=5, random_state=0).fit(X)
    net = pg.to_torch(source)
    np.testing.assert_allclose(net.transform(X), source.transform(X))
    assert params == {"gamma": 0.5, "coef0": 3.0}


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_additive_chi2_of_dense_rows_with_zeros(steps):
    positive = np.where(X < 0, 0.0, X)
    source = AdditiveChi2Sampler(sample_steps=steps).fit(positive)
    module = lookup(AdditiveChi2Sampler).to_torch(source)
    x = torch.tensor(positive, requires_grad=True)
    np.testing.assert_allclose(module(x).detach().numpy(), source.transform(positive), atol=1e-15)
    module(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    with pytest.raises(ValueError, match="integers"):
        pg.to_torch(source).transform(positive.astype(int))


@pytest.mark.parametrize("dense_output", [False, True])
def test_sparse_projection_gives_the_kind_of_output_of_its_source(dense_output):
    S = sparse.random(30, 50, density=0.2, format="csr", random_state=0)
    source = SparseRandomProjection(6, dense_output=dense_output, random_state=0).fit(S)
    ours, theirs = pg.to_torch(source).transform(S), source.transform(S)
    assert sparse.issparse(ours) == sparse.issparse(theirs) != dense_output
    np.testing.assert_allclose(_dense(ours), _dense(theirs), atol=1e-12)


def _dense(a):
    return a.toarray() if sparse.issparse(a) else a


@pytest.mark.parametrize("kind", [RFE, RFECV])
@pytest.mark.parametrize("estimator", [LinearRegression(), LogisticRegression(solver="liblinear")])
def test_elimination_predicts_with_what_is_left(kind, estimator):
    labels = isinstance(estimator, LogisticRegression)
    y = np.where(Y > 0, "yes", "no") if labels else Y
    source = kind(estimator).fit(X, y)
    net = pg.to_torch(source)
    ours, theirs = net.predict(X), source.predict(X)
    assert (ours == theirs).all() if labels else np.allclose(ours, theirs)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3)
    changed = pg.from_torch(net)
    method = "predict_proba" if labels else "predict"
    np.testing.assert_allclose(getattr(net, method)(X), getattr(changed, method)(X))
    assert not np.allclose(getattr(changed, method)(X), getattr(source, method)(X))


def test_elimination_between_trainable_steps():
    pipe = make_pipeline(PCA(4), RFE(LinearRegression(), n_features_to_select=2), Lasso(0.01))
    pipe.fit(X, Y)
    net = pg.to_torch(pipe)
    np.testing.assert_allclose(net.predict(X), pipe.predict(X))
    net(X).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix])
def test_selecting_nothing_warns_and_gives_no_columns(convert):
    noise = RNG.normal(size=(40, 5))
    source = SelectFwe(alpha=1e-12).fit(noise, RNG.integers(0, 2, 40))
    net = pg.to_torch(source)
    with pytest.warns(UserWarning, match="No features were selected"):
        ours = net.transform(convert(noise))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = source.transform(convert(noise))
    assert ours.shape == theirs.shape == (40, 0)
    assert sparse.issparse(ours) == sparse.issparse(theirs)


def test_selectors_let_pass_what_their_source_lets_pass():
    holes = X.copy()
    holes[0, 0] = np.nan
    threshold = pg.to_torch(VarianceThreshold().fit(holes))
    np.testing.assert_array_equal(threshold.transform(holes), holes)
    with pytest.raises(ValueError, match="NaN"):
        pg.to_torch(SelectFromModel(Lasso(0.01)).fit(X, Y)).transform(holes)


@pytest.mark.slow
def test_svd_of_wide_sparse_text_stays_sparse(monkeypatch):
    wide = sparse.random(300, 100_000, density=3e-4, format="csr", random_state=0)
    source = make_pipeline(TruncatedSVD(5, random_state=0), LinearRegression())
    source.fit(wide, RNG.normal(size=300))
    net = pg.to_torch(source)
    monkeypatch.setattr(SparseRows, "to_dense", lambda self: pytest.fail("became dense"))
    np.testing.assert_allclose(net.predict(wide), source.predict(wide))
    net(wide).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
