"""Sparse codes and sparse components, beyond the contract's examples."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import DictionaryLearning, SparseCoder, SparsePCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.modules import Coding, SparseCodes
from pipegrad.testing import DATASETS, assert_close, assert_same_answers

ALGORITHMS = ["omp", "lars", "lasso_lars", "lasso_cd", "threshold"]

# Without a penalty, rounding errors decide when coordinate descent ends in old versions.
PENALTIES = [
    *(("lasso_lars", alpha) for alpha in (0.0, 1e-8, 0.05, 1.0)),
    *(("lasso_cd", alpha) for alpha in (1e-8, 0.05, 1.0)),
]


def scaled(name="regression"):
    X, y = DATASETS[name]()
    return StandardScaler().fit_transform(X), y


def dictionary(atoms, width, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(atoms, width))
    return drawn / np.linalg.norm(drawn, axis=1)[:, None]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("algorithm", "alpha"), PENALTIES)
def test_codes_of_more_atoms_and_all_penalties(algorithm, alpha, positive):
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(size=(40, 8)), np.zeros((1, 8))])
    coder = SparseCoder(
        dictionary(6, 8) + 0.3,  # of any length, and alike
        transform_algorithm=algorithm,
        transform_alpha=alpha,
        positive_code=positive,
    ).fit(X)
    assert_same_answers(pg.to_torch(coder), coder, X, 1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("algorithm", ["omp", "lars"])
def test_codes_of_equal_and_of_empty_atoms(algorithm, count):
    atoms = dictionary(4, 8)
    atoms = np.concatenate([atoms, np.zeros((1, 8))])
    if algorithm == "omp":  # Rounding errors decide how far least angle regression goes.
        atoms = np.concatenate([atoms, atoms[:1]])
    X = np.random.default_rng(1).normal(size=(40, 8))
    coder = SparseCoder(atoms, transform_algorithm=algorithm, transform_n_nonzero_coefs=count).fit(
        X
    )
    net = pg.to_torch(coder)
    codes = coder.transform(X)
    # Which of two equal atoms has the weight is a matter of rounding.
    assert_close(net.transform(X) @ atoms, codes @ atoms, 1e-9)
    assert_close(np.count_nonzero(net.transform(X), 1), np.count_nonzero(codes, 1), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_gradients_are_those_of_finite_differences(algorithm):
    torch.manual_seed(0)
    atoms, x = torch.randn(4, 6).double(), torch.randn(5, 6).double()
    coding = Coding(algorithm, 0.3, count=3, limit=9000, tolerance=1e-15)
    module = SparseCodes(atoms, coding, split=True)

    def codes(atoms, x):
        return torch.func.functional_call(module, {"atoms": atoms}, (x,))

    assert torch.autograd.gradcheck(codes, (atoms.requires_grad_(), x.requires_grad_()), atol=1e-4)


def test_gradients_of_a_path_that_ends_early():
    torch.manual_seed(0)
    atoms, x = torch.randn(4, 6).double(), torch.randn(5, 6).double()
    module = SparseCodes(atoms, Coding("lasso_lars", 0.1, limit=2))
    assert torch.autograd.gradcheck(module, (x.requires_grad_(),))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_dictionary_trains_with_the_step_after_it(algorithm):
    X, y = scaled()
    coder = SparseCoder(
        dictionary(5, 6),
        transform_algorithm=algorithm,
        transform_alpha=0.3,
        transform_n_nonzero_coefs=3,
    )
    pipeline = make_pipeline(coder, Ridge()).fit(X, y)
    net = pg.to_torch(pipeline)
    before = ((pipeline.predict(X) - y) ** 2).mean()
    net.fit(X, y, optim=lambda p: torch.optim.Adam(p, lr=0.02), epochs=30, validation=None)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < 0.8 * before
    assert_same_answers(net, tuned, X, 1e-9)
    if hasattr(coder, "inverse_transform"):  # since scikit-learn 1.8
        codes = tuned[0].transform(X)
        assert_close(tuned[0].inverse_transform(codes), codes @ tuned[0].dictionary, 1e-9)


def test_sparse_components_train_and_stay_sparse():
    X, y = scaled()
    X = np.repeat(X[:, :3], 2, axis=1) + 0.7 * X  # pairs of columns that belong together
    pca = SparsePCA(2, alpha=1.0, random_state=0)
    pipeline = make_pipeline(pca, Ridge()).fit(X, y)
    zeros = pca.components_ == 0
    assert zeros.any()
    for train_zeros in (False, True):
        net = pg.to_torch(pipeline, train_zeros=train_zeros)
        before = ((pipeline.predict(X) - y) ** 2).mean()
        net.fit(X, y, optim=torch.optim.LBFGS, epochs=10, validation=None)
        tuned = pg.from_torch(net)
        assert ((tuned.predict(X) - y) ** 2).mean() < 0.99 * before
        assert_same_answers(net, tuned, X, 1e-9)
        assert (tuned[0].components_[zeros] == 0).all() != train_zeros


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_components_that_depend_on_others(penalty):
    X, _ = scaled()
    pca = SparsePCA(3, ridge_alpha=penalty, random_state=0, max_iter=5).fit(X)
    pca.components_[2] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_close(pg.to_torch(pca).transform(X), pca.transform(X), 1e-9)


def test_a_single_row_is_a_table_of_one_row():
    X, _ = scaled()
    pca = SparsePCA(3, random_state=0, max_iter=5).fit(X)
    # scikit-learn drops the dimension of a single row.
    found = pg.to_torch(pca).transform(X[:1])
    assert found.shape == (1, 3)
    assert_close(found[0], np.ravel(pca.transform(X[:1])), 1e-9)


def test_dictionaries_of_whole_numbers_train_as_floating_point_numbers():
    X, _ = scaled()
    atoms = np.random.default_rng(0).integers(-2, 3, size=(4, 6))
    coder = SparseCoder(atoms, transform_algorithm="lasso_lars").fit(X)
    net = pg.to_torch(coder)
    # Older versions of scikit-learn cannot drop an atom from a path over whole numbers.
    floating = clone(coder).set_params(dictionary=atoms.astype(float)).fit(X)
    assert_same_answers(net, floating, X, 1e-9)
    with torch.no_grad():
        next(iter(net.trainable_parameters().values())).add_(0.1)
    tuned = pg.from_torch(net)
    np.testing.assert_allclose(tuned.dictionary, atoms + 0.1)
    assert_same_answers(net, tuned, X, 1e-9)


def test_what_the_source_cannot_compute_is_refused():
    X, _ = scaled()
    for options in (
        {"transform_algorithm": "omp", "positive_code": True},
        {"transform_algorithm": "lars", "positive_code": True},
        {"transform_algorithm": "omp", "transform_n_nonzero_coefs": 5},
    ):
        coder = SparseCoder(dictionary(4, 6), **options).fit(X)
        with pytest.raises(ValueError, match=r"Positive constraint|number of atoms"):
            coder.transform(X)
        with pytest.raises(UntranslatableError, match=r"positive_code|n_nonzero_coefs"):
            pg.to_torch(coder)


def test_the_penalty_of_the_fit_is_the_default():
    X, _ = scaled()
    learned = DictionaryLearning(
        4, alpha=0.7, transform_algorithm="threshold", max_iter=3, random_state=0
    ).fit(X)
    module = pg.to_torch(learned)
    assert_same_answers(module, learned, X, 1e-9)
    assert (module.transform(X) != 0).any()


def test_a_dictionary_needs_no_fit():
    X, _ = scaled()
    coder = SparseCoder(dictionary(4, 6), transform_algorithm="lasso_lars")
    assert_close(pg.to_torch(coder).transform(X), coder.transform(X), 1e-9)
