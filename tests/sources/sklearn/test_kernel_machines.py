"""Kernel ridge regression and kernel principal components, beyond the contract's examples."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import KernelPCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer, StandardScaler
from sklearn.svm import SVC

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.testing import DATASETS, assert_same_answers, perturb


def scaled(name):
    X, y = DATASETS[name]()
    return StandardScaler().fit_transform(X), y


@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_precomputed_kernels_of_any_number_of_targets(outputs):
    X, y = DATASETS["similarities"]()
    y = y if outputs is None else np.column_stack([y * k for k in range(1, outputs + 1)])
    operator = KernelRidge(kernel="precomputed").fit(X, y)
    net = pg.to_torch(operator)
    assert_same_answers(net, operator, X, 1e-9)
    perturb(net)
    assert_same_answers(net, pg.from_torch(net), X, 1e-9)
    with pytest.raises(TypeError, match="takes dense rows"):
        net.predict(sparse.csr_matrix(X))


@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "poly", "linear"])
def test_training_on_the_own_loss_recovers_from_noise(kernel):
    X, y = scaled("regression")
    operator = KernelRidge(kernel=kernel, alpha=0.1).fit(X, y)
    net = pg.to_torch(operator)
    before = ((operator.predict(X) - y) ** 2).mean()
    perturb(net, 0.1)
    assert ((net.predict(X) - y) ** 2).mean() > 1.01 * before
    net.fit(X, y, optim=torch.optim.LBFGS, epochs=20, validation=None)
    assert ((net.predict(X) - y) ** 2).mean() <= 1.01 * before
    assert_same_answers(net, pg.from_torch(net), X, 1e-9)


def test_components_train_with_the_step_after_them():
    X, y = scaled("regression")
    pca = KernelPCA(4, kernel="rbf", fit_inverse_transform=True)
    pipeline = make_pipeline(pca, Ridge()).fit(X, y)
    net = pg.to_torch(pipeline)
    before = ((pipeline.predict(X) - y) ** 2).mean()
    net.fit(X, y, optim=torch.optim.LBFGS, epochs=20, validation=None)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < 0.9 * before
    assert_same_answers(net, tuned, X, 1e-9)
    # The inverse belongs to the components as they are now.
    columns = tuned[0].transform(tuned[0].X_fit_)
    np.testing.assert_allclose(tuned[0].X_transformed_fit_, columns)
    kernel = tuned[0]._get_kernel(columns) + tuned[0].alpha * np.eye(len(X))
    np.testing.assert_allclose(kernel @ tuned[0].dual_coef_, tuned[0].X_fit_, atol=1e-9)


def test_components_without_variance_stay_zero():
    X = np.repeat(np.eye(3), 4, axis=0)
    operator = KernelPCA(5, kernel="linear").fit(X)
    assert (operator.eigenvalues_ == 0).any()
    net = pg.to_torch(operator)
    assert_same_answers(net, operator, X, 1e-9)
    perturb(net)
    assert_same_answers(net, pg.from_torch(net), X, 1e-9)


def test_points_alone_leave_the_vectors_bit_identical():
    X, _ = scaled("regression")
    operator = KernelPCA(3, kernel="rbf").fit(X)
    net = pg.to_torch(operator)
    with torch.no_grad():
        next(p for name, p in net.named_parameters() if name.endswith("points")).add_(0.1)
    again = pg.from_torch(net)
    np.testing.assert_array_equal(again.eigenvectors_, operator.eigenvectors_)
    assert_same_answers(net, again, X, 1e-9)


def test_points_of_integers_become_floating_point_when_they_move():
    X, y = DATASETS["regression"]()
    X = np.round(X).astype(np.int64)
    operator = KernelRidge(kernel="rbf", gamma=1e-3).fit(X, y)
    net = pg.to_torch(operator)
    assert_same_answers(net, operator, X, 1e-9)
    perturb(net)
    assert_same_answers(net, pg.from_torch(net), X, 1e-9)


def test_a_pipeline_of_kernel_values():
    X, y = DATASETS["similarities_multiclass"]()
    pipeline = make_pipeline(KernelCenterer(), SVC(kernel="precomputed")).fit(X, y)
    net = pg.to_torch(pipeline)
    assert_same_answers(net, pipeline, X, 1e-9)
    net.fit(X, y, epochs=2, validation=None)
    assert_same_answers(net, pg.from_torch(net), X, 1e-9)


def test_functions_and_several_gammas_are_refused():
    X, y = scaled("regression")
    for operator in (
        KernelRidge(kernel=lambda a, b: a @ b).fit(X, y),
        KernelPCA(kernel=lambda a, b: a @ b).fit(X),
    ):
        with pytest.raises(UntranslatableError, match="kernel='<lambda>' is Python code"):
            pg.to_torch(operator)
