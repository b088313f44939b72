"""Models of H2O inside of others, encodings, rules: trained together, refused if they lie."""

from __future__ import annotations

import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from test_h2o import ERROR, SEEN, answers_of, assert_same, contents_of, mojo, ordinary

import pipegrad as pg
from pipegrad.testing import perturb


def rewritten(name, folder, edit):
    """A file whose entries another function has changed."""
    files = contents_of(mojo(name))
    edit(files)
    path = folder / "changed.zip"
    with zipfile.ZipFile(path, "w") as file:
        for entry, content in files.items():
            file.writestr(entry, content)
    return path


def replaced(name, folder, entry, old, new):
    """A file in which the lines of an entry that match a pattern are others."""

    def edit(files):
        (found,) = [each for each in files if re.fullmatch(entry, each)]
        text = re.sub(rf"(?m)^{old}$", new, files[found].decode())
        assert text != files[found].decode()
        files[found] = text.encode()

    return rewritten(name, folder, edit)


# -- training ------------------------------------------------------------------------------------


@SEEN
@pytest.mark.parametrize("name", ["ensemble_linear", "ensemble_linear_logit", "pipeline_encoder"])
def test_models_train_with_those_inside_of_them(name, tmp_path):
    net = pg.to_torch(mojo(name))
    given, _ = answers_of(name)
    rows = pd.concat([ordinary(given)] * 8, ignore_index=True)
    classes = net.classes_
    target = np.where(rows["u"].fillna(0) > 0, classes[0], classes[-1])

    def loss():
        shares = net.predict_proba(rows)
        return -np.log(np.where(target == classes[0], shares[:, 0], shares[:, -1])).mean()

    before, start = loss(), {k: v.detach().clone() for k, v in net.trainable_parameters().items()}
    net.fit(rows, target, epochs=20)
    assert loss() < before - 0.01
    moved = [k for k, v in net.trainable_parameters().items() if (v != start[k]).any()]
    # Means that stand for missing answers of base models, which there are none of.
    assert set(start) - set(moved) <= {k for k in start if "metalearner" in k and "means" in k}
    pg.from_torch(net, tmp_path / "tuned.zip")
    again = pg.to_torch(tmp_path / "tuned.zip")
    np.testing.assert_allclose(again.predict_proba(given), net.predict_proba(given), rtol=1e-9)


def test_written_models_keep_all_entries_without_changed_numbers(tmp_path):
    net = pg.to_torch(mojo("ensemble_linear"))
    metalearner = next(step.name for step in net.graph if "/metalearner" in step.name)
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned.zip")
    before, after = contents_of(mojo("ensemble_linear")), contents_of(tmp_path / "tuned.zip")
    changed = {entry for entry in before if before[entry] != after[entry]}
    assert len(changed) == 3
    assert all(re.fullmatch(r"models/GLM/[^/]+/model\.ini", entry) for entry in changed)
    assert any(metalearner.split("/")[1] in entry for entry in changed)


def test_an_encoder_writes_sums_and_keeps_the_rest(tmp_path):
    net = pg.to_torch(mojo("encoder_regression"))
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned.zip")
    before, after = contents_of(mojo("encoder_regression")), contents_of(tmp_path / "tuned.zip")
    (entry,) = [entry for entry in before if before[entry] != after[entry]]
    assert entry.endswith("encoding_map.ini")
    for old, new in zip(before[entry].split(b"\n"), after[entry].split(b"\n"), strict=True):
        assert old.split(b" ")[:2] == new.split(b" ")[:2]
        assert old.split(b" ")[3:] == new.split(b" ")[3:]


def test_rows_that_a_base_model_refuses_are_refused():
    table = pd.read_parquet(mojo("ensemble_skip").with_suffix(".parquet"))
    net = pg.to_torch(mojo("ensemble_skip"))
    refused = np.flatnonzero(table[ERROR].notna())
    assert len(refused)
    for row in refused:
        with pytest.raises(pg.ArgumentError, match="must hold levels that the model knows"):
            net.predict(table.iloc[[row]])


def test_rows_that_a_metalearner_completes_leave_gradients_finite():
    """A base model without means answers NaN, which the mean of the metalearner replaces."""
    net = pg.to_torch(mojo("ensemble_skip"))
    table = pd.read_parquet(mojo("ensemble_skip").with_suffix(".parquet"))
    given = table[table[ERROR].isna()][["u", "v", "c", "t", "w"]]
    assert given.isna().any(axis=None)
    net(net.encode(given)).sum().backward()
    for name, values in net.named_parameters():
        assert values.grad is not None, name
        assert values.grad.isfinite().all(), name


@pytest.mark.parametrize("name", ["cox_plain", "pca_standardize", "svm_high_threshold"])
def test_answers_that_are_missing_give_no_gradients(name):
    """As behind a step that replaces them."""
    net, (given, _) = pg.to_torch(mojo(name)), answers_of(name)
    found = net(net.encode(given))
    assert found.isnan().any()
    found.nan_to_num().sum().backward()
    gradients = [values.grad for values in net.parameters() if values.grad is not None]
    assert gradients
    assert all(values.isfinite().all() for values in gradients)


# -- encoders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["encoder_binomial", "encoder_regression"])
def test_files_of_older_versions_do_not_name_the_columns(name, tmp_path):
    def edit(files):
        for entry in [entry for entry in files if entry.endswith("columns_map.ini")]:
            del files[entry]

    net, (given, expected) = pg.to_torch(rewritten(name, tmp_path, edit)), answers_of(name)
    assert_same(net.columns(given), expected)


def test_levels_without_an_encoding(tmp_path):
    """H2O's scorer fails for them."""

    def edit(files):
        (entry,) = [entry for entry in files if entry.endswith("encoding_map.ini")]
        files[entry] = re.sub(rb"(?m)^1 = .*\n", b"", files[entry])

    net = pg.to_torch(rewritten("encoder_kept", tmp_path, edit))
    given, _ = answers_of("encoder_kept")
    found = net.columns(given)["c_te"]
    assert np.isnan(found[given["c"] == "b"]).all()
    assert np.isfinite(found[given["c"] == "a"]).all()
    with pytest.raises(pg.ModelFileError, match="levels without an encoding"):
        pg.to_torch(rewritten("pipeline_encoder", tmp_path, edit))


# -- files that lie ------------------------------------------------------------------------------

FIRST = r"models/GLM/GLM_.*[13579]/model\.ini"
ENCODINGS, SOURCES = ".*encoding_map.ini", ".*input_encoding_columns_map.ini"


@pytest.mark.parametrize(
    ("name", "entry", "old", "new", "match"),
    [
        ("ensemble_linear", "model.ini", "base_model1 = .*", "base_model1 = x", "no model 'x'"),
        ("ensemble_linear", "model.ini", "metalearner = .*", "metalearner = x", "no model 'x'"),
        ("ensemble_linear", "model.ini", "metalearner = .*", "", "lacks 'metalearner'"),
        ("ensemble_linear", "model.ini", "submodel_dir_1 = .*", "submodel_dir_1 = m/", "m/model"),
        ("ensemble_linear", "model.ini", "submodel_dir_1 = .*", "submodel_dir_1 = /", "inside"),
        ("ensemble_linear", "model.ini", "submodel_dir_1 = .*", "submodel_dir_1 = ", "inside"),
        ("ensemble_linear", "model.ini", "submodel_key_1 = .*", "submodel_key_1 = x", "no model"),
        ("ensemble_linear", "model.ini", "submodel_count = .*", "submodel_count = 999999", "lacks"),
        ("ensemble_linear", "model.ini", "submodel_count = .*", "submodel_count = 1", "no model"),
        ("ensemble_linear", "model.ini", "base_models_num = .*", "base_models_num = 0", "0 base"),
        ("ensemble_linear", "model.ini", "base_models_num = .*", "base_models_num = 99999", "base"),
        ("ensemble_linear", "model.ini", "base_model. = .*", "", "no base models"),
        ("ensemble_linear", "model.ini", "n_classes = 2", "n_classes = 3", "other classes"),
        ("ensemble_linear", "model.ini", "n_classes = 2", "n_classes = 99999999999", "base models"),
        ("ensemble_linear", "model.ini", "metalearner_transform = NONE",
         "metalearner_transform = Golden", "'Golden' is not known"),
        ("ensemble_linear", "model.ini", "u", "other", "reads the column 'u'"),
        ("ensemble_linear", "domains/d000.txt", "a", "other", "other levels of the column 'c'"),
        ("ensemble_linear", "domains/d002.txt", "no", "other", "other classes"),
        ("pipeline", "model.ini", "main_model = main", "main_model = other", "no model 'other'"),
        ("pipeline", "model.ini", "generated_column_index_0 = 0", "generated_column_index_0 = 9",
         "no answer number 9"),
        ("pipeline", "model.ini", "generated_column_name_0 = .*", "generated_column_name_0 = u",
         "columns that it lacks"),
        ("pipeline", "model.ini", "generated_column_model_0 = .*",
         "generated_column_model_0 = main",
         "does not read"),
        ("pipeline", "model.ini", "generated_column_count = 1", "generated_column_count = 0",
         "columns that it lacks"),
        ("encoder_multinomial", ENCODINGS, "0 = (.*) 1", r"0 = \1 0", "lacks classes"),
        ("encoder_multinomial", ENCODINGS, "0 = .* 1", "", "an empty line"),
        ("encoder_multinomial", ENCODINGS, "1 = .* 1", "1 = 2.0 7.0 2", "encoded twice"),
        ("encoder_binomial", ENCODINGS, "0 = .*", "0 = x 2.0", "no such"),
        ("encoder_binomial", ENCODINGS, "0 = .*", "0 = NaN 2.0", "numbers of its encodings"),
        ("encoder_binomial", ENCODINGS, "0 = .*", "0 = 1.0 0.0", "numbers of its encodings"),
        ("encoder_binomial", ENCODINGS, "0 = .*", "0 = 1.0", "is described by"),
        ("encoder_binomial", ENCODINGS, r"\[c\]", "[other]", "not described"),
        ("encoder_binomial", ".*presence.ini", "c = .", "c = yes", "missing values"),
        ("encoder_binomial", ".*presence.ini", "c = .", "d = 0", "not described"),
        ("encoder_interactions", SOURCES, "1", "9", "not in order"),
        ("encoder_interactions", SOURCES, "1", "x", "damaged"),
        ("encoder_interactions", SOURCES, r"\[to_domain\]", "[from]", "damaged"),
        ("encoder_interactions", SOURCES, "t", "other", "no levels"),
        ("rules_both", "model.ini", "depth = .*", "depth = 999999999", "lacks 'num_rules"),
        ("rules_both", "model.ini", "ntrees = .*", "ntrees = 0", "no rules"),
        ("rules_both", "model.ini", "num_rules_M0T0 = .*", "num_rules_M0T0 = 99", "'var_name"),
        ("rules_both", "model.ini", "feature_index_0_0_0_0 = .*", "feature_index_0_0_0_0 = 9",
         "column 9 of 5"),
        ("rules_both", "model.ini", "type_0_0_0_0 = .*", "type_0_0_0_0 = 0", "compares levels"),
        ("rules_both", "model.ini", "var_name_rule_id_0_0_0 = .*", "var_name_rule_id_0_0_0 = X",
         "no column for the rule"),
        ("rules_both", "model.ini", "linear_names_0 = .*", "linear_names_0 = X", "the column"),
        ("rules_both", "model.ini", "linear_model = .*", "linear_model = X", "no model 'X'"),
        ("rules_multinomial", "model.ini", "var_name_rule_id_0_0_(.) = (.*)_low",
         r"var_name_rule_id_0_0_\1 = \2_mid", "no rules for 'low'"),
    ],
)  # fmt: skip
def test_files_that_lie_are_refused(name, entry, old, new, match, tmp_path):
    with pytest.raises(pg.ModelFileError, match=match):
        pg.to_torch(replaced(name, tmp_path, entry, old, new))


def test_base_models_of_other_kinds_are_refused(tmp_path):
    def edit(files):
        for entry in files:
            if re.fullmatch(r"models/GLM/GLM_.*/model\.ini", entry):
                files[entry] = files[entry].replace(b"algo = glm", b"algo = golden")

    with pytest.raises(pg.UntranslatableError, match="H2O golden"):
        pg.to_torch(rewritten("ensemble_linear", tmp_path, edit))


@pytest.mark.parametrize("name", ["ensemble_linear", "pipeline", "rules_both"])
def test_composites_with_offsets_are_refused(name, tmp_path):
    changed = replaced(name, tmp_path, "model.ini", "supervised = true",
                       "supervised = true\noffset_column = offset")  # fmt: skip
    with pytest.raises(pg.UntranslatableError, match="it has offsets"):
        pg.to_torch(changed)


INNER = """[info]
algo = stackedensemble
supervised = true
n_features = 3
n_classes = 1
base_models_num = 3
metalearner = m0
submodel_count = {count}
{inside}
[columns]
u
v
w
y
[domains]
"""


def nested(path, depth, reach):
    """Ensembles in ensembles, each of which names those of several levels below."""
    with zipfile.ZipFile(path, "w") as file:
        leaf = contents_of(mojo("glm_numbers"))["model.ini"]
        file.writestr("m/" * (depth - 1) + "model.ini", leaf)
        for level in range(depth - 1):
            lines = []
            for number in range(min(reach, depth - level - 1)):
                lines.append(f"submodel_key_{number} = m{number}")
                lines.append(f"submodel_dir_{number} = {'m/' * (number + 1)}")
            lines += [f"base_model{number} = m0" for number in range(3)]
            text = INNER.format(count=(len(lines) - 3) // 2, inside="\n".join(lines))
            file.writestr("m/" * level + "model.ini", text)
    return path


@pytest.mark.parametrize(
    ("depth", "reach", "match"),
    [(200, 1, "nested too deeply"), (24, 1, "part of two models"), (24, 24, "part of two models")],
)
def test_ensembles_that_unfold_without_end_are_refused(depth, reach, match, tmp_path):
    with pytest.raises(pg.ModelFileError, match=match):
        pg.to_torch(nested(tmp_path / "bomb.zip", depth, reach))
