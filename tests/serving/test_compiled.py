"""A compiled pipeline answers raw rows in any form as the pipeline itself does."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import lightgbm
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PowerTransformer, StandardScaler
from sklearn.svm import SVC

import pipegrad as pg
from pipegrad.serving import compiled

pytest.importorskip("onnxruntime")
# Of torch's exporter, about itself.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

rng = np.random.default_rng(0)
ARRAY = rng.normal(size=(400, 5))
NAMES = np.array(["high", "low", "middle"])
CLASSES = NAMES[(np.digitize(ARRAY[:, 0] + ARRAY[:, 1] * ARRAY[:, 2], [-0.5, 0.5]))]
TABLE = pd.DataFrame(
    {
        "age": np.abs(ARRAY[:, 0]) * 20,
        "count": rng.integers(0, 9, 400),
        "city": rng.choice(["Bern", "Genève", "Zürich"], 400),
        "paid": rng.random(400) < 0.5,
    }
)
TARGET = TABLE["age"] * 0.1 + (TABLE["city"] == "Bern") + ARRAY[:, 1]


def columns(unknown="ignore"):
    return make_column_transformer(
        (OneHotEncoder(handle_unknown=unknown), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "count"]),
        ("passthrough", ["paid"]),
    )


def taken(serving, method):
    """Whether a session answers a method by now."""
    return getattr(serving, method).fast is not None


ON_ARRAYS = {
    "linear": make_pipeline(StandardScaler(), PCA(3), LogisticRegression()),
    "naive bayes": GaussianNB(),
    "forest": RandomForestClassifier(8, max_depth=5, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=8, early_stopping=False),
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=8, num_leaves=7, verbose=-1),
}


@pytest.mark.parametrize("name", ON_ARRAYS)
def test_arrays_have_the_answers_of_the_pipeline(name):
    pipe = ON_ARRAYS[name].fit(ARRAY, CLASSES)
    serving = pg.compile(pipe, rows=ARRAY[:50])
    for method in ("predict", "predict_proba"):
        assert taken(serving, method)
        for rows in (ARRAY[:1], ARRAY[:7], np.asfortranarray(ARRAY[3:60]), ARRAY[:2].tolist()):
            ours, theirs = getattr(serving, method)(rows), getattr(pipe, method)(rows)
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            if method == "predict":
                assert (ours == theirs).all()
            else:
                np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    narrow = ARRAY[:3].astype(np.float32)
    assert serving.predict_proba(narrow).dtype == pipe.predict_proba(narrow).dtype
    np.testing.assert_allclose(
        serving.predict_log_proba(ARRAY[:3]) if hasattr(pipe, "predict_log_proba") else 0,
        pipe.predict_log_proba(ARRAY[:3]) if hasattr(pipe, "predict_log_proba") else 0,
    )


@pytest.mark.parametrize("count", [1, 3, 300])
def test_tables_and_dicts_have_the_answers_of_the_pipeline(count):
    pipe = make_pipeline(columns(), LinearRegression()).fit(TABLE, TARGET)
    serving = pg.compile(pipe)
    serving.predict(TABLE[:2])
    assert taken(serving, "predict")
    rows = TABLE[:count]
    expected = pipe.predict(rows)
    dicts = rows.to_dict("records")
    forms = [rows, rows[::-1].iloc[::-1], rows.astype({"city": object}), dicts]
    for form in [*forms, dicts[0]] if count == 1 else forms:
        found = serving.predict(form)
        assert found.shape == (count,)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    shuffled = rows[["paid", "city", "age", "count"]]
    np.testing.assert_allclose(serving.predict(shuffled), expected, rtol=1e-12)


def test_columns_that_no_step_reads_are_no_inputs():
    few = make_column_transformer(
        (OneHotEncoder(handle_unknown="error"), ["city"]), (StandardScaler(), ["age"])
    )
    pipe = make_pipeline(few, Ridge()).fit(TABLE, TARGET)
    serving = pg.compile(pipe)
    serving.predict(TABLE[:3])
    assert taken(serving, "predict")
    for count in (3, 100):
        table = TABLE[:count].assign(count="text", paid=None)
        np.testing.assert_allclose(serving.predict(table), pipe.predict(table), rtol=1e-12)
    row = TABLE.iloc[0].to_dict()
    np.testing.assert_allclose(serving.predict(row), pipe.predict(TABLE[:1]), rtol=1e-12)
    with pytest.raises(ValueError, match="unknown categories"):
        serving.predict({**row, "city": "Basel"})
    with pytest.raises(pg.ArgumentError, match="lacks paid"):
        serving.predict({name: value for name, value in row.items() if name != "paid"})


def test_categories_of_boosted_trees_are_read_by_their_library():
    table = TABLE[["age", "city"]].astype({"city": "category"})
    model = lightgbm.LGBMRegressor(n_estimators=3, n_jobs=1, verbose=-1).fit(table, TARGET)
    serving = pg.compile(model)
    np.testing.assert_allclose(serving.predict(table), model.predict(table), rtol=1e-6)
    assert not taken(serving, "predict")
    with pytest.raises(ValueError):
        serving.predict({"age": 1.0, "city": "Bern"})


@pytest.mark.filterwarnings("ignore")  # Of scikit-learn, about probability=True.
def test_probabilities_of_pairs_of_classes_are_no_session():
    machine = SVC(probability=True, random_state=0).fit(ARRAY[:90, :2], CLASSES[:90])
    serving = pg.compile(machine)
    np.testing.assert_allclose(
        serving.predict_proba(ARRAY[:5, :2]), machine.predict_proba(ARRAY[:5, :2]), rtol=1e-9
    )
    assert serving.engines_["predict_proba"] == "the module"


def test_transformers_are_compiled_too():
    pipe = make_pipeline(StandardScaler(), PCA(2)).fit(ARRAY)
    serving = pg.compile(pipe)
    for rows in (ARRAY[:4], ARRAY[:1]):
        np.testing.assert_allclose(serving.transform(rows), pipe.transform(rows), rtol=1e-12)
    assert taken(serving, "transform")
    assert not hasattr(serving, "predict")


def test_text_is_compiled_too():
    texts = pd.DataFrame({"text": ["good film", "bad film", "very good", "bad, very bad"] * 10})
    vectorizer = make_column_transformer((CountVectorizer(), "text"))
    pipe = make_pipeline(vectorizer, LogisticRegression()).fit(texts, [1, 0, 1, 0] * 10)
    serving = pg.compile(pipe)
    for _ in range(2):
        found = serving.predict_proba({"text": "not a bad film"})
        expected = pipe.predict_proba(pd.DataFrame({"text": ["not a bad film"]}))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


UNUSUAL = {
    "unknown": {"city": "Basel"},
    "nothing": {"city": None},
    "empty text": {"city": ""},
    "number for text": {"city": 7.0},
    "missing number": {"age": np.nan},
    "infinite": {"age": np.inf},
    "huge": {"age": 1e300},
    "text for a number": {"age": "old"},
    "half": {"count": 2.5},
    "whole number": {"age": 31},
    "number for a flag": {"paid": 1},
}


@lru_cache
def served(unknown):
    """A pipeline, and the same compiled."""
    pipe = make_pipeline(columns(unknown), Ridge()).fit(TABLE, TARGET)
    serving = pg.compile(pipe)
    serving.predict(TABLE[:5])
    return pipe, serving


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("unknown", ["ignore", "error"])
@pytest.mark.parametrize("what", UNUSUAL)
def test_unusual_rows_have_the_answer_or_the_error_of_the_pipeline(what, unknown):
    pipe, serving = served(unknown)
    assert taken(serving, "predict")
    row = TABLE.iloc[:1].to_dict("records")[0] | UNUSUAL[what]
    for rows in (row, pd.DataFrame([row]), [row] * 3, pd.DataFrame([row] * 40)):
        table = rows if hasattr(rows, "columns") else pd.DataFrame([row] if rows is row else rows)
        try:
            expected = pipe.predict(table)
        except Exception as error:
            with pytest.raises(type(error)):
                serving.predict(rows)
        else:
            np.testing.assert_allclose(serving.predict(rows), expected, rtol=1e-9)


def test_unusual_arrays_have_the_error_of_the_pipeline():
    pipe = make_pipeline(StandardScaler(), PowerTransformer("box-cox"), Ridge())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = make_pipeline(PowerTransformer("box-cox"), Ridge()).fit(np.abs(ARRAY) + 1, TARGET)
    serving = pg.compile(pipe)
    serving.predict(np.abs(ARRAY[:3]) + 1)
    assert taken(serving, "predict")
    for rows in (np.full((1, 5), np.nan), np.full((2, 5), np.inf), -np.ones((1, 5)), ARRAY[:2, :3]):
        try:
            expected = pipe.predict(rows)
        except ValueError as error:
            word = next(w for w in ("NaN", "infinity", "strictly", "features") if w in str(error))
            with pytest.raises(ValueError, match=word):
                serving.predict(rows)
        else:
            np.testing.assert_allclose(serving.predict(rows), expected)


def test_missing_values_of_trees_are_answered_by_the_session():
    X = ARRAY.copy()
    X[::3, 1] = np.nan
    pipe = HistGradientBoostingRegressor(max_iter=8, early_stopping=False).fit(X, TARGET)
    serving = pg.compile(pipe)
    serving.predict(X[:4])
    serving.predict.module = None  # The module does not answer any more.
    np.testing.assert_allclose(serving.predict(X[:1]), pipe.predict(X[:1]), rtol=1e-12)
    np.testing.assert_allclose(serving.predict(X[:50]), pipe.predict(X[:50]), rtol=1e-12)


@pytest.mark.parametrize("imputed", [True, False])
def test_a_missing_value_is_refused_by_whichever_step_refuses_it(imputed):
    steps = [SimpleImputer()] if imputed else []
    pipe = make_pipeline(*steps, StandardScaler(), LogisticRegression()).fit(ARRAY, CLASSES)
    serving = pg.compile(pipe)
    serving.predict(ARRAY[:5])
    rows = ARRAY[:2].copy()
    rows[1, 1] = np.nan
    if not imputed:
        with pytest.raises(ValueError, match="NaN"):
            serving.predict(rows)
        return
    serving.predict.module = None  # The module does not answer any more.
    assert (serving.predict(rows) == pipe.predict(rows)).all()


def test_categories_of_numbers_are_known_ones():
    X = np.column_stack([rng.integers(0, 4, 300).astype(float), rng.normal(size=300)])
    encoder = make_column_transformer((OrdinalEncoder(), [0]), remainder="passthrough")
    pipe = make_pipeline(encoder, Ridge()).fit(X, X[:, 1])
    serving = pg.compile(pipe)
    serving.predict(X[:5])
    assert taken(serving, "predict")
    np.testing.assert_allclose(serving.predict(X[5:9]), pipe.predict(X[5:9]), rtol=1e-12)
    with pytest.raises(ValueError, match="unknown categories"):
        serving.predict(np.array([[7.0, 0.0]]))


def test_later_training_changes_nothing():
    net = pg.to_torch(make_pipeline(StandardScaler(), Ridge()).fit(ARRAY, TARGET))
    serving = pg.compile(net)
    before = serving.predict(ARRAY[:3])
    net.fit(ARRAY, ARRAY[:, 2] * 50, epochs=2, lr=0.5, validation=None)
    assert not np.allclose(net.predict(ARRAY[:3]), before)
    for rows in (ARRAY[:3], ARRAY[:300]):
        np.testing.assert_allclose(serving.predict(rows)[:3], before, rtol=1e-12)
    now = pg.compile(net).predict(ARRAY[:3])
    np.testing.assert_allclose(now, net.predict(ARRAY[:3]), rtol=1e-9)


def test_threads_get_their_own_answers():
    pipe = make_pipeline(columns(), LogisticRegression()).fit(TABLE, CLASSES)
    serving = pg.compile(pipe)
    expected = pipe.predict_proba(TABLE)
    rows = TABLE.to_dict("records")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(serving.predict_proba, rows))
    np.testing.assert_allclose(np.vstack(found), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_process_gets_its_answers(threads):
    pipe = make_pipeline(StandardScaler(), Ridge()).fit(ARRAY, TARGET)
    serving = pg.compile(pipe, threads=threads)
    expected = pipe.predict(ARRAY)
    serving.predict(ARRAY[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Threads that wait do no harm.
        child = os.fork()
    if child == 0:
        gc.freeze()
        signal.alarm(60)
        same = np.allclose(serving.predict(ARRAY), expected, rtol=1e-12)
        os._exit(0 if same and taken(serving, "predict") == (threads == 1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert taken(serving, "predict")


def test_without_onnx_the_module_answers(monkeypatch):
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    pipe = make_pipeline(columns(), LogisticRegression()).fit(TABLE, CLASSES)
    serving = pg.compile(pipe, rows=TABLE[:10])
    row = TABLE.iloc[:1].to_dict("records")[0]
    assert set(serving.engines_.values()) == {"the module"}
    np.testing.assert_allclose(serving.predict_proba(row), pipe.predict_proba(TABLE[:1]))


def test_copies_through_pickle_answer_alike():
    pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(ARRAY, CLASSES)
    serving = pg.compile(pipe, threads=1)
    again = pickle.loads(pickle.dumps(serving))
    np.testing.assert_allclose(again.predict_proba(ARRAY[:2]), pipe.predict_proba(ARRAY[:2]))


def test_a_session_that_disagrees_is_not_used(monkeypatch):
    from pipegrad.serving.onnx_session import OnnxAnswers

    pipe = make_pipeline(StandardScaler(), Ridge()).fit(ARRAY, TARGET)
    serving = pg.compile(pipe)
    session = serving.predict.waiting
    assert isinstance(session, OnnxAnswers)
    run = session.run
    session.run = lambda *given: [answer + 1 for answer in run(*given)]
    for _ in range(2):
        np.testing.assert_allclose(serving.predict(ARRAY[:2]), pipe.predict(ARRAY[:2]))
    assert not taken(serving, "predict")


def test_bad_arguments():
    with pytest.raises(pg.ArgumentError, match="threads must be"):
        pg.compile(Ridge().fit(ARRAY, TARGET), threads=0)
    serving = pg.compile(Ridge().fit(TABLE[["age", "count"]], TARGET))
    with pytest.raises(pg.ArgumentError, match="lacks count"):
        serving.predict({"age": 3.0})
    with pytest.raises(pg.ArgumentError, match="must be an array"):
        pg.compile(Ridge().fit(ARRAY, TARGET)).predict({"age": 3.0})
    with pytest.raises(pg.ArgumentError, match="fitted FineTuner"):
        pg.compile(pg.FineTuner(Ridge()))


def test_torch_settings_of_the_caller_do_not_matter():
    serving = pg.compile(make_pipeline(StandardScaler(), Ridge()).fit(ARRAY, TARGET))
    expected = serving.predict(ARRAY[:300])
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(serving.predict(ARRAY[:300]), expected)
