"""The methods of a module and of `FineTuner` are those of the source, with the trained numbers."""

from __future__ import annotations

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from pipegrad import write_back
from pipegrad.registry import Example, rows
from pipegrad.source_methods import INFERENCE_METHODS
from pipegrad.testing import perturb
from pipegrad.testing.checks import _class, _exists

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
TARGET = X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * RNG.normal(size=90)

# Methods of the sources that fit or change a model, describe its structure, store it, draw it or
# draw from it.
NOT_INFERENCE = {
    *("fit", "fit_transform", "fit_predict", "partial_fit", "refit", "update", "boost"),
    *("get_params", "set_params", "set_output", "get_metadata_routing", "set_callbacks"),
    *("densify", "sparsify", "path", "cost_complexity_pruning_path"),
    *("eval", "evals_result", "eval_metrics", "eval_train", "eval_valid", "eval_set"),
    *("copy", "save_model", "load_model", "dump_model", "compare", "is_fitted", "shrink"),
    *("get_booster", "get_num_boosting_rounds", "get_xgb_params", "calc_feature_statistics"),
    *("iterate_leaf_indexes", "create_metric_calcer", "drop_unused_features", "select_features"),
    *("grid_search", "randomized_search", "save_borders", "set_feature_names", "set_leaf_values"),
    *("set_scale_and_bias", "set_probability_threshold", "get_probability_threshold"),
    *("plot_partial_dependence", "plot_predictions", "plot_tree"),
    *("gibbs", "sample", "reconstruction_error", "error_norm"),
    *("correct_covariance", "reweight_covariance", "fit_resample", "restrict"),
    *("build_analyzer", "build_preprocessor", "build_tokenizer", "decode", "get_stop_words"),
    # Parts of how the encoders of category_encoders fit and transform.
    *("combine_min_categories", "fit_target_encoding", "generate_mapping", "ordinal_encoding"),
    *("get_dummies", "reverse_dummies", "target_encode"),
    *("get_feature_names", "get_feature_names_in"),
}
# Objects whose other methods are not those of estimators.
NOT_ESTIMATORS = (
    *("pipegrad.glue.", "pipegrad.sources.", "lightgbm.Booster", "xgboost.Booster"),
    "skorch.",  # they are their own training loops, too
)


def public_methods(kind: type) -> set[str]:
    names = {name for name in dir(kind) if not name.startswith("_")}
    names = {name for name in names if not (name.startswith("set_") and name.endswith("_request"))}
    return {name for name in names if callable(getattr(kind, name, None))}


def test_every_method_of_every_source_is_known() -> None:
    unknown = {}
    for name, _ in rows():
        if name.startswith(NOT_ESTIMATORS) or not _exists(name, Example({})):
            continue
        left = public_methods(_class(name)) - {*INFERENCE_METHODS} - NOT_INFERENCE
        # CatBoost's accessors describe the model.
        left = {m for m in left if not (name.startswith("catboost.") and m.startswith("get_"))}
        if left:
            unknown[name] = left
    assert not unknown


MEMBERS = [("l", LogisticRegression()), ("t", DecisionTreeClassifier())]
MODELS = {
    "isolation forest": (IsolationForest(n_estimators=5, random_state=0), None, ["score_samples"]),
    "pca": (PCA(2, whiten=True), None, ["score_samples", "score"]),
    "forest": (
        RandomForestClassifier(5, random_state=0),
        LABELS,
        ["apply", "decision_path", "predict_log_proba"],
    ),
    "boosting": (
        GradientBoostingClassifier(n_estimators=3, random_state=0),
        LABELS,
        ["apply", "staged_predict", "staged_decision_function"],
    ),
    "stack": (
        StackingClassifier(MEMBERS),
        LABELS,
        ["transform", "predict_proba"],
    ),
    "vote": (
        VotingClassifier(
            [("l", LogisticRegression()), ("t", DecisionTreeClassifier())], voting="soft"
        ),
        LABELS,
        ["transform"],
    ),
}


def flat(result: object) -> np.ndarray:
    if hasattr(result, "toarray"):
        return np.asarray(result.toarray())
    if isinstance(result, np.ndarray | float):
        return np.asarray(result)
    return np.concatenate([flat(part).ravel() for part in result])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_methods_of_the_source_follow_the_trained_numbers(name: str) -> None:
    model, y, methods = MODELS[name]
    model = copy.deepcopy(model).fit(X, y)
    net = pg.to_torch(model)
    for method in methods:
        np.testing.assert_allclose(
            flat(getattr(net, method)(X)), flat(getattr(model, method)(X)), atol=1e-9
        )
    perturb(net)
    tuned = pg.from_torch(net)
    for method in methods:
        np.testing.assert_allclose(
            flat(getattr(net, method)(X)), flat(getattr(tuned, method)(X)), atol=1e-9
        )


def test_inverse_transform_of_a_pipeline_follows_training() -> None:
    pipe = make_pipeline(StandardScaler(), PCA(3), MinMaxScaler()).fit(X)
    net = pg.to_torch(pipe)
    Z = pipe.transform(X)
    np.testing.assert_array_equal(net.inverse_transform(Z), pipe.inverse_transform(Z))
    perturb(net)
    ours = net.inverse_transform(Z)
    np.testing.assert_array_equal(ours, pg.from_torch(net).inverse_transform(Z))
    assert np.abs(ours - pipe.inverse_transform(Z)).max() > 1e-3


def test_apply_takes_functions_as_torch_does() -> None:
    net = pg.to_torch(DecisionTreeClassifier(random_state=0).fit(X, LABELS))
    seen, named, expected = [], [], []
    assert net.apply(seen.append) is net
    assert net.apply(fn=named.append) is net
    torch.nn.Module.apply(net, expected.append)
    assert seen == named == expected


def test_apply_of_a_source_without_leaves_names_the_reason() -> None:
    net = pg.to_torch(Ridge().fit(X, TARGET))
    with pytest.raises(pg.ArgumentError, match="got ndarray") as caught:
        net.apply(X)
    assert "Ridge has no leaves" in str(caught.value)


def test_keyword_arguments_reach_the_source() -> None:
    model = BayesianRidge().fit(X, TARGET)
    net = pg.to_torch(model)
    for ours, theirs in zip(
        net.predict(X, return_std=True), model.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    net.fit(X, TARGET + X[:, 3], epochs=3, validation=(X, TARGET + X[:, 3]))
    mean, _ = net.predict(X, return_std=True)
    np.testing.assert_allclose(mean, net.predict(X))
    with pytest.raises(TypeError, match="raw_score"):
        net.predict(X, raw_score=True)


def test_score_takes_sample_weight() -> None:
    model = LogisticRegression().fit(X, LABELS)
    net, weight = pg.to_torch(model), np.arange(90.0)
    assert net.score(X, LABELS, sample_weight=weight) == model.score(X, LABELS, weight)
    assert net.score(torch.as_tensor(X), torch.as_tensor(LABELS)) == model.score(X, LABELS)


def test_methods_that_the_source_lacks_are_absent() -> None:
    linear = pg.to_torch(LinearSVC().fit(X, LABELS))
    assert not hasattr(linear, "predict_proba")
    assert not hasattr(linear, "predict_log_proba")
    assert not hasattr(linear, "inverse_transform")
    hard = VotingClassifier([("l", LogisticRegression())]).fit(X, LABELS)
    assert not hasattr(pg.to_torch(hard), "predict_proba")
    assert not hasattr(pg.to_torch(hard), "predict_log_proba")


def test_encoded_rows_are_refused_where_the_source_computes() -> None:
    net = pg.to_torch(StandardScaler().fit(X))
    with pytest.raises(pg.ArgumentError, match="format of the source"):
        net.inverse_transform(net.encode(X))


def test_the_copy_of_the_source_is_made_once_per_change(monkeypatch: pytest.MonkeyPatch) -> None:
    net = pg.to_torch(StandardScaler().fit(X))
    made = []
    monkeypatch.setattr(
        write_back, "copy_source", lambda *args: made.append(1) or copy.deepcopy(*args)
    )
    net.inverse_transform(X)
    net.inverse_transform(X)
    assert len(made) == 1
    before = net.inverse_transform(X)
    # A write that leaves the version counter of the tensor as it was.
    for p in net.parameters():
        p.data.add_(0.5)
    assert np.abs(net.inverse_transform(X) - before).max() > 0.1
    assert len(made) == 2


def test_asking_changes_neither_the_module_nor_its_pickle() -> None:
    net = pg.to_torch(PCA(2).fit(X))
    before, names = pickle.dumps(net), set(vars(net))
    net.score_samples(X)
    net.inverse_transform(X[:, :2])
    assert pickle.dumps(net) == before
    assert set(vars(net)) == names
    again = copy.deepcopy(net)
    np.testing.assert_array_equal(again.score_samples(X), net.score_samples(X))


def test_sixteen_threads_share_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RandomForestClassifier(20, random_state=0).fit(X, LABELS)
    net, made = pg.to_torch(model), []
    monkeypatch.setattr(
        write_back, "copy_source", lambda *args: made.append(1) or copy.deepcopy(*args)
    )
    with ThreadPoolExecutor(16) as pool:
        leaves = list(pool.map(lambda _: net.apply(X), range(64)))
    assert all(np.array_equal(one, model.apply(X)) for one in leaves)
    assert len(made) == 1


def test_finetuner_offers_the_methods_of_its_estimator() -> None:
    tuner = pg.FineTuner(RandomForestClassifier(5, random_state=0), epochs=1, random_state=0)
    assert hasattr(tuner, "apply")
    assert not hasattr(tuner, "inverse_transform")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner.fit(X, LABELS > 0)
    fitted = tuner.estimator_
    np.testing.assert_array_equal(tuner.apply(X), fitted.apply(X))
    assert (tuner.decision_path(X)[0] != fitted.decision_path(X)[0]).nnz == 0
    assert tuner.score(X, LABELS > 0) == fitted.score(X, LABELS > 0)
