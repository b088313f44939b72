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
ODD = np.array(
    [
        " ",
        "  \t a  big\u2003\u2003NO \n",
        "\tthe\tthe\nbig the no big x2 31337 007 ٣٤",
        "a\u0000b \x02\x01 c\u0301 e\u0301é 🙂🙂🙂 big",
        "b",
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


def test_columns_that_no_step_reads_are_no_inputs(mixed):
    _, X, _ = mixed
    columns = ColumnTransformer([("number", SimpleImputer(), ["grade"])]).fit(X)
    file = running(columns)
    assert [one.name for one in file.get_inputs()] == ["grade"]
    assert_close(onnx_answers(file, X)["variable"], columns.transform(X), 1e-12)


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
        {"stop_words": ["the", "no"], "ngram_range": (1, 3)},
        {"stop_words": "english", "ngram_range": (2, 2), "binary": True},
        {"analyzer": "char"},
        {"analyzer": "char", "ngram_range": (2, 4), "strip_accents": "unicode"},
        {"analyzer": "char_wb", "ngram_range": (1, 3)},
        {"analyzer": "char_wb", "ngram_range": (4, 6), "lowercase": False},
        {"token_pattern": r"\S+"},
        {"token_pattern": "[a-z]+", "ngram_range": (1, 2)},
        {"token_pattern": r"(?u)\b\w{3,}\b"},
        {"token_pattern": r"\d+"},
    ],
    ids=str,
)
def test_words_are_those_of_scikit_learn(options):
    counter = CountVectorizer(**options).fit(DOCUMENTS)
    file = running(counter)
    for documents in (DOCUMENTS, DOCUMENTS[:1], DOCUMENTS[2:3], ODD):
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
        ({"analyzer": str.split}, "analyzer= is a Python function"),
        ({"tokenizer": str.split, "token_pattern": None}, "tokenizer= is a Python function"),
        ({"token_pattern": "[a-z]+|[0-9]"}, "is no run of letters of one kind"),
        ({"token_pattern": r"\b[a-z]+\b"}, "is no run of letters of one kind"),
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
    options = {"max_iter": 4, "min_samples_leaf": 3, "categorical_features": "from_dtype"}
    boosted = HistGradientBoostingClassifier(**options).fit(X, y)
    file = running(boosted)
    ours = onnx_answers(file, X)
    assert_close(ours["probabilities"], boosted.predict_proba(X), 1e-14)
    assert (ours["label"] == boosted.predict(X)).all()


@pytest.fixture(scope="module")
def categories():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "a": rng.normal(size=200),
            "c": pd.Categorical(rng.choice(["x", "y", "ä"], 200)),
            "k": pd.Categorical(rng.choice([3, 7, 11], 200)),
        }
    )
    X.loc[::9, "a"] = np.nan
    X.loc[::7, "c"] = np.nan
    y = X["a"].fillna(1) + (X["c"] == "x") * 2 + X["k"].astype(float) * 0.1
    odd = X[:40].copy()
    odd["c"] = pd.Categorical(["x", "violet", None, "y", "ä"] * 8)
    odd["k"] = pd.Categorical([11, 3, 5, None] * 10)
    return X, y, odd


def boosted_by(library, X, y):
    few = {"n_estimators": 5, "n_jobs": 1}
    if library == "lightgbm":
        from lightgbm import LGBMRegressor

        return LGBMRegressor(**few, min_child_samples=3, min_data_per_group=3, verbose=-1).fit(X, y)
    from xgboost import XGBRegressor

    return XGBRegressor(**few, enable_categorical=True).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("whole", [True, False])
def test_categories_of_a_table_are_coded_inside_of_the_file(categories, library, whole):
    X, y, odd = categories
    if library == "xgboost":  # It rejects unknown categories, and confuses names beyond ASCII.
        X, odd = (table.assign(c=table["c"].astype(object)) for table in (X, odd))
        X["c"] = pd.Categorical(X["c"].replace("ä", "z"))
        odd["c"] = pd.Categorical(odd["c"].replace({"ä": "z", "violet": None}))
        odd["k"] = pd.Categorical([11, 3, 7, None] * 10)
    model = boosted_by(library, X, y)
    file = running(model if whole else getattr(model, "booster_", None) or model.get_booster())
    assert [one.type for one in file.get_inputs()][1] == "tensor(string)"
    for rows in (X, odd, X[:1]):
        ours = onnx_answers(file, rows)["variable"]
        assert_close(ours[:, 0], model.predict(rows), 1e-6, library)


def test_names_that_are_not_in_the_model_are_refused(categories):
    from catboost import CatBoostRegressor

    X, y, _ = categories
    table = X.assign(c=X["c"].astype(object).fillna("none"), k=X["k"].astype(int))
    model = CatBoostRegressor(
        iterations=2, cat_features=["c", "k"], verbose=0, allow_writing_files=False
    ).fit(table, y)
    with pytest.raises(pg.UntranslatableError, match="hashes of its categories, without"):
        running(model)
    with pytest.raises(pg.UntranslatableError, match="confuses the names of its categories"):
        running(boosted_by("xgboost", X, y))


@pytest.mark.slow
def test_columns_of_catboost_are_inputs_under_their_names(categories):
    from catboost import CatBoostRegressor

    X, y, _ = categories
    table = X[["a", "k"]].assign(k=X["k"].astype(float))
    model = CatBoostRegressor(iterations=3, verbose=0, allow_writing_files=False).fit(table, y)
    file = running(model)
    assert [one.name for one in file.get_inputs()] == ["a", "k"]
    ours = onnx_answers(file, table[["k", "a"]])["variable"]
    assert_close(ours[:, 0], model.predict(table), 1e-12)


def test_rows_may_have_their_columns_in_another_order(mixed):
    pipe, X, _ = mixed
    turned = X[X.columns[::-1]].assign(more="text")
    file = running(pipe, rows=turned)
    ours = onnx_answers(file, turned)
    assert_close(ours["probabilities"], pipe.predict_proba(X), 1e-12)
    with pytest.raises(pg.ArgumentError, match=r"rows must have the columns .* lack \['big'\]"):
        running(pipe, rows=X.drop(columns="big"))
