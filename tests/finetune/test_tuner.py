"""FineTuner as a scikit-learn estimator."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.linear_model import Lars, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from pipegrad.errors import ArgumentError
from pipegrad.finetune import losses
from pipegrad.finetune.tuner import FineTuner
from pipegrad.finetune.validation.splits import RowSplitter

NEW = parse_version(sklearn.__version__) >= parse_version("1.6")


def regressor(**options):
    pipe = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
    return FineTuner(pipe, epochs=3, random_state=0, **options)


def classifier(**options):
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    return FineTuner(pipe, epochs=3, random_state=0, **options)


# These tests are about something else than whether training helps.
may_not_help = pytest.mark.filterwarnings("ignore:Training did not lower")

# Rows are put aside by chance, so a row that is repeated may stand on both sides, and one that
# weighs twice cannot.
REASON = "which rows validate depends on how many there are and in which order"
BY_CHANCE = {
    "check_sample_weight_equivalence_on_dense_data": REASON,
    "check_sample_weight_equivalence_on_sparse_data": REASON,
    "check_sample_weights_invariance": REASON,
}


if NEW:
    conventions = parametrize_with_checks(
        [regressor(), classifier()], expected_failed_checks=lambda estimator: BY_CHANCE
    )
else:
    conventions = pytest.mark.parametrize(
        ("estimator", "check"),
        [pair for e in (regressor(), classifier()) for pair in check_estimator(e, True)],
    )


@conventions
def test_it_is_a_scikit_learn_estimator(estimator, check, request):
    if not NEW and check.func.__name__ in BY_CHANCE:
        pytest.skip(BY_CHANCE[check.func.__name__])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def numbers():
    X, y = make_regression(400, 8, n_informative=8, noise=1.0, random_state=0)
    return X, y / 50


@pytest.fixture(scope="module")
def labels():
    X, y = make_classification(400, 8, n_classes=3, n_informative=5, random_state=0)
    return X, np.array(["ant", "bee", "cow"])[y]


def shrunk(**options):
    """A pipeline that training improves."""
    pipe = make_pipeline(StandardScaler(), PCA(4), Ridge(alpha=1000.0))
    return FineTuner(pipe, random_state=0, **options)


def test_it_improves_and_gives_the_same_kind_of_object_back(numbers):
    X, y = numbers
    tuner = shrunk(epochs=20).fit(X[:300], y[:300])
    assert tuner.improved_
    assert type(tuner.estimator_) is type(tuner.estimator)
    plain = clone(tuner.estimator).fit(X[:300], y[:300])
    assert tuner.score(X[300:], y[300:]) > plain.score(X[300:], y[300:])
    assert tuner.history_[-1, "valid_loss"] < tuner.history_[0, "valid_loss"]
    np.testing.assert_array_equal(tuner.predict(X), tuner.estimator_.predict(X))


def test_where_nothing_helps_the_fitted_pipeline_comes_back(numbers):
    X, y = numbers
    worse = lambda p: torch.optim.SGD(p, lr=1e-2, maximize=True)  # noqa: E731
    with pytest.warns(pg.PipegradWarning, match="did not lower"):
        tuner = regressor(optim=worse).fit(X, y)
    assert not tuner.improved_
    seed = int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    ((train, _),) = RowSplitter(np.arange(len(X)), None, 0.2, seed, single=True).random()
    plain = clone(tuner.estimator).fit(X[train], y[train])
    np.testing.assert_array_equal(tuner.predict(X), plain.predict(X))


def test_the_rows_that_validate_are_unseen_by_the_source(numbers):
    X, y = numbers
    seen = []

    class Watching(Ridge):
        def fit(self, X, y, sample_weight=None):
            seen.append(len(X))
            return super().fit(X, y, sample_weight)

    with pytest.raises(pg.UntranslatableError, match="nothing was fitted"):
        FineTuner(Watching()).fit(X, y)
    assert not seen
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Nothing flatters, so nothing warns.
        tuner = regressor(validation_fraction=0.25).fit(X, y)
    assert tuner.estimator_[0].n_samples_seen_ == 300


@may_not_help
def test_labels_of_the_users_own_kind(labels):
    X, y = labels
    tuner = classifier().fit(X, y)
    assert tuner.classes_.tolist() == ["ant", "bee", "cow"]
    assert set(tuner.predict(X)) <= set(tuner.classes_)
    assert tuner.predict_proba(X).shape == (400, 3)
    assert tuner.predict_log_proba(X).shape == (400, 3)
    assert tuner.decision_function(X).shape == (400, 3)
    assert 0.4 < tuner.score(X, y) <= 1
    assert is_classifier(tuner)
    assert is_regressor(regressor())


def test_methods_are_those_of_the_pipeline(numbers):
    assert not hasattr(regressor(), "predict_proba")
    assert not hasattr(regressor(), "transform")
    X, _ = numbers
    model = make_pipeline(StandardScaler(), KMeans(3, n_init=1, max_iter=1, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = FineTuner(model, freeze=["standardscaler"], random_state=0).fit(X)
    assert tuner.transform(X).shape == (400, 3)
    assert len(tuner.get_feature_names_out()) == 3
    assert tuner.score(X) < 0


def test_columns_do_not_shrink_to_please_centers(numbers):
    X, _ = numbers
    model = make_pipeline(StandardScaler(), KMeans(3, n_init=1, max_iter=1, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = FineTuner(model, random_state=0).fit(X)
    assert tuner.frozen_ == ["standardscaler"]
    np.testing.assert_allclose(tuner.estimator_[0].scale_, X.std(axis=0))
    with pytest.raises(ArgumentError, match="freeze="):
        FineTuner(model, train=["*"], random_state=0).fit(X)


@pytest.mark.parametrize("recipe", ["auto", None])
def test_negative_weights_are_refused(numbers, recipe):
    X, y = numbers
    tuner = regressor(recipe=recipe)
    with pytest.raises(ArgumentError, match="negative"):
        tuner.fit(X, y, sample_weight=np.linspace(-1, 1, len(y)))


def test_groups_whose_rows_weigh_nothing_do_not_count(labels):
    X, y = labels
    group = np.arange(len(y)) % 2
    loss = losses.GroupPenalty("log_loss", strength=1.0)
    with pytest.raises(ArgumentError, match="one group"):
        classifier(loss=loss).fit(X, y, groups=group, sample_weight=1.0 * (group == 0))


@may_not_help
def test_it_pickles_and_clones(labels):
    X, y = labels
    tuner = classifier(lr=0.05, freeze=["standardscaler"]).fit(X, y)
    again = pickle.loads(pickle.dumps(tuner))
    np.testing.assert_array_equal(again.predict_proba(X), tuner.predict_proba(X))
    assert again.history_[:, "valid_loss"] == tuner.history_[:, "valid_loss"]
    fresh = clone(tuner)
    assert not hasattr(fresh, "estimator_")
    assert fresh.lr == 0.05
    assert fresh.fit(X, y).predict(X).tolist() == tuner.predict(X).tolist()


@may_not_help
# scikit-learn 1.5 casts a masked array that holds NaN.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_it_sits_in_a_grid_search(numbers):
    X, y = numbers
    grid = {"estimator__pca__n_components": [2, 6], "lr": [0.01, 0.05]}
    search = GridSearchCV(shrunk(epochs=3), grid, cv=2, error_score="raise").fit(X, y)
    assert set(search.best_params_) == set(grid)
    assert search.best_params_["estimator__pca__n_components"] == 6
    assert cross_val_score(shrunk(epochs=2), X, y, cv=2, error_score="raise").shape == (2,)


@may_not_help
def test_tables_with_names(labels):
    X, y = labels
    table = pd.DataFrame({"kind": np.where(X[:, 0] > 0, "a", "b"), "size": np.round(X[:, 1])})
    tuner = FineTuner(
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()),
        epochs=2,
        random_state=0,
    ).fit(table, pd.Series(y))
    assert tuner.feature_names_in_.tolist() == ["kind", "size"]
    assert tuner.n_features_in_ == 2
    with pytest.raises(ValueError, match="feature names"):
        tuner.predict(table[["size", "kind"]])


@may_not_help
def test_sparse_rows(labels):
    X, y = labels
    tuner = FineTuner(LogisticRegression(C=0.01), epochs=2, random_state=0)
    tuner.fit(sparse.coo_matrix(np.maximum(X, 0)), y)
    assert tuner.predict(sparse.csr_matrix(X)).shape == (400,)


@may_not_help
def test_sample_weights_reach_the_fit_and_the_training(numbers):
    X, y = numbers
    weight = np.where(X[:, 0] > 0, 1.0, 0.0)
    tuner = regressor().fit(X, np.where(weight, y, 1e6), sample_weight=weight)
    assert tuner.history_[0, "valid_loss"] < 10
    nested = FineTuner(make_pipeline(make_pipeline(StandardScaler(), Ridge())), epochs=1)
    nested.fit(X, np.where(weight, y, 1e6), sample_weight=weight)
    assert nested.history_[0, "valid_loss"] < 10
    with pytest.raises(pg.ArgumentError, match="no use for it"):
        FineTuner(Lars()).fit(X, y, sample_weight=weight)


@may_not_help
def test_random_state_makes_it_repeatable(numbers):
    X, y = numbers
    first, second = (shrunk(epochs=2).fit(X, y).predict(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    state = np.random.RandomState(0)
    tuner = shrunk(epochs=2).set_params(random_state=state).fit(X, y)
    np.testing.assert_array_equal(tuner.predict(X), first)


@may_not_help
def test_a_class_with_one_row(labels):
    X, y = labels
    y = y.copy()
    y[0] = "doe"
    tuner = classifier().fit(X, y)
    assert "doe" in tuner.classes_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optim": "adam"}, "optim must be callable, got 'adam'"),
        ({"optim": lambda p: p}, "must return an optimizer"),
        ({"validation_fraction": 0}, "validation_fraction must be a number between 0 and 1, got 0"),
        ({"validation_fraction": "half"}, "validation_fraction must be .* got 'half'"),
        ({"epochs": -1}, "epochs must be a positive integer, got -1"),
        ({"random_state": "x"}, "seed"),
    ],
)
def test_wrong_arguments_come_before_the_fit(numbers, options, message):
    class Never(BaseEstimator):
        def fit(self, X, y=None):
            raise AssertionError("fitted")

    with pytest.raises(ValueError, match=message):
        FineTuner(Never()).set_params(**options).fit(*numbers)


def test_what_cannot_be_translated_is_refused_before_the_fit(labels):
    class Mine(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            raise AssertionError("fitted")

    with pytest.raises(pg.UntranslatableError, match="mine"):
        FineTuner(make_pipeline(StandardScaler(), Mine())).fit(*labels)
    with pytest.raises(pg.ArgumentError, match="must be an estimator instance"):
        FineTuner(LogisticRegression).fit(*labels)


def test_unknown_steps_at_the_end_are_refused(labels):
    with pytest.raises(pg.UntranslatableError):
        FineTuner(make_pipeline(StandardScaler(), KNeighborsClassifier(weights=np.exp))).fit(
            *labels
        )


@may_not_help
def test_progress(numbers, capsys):
    regressor(verbose=1).fit(*numbers)
    assert "epoch 3/3" in capsys.readouterr().err
