"""Options and data that few pipelines have, where the contract's examples do not reach."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import AffinityPropagation
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.kernel_approximation import PolynomialCountSketch
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import (
    KNeighborsClassifier,
    RadiusNeighborsRegressor,
    RadiusNeighborsTransformer,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from sklearn.svm import LinearSVC
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from helpers import assert_round_trip
from pipegrad.sources.arrays import without_tensors
from pipegrad.testing import DATASETS, assert_close, assert_same_answers, perturb

X, Y = DATASETS["multiclass"]()
Z = (X - X.mean(0)) / X.std(0)
SINCE_1_6 = parse_version(sklearn.__version__) >= parse_version("1.6")


# -- members -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(OneVsRestClassifier(LogisticRegression())),
        OneVsOneClassifier(OneVsRestClassifier(LogisticRegression())),
        OneVsRestClassifier(OneVsOneClassifier(LogisticRegression())),
        OutputCodeClassifier(OneVsOneClassifier(LogisticRegression()), random_state=0),
    ],
    ids=["rest of rest", "pairs of rest", "rest of pairs", "codes of pairs"],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_members_that_have_members(model, classes):
    y = Y if classes == 3 else Y == "bee"
    assert_round_trip(model.fit(Z, y), Z)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("member", [LogisticRegression(), LinearSVC()], ids=["logistic", "hinge"])
def test_decision_values_of_a_bag_are_calibrated(member, classes):
    y = Y if classes == 3 else Y == "bee"
    bag = BaggingClassifier(member, 3, max_features=4, random_state=0)
    net = assert_round_trip(CalibratedClassifierCV(bag, cv=2).fit(Z, y), Z)
    assert any("estimators_/2" in name for name in net.trainable_parameters())
    stack = StackingClassifier([("bag", bag)], cv=2, stack_method="decision_function")
    assert_round_trip(stack.fit(Z, y), Z)


@pytest.mark.parametrize(
    "kind", [OneVsRestClassifier, lambda member: OutputCodeClassifier(member, random_state=0)]
)
@pytest.mark.parametrize("scaled", [False, True])
def test_decision_values_of_bags_decide(kind, scaled):
    bag = BaggingClassifier(LogisticRegression(), 2, random_state=0)
    model = kind(make_pipeline(StandardScaler(), bag) if scaled else bag)
    net = assert_round_trip(model.fit(Z, Y), Z)
    before = net.score(Z, Y)
    net.fit(Z, Y, epochs=5, validation=None, seed=0)
    assert net.history[-1]["train_loss"] <= net.history[0]["train_loss"]
    assert net.score(Z, Y) >= before - 0.05


# -- one class -----------------------------------------------------------------------------------


@pytest.mark.skipif(not SINCE_1_6, reason="scikit-learn itself does not predict one class before")
def test_a_constant_label_among_others():
    y = np.column_stack([Y == "bee", np.ones(len(Y), dtype=bool)])
    model = MultiOutputClassifier(AdaBoostClassifier(n_estimators=3, random_state=0)).fit(Z, y)
    net = assert_round_trip(model, Z)
    assert (net.predict_proba(Z)[1] == 1.0).all()


def test_a_discriminant_of_one_class():
    model = LinearDiscriminantAnalysis().fit(Z, np.full(len(Z), "only"))
    net = pg.to_torch(model)
    assert not net.trainable_parameters()
    assert list(net.predict(Z)) == ["only"] * len(Z)
    assert np.array_equal(net.decision_function(Z), model.decision_function(Z))
    for one in (model, net):
        with pytest.raises(ValueError, match="axis 1"):
            one.predict_proba(Z)


# -- numbers -------------------------------------------------------------------------------------


def test_trained_exemplars_of_whole_numbers_are_not_rounded():
    rows = DATASETS["word_counts"]()[0].astype(np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AffinityPropagation(random_state=0).fit(rows)
    net = pg.to_torch(model)
    assert pg.from_torch(net).cluster_centers_.dtype == np.int64
    perturb(net)
    written = pg.from_torch(net)
    assert not np.array_equal(written.cluster_centers_, np.round(written.cluster_centers_))
    assert_same_answers(net, written, rows + 0.3, 1e-9)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_trained_mixtures_keep_the_precision_of_the_source(kind):
    rows = Z.astype(np.float32)
    model = GaussianMixture(2, covariance_type=kind, random_state=0).fit(rows)
    net = pg.to_torch(model)
    perturb(net)
    written = pg.from_torch(net)
    for name in ("means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(written, name).dtype == getattr(model, name).dtype


@pytest.mark.parametrize("votes", ["one_vs_rest", "one_vs_one"])
def test_rows_far_from_all_others_tie(votes):
    """The latent mean is zero there for each class, and the classes are equally likely."""
    model = GaussianProcessClassifier(optimizer=None, multi_class=votes).fit(Z, Y)
    rows = np.vstack([Z[:5], Z[:20] * 50])
    net = pg.to_torch(model)
    assert list(net.predict(rows)) == list(model.predict(rows))
    if votes == "one_vs_rest":
        assert_close(net.predict_proba(rows), model.predict_proba(rows), 1e-12)


def test_labels_that_are_objects_are_text_where_the_source_says_so():
    model = GaussianProcessClassifier(optimizer=None).fit(Z, np.where(Y == "bee", "b", "other"))
    words = GaussianProcessClassifier(optimizer=None).fit(Z, Y.astype(object) == "bee")
    for one in (model, words):
        assert pg.to_torch(one).predict(Z).dtype == one.predict(Z).dtype
    model.fit(Z, np.array(np.where(Y == "bee", "b", "other"), dtype=object))
    found, wanted = pg.to_torch(model).predict(Z), model.predict(Z)
    assert found.dtype == wanted.dtype
    assert (found == wanted).all()


def test_a_negative_constant_of_a_sketch_has_no_root():
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PolynomialCountSketch(coef0=-1.0, n_components=5, random_state=0).fit(Z)
        wanted = model.transform(Z)
    assert np.isnan(wanted).all()
    assert np.isnan(pg.to_torch(model).transform(Z)).all()


def test_lists_that_nothing_is_done_to():
    model = FunctionTransformer().fit(Z)
    assert np.array_equal(pg.to_torch(model).transform(Z.tolist()), model.transform(Z.tolist()))


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize(
    "model", [StandardScaler(with_mean=False), SelectKBest(k=2), Normalizer()], ids=str
)
def test_sparse_arrays_stay_sparse_arrays(model, kind):
    rows = kind(np.maximum(Z, 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, Y)
    found, wanted = pg.to_torch(model).transform(rows), model.transform(rows)
    assert isinstance(found, sparse.sparray) == isinstance(wanted, sparse.sparray)
    assert_close(found, wanted, 1e-12)


@pytest.mark.parametrize("kind", ["int64", "float32", "list", "table", "tensor", "csr", "long csr"])
@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(3, algorithm="brute"),
        make_pipeline(KNeighborsClassifier(3, algorithm="brute")),
        LabelSpreading("knn", n_neighbors=3),
        OneVsOneClassifier(KNeighborsClassifier(2, algorithm="brute")),
    ],
    ids=["neighbors", "pipeline", "labels", "pairs"],
)
def test_ties_of_neighbors_depend_on_the_type_of_rows(model, kind):
    if isinstance(model, LabelSpreading) and "csr" in kind:
        pytest.skip("its tree searches dense rows only")
    rows = np.random.default_rng(0).integers(0, 2, (40, 4)).astype(float)
    y = np.random.default_rng(1).integers(0, 3, 40)
    given = KINDS[kind](rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, y)
    assert_close(pg.to_torch(model).predict(given), model.predict(without_tensors(given)), 0.0)


def long_csr(rows):
    found = sparse.csr_array(rows)
    found.indices, found.indptr = found.indices.astype(np.int64), found.indptr.astype(np.int64)
    return found


KINDS = {
    "int64": lambda rows: rows.astype(np.int64),
    "float32": lambda rows: rows.astype(np.float32),
    "list": lambda rows: rows.astype(int).tolist(),
    "table": lambda rows: pd.DataFrame(rows.astype(np.int8)),
    "tensor": lambda rows: torch.tensor(rows, dtype=torch.float32),
    "csr": sparse.csr_matrix,
    "long csr": long_csr,
}


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingClassifier(n_estimators=8, max_depth=2, init="zero"),
        GradientBoostingClassifier(n_estimators=8, max_depth=2),
        HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=3),
    ],
    ids=["from zero", "from the prior", "bins"],
)
def test_scores_of_classes_are_added_in_the_order_of_the_source(model):
    """Rounding in another order would decide between classes of the same score."""
    random = np.random.default_rng(27)
    rows = random.integers(0, 2, size=(60, 3)).astype(float)
    model.fit(rows, random.integers(0, 3, 60))
    net = pg.to_torch(model)
    assert np.array_equal(net.decision_function(rows), model.decision_function(rows))
    assert np.array_equal(net.predict(rows), model.predict(rows))


def test_a_kernel_that_is_zero_in_single_precision():
    rows = Z.astype(np.float32)
    model = LabelPropagation(max_iter=5, tol=1.0).fit(rows, np.arange(len(rows)) % 2)
    with np.errstate(invalid="ignore"):
        wanted = model.predict_proba(rows * 4)
        assert np.isnan(wanted).any()
        assert np.array_equal(
            np.isnan(pg.to_torch(model).predict_proba(rows * 4)), np.isnan(wanted)
        )


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        (KNeighborsClassifier(n_neighbors=None), "n_neighbors=None"),
        (RadiusNeighborsRegressor(radius=None), "radius=None"),
        (RadiusNeighborsTransformer(radius=None), "radius=None"),
    ],
)
def test_neighbors_without_a_limit_are_refused(model, limit):
    with pytest.raises(pg.UntranslatableError, match=f"{limit} finds no neighbors"):
        pg.to_torch(model.fit(Z, np.arange(len(Z)) % 2))


def test_a_threshold_of_a_classifier_that_is_not_fitted():
    for label in (None, 1):
        model = FixedThresholdClassifier(LogisticRegression(), pos_label=label)
        with pytest.raises(NotFittedError, match="LogisticRegression at 'estimator_'"):
            pg.to_torch(model)
