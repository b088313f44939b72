"""MOJOs of H2O: read, translated, trained, written; files that lie are refused."""

from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import pipegrad as pg
from pipegrad.sources.h2o import load
from pipegrad.sources.h2o.input_table import category_codes, numbers
from pipegrad.testing import perturb

DATA = Path(__file__).parents[2] / "data" / "h2o"
# H2O's own scorer cannot read them, or refuses every row.
REFUSED = {
    "gam_cubic_m_spline": "mixes up the matrices",
    "gam_offset": "refuses all rows",
}
NAMES = sorted(path.stem for path in DATA.glob("*.zip"))
NAMES = [name for name in NAMES if name not in REFUSED]
NOTHING_TRAINS = {"isolation_extended", "isolation_extended_axis"}
NOTHING_TRAINS |= {name for name in NAMES if name.startswith("glrm")}
ERROR = "answer:error"
# H2O reads their learned numbers in single precision.
SINGLE = ("dl", "drf", "ensemble", "gbm", "generic", "isolation", "pipeline", "uplift", "words")


def mojo(name):
    return DATA / f"{name}.zip"


def answers_of(name):
    """The columns that the model reads, and what H2O answers, for the rows that it accepts."""
    return rows_for(name, pd.read_parquet(DATA / f"{name}.parquet"))


def rows_for(name, table):
    """The columns that a model reads, and what H2O answers."""
    given, answers = split(table)
    if name == "xgb_enum_limited":  # H2O's scorer takes this column, which it asks for, as missing
        given = given.assign(**{"big.top_10_levels": None})
    return given, answers


def split(table):
    """The columns of a table and H2O's answers, for the rows that H2O accepts."""
    if ERROR in table:
        table = table[table[ERROR].isna()].drop(columns=ERROR).reset_index(drop=True)
    given = table[[column for column in table if not column.startswith("answer:")]]
    answers = table.drop(columns=given.columns)
    return given, answers.rename(columns=lambda column: column.removeprefix("answer:"))


def assert_same(found, expected, tolerance=1e-9, floor=1e-3):
    for name, values in expected.items():
        mine, real = np.asarray(found[name]), np.asarray(values)
        if real.dtype.kind not in "fiu":
            assert mine.tolist() == [None if v != v else v for v in values.tolist()], name
            continue
        size = np.abs(real[np.isfinite(real)]).max(initial=0.0) or 1.0
        np.testing.assert_allclose(
            mine, real, rtol=tolerance, atol=floor * tolerance * min(size, 1.0), err_msg=name
        )


def rounding(name):
    """How far a written model may be from its module."""
    return {"tolerance": 1e-6, "floor": 1.0} if name.startswith(SINGLE) else {}


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_those_of_h2o(name):
    net, (given, expected) = pg.to_torch(mojo(name)), answers_of(name)
    found = net.columns(given)
    assert_same(found, expected)
    assert found.keys() >= set(expected)


@pytest.mark.parametrize("name", NAMES)
def test_modules_of_all_steps_give_the_columns_of_h2o(name):
    net, (given, expected) = pg.to_torch(mojo(name), translate="all"), answers_of(name)
    assert_same(net.columns(given), expected)


@pytest.mark.parametrize("name", NAMES)
def test_untouched_model_comes_back_byte_for_byte(name, tmp_path):
    pg.from_torch(pg.to_torch(mojo(name)), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == mojo(name).read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.zip"]


@pytest.mark.parametrize("name", NAMES)
def test_changed_numbers_are_read_again(name, tmp_path):
    net, (given, _) = pg.to_torch(mojo(name)), answers_of(name)
    assert (not net.trainable_parameters()) == (name in NOTHING_TRAINS)
    perturb(net)
    after = net.columns(given)
    pg.from_torch(net, tmp_path / "tuned.zip")
    again = pg.to_torch(tmp_path / "tuned.zip").columns(given)
    assert_same(again, pd.DataFrame(plain(after)), **rounding(name))


def plain(columns):
    """The columns (n,) of those given."""
    return {name: values for name, values in columns.items() if np.ndim(values) == 1}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOTHING_TRAINS])
def test_gradients_reach_every_trainable_parameter(name):
    net, (given, _) = pg.to_torch(mojo(name)), answers_of(name)
    rows = ordinary(given)
    if name.endswith("_skip"):
        rows = rows.dropna()
    scores = net(net.encode(rows)).detach().reshape(len(rows), -1)
    # Missing numbers pass through some models, or parts of them.
    rows = rows[torch.isfinite(scores).all(1).numpy()]
    assert len(rows) > 5
    net(net.encode(rows)).square().sum().backward()
    for parameter, value in net.trainable_parameters().items():
        assert value.grad is not None, parameter
        assert torch.isfinite(value.grad).all(), parameter


def ordinary(table):
    """The rows without extreme numbers."""
    sizes = table.select_dtypes("number").abs().drop(columns="day", errors="ignore")
    return table[~(sizes > 1e6).any(axis=1)].reset_index(drop=True)


def test_what_h2o_shows_of_changed_models_keeps_settings_alone(tmp_path):
    net = pg.to_torch(mojo("glm_gaussian"))
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned.zip")
    before, after = contents_of(mojo("glm_gaussian")), contents_of(tmp_path / "tuned.zip")
    changed = {name for name in before if before[name] != after[name]}
    shown = "experimental/modelDetails.json"
    assert changed == {"model.ini", shown}
    old, new = json.loads(before[shown]), json.loads(after[shown])
    assert old.keys() - new.keys() == {"output"}
    assert new["parameters"] == old["parameters"]
    kept = [
        (a, b)
        for a, b in zip(lines_of(before), lines_of(after), strict=True)
        if not a.startswith(("beta", "num_means"))
    ]
    assert all(a == b for a, b in kept)


def contents_of(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def lines_of(files):
    return files["model.ini"].decode().splitlines()


# -- predictions -----------------------------------------------------------------------------------


def test_classifiers_predict_levels():
    net, (given, expected) = pg.to_torch(mojo("glm_multinomial")), answers_of("glm_multinomial")
    assert net.classes_.tolist() == ["low", "mid", "top"]
    assert net.predict(given).tolist() == expected["predict"].tolist()
    wanted = expected[["low", "mid", "top"]]
    np.testing.assert_allclose(net.predict_proba(given), wanted, rtol=1e-9)


def test_regressors_predict_and_have_no_probabilities():
    net, (given, expected) = pg.to_torch(mojo("glm_tweedie")), answers_of("glm_tweedie")
    np.testing.assert_allclose(net.predict(given), expected["predict"], rtol=1e-9)
    assert not hasattr(net, "predict_proba")
    assert not hasattr(net, "classes_")


SEEN = pytest.mark.filterwarnings("ignore:The validation rows:pipegrad.PipegradWarning")


@SEEN
def test_fit_finds_the_targets_that_the_model_names():
    net = pg.to_torch(mojo("glm_binomial"))
    given, _ = answers_of("glm_binomial")
    rows = pd.concat([ordinary(given)] * 8, ignore_index=True)
    rows["label"] = np.where(rows["u"].fillna(0) > 0, "yes", "no")

    def loss():
        shares = net.predict_proba(rows)[:, 1]
        return -np.log(np.where(rows["label"] == "yes", shares, 1 - shares)).mean()

    before = loss()
    net.fit(rows, epochs=20)
    assert loss() < before - 0.01
    again = pg.to_torch(mojo("glm_binomial"))
    with pytest.raises(pg.ArgumentError, match="no column 'label', which holds the targets"):
        again.fit(rows.drop(columns="label"))
    with pytest.raises(pg.ArgumentError, match="'label' must hold"):
        again.fit(rows.assign(label="maybe"))


# -- input -----------------------------------------------------------------------------------------


def test_tables_of_other_kinds(tmp_path):
    net, (given, expected) = pg.to_torch(mojo("glm_gaussian")), answers_of("glm_gaussian")
    given.to_parquet(tmp_path / "rows.parquet")
    kinds = (
        pa.Table.from_pandas(given),
        {name: given[name].to_numpy() for name in given},
        given.astype({"c": "category", "t": "string"}),
        given[given.columns[::-1]],
        tmp_path / "rows.parquet",
    )
    for rows in kinds:
        np.testing.assert_allclose(net.predict(rows), expected["predict"], rtol=1e-9)


def test_missing_columns_are_named():
    net, (given, _) = pg.to_torch(mojo("glm_gaussian")), answers_of("glm_gaussian")
    with pytest.raises(pg.ArgumentError, match="lacks columns that the model reads: 't', 'u'"):
        net.predict(given.drop(columns=["u", "t"]))
    with pytest.raises(pg.ArgumentError, match="lacks columns that the model reads: 'offset'"):
        pg.to_torch(mojo("glm_offset")).predict(answers_of("glm_offset")[0].drop(columns="offset"))


def test_levels_are_texts_of_values():
    levels = ["1", "2", "True", "x"]
    for values, expected in [
        ([1, 2, 3], [0, 1, np.nan]),
        ([1.0, np.nan, 2.5], [0, np.nan, np.nan]),
        ([True, False], [2, np.nan]),
        (np.array(["x", None, ""], dtype=object), [3, np.nan, np.nan]),
        (pd.Series([1, None], dtype="Int64"), [0, np.nan]),
        (pd.Series(["x", "2", None], dtype="category"), [3, 1, np.nan]),
    ]:
        np.testing.assert_array_equal(category_codes(pd.Series(values), levels, "c"), expected)


def test_numbers_of_columns():
    times = pd.Series(pd.to_datetime(["1970-01-02", None]))
    np.testing.assert_array_equal(numbers(times, "day"), [86_400_000.0, np.nan])
    np.testing.assert_array_equal(numbers(pd.Series([1, None], dtype="Int64"), "u"), [1, np.nan])
    np.testing.assert_array_equal(numbers(pd.Series([True, False]), "u"), [1, 0])
    with pytest.raises(pg.ArgumentError, match="'u' must hold numbers: 'one' is a text"):
        numbers(pd.Series(["one"]), "u")


def test_rows_that_h2o_refuses_are_refused():
    table = pd.read_parquet(DATA / "glm_binomial_skip.parquet")
    net = pg.to_torch(mojo("glm_binomial_skip"))
    for row in np.flatnonzero(table[ERROR].notna()):
        with pytest.raises(pg.ArgumentError, match="must hold levels that the model knows"):
            net.predict(table.iloc[[row]])


@pytest.mark.parametrize("name", ["glm_gaussian", "glm_multinomial"])
def test_no_rows_and_one_row(name):
    net, (given, expected) = pg.to_torch(mojo(name)), answers_of(name)
    assert len(net.predict(given[:0])) == 0
    assert_same(net.columns(given[2:3]), expected[2:3])


# -- files -----------------------------------------------------------------------------------------


def test_zip_files_are_told_by_content(tmp_path):
    renamed = tmp_path / "model.mojo"
    renamed.write_bytes(mojo("glm_gaussian").read_bytes())
    given, expected = answers_of("glm_gaussian")
    np.testing.assert_allclose(pg.to_torch(renamed).predict(given), expected["predict"])
    spark = tmp_path / "pipeline.zip"
    spark.write_bytes((DATA.parent / "spark" / "poisson.spark").read_bytes())
    assert {step.kind.partition(".")[0] for step in pg.to_torch(spark).graph} == {"spark"}
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("notes.txt", "nothing")
    with pytest.raises(pg.ModelFileError, match=r"not a model of ML\.NET, H2O or Spark"):
        pg.to_torch(other)


def with_changes(name, folder, **changes):
    """A file with other lines in its description."""
    files = contents_of(mojo(name))
    lines = []
    for line in lines_of(files):
        key = line.partition("=")[0].strip()
        if key in changes:
            if changes[key] is not None:
                lines.append(f"{key} = {changes[key]}")
        else:
            lines.append(line)
    files["model.ini"] = "\n".join(lines).encode()
    path = folder / "changed.zip"
    with zipfile.ZipFile(path, "w") as file:
        for entry, content in files.items():
            file.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"beta": "[1.0, 2.0]"}, "'beta' has 2 numbers"),
        ({"beta": "[1.0, x]"}, "no such beta"),
        ({"beta": "1.0, 2.0"}, "'beta' has 1 numbers|no such beta"),
        ({"beta": None}, "lacks 'beta'"),
        ({"cats": "-1"}, "cat_offsets"),
        ({"cat_offsets": "[0, 9, 3]"}, "cat_offsets are damaged"),
        ({"cat_offsets": "[0, 4, 1e300]"}, "no such cat_offsets"),
        ({"cat_modes": "[1]"}, "cat_modes are damaged"),
        ({"num_means": "[1.0]"}, "num_means"),
        ({"n_features": "99"}, "99 features"),
        ({"n_features": "two"}, "no such n_features"),
        ({"n_classes": "7"}, "7 classes"),
        ({"link": "golden"}, "'golden' is not known"),
        ({"family": "golden"}, "'golden' is not known"),
        ({"mean_imputation": "perhaps"}, "no such mean_imputation"),
        ({"default_threshold": "high"}, "no such default_threshold"),
    ],
)
def test_descriptions_that_lie_are_refused(changes, match, tmp_path):
    with pytest.raises(pg.ModelFileError, match=match):
        pg.to_torch(with_changes("glm_binomial", tmp_path, **changes))


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_h2o_cannot_score_are_refused(name):
    with pytest.raises(pg.UntranslatableError, match=REFUSED[name]):
        pg.to_torch(mojo(name))


def test_algorithms_without_translation_are_refused(tmp_path):
    with pytest.raises(pg.UntranslatableError, match="H2O golden"):
        pg.to_torch(with_changes("glm_binomial", tmp_path, algo="golden"))


def test_domains_that_lie_are_refused(tmp_path):
    files = contents_of(mojo("glm_binomial"))
    for content, match in [(b"a\nb\n", "instead of"), (b"\xff\n", "is no text")]:
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(path, "w") as file:
            for entry, before in files.items():
                file.writestr(entry, content if entry == "domains/d000.txt" else before)
        with pytest.raises(pg.ModelFileError, match=match):
            pg.to_torch(path)


def test_interactions_that_lie_are_refused(tmp_path):
    lies = {"interactions_1": "[0]", "2: 3 d002.txt": None, "n_domains": "3", "cats": "3",
            "cat_offsets": "[0, 3, 5, 7]", "num_numerical_columns": "2",
            "num_offsets": "[7, 8, 9]"}  # fmt: skip
    with pytest.raises(pg.ModelFileError, match="interaction of two categories has no levels"):
        pg.to_torch(with_changes("cox_interactions", tmp_path, **lies))


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    net = pg.to_torch(mojo("glm_gaussian"))
    with torch.no_grad():
        next(iter(net.trainable_parameters().values())).fill_(torch.inf)
    with pytest.raises(pg.WriteBackError, match="not finite"):
        pg.from_torch(net, tmp_path / "tuned.zip")
    assert not list(tmp_path.iterdir())


def test_models_are_copied_and_sent():
    net, (given, expected) = pg.to_torch(mojo("glm_gaussian")), answers_of("glm_gaussian")
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        perturb(other)
        assert not np.allclose(other.predict(given), expected["predict"])
    np.testing.assert_allclose(net.predict(given), expected["predict"], rtol=1e-9)


def test_a_saved_module_answers_the_same(tmp_path):
    pytest.importorskip("safetensors")
    net, (given, expected) = pg.to_torch(mojo("glm_binomial")), answers_of("glm_binomial")
    net.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(
        pg.load(tmp_path / "net.safetensors").predict(given), expected["predict"]
    )


def test_repr_names_algorithm_and_file():
    assert repr(load(mojo("glm_gaussian"))).startswith("<H2O glm model ")
    assert isinstance(io.BytesIO(load(mojo("glm_gaussian")).to_bytes()), io.BytesIO)
