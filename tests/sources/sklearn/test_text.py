"""Text and dictionaries are read on the host; the weights of terms train behind them."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

import pipegrad as pg
from helpers import assert_alike, assert_round_trip, target
from helpers import table as mixed_table
from pipegrad.modules import SparseRows, TermWeights
from pipegrad.testing import DATASETS, perturb


def texts() -> tuple[Any, Any]:
    return DATASETS["texts"]()


def split(text: str) -> list[str]:
    return text.split()


class Shout:
    """A preprocessor with a state, which pickles."""

    def __call__(self, text: str) -> str:
        return text.upper()


VECTORIZERS: list[dict[str, Any]] = [
    {},
    {"norm": "l1"},
    {"norm": None, "sublinear_tf": True},
    {"use_idf": False},
    {"smooth_idf": False, "vocabulary": ["red", "bus", "never seen", "boat"]},
    {"analyzer": "char", "ngram_range": (1, 3)},
    {"analyzer": "char_wb", "ngram_range": (2, 2), "binary": True},
    {"analyzer": split},
    {"tokenizer": split, "preprocessor": Shout(), "token_pattern": None},
    {"stop_words": "english", "strip_accents": "unicode", "min_df": 2, "max_df": 0.8},
    {"ngram_range": (1, 2), "max_features": 12, "strip_accents": "ascii"},
    {"vocabulary": {"red": 0, "boat": 1, "bus": 2}},
    {"encoding": "latin-1", "decode_error": "ignore"},
]


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("options", VECTORIZERS, ids=lambda options: ",".join(options) or "none")
def test_every_option_of_a_vectorizer_with_weights(options: dict[str, Any]) -> None:
    X, y = texts()
    alone = TfidfVectorizer(**options).fit(X)
    net = assert_round_trip(alone, X, np.array(["a red red bus", "", "Ünseen"], dtype=object))
    assert sparse.issparse(net.transform(X))
    assert bool(net.trainable_parameters()) == alone.use_idf
    assert_round_trip(make_pipeline(TfidfVectorizer(**options), LogisticRegression()).fit(X, y), X)


def test_a_list_of_words_to_leave_out() -> None:
    X, y = texts()
    pipe = make_pipeline(TfidfVectorizer(stop_words=["the"], lowercase=False), LogisticRegression())
    pipe.fit(X, y)
    net = pg.to_torch(pipe)
    assert_alike(net, pipe, X)
    perturb(net)
    changed = pg.from_torch(net)
    assert_alike(net, changed, X)
    assert changed[0].stop_words == ["the"]


@pytest.mark.parametrize(
    "first", [HashingVectorizer(n_features=2**16), FeatureHasher(2**16)], ids=["texts", "names"]
)
def test_hashes_of_many_columns(first: Any) -> None:
    X, y = DATASETS["texts" if isinstance(first, HashingVectorizer) else "dictionaries"]()
    pipe = make_pipeline(first, TfidfTransformer(), TruncatedSVD(2), LogisticRegression())
    net = pg.to_torch(pipe.fit(X, y))
    assert_alike(net, pipe, X)
    perturb(net)
    assert_alike(net, pg.from_torch(net), X)


def test_weights_in_float32_stay_so() -> None:
    X, y = texts()
    pipe = make_pipeline(TfidfVectorizer(dtype=np.float32), Ridge()).fit(X, y == "yes")
    net = pg.to_torch(pipe)
    # The rounding of float32 itself.
    assert_alike(net, pipe, X, 2e-6)
    perturb(net)
    changed = pg.from_torch(net)
    assert changed[0].idf_.dtype == np.float32
    assert_alike(net, changed, X, 2e-6)
    alone = TfidfVectorizer(dtype=np.float32).fit(X)
    assert pg.to_torch(alone).transform(X).dtype == np.float32


def test_numbers_of_another_type_count_in_float64() -> None:
    X, _ = texts()
    with pytest.warns(UserWarning, match="dtype"):
        alone = TfidfVectorizer(dtype=np.int32).fit(X)
    assert_round_trip(alone, X)


def test_files_and_their_names_are_read_by_the_source(tmp_path: Any) -> None:
    X, y = texts()
    paths = []
    for number, text in enumerate(X):
        paths.append(str(tmp_path / f"{number}.txt"))
        (tmp_path / f"{number}.txt").write_text(text, encoding="utf-8")
    pipe = make_pipeline(TfidfVectorizer(input="filename"), LogisticRegression()).fit(paths, y)
    net = assert_round_trip(pipe, paths)
    net.fit(paths, y, epochs=2, validation=None)

    def files() -> list[io.StringIO]:
        return [io.StringIO(text) for text in X]

    pipe = make_pipeline(TfidfVectorizer(input="file"), LogisticRegression()).fit(files(), y)
    net = pg.to_torch(pipe)
    np.testing.assert_allclose(net.predict_proba(files()), pipe.predict_proba(files()), rtol=1e-9)
    net.fit(files(), y, epochs=2, validation=None)


def test_documents_of_bytes_lists_and_series() -> None:
    X, y = texts()
    encoded = [text.encode("latin-1") for text in X]
    pipe = make_pipeline(TfidfVectorizer(encoding="latin-1"), LogisticRegression())
    assert_round_trip(pipe.fit(encoded, y), encoded)
    for given in (list(X), tuple(X), pd.Series(X), X.astype(str)):
        assert_round_trip(pipe.fit(given, y), given)
    net = pg.to_torch(pipe)
    np.testing.assert_allclose(net.predict_proba(text for text in X), pipe.predict_proba(X))


def test_one_text_alone_is_refused_as_the_source_does() -> None:
    X, y = texts()
    for vectorizer in (TfidfVectorizer(), CountVectorizer(), HashingVectorizer()):
        pipe = make_pipeline(vectorizer, LogisticRegression()).fit(X, y)
        with pytest.raises(ValueError, match="Iterable over raw text documents expected"):
            pg.to_torch(pipe).predict("a red bus")


def test_the_graph_shows_where_the_host_ends() -> None:
    X, y = texts()
    pipe = make_pipeline(TfidfVectorizer(), TruncatedSVD(3), LogisticRegression()).fit(X, y)
    steps = {step.name: step for step in pg.inspect(pipe)}
    assert [step.status for step in steps.values()] == ["host", *["trainable"] * 3]
    counts, weights = steps["tfidfvectorizer/counts"], steps["tfidfvectorizer/tfidf"]
    assert counts.kind.endswith("CountVectorizer")
    assert "reads text" in counts.reason
    assert weights.parameters == len(pipe[0].vocabulary_)
    frozen = {step.name: step.status for step in pg.inspect(pipe, freeze=["tfidfvectorizer"])}
    assert frozen["tfidfvectorizer/tfidf"] == "host"
    assert_round_trip(pipe, X, freeze=["tfidfvectorizer"])
    assert_round_trip(pipe, X, train=["tfidf"])
    assert_round_trip(pipe, X, translate="all")


@pytest.mark.parametrize(
    "first",
    [CountVectorizer(), HashingVectorizer(n_features=64), CountVectorizer(binary=True)],
    ids=["counts", "hashes", "binary"],
)
def test_weights_of_columns_that_another_step_counts(first: Any) -> None:
    X, y = texts()
    pipe = make_pipeline(first, TfidfTransformer(), MaxAbsScaler(), LogisticRegression())
    net = assert_round_trip(pipe.fit(X, y), X)
    assert [step.status for step in net.graph] == ["host", *["trainable"] * 3]


def test_text_among_other_columns() -> None:
    X = mixed_table()
    y = target(X, "binary")
    union = FeatureUnion(
        [("word", TfidfVectorizer()), ("char", TfidfVectorizer(analyzer="char"))],
        transformer_weights={"word": 2.0},
    )
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), ["a", "b"]), ("text", union, "note"), ("more", "drop", [])]
    )
    pipe = make_pipeline(columns, LogisticRegression()).fit(X, y)
    net = assert_round_trip(pipe, X, X.iloc[::-3])
    trained = {step.name for step in net.graph if step.status == "trainable"}
    assert {f"columntransformer/text/{name}/tfidf" for name in ("word", "char")} <= trained
    net.fit(X, y, epochs=3, validation=None)
    assert_alike(net, pg.from_torch(net), X)


def test_dictionaries_before_trained_steps() -> None:
    X, y = DATASETS["dictionaries"]()
    for first in (DictVectorizer(), DictVectorizer(sparse=False), FeatureHasher(32)):
        pipe = make_pipeline(first, MaxAbsScaler(), LogisticRegression()).fit(X, y)
        net = assert_round_trip(pipe, list(X), X[:3])
        assert net.graph.steps[0].status == "host"
        assert "which have no gradient" in net.graph.steps[0].reason
        net.fit(list(X), y, epochs=2, validation=None)
    one = DictVectorizer().fit(X)
    np.testing.assert_array_equal(
        pg.to_torch(one).transform(X[0]).toarray(), one.transform(X[0]).toarray()
    )
    assert pg.to_torch(one).transform({}).nnz == 0


def test_columns_of_dictionaries_in_a_table() -> None:
    X, _ = DATASETS["dictionaries"]()
    plain = DictVectorizer(sparse=False).fit(X)
    net = pg.to_torch(plain.set_output(transform="pandas"))
    pd.testing.assert_frame_equal(net.transform(X), plain.transform(X))


def test_training_weights_lowers_the_loss_and_writes_them_back() -> None:
    X, y = texts()
    pipe = make_pipeline(TfidfVectorizer(sublinear_tf=True), TruncatedSVD(3), LogisticRegression())
    pipe.fit(X, y)
    net = pg.to_torch(pipe, train=["tfidfvectorizer"])
    before = pipe[0].idf_.copy()
    losses = net.fit(X, y, epochs=30, lr=0.05, validation=None).history
    trained = pg.from_torch(net)
    from sklearn.metrics import log_loss

    assert log_loss(y, trained.predict_proba(X)) < log_loss(y, pipe.predict_proba(X)) - 0.01
    assert losses is not None
    assert_alike(net, trained, X)
    assert not np.array_equal(trained[0].idf_, before)
    np.testing.assert_array_equal(pipe[0].idf_, before)
    assert trained[0]._tfidf.idf_ is trained[0].idf_


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_a_term_in_no_document_keeps_its_infinite_weight() -> None:
    X, y = texts()
    words = TfidfVectorizer(smooth_idf=False, vocabulary=["red", "bus", "absent"])
    pipe = make_pipeline(words, LogisticRegression()).fit(X, y)
    assert np.isinf(pipe[0].idf_[2])
    net = pg.to_torch(pipe)
    net.fit(X, y, epochs=5, validation=None, anchor=0.1)
    trained = pg.from_torch(net)
    assert np.isinf(trained[0].idf_[2])
    assert (trained[0].idf_[:2] != pipe[0].idf_[:2]).all()


def test_counts_are_cached_for_training(tmp_path: Any, monkeypatch: Any) -> None:
    X, y = texts()
    pipe = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X, y)
    net = pg.to_torch(pipe)
    once = net.encode(X, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(CountVectorizer, "transform", None)
    again = net.encode(X, cache=tmp_path)
    assert isinstance(again.blocks["tfidfvectorizer/counts"], SparseRows)
    np.testing.assert_array_equal(net(again).detach(), net(once).detach())
    net.fit(X, y, epochs=2, validation=None, cache=tmp_path)


@pytest.mark.parametrize("kind", ["texts", "dictionaries"])
def test_the_tuner_trains_behind_text(kind: str, monkeypatch: Any) -> None:
    from helpers import shorten_candidates

    shorten_candidates(monkeypatch)
    X, y = DATASETS[kind]()
    first = TfidfVectorizer() if kind == "texts" else DictVectorizer()
    pipe = make_pipeline(first, TruncatedSVD(3), LogisticRegression())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        tuner = pg.FineTuner(pipe, random_state=0).fit(X, y)
    assert (tuner.predict(list(X)) == tuner.estimator_.predict(X)).all()


def test_wide_counts_never_become_dense(monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    X = [" ".join(f"word{k}" for k in rng.zipf(1.3, 30) % 5000) for _ in range(150)]
    y = np.arange(150) % 3
    pipe = make_pipeline(TfidfVectorizer(), TruncatedSVD(4), LogisticRegression()).fit(X, y)
    monkeypatch.setattr(SparseRows, "to_dense", None)
    net = pg.to_torch(pipe).fit(X, y, epochs=2, validation=None, batch_size=50)
    assert_alike(net, pg.from_torch(net), X)


def test_a_step_of_dense_rows_before_the_weights() -> None:
    X, y = DATASETS["word_counts"]()
    pipe = make_pipeline(MaxAbsScaler(), TfidfTransformer(sublinear_tf=True), LogisticRegression())
    net = assert_round_trip(pipe.fit(X, y), X)
    net.fit(X, y, epochs=3, validation=None)
    assert_alike(net, pg.from_torch(net), X)
    alone = make_pipeline(MaxAbsScaler(), TfidfTransformer()).fit(X)
    assert sparse.issparse(pg.to_torch(alone).transform(X))


def test_random_weights_start_from_one() -> None:
    module = TermWeights(np_tensor([2.0, np.inf]))
    module.reset_parameters()
    assert module.present_weights().tolist() == [1.0, float("inf")]


def np_tensor(values: list[float]) -> Any:
    import torch

    return torch.tensor(values, dtype=torch.float64)
