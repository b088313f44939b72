"""Tables of text and numbers, and documents, as ONNX files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import pipegrad as pg
from pipegrad.testing import DATASETS, assert_close

pytest.importorskip("onnxruntime")
from pipegrad.export.measured import onnx_answers, session, source_answers
from pipegrad.export.onnx_file import onnx_file

DOCUMENTS = np.array(
    [
        "The Big NAÏVE café, x ab2_c",
        "ÉÄ Привет ΣΑΒ, the big",
        "",
        "no no no: NO word\tbig\u00a0the",
        "ﬁne x² ½ ab_ 中文字",
    ],
    dtype=object,
)


def running(pipe, **options):
    return session(onnx_file(pipe, **{"dtype": None, "rows": None, "opset": 20, **options}))


@pytest.fixture(scope="module")
def mixed():
    X, y = DATASETS["categories_missing"]()
    X["big"] = np.arange(len(X)) % 3 == 0
    text = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5),
    )
    columns = ColumnTransformer(
        [
            ("text", text, ["color", "size"]),
            ("codes", OrdinalEncoder(encoded_missing_value=-1), ["grade"]),
            ("number", make_pipeline(SimpleImputer(), StandardScaler()), ["grade"]),
        ],
        remainder="passthrough",
    )
    pipe = make_pipeline(columns, LogisticRegression()).fit(X, y)
    return pipe, X, running(pipe, rows=X)


def test_each_column_is_an_input_under_its_name_and_type(mixed):
    kinds = {one.name: (one.type, one.shape[1]) for one in mixed[2].get_inputs()}
    assert kinds == {
        "color": ("tensor(string)", 1),
        "size": ("tensor(string)", 1),
        "grade": ("tensor(double)", 1),
        "big": ("tensor(bool)", 1),
    }


@pytest.mark.parametrize("what", ["all", "unknown", "missing", "one", "none"])
def test_text_and_numbers_are_read_inside_of_the_file(mixed, what):
    pipe, X, file = mixed
    X = X.copy()
    if what == "unknown":
        X.loc[3:6, "color"] = "violet"
    if what == "missing":
        X.loc[3:6, ["size", "grade"]] = np.nan
    X = {"one": X[:1], "none": X[:0]}.get(what, X)
    ours = onnx_answers(file, X)
    if what == "none":
        assert ours["probabilities"].shape == (0, 2)
        return
    theirs = source_answers(pipe, X, list(ours))
    assert (ours["label"] == theirs["label"]).all()
    assert_close(ours["probabilities"], theirs["probabilities"], 1e-12)


def test_types_follow_from_what_the_steps_were_fitted_on(mixed):
    pipe, _, _ = mixed
    kinds = [one.type for one in running(pipe).get_inputs()]
    assert kinds == ["tensor(string)", "tensor(string)", "tensor(double)", "tensor(double)"]


def test_numbers_that_are_categories_are_found_exactly():
    X = pd.DataFrame({"code": [0.1, 0.3, 1e300, -2.0, np.nan] * 4})
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(X)
    file = running(encoder)
    odd = pd.DataFrame({"code": [0.1, np.nextafter(0.1, 1), 0.1 + 0.2, -7.0, np.nan, 1e300]})
    assert (onnx_answers(file, odd)["variable"] == encoder.transform(odd)).all()


def test_two_kinds_of_missing_text_are_refused():
    X = pd.DataFrame({"a": pd.Series(["x", None, np.nan] * 5, dtype=object)})
    encoder = OneHotEncoder().fit(X)
    with pytest.raises(pg.UntranslatableError, match="None and NaN are different categories"):
        running(encoder)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lowercase": False, "ngram_range": (1, 3)},
        {"strip_accents": "unicode", "binary": True},
        {"strip_accents": "ascii", "token_pattern": r"(?u)\b\w+\b"},
        {"stop_words": ["the", "no"]},
    ],
    ids=str,
)
def test_words_are_those_of_scikit_learn(options):
    counter = CountVectorizer(**options).fit(DOCUMENTS)
    file = running(counter)
    for documents in (DOCUMENTS, DOCUMENTS[:1], DOCUMENTS[2:3]):
        ours = onnx_answers(file, documents)["variable"]
        assert (ours == counter.transform(documents).toarray()).all()
    assert onnx_answers(file, DOCUMENTS[:0])["variable"].shape == (0, len(counter.vocabulary_))


def test_weights_of_terms_follow_the_counts():
    X, y = DATASETS["texts"]()
    pipe = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()).fit(X, y)
    ours = onnx_answers(running(pipe), X)
    assert_close(ours["probabilities"], pipe.predict_proba(X), 1e-12)
    assert (ours["label"] == pipe.predict(X)).all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"analyzer": "char"}, "analyzer='char' has no operator"),
        ({"tokenizer": str.split, "token_pattern": None}, "tokenizer= is a Python function"),
        ({"token_pattern": "[a-z]+"}, r"token_pattern='\[a-z\]\+' is none of"),
        ({"stop_words": ["the"], "ngram_range": (1, 2)}, "stop_words= joins words"),
    ],
    ids=str,
)
def test_other_ways_to_count_are_refused_before_any_work(tmp_path, options, reason):
    vectorizer = CountVectorizer(**options).fit(DOCUMENTS)
    with pytest.raises(pg.UntranslatableError, match=reason):
        pg.export(vectorizer, tmp_path / "counts.onnx")
    assert not list(tmp_path.iterdir())


def test_all_steps_without_an_operator_are_named(tmp_path):
    from sklearn.decomposition import NMF

    X, y = DATASETS["positive"]()
    pipe = make_pipeline(NMF(2, tol=1.0), StandardScaler(), LogisticRegression())
    pipe.fit(X, y > np.median(y))
    with pytest.raises(pg.UntranslatableError, match=r"'nmf' .*the end of iterations"):
        pg.export(pipe, tmp_path / "pipe.onnx")


def test_categories_of_a_table_reach_the_same_leaves():
    X, y = DATASETS["categories_of_pandas"]()
    boosted = HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=3).fit(X, y)
    file = running(boosted)
    ours = onnx_answers(file, X)
    assert_close(ours["probabilities"], boosted.predict_proba(X), 1e-14)
    assert (ours["label"] == boosted.predict(X)).all()


def test_rows_may_have_their_columns_in_another_order(mixed):
    pipe, X, _ = mixed
    turned = X[X.columns[::-1]].assign(more="text")
    file = running(pipe, rows=turned)
    ours = onnx_answers(file, turned)
    assert_close(ours["probabilities"], pipe.predict_proba(X), 1e-12)
    with pytest.raises(pg.ArgumentError, match=r"rows must have the columns .* lack \['big'\]"):
        running(pipe, rows=X.drop(columns="big"))
