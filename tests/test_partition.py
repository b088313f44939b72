"""What becomes a module, what stays with its own library, and what runs once."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
    TargetEncoder,
)

import pipegrad as pg
from helpers import assert_round_trip, fit_on, fitted, table, target
from pipegrad.testing import DATASETS

NUMBERS = ["a", "b", "c"]


def statuses(source: Any, **options: Any) -> dict[str, str]:
    graph = pg.inspect(source, **options)
    assert all(step.reason for step in graph)
    return {step.name: step.status for step in graph}


def reasons(source: Any, **options: Any) -> dict[str, str]:
    return {step.name: step.reason for step in pg.inspect(source, **options)}


class Counting(TransformerMixin, BaseEstimator):
    """Notes in a file each time that it transforms."""

    def __init__(self, file: Any = None) -> None:
        self.file = file

    def fit(self, X: Any, y: Any = None) -> Counting:
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X: Any) -> Any:
        with open(self.file, "a") as notes:
            notes.write("x")
        return np.asarray(X) + 1


def calls(file: Any) -> int:
    return os.path.getsize(file) if os.path.exists(file) else 0


# -- the rule of the paper -----------------------------------------------------------------------


def test_trainable_steps_and_what_follows_them():
    source, _ = fit_on(
        "regression", make_pipeline(Normalizer(), StandardScaler(), Normalizer(), PCA(2), Ridge())
    )
    assert statuses(source) == {
        "normalizer-1": "host",
        "standardscaler": "trainable",
        "normalizer-2": "translated",
        "pca": "trainable",
        "ridge": "trainable",
    }
    why = reasons(source)
    assert why["normalizer-1"] == "runs once: it has no trainable parameters"
    assert why["normalizer-2"] == "follows a translated step"
    assert why["ridge"] == "has parameters that gradients reach"


def test_the_last_step_is_always_a_module():
    source, _ = fit_on("regression", make_pipeline(Normalizer(), Normalizer()))
    assert statuses(source) == {"normalizer-1": "host", "normalizer-2": "translated"}
    assert reasons(source)["normalizer-2"] == "is the last step"
    source, _ = fit_on("regression", make_pipeline(StandardScaler(), Ridge()))
    assert statuses(source, train=[]) == {"standardscaler": "host", "ridge": "translated"}


def test_everything_that_the_table_allows():
    source, X = fit_on("regression", make_pipeline(Normalizer(), PolynomialFeatures(), Ridge()))
    assert set(statuses(source).values()) == {"host", "trainable"}
    assert "host" not in statuses(source, translate="all").values()
    assert reasons(source, translate="all")["normalizer"] == "has a module"
    assert_round_trip(source, X, translate="all")


def test_everything_after_what_has_no_row(tmp_path):
    count = Counting(str(tmp_path / "calls"))
    source, X = fit_on("regression", make_pipeline(Normalizer(), count, Normalizer(), Ridge()))
    found = statuses(source, translate="all")
    assert list(found.values()) == ["host", "host", "translated", "trainable"]
    assert "no translation in the mapping table" in reasons(source)["counting"]
    assert_round_trip(source, X, translate="all")


def test_gradients_end_at_steps():
    # What comes before a step that is flat everywhere cannot learn, so it stays on the host.
    source, X = fit_on("regression", make_pipeline(StandardScaler(), Binarizer(), Ridge()))
    assert statuses(source) == {"standardscaler": "host", "binarizer": "host", "ridge": "trainable"}
    assert reasons(source)["standardscaler"] == "runs once: no gradient reaches it"
    assert_round_trip(source, X)


def test_hard_predictions_end_gradients_and_votes_do_not():
    learners = [("one", LogisticRegression()), ("two", LogisticRegression(C=0.1))]
    stack = StackingClassifier(learners, LogisticRegression(), stack_method="predict", cv=2)
    found = statuses(fit_on("multiclass", stack)[0])
    assert found["one"] == found["two"] == "host"
    assert found["final_estimator"] == "trainable"
    found = statuses(fit_on("multiclass", VotingClassifier(learners))[0])
    assert found == {"one": "trainable", "two": "trainable", "vote": "translated"}


def test_one_hot_stays_on_the_host():
    X = table()
    columns = make_column_transformer(
        (OneHotEncoder(), ["color"]), (TfidfVectorizer(), "note"), (StandardScaler(), NUMBERS)
    )
    source = fitted(make_pipeline(columns, Ridge()), X, target(X))
    found = statuses(source)
    assert found["columntransformer/onehotencoder"] == "host"
    assert found["columntransformer/tfidfvectorizer/counts"] == "host"
    assert found["columntransformer/tfidfvectorizer/tfidf"] == "trainable"
    assert found["columntransformer/standardscaler"] == "trainable"
    assert found["columntransformer/concatenate"] == "translated"
    everything = statuses(source, translate="all")
    assert everything["columntransformer/onehotencoder"] == "translated"
    assert everything["columntransformer/onehotencoder/columns"] == "host"


def test_a_union_of_what_passes_is_translated_when_all_is():
    union = FeatureUnion([("keep", "passthrough"), ("square", PolynomialFeatures())])
    source, X = fit_on("regression", make_pipeline(union, Ridge()))
    assert "host" not in statuses(source, translate="all").values()
    assert_round_trip(source, X, translate="all")


# -- patterns ------------------------------------------------------------------------------------


def nested() -> tuple[Any, Any]:
    union = make_union(make_pipeline(StandardScaler(), PCA(2)), MinMaxScaler())
    return fit_on("regression", Pipeline([("all", union), ("last", Ridge())]))


S, P, M = "all/pipeline/standardscaler", "all/pipeline/pca", "all/minmaxscaler"


@pytest.mark.parametrize(
    ("options", "trained"),
    [
        ({}, {S, P, M, "last"}),
        ({"train": ["last"]}, {"last"}),
        ({"train": "last"}, {"last"}),
        ({"train": ["pca"]}, {P}),
        ({"train": ["all"]}, {S, P, M}),
        ({"train": ["all/pipeline"]}, {S, P}),
        ({"train": ["all/pipeline/*"]}, {S, P}),
        ({"train": ["*scaler"]}, {S, M}),
        ({"train": ["all"], "freeze": ["pca"]}, {S, M}),
        ({"freeze": ["all"]}, {"last"}),
        ({"freeze": ["last", P]}, {S, M}),
        ({"train": []}, set()),
        ({"freeze": ["*"]}, set()),
    ],
)
def test_patterns(options, trained):
    source, X = nested()
    graph = pg.inspect(source, **options)
    assert {s.name for s in graph if s.status == "trainable"} == trained
    net = assert_round_trip(source, X, **options)
    names = {name.split(".")[1] for name in net.trainable_parameters()}
    assert names == {name.replace(".", "%2E") for name in trained}
    assert sum(s.parameters for s in net.graph) == sum(
        p.numel() for p in net.trainable_parameters().values()
    )


def test_frozen_steps_keep_their_numbers_while_others_train():
    source, X = nested()
    net = pg.to_torch(source, freeze=["pca"])
    _, y = DATASETS["regression"]()
    loss = (net(X) - net.encode_target(y)).square().mean()
    loss.backward()
    gradients = {name.split(".")[1] for name, p in net.named_parameters() if p.grad is not None}
    assert gradients == {"all/pipeline/standardscaler", "all/minmaxscaler", "last"}


# -- the host part runs once ---------------------------------------------------------------------


def test_the_host_part_runs_once_for_each_fit(tmp_path):
    file = str(tmp_path / "calls")
    source, X = fit_on("regression", make_pipeline(Counting(file), StandardScaler(), Ridge()))
    _, y = DATASETS["regression"]()
    net = pg.to_torch(source)
    before = calls(file)
    encoded = net.encode(X)
    assert calls(file) == before + 1
    for _ in range(3):
        net(encoded)
        net(encoded[:5])
        net(encoded[np.array([3, 1])])
    assert calls(file) == before + 1
    assert torch.equal(net(encoded[np.array([3, 1])]), net(encoded)[[3, 1]])
    assert len(encoded[:5]) == 5
    assert len(encoded) == len(X) == len(y)


def test_shared_host_steps_run_once(tmp_path):
    file = str(tmp_path / "calls")
    union = make_union(StandardScaler(), MinMaxScaler(), PCA(2))
    source, X = fit_on("regression", make_pipeline(Counting(file), union, Ridge()))
    net = pg.to_torch(source)
    before = calls(file)
    net.predict(X)
    assert calls(file) == before + 1


def test_the_cache_on_disk(tmp_path):
    file, folder = str(tmp_path / "calls"), str(tmp_path / "cache")
    source, X = fit_on("regression", make_pipeline(Counting(file), StandardScaler(), Ridge()))
    first = pg.to_torch(source).encode(X, cache=folder)
    before = calls(file)
    # Another module of the same pipeline finds it, trained or not.
    net = pg.to_torch(source)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1)
    again = net.encode(X.copy(), cache=folder)
    assert calls(file) == before
    for name, block in first.blocks.items():
        assert torch.equal(block, again.blocks[name])
    # Other rows, or another host part, do not.
    net.encode(X[:5], cache=folder)
    assert calls(file) == before + 1
    other = fitted(make_pipeline(MinMaxScaler(), Counting(file), StandardScaler(), Ridge()),
                   *DATASETS["regression"]())  # fmt: skip
    before = calls(file)
    pg.to_torch(other, freeze=["minmaxscaler"]).encode(X, cache=folder)
    assert calls(file) == before + 1


def test_the_cache_holds_tables_and_sparse_rows(tmp_path):
    X = table()
    columns = make_column_transformer((OneHotEncoder(), ["color"]), (TfidfVectorizer(), "note"))
    source = fitted(make_pipeline(columns, Ridge()), X, target(X))
    net = pg.to_torch(source)
    for _ in range(2):
        encoded = net.encode(X, cache=tmp_path)
        assert np.allclose(net(encoded).detach(), source.predict(X))
    other = X.assign(color=X["color"].to_numpy()[::-1])
    assert np.allclose(net(net.encode(other, cache=tmp_path)).detach(), source.predict(other))


@pytest.mark.parametrize("encoder", [TargetEncoder(cv=2), OrdinalEncoder()])
def test_the_cache_knows_the_encoders_that_became_modules(tmp_path, encoder):
    """Their codes depend on what they have seen, though nothing runs on the host before them."""
    one = pd.DataFrame({"color": ["red", "green", "blue", "red"] * 10})
    two = pd.DataFrame({"color": ["blue", "red", "red", "amber"] * 10})
    y = np.linspace(0, 1, 40)
    encoder.set_params(**({"handle_unknown": "use_encoded_value", "unknown_value": -1}
                          if isinstance(encoder, OrdinalEncoder) else {}))  # fmt: skip
    for X in (one, two):
        source = fitted(make_pipeline(clone(encoder), Ridge()), X, y)
        net = pg.to_torch(source, translate="all")
        assert np.allclose(net(net.encode(one, cache=tmp_path)).detach(), source.predict(one))


def test_the_cache_knows_what_its_steps_were_asked_for(tmp_path):
    X, y = DATASETS["binary"]()
    learners = [("one", fitted(LogisticRegression(), X, y))]
    source = fitted(StackingClassifier(learners, LogisticRegression(), cv="prefit"), X, y)
    for method in ("predict_proba", "predict", "decision_function"):
        source.stack_method_ = [method]
        net = pg.to_torch(source, freeze=["one"])
        score = net(net.encode(X, cache=tmp_path)).detach()
        assert np.allclose(score, source.decision_function(X))


def test_the_cache_needs_a_host_part_that_can_be_named(tmp_path):
    source, X = fit_on("regression", make_pipeline(FunctionTransformer(lambda X: X), Ridge()))
    net = pg.to_torch(source)
    with pytest.raises(pg.ArgumentError, match="cache="):
        net.encode(X, cache=tmp_path)
    assert np.allclose(net.predict(X), source.predict(X))


# -- random weights, precision, state ------------------------------------------------------------


def test_random_weights():
    source, X = nested()
    net = pg.to_torch(source, init="random")
    out = net(X)
    assert torch.isfinite(out).all()
    assert not np.allclose(net.predict(X), source.predict(X))
    assert {s.name: s.status for s in net.graph} == statuses(source)
    assert [p.shape for p in net.parameters()] == [
        p.shape for p in pg.to_torch(source).parameters()
    ]
    again = pg.from_torch(net)
    assert np.allclose(again.predict(X), net.predict(X))


def test_random_weights_follow_the_seed():
    source, X = nested()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(pg.to_torch(source, init="random").predict(X))
    assert np.array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_random_weights_leave_frozen_steps_alone():
    source, _ = nested()
    net, fresh = pg.to_torch(source, init="random", freeze=["all"]), pg.to_torch(source)
    state, then = net.state_dict(), fresh.state_dict()
    same = {name for name in state if torch.equal(state[name], then[name])}
    assert {name for name in state if name.startswith("steps.all")} <= same
    assert not {name for name in same if name.startswith("steps.last.body.weight")}


@pytest.mark.parametrize("data", ["regression", "multiclass"])
def test_random_weights_of_a_pipeline_that_was_never_fitted(data):
    X, y = DATASETS[data]()
    last = Ridge() if data == "regression" else LogisticRegression()
    source = make_pipeline(StandardScaler(), PCA(3), last)
    net = pg.to_torch(source, init="random", data=(X, y))
    assert not hasattr(source[-1], "coef_")
    assert net.predict(X).shape == (len(X),)
    assert torch.isfinite(net(X)).all()
    again = pg.from_torch(net)
    assert (again.predict(X) == net.predict(X)).all() or data == "regression"
    assert not np.allclose(net(X).detach(), pg.to_torch(fitted(source, X, y))(X).detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision(dtype):
    source, X = nested()
    net = pg.to_torch(source, dtype=dtype)
    assert {p.dtype for p in net.parameters()} == {dtype}
    assert net(X).dtype == dtype
    assert np.allclose(net.predict(X), source.predict(X), rtol=1e-3)
    single = pg.to_torch(source).float()
    assert single(X).dtype == torch.float32
    again = pg.from_torch(single)
    # Rounded, but not moved: what comes back is the source itself.
    assert np.array_equal(again.predict(X), source.predict(X))
    assert again.named_steps["last"].coef_.dtype == np.float64


def test_the_state_names_the_steps():
    source, _ = nested()
    keys = list(pg.to_torch(source).state_dict())
    for name in ("all/pipeline/standardscaler", "all/pipeline/pca", "all/minmaxscaler", "last"):
        assert any(key.startswith(f"steps.{name}.") for key in keys), name


def test_transformed_targets_keep_their_transformer():
    inner = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge()),
                                       transformer=StandardScaler())  # fmt: skip
    source, X = fit_on("regression", make_pipeline(MinMaxScaler(), inner))
    net = pg.to_torch(source)
    assert {s.name for s in net.graph if s.status == "trainable"} == {
        "minmaxscaler",
        "transformedtargetregressor/regressor/standardscaler",
        "transformedtargetregressor/regressor/ridge",
    }
    assert np.allclose(net.predict(X), source.predict(X))
