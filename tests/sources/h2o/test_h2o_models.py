"""Networks, clusters, components, additive and other models of H2O: what is special of them."""

from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from test_h2o import DATA, SEEN, answers_of, assert_same, mojo, with_changes

import pipegrad as pg
from pipegrad.modules import MonotoneSplineBasis, SinglePrecisionLinear
from pipegrad.testing import perturb

SERVED = ("gam", "isotonic", "words", "svm")
REFUSED = {
    "gam_offset": "refuses all rows of models with an offset",
    "gam_cubic_m_spline": "mixes up the matrices of its splines",
}
NAMES = sorted(
    path.stem
    for path in DATA.glob("*.zip")
    if path.stem.startswith(SERVED) and path.stem not in REFUSED
)
NETWORKS = ["dl_tanh", "dl_maxout", "dl_balanced", "dl_tweedie", "dl_autoencoder"]


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_those_of_h2o(name):
    given, expected = answers_of(name)
    for translate in ("trainable", "all"):
        found = pg.to_torch(mojo(name), translate=translate).columns(given)
        assert_same(found, expected)


@pytest.mark.parametrize("name", [*NAMES, *NETWORKS])
def test_written_models_answer_as_the_module(name, tmp_path):
    """Exactly, also where H2O keeps single precision: modules compute with the numbers it reads."""
    net, (given, _) = pg.to_torch(mojo(name)), answers_of(name)
    pg.from_torch(net, tmp_path / "same.zip")
    assert (tmp_path / "same.zip").read_bytes() == mojo(name).read_bytes()
    before = net.columns(given)
    perturb(net)
    after = net.columns(given)
    pg.from_torch(net, tmp_path / "tuned.zip")
    again = pg.to_torch(tmp_path / "tuned.zip").columns(given)
    changed = 0
    for column, values in after.items():
        if np.asarray(values).dtype.kind == "f":
            np.testing.assert_allclose(again[column], values, rtol=1e-12, atol=1e-12)
            changed += not np.array_equal(values, before[column], equal_nan=True)
    assert changed


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_served_is_refused_with_the_reason(name):
    with pytest.raises(pg.UntranslatableError, match=REFUSED[name]):
        pg.to_torch(mojo(name))


# -- networks ------------------------------------------------------------------------------------


def test_weights_are_those_that_single_precision_holds():
    layer = SinglePrecisionLinear(torch.tensor([[1 + 1e-9], [0.1]], dtype=torch.float64))
    out = layer(torch.eye(2, dtype=torch.float64))
    assert out.flatten().tolist() == [1.0, float(np.float32(0.1))]
    out.sum().backward()
    assert layer.weight.grad.flatten().tolist() == [1.0, 1.0]


@SEEN
def test_autoencoders_train_without_targets():
    net = pg.to_torch(mojo("dl_autoencoder"))
    given, expected = answers_of("dl_autoencoder")
    assert expected["mse"].isna().any()
    assert not any("standardize" in name for name in net.trainable_parameters())
    ordinary = given[given[["u", "v", "w"]].abs().max(axis=1).fillna(0) < 1e6]
    rows = pd.concat([ordinary] * 6, ignore_index=True)
    before = np.nanmean(net.columns(rows)["mse"])
    net.fit(rows, epochs=30)
    after = net.columns(rows)["mse"]
    assert np.nanmean(after) < 0.8 * before
    assert np.isnan(after).any()


def test_reconstructed_columns_have_the_names_of_levels():
    names = [name for name in pg.to_torch(mojo("dl_autoencoder")).columns(
        answers_of("dl_autoencoder")[0]) if name.startswith("reconstr_")]  # fmt: skip
    assert names[:5] == [f"reconstr_t.{level}" for level in ("x", "y", "z", "zz", "missing(NA)")]
    assert names[-3:] == ["reconstr_u", "reconstr_v", "reconstr_w"]


def test_networks_of_modified_huber_are_refused(tmp_path):
    path = with_changes("dl_tanh", tmp_path, distribution="modified_huber")
    with pytest.raises(pg.UntranslatableError, match="the same probabilities for all rows"):
        pg.to_torch(path)


# -- clusters --------------------------------------------------------------------------------------


@SEEN
@pytest.mark.parametrize("name", ["kmeans_mixed", "kmeans_raw"])
def test_centers_move_to_their_rows(name):
    net, (given, _) = pg.to_torch(mojo(name)), answers_of(name)
    rows = pd.concat([given[given.select_dtypes("number").abs().max(axis=1) < 1e6]] * 6)

    def nearest():
        found = net.columns(rows)
        return np.min([found[f"distance_{k}"] for k in range(3)], axis=0).mean()

    before = nearest()
    net.fit(rows.reset_index(drop=True), epochs=30)
    assert nearest() < before


def test_rows_without_a_finite_distance_have_no_cluster():
    far = pd.DataFrame({"u": [0.0, 1e200], "v": 0.0, "w": 0.0})
    assert pg.to_torch(mojo("kmeans_raw")).columns(far)["predict"][1] == -1


# -- additive models -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 4])
def test_m_splines_are_densities_and_i_splines_their_integrals(order):
    knots = torch.tensor([0.0, 1.0, 2.5, 3.0], dtype=torch.float64)
    x = torch.linspace(0, 3, 30001, dtype=torch.float64)[:, None]
    densities = MonotoneSplineBasis(knots, order, integrals=False)(x)
    integrals = MonotoneSplineBasis(knots, order, integrals=True)(x)
    assert densities.shape == integrals.shape == (len(x), len(knots) + order - 2)
    sums = torch.cumulative_trapezoid(densities, dx=3 / 30000, dim=0)
    torch.testing.assert_close(sums[:-1], integrals[1:-1], atol=3e-4, rtol=0)
    ends = torch.tensor([[-1.0], [3.0], [9.0]], dtype=torch.float64)
    assert MonotoneSplineBasis(knots, order, True)(ends).unique(dim=1).flatten().tolist() == [
        0,
        1,
        1,
    ]
    assert not MonotoneSplineBasis(knots, order, integrals=False)(ends).any()


@SEEN
def test_models_of_shares_take_shares_as_targets():
    net, (given, _) = pg.to_torch(mojo("gam_fractional")), answers_of("gam_fractional")
    rows = pd.concat([given[given[["u", "w"]].abs().max(axis=1) < 1e6]] * 6, ignore_index=True)
    rows["share"] = 1 / (1 + np.exp(-2 * rows["u"].fillna(0)))

    def loss():
        found = net.columns(rows)["p1"]
        return -(rows["share"] * np.log(found) + (1 - rows["share"]) * np.log(1 - found)).mean()

    before = loss()
    net.fit(rows, epochs=30)
    assert loss() < before - 0.01


# -- isotonic regression, words --------------------------------------------------------------------


@SEEN
def test_isotonic_regressions_stay_monotone(tmp_path):
    net, (given, _) = pg.to_torch(mojo("isotonic_clip")), answers_of("isotonic_clip")
    rows = pd.concat([given[given["u"].abs() < 1e6]] * 6, ignore_index=True)
    rows["y"] = -rows["u"]
    before = np.square(net.predict(rows) - rows["y"]).mean()
    net.fit(rows, epochs=60)
    assert np.square(net.predict(rows) - rows["y"]).mean() < before
    pg.from_torch(net, tmp_path / "tuned.zip")
    sorted_ = pg.to_torch(tmp_path / "tuned.zip").predict(rows.sort_values("u"))
    assert (np.diff(sorted_) >= 0).all()


def test_the_only_column_of_a_table_has_the_words():
    net, (given, expected) = pg.to_torch(mojo("words")), answers_of("words")
    named = given.rename(columns={"words": "C1"}).assign(other=1.0)
    for rows in (given, named, {"any": given["words"].tolist()}):
        assert_same(net.columns(rows), expected)
    with pytest.raises(pg.ArgumentError, match="lacks columns that the model reads: 'C1'"):
        net.columns(given.assign(other=1.0))


# -- damaged files ---------------------------------------------------------------------------------

DAMAGED = [
    ("dl_tanh", {"cat_offsets": "[0, 43, 48, 53]"}, "cat_offsets are damaged"),
    ("dl_tanh", {"cat_offsets": "[0, 44, 48, 53, 57]"}, "other levels than its indicators"),
    ("dl_tanh", {"cats": "3"}, "10 features, but describes others"),
    ("dl_tanh", {"neural_network_sizes": "[63, 4, 3]"}, "another number of outputs"),
    ("dl_tanh", {"neural_network_sizes": "[63, 5, 3, 2]"}, "bias_layer0 is damaged"),
    ("dl_tanh", {"neural_network_sizes": "[62, 4, 3, 2]"}, "neural_network_sizes are damaged"),
    ("dl_tanh", {"activation": "Sine"}, "'Sine' is not known"),
    ("dl_tanh", {"hidden_dropout_ratios": "[0.0]"}, "hidden_dropout_ratios are damaged"),
    ("dl_tanh", {"hidden_dropout_ratios": "[0.0, 1.0, 0.0]"}, "hidden_dropout_ratios are damaged"),
    ("dl_tanh", {"weight_layer1": "[1.0]"}, "'weight_layer1' has 1 numbers"),
    ("dl_tanh", {"bias_layer1": f"[{', '.join('0' * 6)}]"}, "bias_layer1 is damaged|weight_layer1"),
    ("dl_tanh", {"norm_mul": "[1.0]"}, "'norm_mul' has 1 numbers"),
    ("dl_offset", {"norm_resp_sub": "[]"}, "norm_resp_sub is damaged"),
    ("dl_balanced", {"model_class_distrib": "[0.5]"}, "distributions of classes are damaged"),
    ("dl_autoencoder", {"neural_network_sizes": "[12, 4, 3, 3]"}, "bias_layer2 is damaged"),
    ("dl_autoencoder", {"norm_mul": "[0.0, 1.0, 1.0]"}, "norm_mul has zeros"),
    ("kmeans_mixed", {"center_num": "0"}, "0 centers"),
    ("kmeans_mixed", {"center_num": "4"}, "lacks 'center_3'"),
    ("kmeans_mixed", {"center_1": "[1.0]"}, "centers are damaged"),
    ("kmeans_mixed", {"center_1": "[NaN, 0.0, 0.0, 0.0, 0.0]"}, "centers are damaged"),
    ("kmeans_mixed", {"standardize_modes": "[0, -1, 0, 0, 0]"}, "standardize_modes are damaged"),
    ("pca_standardize", {"permutation": "[3, 2, 0, 0]"}, "permutation is damaged"),
    ("pca_standardize", {"permutation": "[0, 2, 3, 1]"}, "does not put categories first"),
    ("pca_standardize", {"catOffsets": "[0, 3, 4]"}, "eigenvectors are damaged"),
    ("pca_standardize", {"k": "3"}, "eigenvectors are damaged"),
    ("pca_standardize", {"ncats": "-1"}, "4 features, but describes others"),
    ("cox_plain", {"coef": "[1.0]"}, "fewer features than it describes"),
    ("cox_plain", {"x_mean_cat_size2": "1"}, "x_mean_cat are damaged"),
    ("cox_plain", {"num_offsets": "[2, 2, 3, 4]"}, "other|gaps|damaged"),
    ("cox_strata", {"strata_1": "[1.0, 2.0]"}, "strata are damaged"),
    ("cox_interactions", {"interaction_targets": "[1]"}, "not those of its columns"),
    ("cox_interactions", {"interactions_1": "[3, 4]"}, "interactions are damaged"),
    ("gam_gaussian", {"bs_sorted": "[0, 2]"}, "kinds of splines are damaged"),
    ("gam_gaussian", {"num_knots_sorted": "[4, 5]"}, "'knots' has another size"),
    ("gam_gaussian", {"num_expanded_gam_columns_center": "99"}, "9 features, but describes others"),
    ("gam_gaussian", {"beta_center": "[1.0]"}, "'beta_center' has 1 numbers"),
    ("gam_gaussian", {"catNAFills": "[0]"}, "catNAFills or numsCenter are damaged"),
    ("gam_multinomial", {"n_classes": "4"}, "other coefficients than 4 times"),
    ("gam_thin_plate", {"_m": "[0]"}, "thin plates are damaged"),
    ("gam_m_spline", {"spline_orders_sorted": "[0]"}, "damaged|another size"),
    ("isotonic_clip", {"calib_min_x": "-9.0"}, "range is not that of its knots"),
    ("words", {"vec_size": "4"}, "vectors are damaged"),
    ("svm_binomial", {"weights": "[1.0, 2.0]"}, "'weights' has 2 numbers"),
    ("svm_binomial", {"n_classes": "3"}, "3 classes"),
]


@pytest.mark.parametrize(("name", "changes", "match"), DAMAGED)
def test_descriptions_that_lie_are_refused(name, changes, match, tmp_path):
    with pytest.raises(pg.ModelFileError, match=match):
        pg.to_torch(with_changes(name, tmp_path, **changes))


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("pca_standardize", "eigenvectors_raw"),
        ("cox_plain", "x_mean_num"),
        ("gam_gaussian", "zTranspose"),
        ("gam_gaussian", "_binvD"),
        ("gam_thin_plate", "polynomialBasisList"),
        ("gam_multinomial", "beta_multinomial_centering"),
        ("isotonic_clip", "calib/thresholds_y"),
        ("words", "vectors"),
        ("words", "vocabulary"),
    ],
)
@pytest.mark.parametrize("size", [0, 3, -1])
def test_files_that_are_cut_short_are_refused(name, entry, size, tmp_path):
    path = tmp_path / "short.zip"
    with zipfile.ZipFile(mojo(name)) as given, zipfile.ZipFile(path, "w") as made:
        for each in given.namelist():
            content = given.read(each)
            if each == entry:
                # The last byte of a text ends its last line.
                content = content[: size - 1 if size < 0 else size]
            made.writestr(each, content)
    if name == "words" and entry == "vocabulary" and size < 0:
        assert pg.to_torch(path)
        return
    with pytest.raises(pg.ModelFileError):
        pg.to_torch(path)


def test_strata_with_interactions_of_categories_are_refused(tmp_path):
    path = with_changes("cox_strata_interactions", tmp_path, interactions_1="[1]")
    with pytest.raises(pg.UntranslatableError, match="mixes up interactions of categories"):
        pg.to_torch(path)
