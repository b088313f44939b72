"""Trees in MOJOs: ties, leaves, soft splits, losses, and files whose trees lie."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from test_h2o import answers_of, contents_of, mojo, ordinary, with_changes

import pipegrad as pg
from pipegrad.modules import DrawnLargest, EncodedLevels, LinearBooster, PiecewiseLinear
from pipegrad.modules._tie_breaking import draw
from pipegrad.sources.h2o import load

TREE = "trees/t00_000.bin"
BOOSTER = "boosterBytes"


def with_file(name, folder, entry, change):
    """A file of which an entry has other bytes."""
    files = contents_of(mojo(name))
    files[entry] = change(files[entry])
    path = folder / "changed.zip"
    with zipfile.ZipFile(path, "w") as file:
        for place, content in files.items():
            file.writestr(place, content)
    return path


def replaced(at, content):
    return lambda before: before[:at] + content + before[at + len(content) :]


# -- ties ------------------------------------------------------------------------------------------


def test_classes_of_the_same_probability_are_drawn_as_h2o_draws_them(tmp_path):
    """What H2O answers if all leaves of a model are zero, so that all classes tie."""
    net = pg.to_torch(mojo("gbm_multinomial"))
    with torch.no_grad():
        for value in net.trainable_parameters().values():
            value.zero_()
    given, _ = answers_of("gbm_multinomial")
    assert net.predict(given).tolist() == DRAWN
    pg.from_torch(net, tmp_path / "tied.zip")
    assert pg.to_torch(tmp_path / "tied.zip").predict(given).tolist() == DRAWN


DRAWN = [
    "low",
    "mid",
    "mid",
    "mid",
    "top",
    "mid",
    "low",
    "top",
    "low",
    "low",
    "mid",
    "mid",
    "low",
    "top",
    "top",
    "mid",
    "mid",
    "low",
    "top",
    "mid",
    "mid",
    "top",
    "top",
    "mid",
    "mid",
]


def test_only_ties_are_drawn():
    """H2O forgets a class that exceeds the first one, and draws the first one in its place."""
    priors = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    row = torch.tensor([[1.5, torch.nan, -0.0]], dtype=torch.float64)
    number = float(draw(row))
    assert number == pytest.approx(java_draw([1.5, np.nan, -0.0]), abs=0)
    choose = DrawnLargest(priors)
    for shares, expected in [
        ([0.2, 0.5, 0.3], 1),
        ([0.5, 0.2, 0.3], 0),
        ([0.1, 0.1, 0.8], 2),
        ([0.4, 0.4, 0.2], 0 if number <= 0.2 / 0.7 else 1),
        ([0.2, 0.4, 0.4], 0 if number <= 0.2 / 0.5 else 2),
    ]:
        assert int(choose(torch.tensor([shares], dtype=torch.float64), row)) == expected


def java_draw(numbers):
    """The first number that java.util.Random draws for the bits of a row."""
    seed = 0
    for number in numbers:
        (bits,) = struct.unpack(">q", struct.pack(">d", number))
        seed ^= bits >> 6
    seed = (seed ^ 0x5DEECE66D) & ((1 << 48) - 1)
    parts = []
    for bits in (26, 27):
        seed = (seed * 0x5DEECE66D + 0xB) & ((1 << 48) - 1)
        parts.append(seed >> (48 - bits))
    return ((parts[0] << 27) + parts[1]) * 2.0**-53


def test_draws_are_those_of_java():
    rows = np.random.default_rng(0).normal(size=(50, 4)) * 10.0 ** np.arange(-2, 2)
    rows[::7, 1] = np.nan
    found = draw(torch.from_numpy(rows)).tolist()
    assert found == [java_draw(row) for row in rows.tolist()]


# -- leaves ----------------------------------------------------------------------------------------


def test_forests_of_very_many_trees_have_no_columns_of_leaves(monkeypatch):
    monkeypatch.setattr("pipegrad.sources.h2o.operators.leaves._MOST_TREES", 2)
    given, _ = answers_of("gbm_gaussian")
    assert pg.to_torch(mojo("gbm_gaussian")).columns(given).keys() == {"predict"}


def test_numbers_of_nodes_that_lie_are_refused(tmp_path):
    entry = "trees/t00_000_aux.bin"
    for change, match in [
        (lambda before: before[:-4], "other nodes than the table"),
        (replaced(4, struct.pack("<i", 99)), "numbers of the nodes"),
        (replaced(40, struct.pack("<i", 99)), "numbers of the nodes"),
    ]:
        with pytest.raises(pg.ModelFileError, match=match):
            pg.to_torch(with_file("gbm_bernoulli", tmp_path, entry, change))


# -- training --------------------------------------------------------------------------------------

LOSSES = {
    "gbm_gaussian": ("squared_error", {}),
    "gbm_bernoulli": ("log_loss", {}),
    "gbm_multinomial": ("log_loss", {}),
    "gbm_poisson": ("tweedie", {"power": 1.0, "link": "log"}),
    "gbm_gamma": ("tweedie", {"power": 2.0, "link": "log"}),
    "gbm_laplace": ("absolute_error", {}),
    "gbm_huber": ("huber", {}),
    "gbm_balanced": ("negative_log_likelihood", {}),
    "drf_binomial": ("negative_log_likelihood", {}),
    "drf_multinomial": ("negative_log_likelihood", {}),
    "drf_regression": ("squared_error", {}),
    "xgb_binomial": ("log_loss", {}),
    "xgb_linear_multinomial": ("log_loss", {}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_the_distribution(name):
    loss, options = LOSSES[name]
    objective = pg.to_torch(mojo(name)).objective
    assert (objective.name, dict(objective.options)) == (loss, options)


def test_numbers_of_losses_are_settings_of_the_model(tmp_path):
    """H2O shows settings beside a model; minimal files lack them."""
    details = "experimental/modelDetails.json"
    for name, setting, values in [
        ("gbm_quantile", "quantile_alpha", {"0.3": ("pinball", {"quantile": 0.3}), "7": None}),
        ("gbm_tweedie", "tweedie_power", {"1.6": 1.6, "null": 1.5, "9": 1.5}),
    ]:
        for value, expected in values.items():
            files = contents_of(mojo(name))
            shown = f'{{"parameters": [{{"name": "{setting}", "actual_value": {value}}}]}}'
            files[details] = shown.encode()
            path = tmp_path / "shown.zip"
            with zipfile.ZipFile(path, "w") as file:
                for entry, content in files.items():
                    file.writestr(entry, content)
            objective = pg.to_torch(path).objective
            if name == "gbm_tweedie":
                assert objective.options["power"] == expected
            elif expected is None:
                assert objective is None
            else:
                assert (objective.name, dict(objective.options)) == expected


SEEN = pytest.mark.filterwarnings("ignore:The validation rows:pipegrad.PipegradWarning")


@SEEN
@pytest.mark.parametrize("name", ["gbm_bernoulli", "drf_binomial", "drf_double_trees", "xgb_dart"])
def test_fit_lowers_the_loss(name, tmp_path):
    net, (given, _) = pg.to_torch(mojo(name)), answers_of(name)
    rows = pd.concat([ordinary(given)] * 6, ignore_index=True)
    labels = np.where(rows["u"].fillna(0) > 0, "yes", "no")

    def loss():
        share = net.predict_proba(rows)[:, 1]
        return -np.log(np.clip(np.where(labels == "yes", share, 1 - share), 1e-6, 1)).mean()

    before = loss()
    net.fit(rows, labels, epochs=15)
    assert loss() < before - 0.01
    shares = net.predict_proba(rows)
    assert ((shares >= 0) & (shares <= 1)).all()
    pg.from_torch(net, tmp_path / "tuned.zip")
    again = pg.to_torch(tmp_path / "tuned.zip").predict_proba(rows)
    np.testing.assert_allclose(again, shares, atol=1e-6)


@SEEN
@pytest.mark.parametrize("name", ["gbm_gaussian", "xgb_gaussian"])
def test_thresholds_move_and_are_written(name, tmp_path):
    net, (given, _) = pg.to_torch(mojo(name), trees="soft"), answers_of(name)
    rows = pd.concat([ordinary(given)] * 6, ignore_index=True)
    net.fit(rows, rows["u"].fillna(0).to_numpy() * 3, epochs=10)
    pg.from_torch(net, tmp_path / "tuned.zip")
    moved = [
        (a.values != b.values).mean()
        for a, b in zip(
            thresholds_of(load(tmp_path / "tuned.zip")),
            thresholds_of(load(mojo(name))),
            strict=True,
        )
    ]
    assert max(moved) > 0
    again = pg.to_torch(tmp_path / "tuned.zip").predict(rows)
    np.testing.assert_allclose(again, net.predict(rows), rtol=1e-5, atol=1e-5)


def thresholds_of(model):
    for step in model.plan.steps.values():
        found = getattr(step.operator, "thresholds", None)
        if isinstance(found, list):
            yield from found
        elif hasattr(found, "changed"):
            yield found


def test_calibration_stays_and_follows_the_score(tmp_path):
    """Its columns are those of H2O after training as well, as `make test-h2o` checks."""
    net, (given, _) = pg.to_torch(mojo("gbm_platt")), answers_of("gbm_platt")
    assert not [name for name in net.trainable_parameters() if "calibrated" in name]
    before = net.columns(given)["cal_yes"]
    with torch.no_grad():
        next(iter(net.trainable_parameters().values())).add_(0.5)
    assert not np.allclose(net.columns(given)["cal_yes"], before)


# -- modules ---------------------------------------------------------------------------------------


def test_interpolation_jumps_where_knots_coincide():
    knots = torch.tensor([0.0, 1.0, 1.0, 2.0], dtype=torch.float64)
    values = torch.tensor([0.0, 1.0, 3.0, 3.0], dtype=torch.float64)
    at = torch.tensor([0.0, 3.0, 3.0, 3.0], dtype=torch.float64)
    x = torch.tensor([-1.0, 0.5, 1 - 1e-15, 1.0, 1 + 1e-15, 1.5, 9.0], dtype=torch.float64)
    found = PiecewiseLinear(knots, values, (-np.inf, np.inf), at)(x)
    assert found.tolist() == [0.0, 0.5, 3.0, 3.0, 3.0, 3.0, 3.0]


def test_levels_become_indicators_or_rows_of_tables():
    x = torch.tensor([[1.0, 7.0], [torch.nan, 8.0]], dtype=torch.float64)
    expected = [[7.0, 0.0, 1.0], [8.0, np.nan, np.nan]]
    np.testing.assert_array_equal(EncodedLevels([1, 0], [0, 2])(x), expected)
    table = torch.tensor([[5.0], [6.0]], dtype=torch.float64)
    np.testing.assert_array_equal(
        EncodedLevels([0, 1], [2, 0], [table])(x), [[6.0, 7.0], [np.nan, 8.0]]
    )


def test_linear_boosters_of_old_versions_add_the_base_score_last():
    weight, bias = torch.ones(3, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    x = torch.tensor([[1.0, torch.nan], [-1.0, 2.0]], dtype=torch.float64)
    for last in (False, True):
        module = LinearBooster(weight, bias, [2], 0.5, last, squeeze=True)
        assert module(x).tolist() == [1.5, 2.5]
        assert module(x, torch.ones(2)).tolist() == [2.0, 3.0]


# -- trees that lie --------------------------------------------------------------------------------


def leaf(value=1.0):
    return struct.pack("<f", value)


def node(kind=0xF0, column=0, missing=4, test=None, rest=b""):
    return struct.pack("<BHB", kind, column, missing) + (test or leaf(0.5)) + rest


BAD_TREES = {
    "empty": (b"", "ends within a node"),
    "half a node": (b"\x00\x01", "ends within a node"),
    "half a leaf": (struct.pack("<BH", 0, 0xFFFF) + b"\x00", "too short|does not end"),
    "bytes after the last leaf": (node(rest=leaf() + leaf()) + b"\x00", "does not end with"),
    "a leaf less": (node(rest=leaf()), "does not end with|too short"),
    "no such column": (node(column=900, rest=leaf() + leaf()), "tests column 900"),
    "no such test": (node(kind=0xF4, rest=leaf() + leaf()), "test of a node is not known"),
    "levels of numbers": (node(kind=0xF8, test=bytes(4), rest=leaf() + leaf()), "which has none"),
    "sets and missing values": (
        node(kind=0xF8, column=4, missing=1, rest=leaf() + leaf()),
        "at once",
    ),
    "a set beyond the file": (
        node(kind=0xFC, column=4, test=struct.pack("<Hi", 0, 1 << 30), rest=leaf() + leaf()),
        "longer than the file",
    ),
    "a set of negative size": (
        node(kind=0xFC, column=4, test=struct.pack("<Hi", 0, -8), rest=leaf() + leaf()),
        "longer than the file",
    ),
    "a left side beyond the file": (
        node(kind=0xC3, rest=struct.pack("<I", 1 << 31) + node(rest=leaf() * 2) + leaf()),
        "ends within a node|do not follow",
    ),
    "a left side that is too long": (
        node(kind=0xC0, rest=bytes([99]) + node(rest=leaf() + leaf()) + leaf()),
        "do not follow each other",
    ),
    "a left side of no kind": (node(kind=0xE0, rest=leaf() + leaf()), "size of a subtree"),
    "a threshold that is no number": (node(test=leaf(np.nan), rest=leaf() + leaf()), "no number"),
    "a very deep tree": (node(kind=0x30, rest=leaf()) * 5000 + node(rest=leaf() * 2), "4096"),
}


@pytest.mark.parametrize("what", BAD_TREES)
def test_trees_that_lie_are_refused(what, tmp_path):
    content, match = BAD_TREES[what]
    with pytest.raises(pg.ModelFileError, match=match):
        pg.to_torch(with_file("gbm_bernoulli", tmp_path, TREE, lambda _: content))


def test_sizes_of_left_sides_have_one_to_four_bytes(tmp_path):
    given, _ = answers_of("isolation_flag")
    inner = node(test=leaf(-1.0), rest=leaf(3) + leaf(4))
    for width in (1, 2, 3, 4):
        size = len(inner).to_bytes(width, "little")
        content = node(kind=0xC0 | (width - 1), test=leaf(0.0), rest=size + inner + leaf(5))
        table = struct.pack("<ii6fii", 0, 1, *[0.0] * 6, 1, 2)
        table += struct.pack("<ii6fii", 1, 0, *[0.0] * 6, 3, 4)
        files = contents_of(mojo("isolation_flag"))
        files |= {TREE: content, TREE.replace(".bin", "_aux.bin"): table}
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(path, "w") as file:
            for entry, other in files.items():
                file.writestr(entry, other)
        found = pg.to_torch(path).columns(given)
        u = given["u"].to_numpy()
        expected = np.where(u >= 0, "R", np.where(u >= -1, "LR", "LL"))
        # A missing number goes left.
        expected = np.where(np.isnan(u), "LL", expected)
        assert found["path:T1.C1"].tolist() == expected.tolist()


@pytest.mark.parametrize(("missing", "side"), [(4, "L"), (5, "R")])
def test_sets_without_categories_send_all_rows_to_one_side(missing, side, tmp_path):
    given, _ = answers_of("isolation_forest")
    empty = struct.pack("<Hi", 0, 0)
    files = contents_of(mojo("isolation_forest"))
    files |= {
        TREE: node(kind=0xFC, column=2, missing=missing, test=empty, rest=leaf(3) + leaf(4)),
        TREE.replace(".bin", "_aux.bin"): struct.pack("<ii6fii", 0, 0, *[0.0] * 6, 1, 2),
    }
    path = tmp_path / "changed.zip"
    with zipfile.ZipFile(path, "w") as file:
        for entry, other in files.items():
            file.writestr(entry, other)
    found = pg.to_torch(path).columns(given)["path:T1.C1"].tolist()
    assert found == [side] * len(given)


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("gbm_bernoulli", {"n_trees": "0"}, "0 rounds"),
        ("gbm_bernoulli", {"n_trees": "4"}, "lacks trees"),
        ("gbm_bernoulli", {"n_trees": "999999999"}, "999999999 rounds"),
        ("gbm_bernoulli", {"n_trees_per_class": "2"}, "2 trees in each round instead of 1"),
        ("gbm_multinomial", {"n_trees_per_class": "999999"}, "rounds of 999999 trees"),
        ("gbm_bernoulli", {"link_function": "golden"}, "'golden' is not known"),
        ("gbm_bernoulli", {"n_classes": "1"}, "1 classes, and distribution"),
        ("gbm_gaussian", {"distribution": "bernoulli"}, "1 classes, and distribution"),
        ("gbm_balanced", {"prior_class_distrib": "[1.0]"}, "distributions of classes"),
        ("gbm_balanced", {"model_class_distrib": "[NaN, 1.0]"}, "distributions of classes"),
        ("gbm_multinomial", {"prior_class_distrib": "[1.0]"}, "shares of classes"),
        ("gbm_platt", {"calib_glm_beta": "[1.0]"}, "'calib_glm_beta' has 1 numbers"),
        ("gbm_platt", {"calib_method": "golden"}, "'golden' is not known"),
        ("gbm_isotonic", {"calib_max_x": "0.5"}, "not that of its knots"),
        ("gbm_one_hot", {"_genmodel_encoding": "Golden"}, "'Golden' is not known"),
        ("gbm_one_hot", {"_n_orig_names": "3"}, "original columns|lines instead of"),
        ("gbm_one_hot", {"_m_orig_domain_values_2": "2"}, "lines instead of 2"),
        ("gbm_eigen", {"_orig_projection_array": "[1.0]"}, "projection of categories"),
        ("drf_double_trees", {"binomial_double_trees": "false"}, "instead of 1"),
        ("isolation_extended", {"sample_size": "1"}, "samples of 1 rows"),
        ("isolation_extended", {"ntrees": "5"}, "missing"),
        ("xgb_binomial", {"n_classes": "1"}, "1 outputs for 1 classes"),
        ("xgb_binomial", {"cat_offsets": "[0, 99, 100, 101, 102]"}, "cat_offsets are damaged"),
        ("xgb_binomial", {"nums": "7"}, "describes others"),
    ],
)
def test_descriptions_of_trees_that_lie_are_refused(name, changes, match, tmp_path):
    with pytest.raises(pg.ModelFileError, match=match):
        pg.to_torch(with_changes(name, tmp_path, **changes))


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("gbm_bernoulli", {"mojo_version": "1.1"}, "only those from 1.2 on"),
        ("gbm_gaussian", {"distribution": "custom"}, "'custom' is not supported"),
        ("xgb_binomial", {"mojo_version": "1.0"}, "older than version 1.1"),
        ("gbm_one_hot", {"_genmodel_encoding": "Binary"}, "takes other columns"),
    ],
)
def test_what_is_not_served_is_named(name, changes, match, tmp_path):
    with pytest.raises(pg.UntranslatableError, match=match):
        pg.to_torch(with_changes(name, tmp_path, **changes))


def test_leaves_without_probabilities_are_refused(tmp_path):
    content = contents_of(mojo("drf_binomial"))[TREE]
    path = with_file("drf_binomial", tmp_path, TREE, replaced(len(content) - 4, leaf(1.5)))
    with pytest.raises(pg.ModelFileError, match="a leaf of its trees has no probability"):
        pg.to_torch(path)


def test_calibrations_that_lie_are_refused(tmp_path):
    for entry, change, match in [
        ("calib/thresholds_x", replaced(4, struct.pack(">d", 9.0)), "do not increase"),
        ("calib/thresholds_x", replaced(0, struct.pack(">i", -1)), "states -1 numbers"),
        ("calib/thresholds_y", replaced(0, struct.pack(">i", 1 << 30)), "numbers"),
        ("calib/thresholds_y", replaced(4, struct.pack(">d", np.nan)), "calibration is damaged"),
        ("calib/thresholds_y", lambda _: b"", "too short"),
    ]:
        with pytest.raises(pg.ModelFileError, match=match):
            pg.to_torch(with_file("gbm_isotonic", tmp_path, entry, change))


# -- hyperplanes and boosters that lie -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda before: before[:30], "ends within a node"),
        (lambda before: b"", "ends within a node"),
        (replaced(0, struct.pack("<i", 4)), "splits 4 features"),
        (replaced(0, struct.pack("<i", -1)), "splits -1 features"),
        (replaced(4, struct.pack("<i", 5)), "no such node: 5"),
        (replaced(8, b"X"), "no such node: 0"),
    ],
)
def test_hyperplanes_that_lie_are_refused(change, match, tmp_path):
    path = with_file("isolation_extended", tmp_path, "trees/t00.bin", change)
    with pytest.raises(pg.ModelFileError, match=match):
        pg.to_torch(path)


# Where parts of a booster begin: after its header, the names of loss and booster, and its head.
_NAMES = 4 + 136
_HEAD = _NAMES + 8 + len("binary:logistic") + 8 + len("gbtree")
_TREES = _HEAD + 160


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda before: before[:100], "ends too soon"),
        (lambda before: before[: _TREES + 300], "ends too soon"),
        (replaced(4, leaf(np.nan)), "header of its booster"),
        (replaced(4, leaf(2.0)), "base score"),
        (replaced(12, struct.pack("<i", -3)), "header of its booster"),
        (replaced(12, struct.pack("<i", 7)), "7 outputs for 2 classes"),
        (replaced(_NAMES, struct.pack("<q", 1 << 40)), "ends too soon"),
        (replaced(_HEAD - 6, b"gblean"), "booster 'gblean' is not known"),
        (replaced(_HEAD, struct.pack("<i", 1 << 30)), "ends too soon"),
        (replaced(_HEAD, struct.pack("<i", 0)), "no trees"),
        (replaced(_HEAD + 16, struct.pack("<q", 5)), "version that is not supported"),
        (replaced(_TREES + 4, struct.pack("<i", 1 << 30)), "ends too soon"),
        (replaced(_TREES + 4, struct.pack("<i", 0)), "has no nodes"),
        # The children and the test of the first node.
        (replaced(_TREES + 152, struct.pack("<i", 0)), "are no trees"),
        (replaced(_TREES + 152, struct.pack("<i", 99)), "are no trees"),
        (replaced(_TREES + 152, struct.pack("<i", 2)), "are no trees"),
        (replaced(_TREES + 160, struct.pack("<I", 63)), "tests input 63 of 63"),
    ],
)
def test_boosters_that_lie_are_refused(change, match, tmp_path):
    with pytest.raises(pg.ModelFileError, match=match):
        pg.to_torch(with_file("xgb_binomial", tmp_path, BOOSTER, change))


def test_objectives_that_are_not_served_are_named(tmp_path):
    change = replaced(_NAMES + 8, b"binary:logitraw")
    with pytest.raises(pg.UntranslatableError, match="'binary:logitraw' is not supported"):
        pg.to_torch(with_file("xgb_binomial", tmp_path, BOOSTER, change))


def test_linear_boosters_that_lie_are_refused(tmp_path):
    size = len(contents_of(mojo("xgb_linear"))[BOOSTER])
    start = _NAMES + 8 + len("reg:squarederror") + 8 + len("gblinear") + 136
    for change, match in [
        (replaced(start, struct.pack("<q", 3)), "lacks coefficients"),
        (replaced(start, struct.pack("<q", size)), "ends too soon"),
        (replaced(start, struct.pack("<q", 0)), "no coefficients"),
        (replaced(8, struct.pack("<I", 5)), "5 inputs instead of 11"),
    ]:
        with pytest.raises(pg.ModelFileError, match=match):
            pg.to_torch(with_file("xgb_linear", tmp_path, BOOSTER, change))


def test_boosters_without_signature_are_read(tmp_path):
    path = with_file("xgb_binomial", tmp_path, BOOSTER, lambda before: before[4:])
    given, expected = answers_of("xgb_binomial")
    np.testing.assert_array_equal(pg.to_torch(path).predict(given), expected["predict"])


def test_missing_columns_of_encodings_are_named():
    table, _ = answers_of("xgb_enum_limited")
    with pytest.raises(pg.ArgumentError, match=r"lacks columns.*'big.top_10_levels'"):
        pg.to_torch(mojo("xgb_enum_limited")).predict(table.drop(columns="big.top_10_levels"))
