"""Support vector machines with kernels, where the contract's examples do not reach."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_blobs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM
from sklearn.utils.multiclass import _ovr_decision_function

import pipegrad as pg
from pipegrad.errors import ArgumentError, UntranslatableError
from pipegrad.finetune.losses import get_loss
from pipegrad.modules import OneVsOneHead, coupled_probabilities
from pipegrad.testing import DATASETS, assert_same_answers, perturb


def grid(width, side):
    axis = np.arange(side) - (side - 1) / 2
    return np.array(np.meshgrid(*[axis] * width)).reshape(width, -1).T


KERNELS = [
    {"kernel": "linear"},
    {"kernel": "rbf", "gamma": 0.5},
    {"kernel": "poly", "degree": 2},
    {"kernel": "sigmoid", "gamma": 0.1},
    {"kernel": "rbf", "break_ties": True},
]


@pytest.mark.parametrize("params", KERNELS, ids=str)
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_rows_on_a_boundary_fall_where_libsvm_puts_them(classes, params):
    # Mirrored rows have scores that are exactly zero between them.
    rows = np.vstack([grid(2, 4), grid(2, 7), np.zeros((1, 2))])
    for weight in (0.0, 1.0):
        X = grid(2, 4)
        signal = np.abs(X).sum(1) + weight * X[:, 0]
        cuts = np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1])
        y = np.digitize(signal, np.unique(cuts))
        for kind in (np.asarray, sparse.csr_matrix):
            operator = SVC(**params, C=1e3 if weight else 1.0).fit(kind(X), y)
            net = pg.to_torch(operator)
            np.testing.assert_array_equal(net.predict(kind(rows)), operator.predict(kind(rows)))


@pytest.mark.parametrize(("C", "classes"), [(1e3, 2), (0.7, 2), (0.7, 3)])
def test_sums_that_are_zero_in_one_order_only(C, classes):
    X, rows = grid(3, 3), np.vstack([grid(3, 3), grid(3, 5)])
    signal = np.abs(X).sum(1) + X[:, 0] if classes == 2 else X.sum(1)
    cuts = np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1])
    operator = SVC(kernel="linear", C=C).fit(X, np.digitize(signal, np.unique(cuts)))
    np.testing.assert_array_equal(pg.to_torch(operator).predict(rows), operator.predict(rows))


def test_a_score_of_zero_is_the_second_class_and_an_outlier():
    pair = np.array([[-1.0], [1.0]])
    operator = SVC(kernel="linear").fit(pair, [0, 1])
    assert operator.decision_function([[0.0]]) == 0
    np.testing.assert_array_equal(pg.to_torch(operator).predict([[0.0]]), [1])
    lonely = OneClassSVM(kernel="linear", nu=0.5).fit([[0.0]])
    assert lonely.decision_function([[3.0]]) == 0
    assert lonely.predict([[3.0]]) == pg.to_torch(lonely).predict([[3.0]]) == -1


def test_every_combination_of_scores_of_pairs():
    score = np.array(list(itertools.product([-2.0, -1.0, 0.0, 1.0, 2.0], repeat=3)))
    head = OneVsOneHead(3)
    values = head.decision_function(torch.tensor(score))
    np.testing.assert_array_equal(values, _ovr_decision_function(score < 0, -score, 3))
    # LIBSVM counts a score of zero for the second class of a pair, and takes the first of the best.
    first = score > 0
    votes = [first[:, 0] + first[:, 1] * 1, ~first[:, 0] + first[:, 2] * 1]
    votes.append(~first[:, 1] + ~first[:, 2] * 1)
    np.testing.assert_array_equal(head.predict(torch.tensor(score)), np.argmax(votes, 0))


def test_the_origin_alone_keeps_digits(monkeypatch):
    monkeypatch.setattr("pipegrad.modules._support_vectors._LOST", np.inf)
    X, y = DATASETS["regression"]()
    X = StandardScaler().fit_transform(X) + 1e5
    operator = SVR().fit(X, y)
    assert_same_answers(pg.to_torch(operator), operator, X, 1e-9)


@pytest.mark.parametrize("operator", [SVC(), SVR(), OneClassSVM()], ids=str)
def test_rows_far_from_the_origin_or_of_large_scale_lose_no_digits(operator):
    X, y = DATASETS["binary"]()
    Z = StandardScaler().fit_transform(X)
    for rows, gamma in ((Z + 1e6, "scale"), (Z * 1e5, 1.0)):
        operator.set_params(gamma=gamma).fit(rows, y)
        assert_same_answers(pg.to_torch(operator), operator, rows, 1e-9)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_a_tube_with_all_rows_inside_has_no_support_vectors(kind):
    X, y = DATASETS["sparse"]()
    X = kind(X.toarray())
    operator = SVR(epsilon=100.0).fit(X, y)
    assert len(operator.support_) == 0
    net = pg.to_torch(operator)
    np.testing.assert_array_equal(net.predict(X), operator.predict(X))
    with torch.no_grad():
        next(p for name, p in net.named_parameters() if name.endswith("bias")).add_(1.0)
    np.testing.assert_allclose(pg.from_torch(net).predict(X), operator.predict(X) + 1)


def test_gamma_of_zero_stays():
    X, y = DATASETS["regression"]()
    net = pg.to_torch(SVR(gamma=0.0).fit(X, y))
    perturb(net)
    assert pg.from_torch(net)._gamma == 0
    np.testing.assert_allclose(pg.from_torch(net).predict(X), net.predict(X))


@pytest.mark.parametrize("dataset", ["binary", "multiclass", "sparse_multiclass"])
def test_every_copy_of_the_numbers_follows(dataset):
    X, y = DATASETS[dataset]()
    operator = SVC(kernel="linear", C=0.01).fit(X, y)
    net = pg.to_torch(operator)
    perturb(net)
    again = pg.from_torch(net)
    sign = -1 if len(operator.classes_) == 2 else 1
    np.testing.assert_array_equal(_dense(again._dual_coef_), sign * _dense(again.dual_coef_))
    np.testing.assert_array_equal(again._intercept_, sign * again.intercept_)
    assert sparse.issparse(again.dual_coef_) == sparse.issparse(X)
    assert type(again.support_vectors_) is type(operator.support_vectors_)
    if sign < 0:  # The weights of scikit-learn's own property give the same scores.
        score = X @ again.coef_.T + again.intercept_
        np.testing.assert_allclose(score[:, 0], net.decision_function(X))


def _dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else matrix


def test_gamma_trains_and_the_parameter_stays():
    X, y = DATASETS["regression"]()
    pipeline = make_pipeline(StandardScaler(), SVR(gamma="scale")).fit(X, y)
    net = pg.to_torch(pipeline)
    net.fit(X, y, epochs=5, lr=0.01, validation=None)
    tuned = pg.from_torch(net)[-1]
    assert tuned._gamma != pipeline[-1]._gamma
    assert tuned.gamma == "scale"
    np.testing.assert_allclose(pg.from_torch(net).predict(X), net.predict(X))


OWN_LOSSES = [
    (SVC(C=10.0), "multiclass"),
    (SVC(kernel="poly", degree=2, coef0=1.0, class_weight="balanced"), "binary"),
    (NuSVC(nu=0.2), "multiclass"),
    (SVR(C=10.0, epsilon=0.2), "regression"),
    (NuSVR(C=10.0, nu=0.3), "regression"),
]


@pytest.mark.parametrize(("operator", "dataset"), OWN_LOSSES, ids=str)
def test_training_on_the_own_loss_recovers_from_noise(operator, dataset):
    X, y = DATASETS[dataset]()
    X = StandardScaler().fit_transform(X)
    operator.fit(X, y)
    net = pg.to_torch(operator)
    before = own_loss(net, X, y)
    perturb(net, 0.1)
    assert own_loss(net, X, y) > 1.05 * before
    net.fit(X, y, epochs=300, lr=0.01, validation=None)
    assert own_loss(net, X, y) <= 1.01 * before
    assert_same_answers(net, pg.from_torch(net), X, 1e-9)


def own_loss(net, X, y):
    with torch.no_grad():
        loss = get_loss(net.objective.name)
        return float(loss(net(X), net.encode_target(y), **net.objective.options).mean())


def test_hinge_of_pairs_is_the_sum_of_the_hinges():
    X, y = DATASETS["multiclass"]()
    operator = SVC(decision_function_shape="ovo").fit(X, y)
    found = own_loss(pg.to_torch(operator), X, y) * len(y)
    score, expected = operator.decision_function(X), 0.0
    for k, (first, second) in enumerate([(0, 1), (0, 2), (1, 2)]):
        for label, sign in ((first, 1), (second, -1)):
            rows = y == operator.classes_[label]
            expected += np.maximum(0, 1 - sign * score[rows, k]).sum()
    np.testing.assert_allclose(found, expected)


def test_nu_insensitive_leaves_out_a_share_of_the_rows():
    target = torch.linspace(0, 1, 101, dtype=torch.float64)
    loss = get_loss("nu_insensitive")(torch.zeros_like(target), target, nu=0.2)
    assert int((loss > loss.min()).sum()) == 20
    assert float(loss.min()) == pytest.approx(0.2 * 0.8)


def test_losses_of_classes_are_refused_for_scores_of_pairs():
    X, y = DATASETS["multiclass"]()
    net = pg.to_torch(SVC().fit(X, y))
    with pytest.raises(ArgumentError, match=r"(?s)a score for each class.*Hint: .*predict_proba"):
        net.fit(X, y, loss="log_loss", epochs=1)
    X, y = DATASETS["binary"]()
    net = pg.to_torch(SVC().fit(X, y))
    with pytest.raises(ArgumentError, match="a score for each pair of classes"):
        net.fit(X, y, loss="one_vs_one_hinge", epochs=1)
    net.fit(X, y, loss="log_loss", epochs=1, validation=None)


def test_callables_and_contradictions_are_refused():
    X, y = DATASETS["multiclass"]()
    with pytest.raises(UntranslatableError, match="kernel='<lambda>' is Python code"):
        pg.to_torch(SVC(kernel=lambda a, b: a @ b.T).fit(X, y))
    with pytest.raises(UntranslatableError, match="break_ties=True cannot predict"):
        pg.to_torch(SVC(break_ties=True, decision_function_shape="ovo").fit(X, y))


def test_unsorted_rows_of_the_user_stay_unsorted():
    X, y = DATASETS["sparse_multiclass"]()
    net = pg.to_torch(SVC().fit(X, y))
    turned = X[:, ::-1].copy()
    turned.has_sorted_indices = 0
    before = turned.indices.copy()
    net.predict(turned)
    np.testing.assert_array_equal(turned.indices, before)


@pytest.mark.parametrize("form", ["csc", "coo", "lil", "dok", "bsr"])
def test_sparse_rows_of_every_form(form):
    X, y = DATASETS["sparse_multiclass"]()
    for operator in (SVC().fit(X, y), SVC(kernel="linear").fit(X, y)):
        assert_same_answers(pg.to_torch(operator), operator, X.asformat(form), 1e-9)


def test_wide_indices_are_refused_as_by_the_source():
    X, y = DATASETS["sparse_multiclass"]()
    operator = SVC().fit(X, y)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    for owner in (operator, pg.to_torch(operator)):
        with pytest.raises(ValueError, match="32-bit integer indices"):
            owner.predict(X)


def test_sparse_arrays_stay_sparse_arrays():
    X, y = DATASETS["sparse_multiclass"]()
    X = sparse.csr_array(X)
    operator = SVC().fit(X, y)
    net = pg.to_torch(operator)
    perturb(net)
    again = pg.from_torch(net)
    assert type(again.dual_coef_) is type(operator.dual_coef_)
    assert_same_answers(net, again, X, 1e-9)


def test_rows_are_evaluated_some_at_a_time(monkeypatch):
    X, y = DATASETS["multiclass"]()
    operator = SVC().fit(X, y)
    monkeypatch.setattr("pipegrad.modules._support_vectors._MOST_VALUES", 200)
    assert_same_answers(pg.to_torch(operator), operator, X, 1e-9)


def with_probabilities(**params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        X, y = make_blobs(120, centers=8, cluster_std=4.0, random_state=0)
        return SVC(probability=True, random_state=0, **params).fit(X, y), X


def test_probabilities_of_many_classes_are_coupled_as_by_libsvm():
    operator, X = with_probabilities()
    assert_same_answers(pg.to_torch(operator), operator, X, 1e-9)


def test_gradients_pass_through_votes_and_probabilities():
    operator, X = with_probabilities()
    net = pg.to_torch(operator)
    for method in ("votes", "predict_proba", "decision_function"):
        net.zero_grad()
        out = getattr(net.head, method)(net(X))
        out[:, 0].sum().backward()
        moved = [p.grad for p in net.trainable_parameters().values()]
        assert all(torch.isfinite(g).all() and g.abs().max() > 0 for g in moved), method
    hard = net.head.votes(net(X)).detach().numpy()
    np.testing.assert_array_equal(operator.classes_[hard.argmax(1)], operator.predict(X))


def test_gradient_of_coupling():
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(3, 3, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    first.requires_grad_()

    def coupled(first):
        i, j = torch.triu_indices(3, 3, 1)
        table = torch.zeros(3, 3, 3, dtype=torch.float64)
        table = table.index_put((torch.arange(3)[:, None], i, j), first)
        return coupled_probabilities(table.index_put((torch.arange(3)[:, None], j, i), 1 - first))

    assert torch.autograd.gradcheck(coupled, (first,))
