"""What came sparse stays sparse, from the host part to the written-back numbers."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

import pipegrad as pg
from pipegrad.modules import SparseRows

ROWS, FEATURES = 300, 100_000


@pytest.fixture(scope="module")
def texts() -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=ROWS)
    words = [rng.choice(40, 12) + 25 * label for label in y]
    return [" ".join(f"w{w}" for w in row) for row in words], np.array(["a", "b", "c"])[y]


@pytest.fixture
def never_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    def unless_one_row(original):
        def method(self, *args, **kwargs):
            assert self.shape[0] == 1, "a dense copy of sparse rows"
            return original(self, *args, **kwargs)

        return method

    for kind, name in [
        (SparseRows, "to_dense"),
        *((k, n) for k in (sparse.csr_matrix, sparse.csc_matrix) for n in ("toarray", "todense")),
    ]:
        monkeypatch.setattr(kind, name, unless_one_row(getattr(kind, name)))


# Whether training helps is not the question here.
@pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")
@pytest.mark.usefixtures("never_dense")
@pytest.mark.parametrize(
    "middle",
    [
        [TruncatedSVD(4, random_state=0)],
        [],
        [StandardScaler(with_mean=False)],
        [MaxAbsScaler(), TruncatedSVD(4, random_state=0)],
    ],
    ids=["svd", "linear", "scaler", "scaler-svd"],
)
def test_fine_tuning_texts_never_makes_rows_dense(texts, middle) -> None:
    X, y = texts
    host = [HashingVectorizer(n_features=FEATURES), TfidfTransformer()]
    last = SGDClassifier(loss="log_loss", random_state=0)
    pipe = make_pipeline(*host, *middle, last).fit(X[:200], y[:200])
    net = pg.to_torch(pipe)
    np.testing.assert_allclose(net.decision_function(X), pipe.decision_function(X), rtol=1e-9)
    net.fit(X[:200], y[:200], epochs=2, validation=(X[200:], y[200:]))
    tuned = pg.from_torch(net)
    np.testing.assert_allclose(tuned.predict_proba(X), net.predict_proba(X), rtol=1e-9)


def test_products_of_sparse_rows_and_their_gradients_are_those_of_dense_rows() -> None:
    matrix = sparse.random(20, 30, density=0.2, format="csr", random_state=0)
    matrix = sparse.vstack([matrix, sparse.csr_matrix((2, 30))]).tocsr()
    starts, columns = (
        torch.from_numpy(a.astype(np.int64)) for a in (matrix.indptr, matrix.indices)
    )
    for outputs in (1, 3, 4, 5, 9):
        values = torch.from_numpy(matrix.data.copy()).requires_grad_()
        weight = torch.randn(30, outputs, dtype=torch.float64, requires_grad=True)
        rows = SparseRows(starts, columns, values, 30)
        cotangent = torch.randn(22, outputs, dtype=torch.float64)
        gradients = torch.autograd.grad((rows.matmul(weight) * cotangent).sum(), [values, weight])
        expected = rows.to_dense() @ weight
        torch.testing.assert_close(rows.matmul(weight), expected)
        others = torch.autograd.grad((expected * cotangent).sum(), [values, weight])
        for ours, theirs in zip(gradients, others, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "index", [slice(2, 7), slice(None), slice(0, 22, 3), slice(5, 5), [3, 3, 0, 21]], ids=str
)
def test_rows_are_picked_as_from_a_matrix(index) -> None:
    matrix = sparse.random(22, 30, density=0.2, format="csr", random_state=0)
    starts, columns = (
        torch.from_numpy(a.astype(np.int64)) for a in (matrix.indptr, matrix.indices)
    )
    rows = SparseRows(starts, columns, torch.from_numpy(matrix.data), 30)
    picked = rows.take(index if isinstance(index, slice) else torch.tensor(index))
    np.testing.assert_array_equal(picked.to_dense().numpy(), matrix.toarray()[index])


def test_sparse_probabilities_of_three_classes_are_right() -> None:
    rng = np.random.default_rng(0)
    X = sparse.random(90, 40, density=0.2, format="csr", random_state=0)
    pipe = make_pipeline(MaxAbsScaler(), LogisticRegression()).fit(X, rng.integers(3, size=90))
    np.testing.assert_allclose(pg.to_torch(pipe).predict_proba(X), pipe.predict_proba(X), rtol=1e-9)
