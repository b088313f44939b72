"""Models of Spark MLlib: read, translated, trained, written; folders that lie are refused."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import math
import pickle
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import pipegrad as pg
from pipegrad.modules import FactorProducts, MinHashes, SparseRows, TopicShares
from pipegrad.named import read_table
from pipegrad.sources.named.cells import doubles_of, is_null
from pipegrad.sources.named.translations import row_of
from pipegrad.sources.spark import load
from pipegrad.sources.spark.input_table import as_texts, raw_column
from pipegrad.sources.spark.java_patterns import JavaPattern
from pipegrad.sources.spark.operators.categories import Buckets
from pipegrad.sources.spark.operators.texts import murmur3
from pipegrad.testing import perturb

DATA = Path(__file__).parents[2] / "data" / "spark"
NAMES = sorted(path.stem for path in DATA.glob("*.spark"))
# Nothing that the output depends on can train.
NOTHING_TRAINS = {"categories", "functions"}
# Spark rounds the numbers that train to the type of a column.
ROUNDED = {"whole_imputers"}
# Columns that have the type of another column in Spark, and are doubles here.
DOUBLES = {"ni", "di", "bi", "n8", "positive"}
# Models that join tables, and columns that tell the rows apart.
JOINED = {"als": ["who", "what", "stars"]}
# What Spark alone computes.
GIVEN = {"without_translation": ["total"]}


def unpacked(name, folder):
    with zipfile.ZipFile(DATA / f"{name}.spark") as file:
        file.extractall(folder / name)
    return folder / name


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    return {name: unpacked(name, folder) for name in NAMES}


def expected_of(name):
    return read_table(DATA / f"{name}.parquet")


def table_of(name, net):
    """The rows without the columns that the model computes, unless it needs them."""
    table = expected_of(name)
    return table.drop(columns=[c for c in net.graph.columns if c in table.columns])


def in_order(table, name):
    """The rows sorted, for models that join tables: Spark returns their rows in any order."""
    keys = JOINED.get(name)
    return table.sort_values(keys, ignore_index=True) if keys else table


def dense(values):
    return values.toarray() if hasattr(values, "toarray") else np.asarray(values)


def assert_same_columns(found, table, names, tolerance=1e-9):
    for name in names:
        mine, real = dense(found[name]), dense(raw_column(table, name))
        assert mine.shape == real.shape, name
        if real.dtype == object and doubles_of(real) is not None:
            if mine.dtype == object:
                np.testing.assert_array_equal(is_null(mine), is_null(real), err_msg=name)
                mine = doubles_of(mine)
            real = doubles_of(real)  # A null is NaN where a module computes.
        if real.dtype == object:
            assert mine.tolist() == real.tolist(), name
            continue
        assert mine.dtype == real.dtype or name in DOUBLES, name
        size = np.abs(real[np.isfinite(real)]).max(initial=0.0) or 1.0
        np.testing.assert_allclose(
            mine, real, rtol=tolerance, atol=1e-3 * tolerance * min(size, 1.0), err_msg=name
        )


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_those_of_spark(models, name):
    net, table = pg.to_torch(models[name]), expected_of(name)
    found = net.columns(table_of(name, net))
    assert set(found) == set(net.graph.columns)
    assert_same_columns(found, table, found)


@pytest.mark.parametrize("name", NAMES)
def test_modules_of_all_steps_give_the_columns_of_spark(models, name):
    net, table = pg.to_torch(models[name], translate="all"), expected_of(name)
    found = net.columns(table_of(name, net))
    assert_same_columns(found, table, found)


@pytest.mark.parametrize("name", NAMES)
def test_untouched_model_comes_back_byte_for_byte(models, name, tmp_path):
    pg.from_torch(pg.to_torch(models[name]), tmp_path / "again")
    assert contents_of(tmp_path / "again") == contents_of(models[name])
    assert [p.name for p in tmp_path.iterdir()] == ["again"]


def files_of(folder):
    return [p for p in folder.rglob("*") if p.is_file()]


def contents_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in files_of(folder)}


def moves(net, name):
    if name not in ROUNDED:
        perturb(net)


@pytest.mark.parametrize("name", NAMES)
def test_changed_numbers_are_read_again(models, name, tmp_path):
    net = pg.to_torch(models[name])
    table = table_of(name, net)
    assert (not net.trainable_parameters()) == (name in NOTHING_TRAINS)
    moves(net, name)
    after = net.columns(table)
    pg.from_torch(net, tmp_path / "tuned")
    again = pg.to_torch(tmp_path / "tuned").columns(table)
    for column, values in after.items():
        mine, other = dense(again[column]), dense(values)
        if other.dtype == object:
            assert mine.tolist() == other.tolist()
        else:
            np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12, err_msg=column)
    assert (contents_of(tmp_path / "tuned") == contents_of(models[name])) == (
        name in NOTHING_TRAINS | ROUNDED
    )


def test_no_checksum_of_a_changed_file_is_left(models, tmp_path):
    net = pg.to_torch(models["logistic"])
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned")
    before, after = contents_of(models["logistic"]), contents_of(tmp_path / "tuned")
    lost = {path.name for path in before.keys() - after.keys()}
    assert after.keys() < before.keys()
    changed = {path for path, content in after.items() if content != before[path]}
    assert {f".{path.name}.crc" for path in changed} == lost


def test_written_tables_have_the_types_of_spark(models, tmp_path):
    net = pg.to_torch(models["forest"])
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned")
    for place in (tmp_path / "tuned").rglob("*.parquet"):
        original = models["forest"] / place.relative_to(tmp_path / "tuned")
        assert pq.read_schema(place).equals(pq.read_schema(original), check_metadata=True)


def test_products_of_factors_are_those_of_a_loop_in_single_precision():
    draw = np.random.default_rng(0)
    users, items = (draw.normal(size=(50, 9)).astype(np.float32) for _ in range(2))
    net = FactorProducts(torch.tensor(users).double(), torch.tensor(items).double())
    places = torch.arange(50.0).double()
    wanted = np.zeros(50, dtype=np.float32)
    for user, item in zip(users.T, items.T, strict=True):
        wanted += user * item
    found = net(places, places)
    np.testing.assert_array_equal(found.detach(), wanted.astype(np.float64))
    found.sum().backward()
    np.testing.assert_allclose(net.first.grad, items)
    assert net(places[:1], -places[:1] - 1).isnan().all()


# -- predictions -----------------------------------------------------------------------------------


def test_classifiers_predict_the_labels_of_the_indexed_column(models):
    net = pg.to_torch(models["text_labels"])
    table = expected_of("text_labels")
    assert sorted(net.classes_) == ["a", "b", "c"]
    assert net.predict(table).tolist() == table["answer"].tolist()
    wanted = raw_column(table, "probability")
    np.testing.assert_allclose(net.predict_proba(table), wanted, rtol=1e-9)
    np.testing.assert_allclose(net.decision_function(table), raw_column(table, "rawPrediction"))


def test_other_classifiers_predict_numbers(models):
    net, table = pg.to_torch(models["logistic"]), expected_of("logistic")
    np.testing.assert_array_equal(net.classes_, [0.0, 1.0])
    np.testing.assert_array_equal(net.predict(table), table["prediction"])


def test_regressors_predict_and_have_no_probabilities(models):
    net, table = pg.to_torch(models["poisson"]), expected_of("poisson")
    np.testing.assert_allclose(net.predict(table), table["prediction"], rtol=1e-12)
    assert not hasattr(net, "predict_proba")


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NOTHING_TRAINS])
def test_gradients_reach_every_trainable_parameter(models, name):
    net = pg.to_torch(models[name])
    table = table_of(name, net)
    for column in GIVEN.get(name, ()):
        table[column] = expected_of(name)[column]
    blocks = net.encode(table)
    net(blocks).square().sum().backward()
    for parameter, value in net.trainable_parameters().items():
        assert value.grad is not None, parameter
        assert torch.isfinite(value.grad).all(), parameter


SEEN = pytest.mark.filterwarnings("ignore:The validation rows:pipegrad.PipegradWarning")


@SEEN
def test_fit_finds_the_targets_that_the_model_names(models):
    net, table = pg.to_torch(models["text_labels"]), expected_of("text_labels")
    rows = pd.concat([table] * 5, ignore_index=True)
    torch.manual_seed(0)
    net.fit(rows, epochs=20)
    named = pg.to_torch(models["text_labels"])
    torch.manual_seed(0)
    named.fit(rows, "c", epochs=20)
    np.testing.assert_array_equal(net.predict_proba(table), named.predict_proba(table))
    before = pg.to_torch(models["text_labels"]).predict_proba(table)
    place = [["a", "b", "c"].index(c) for c in table["c"]]
    order = [list(net.classes_).index(c) for c in ("a", "b", "c")]

    def loss(shares):
        return -np.log(shares[:, order][np.arange(len(place)), place]).mean()

    assert loss(net.predict_proba(table)) < loss(before) - 0.01


def test_fit_needs_the_targets(models):
    net, table = pg.to_torch(models["poisson"]), expected_of("poisson")
    with pytest.raises(pg.ArgumentError, match="no column 'pos', which holds the targets"):
        net.fit(table.drop(columns="pos"))


def test_soft_trees_are_written_with_moved_thresholds(models, tmp_path):
    for name in ("boosted", "forest", "tree_regression"):
        net = pg.to_torch(models[name], trees="soft")
        table = table_of(name, net)
        perturb(net)
        pg.from_torch(net, tmp_path / name)
        again = pg.to_torch(tmp_path / name)
        np.testing.assert_allclose(
            again.columns(table)["prediction"], net.columns(table)["prediction"], rtol=1e-9
        )
        old, new = load(models[name]), load(tmp_path / name)
        moved = [
            not np.array_equal(a.operator.thresholds.values, b.operator.thresholds.values)
            for a, b in zip(old.plan.steps.values(), new.plan.steps.values(), strict=True)
            if hasattr(a.operator, "thresholds")
        ]
        assert any(moved)


# -- input -----------------------------------------------------------------------------------------


def test_tables_of_other_kinds(models, tmp_path):
    net, table = pg.to_torch(models["vectors"]), expected_of("vectors")
    raw = table[["u", "v", "w", "k"]]
    wanted = net.columns(raw)
    raw.to_parquet(tmp_path / "rows.parquet")
    raw.to_csv(tmp_path / "rows.csv", index=False)
    kinds = (
        pa.Table.from_pandas(raw),
        {name: raw[name].to_numpy() for name in raw},
        tmp_path / "rows.parquet",
        str(tmp_path / "rows.csv"),
    )
    for given in kinds:
        found = net.columns(given)
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-12)


def test_vectors_are_structs_or_lists(models):
    net, table = pg.to_torch(models["single"]), expected_of("single")
    wanted = table["prediction"]
    np.testing.assert_allclose(net.predict(table), wanted, rtol=1e-12)
    vectors = raw_column(table, "features")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 2)
    for column in (pd.Series(list(vectors)), pd.Series(vectors.tolist())):
        np.testing.assert_allclose(net.predict({"features": column}), wanted, rtol=1e-12)
    np.testing.assert_allclose(net.predict(pa.table({"features": lists})), wanted, rtol=1e-12)
    np.testing.assert_allclose(net.predict({"features": vectors}), wanted, rtol=1e-12)
    half = [{"type": 0, "size": 2, "indices": [1], "values": [v[1]]} for v in vectors]
    zeroed = vectors * [0, 1]
    np.testing.assert_allclose(
        net.predict({"features": half}), net.predict({"features": zeroed}), rtol=1e-12
    )


class DenseVector:
    """What the cells of a pandas DataFrame hold that pyspark made."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def toArray(self):
        return self.values


class SparseVector(DenseVector):
    def __init__(self, values):
        super().__init__(values)
        self.size, self.indices = len(values), np.arange(len(values))


def test_vectors_of_pyspark(models):
    net, table = pg.to_torch(models["single"]), expected_of("single")
    vectors = raw_column(table, "features")
    for kind in (DenseVector, SparseVector):
        cells = pd.Series([kind(values) for values in vectors])
        np.testing.assert_allclose(net.predict({"features": cells}), table["prediction"])


def test_wrong_vectors_are_refused(models):
    net = pg.to_torch(models["single"])
    for cells, match in [
        ([[1.0], [1.0, 2.0]], "one size"),
        ([{"type": 0}], "something else than vectors"),
        (["text"], "takes numbers"),
    ]:
        with pytest.raises(pg.ArgumentError, match=match):
            net.predict({"features": pd.Series(cells)})


def test_missing_columns_are_named(models):
    net, table = pg.to_torch(models["logistic"]), expected_of("logistic")
    with pytest.raises(pg.ArgumentError, match="lacks columns that the model reads: 'c', 'u'"):
        net.predict(table[["t", "v", "k"]])
    found = net.columns(table[["c"]])
    assert set(found) == {"ci", "co"}


def test_columns_that_spark_alone_computes_are_required(models):
    net, table = pg.to_torch(models["without_translation"]), expected_of("without_translation")
    raw = table[["u", "v"]]
    with pytest.raises(pg.UntranslatableError, match="'total' with Spark"):
        net.predict(raw)
    given = raw.assign(total=table["total"])
    np.testing.assert_allclose(net.predict(given), table["prediction"], rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"c": "new"}, r"StringIndexerModel refuses labels .* in rows 3"),
        ({"c": None}, r"StringIndexerModel refuses labels .* in rows 3"),
        ({"u": np.nan}, r"VectorAssembler refuses missing values .* in rows 3"),
    ],
)
def test_rows_that_spark_refuses_are_refused(models, change, match):
    net, table = pg.to_torch(models["logistic"]), expected_of("logistic")
    for name, value in change.items():
        table.loc[3, name] = value
    with pytest.raises(pg.ArgumentError, match=match):
        net.predict(table)


def skipping(tmp_path):
    folder = unpacked("logistic", tmp_path)
    for stage in ("0_StringIndexer*", "2_VectorAssembler*"):
        place = part_of(folder, f"stages/{stage}/metadata")
        content = json.loads(place.read_text())
        content["paramMap"]["handleInvalid"] = "skip"
        place.write_text(json.dumps(content))
    return folder


def test_rows_that_spark_leaves_out_are_left_out(tmp_path):
    net, table = pg.to_torch(skipping(tmp_path)), expected_of("logistic")
    np.testing.assert_array_equal(net.predict(table), table["prediction"])
    changed = table.copy()
    changed.loc[2, "c"], changed.loc[5, "u"] = "new", np.nan
    kept = table.drop(index=[2, 5])
    assert net.kept_rows(table) is None
    assert net.kept_rows(changed).tolist() == kept.index.tolist()
    np.testing.assert_array_equal(net.predict(changed), kept["prediction"])
    assert len(net.columns(changed)["prediction"]) == len(kept)
    assert len(net(changed)) == len(kept)
    nothing = changed.loc[[2, 5]]
    assert len(net.predict(nothing)) == 0


def test_every_stage_skips_the_rows_that_spark_skips():
    net, given = pg.to_torch(DATA / "skips.spark"), read_table(DATA / "skips.rows.parquet")
    answer = expected_of("skips")
    assert 0 < len(answer) < len(given)
    found = net.columns(given)
    assert_same_columns(found, answer, [name for name in found if name in answer.columns])
    kept = net.kept_rows(given)
    assert given["pos"].iloc[kept].tolist() == answer["pos"].tolist()


def test_training_leaves_out_the_same_rows(tmp_path):
    net, table = pg.to_torch(skipping(tmp_path)), expected_of("logistic")
    label = net.source.target_name(table, None)
    held = (table.iloc[:20], table[label].iloc[:20])
    rows = pd.concat([table] * 3, ignore_index=True)
    more = rows.copy()
    more.loc[more.index[::7], "c"] = "new"
    kept = [i for i in range(len(more)) if i % 7]
    weights = np.linspace(1, 2, len(more))
    options = {"validation": held, "epochs": 3, "seed": 0}
    with pytest.warns(pg.PipegradWarning, match=r"leaves out \d+ of \d+ rows, and so does"):
        net.fit(more, label, sample_weight=weights, **options)
    own = pg.to_torch(skipping(tmp_path / "again"))
    own.fit(rows.iloc[kept], label, sample_weight=weights[kept], **options)
    for one, other in zip(net.parameters(), own.parameters(), strict=True):
        assert torch.equal(one, other)


# -- types of columns --------------------------------------------------------------------------


def test_nulls_keep_the_type_of_their_column(models, tmp_path):
    """As pandas, pyarrow and polars hold them, and in files; a column of floats stays one."""
    net, path = pg.to_torch(models["nulls"]), DATA / "nulls.parquet"
    arrow = pq.read_table(path)
    wanted, table = read_table(path), arrow.to_pandas()
    raw = ["n", "big", "d", "x", "s", "b", "c"]
    nullable = arrow.select(raw).to_pandas(types_mapper={
        pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype(),
    }.get)  # fmt: skip
    objects = pd.DataFrame({n: pd.Series(arrow[n].to_pylist(), dtype=object) for n in raw})
    for given in (path, arrow, arrow.to_batches()[0], nullable, objects.assign(s=wanted.s)):
        found = net.columns(given)
        assert_same_columns(found, wanted, ["n_index", "big_index", "d_index", "s_index"])
    floats = net.columns(table)["n_index"]
    assert (floats == 4).all()  # "1.0" is no label
    arrow.select(["n", "c"]).to_pandas().astype({"n": "Int32"}).to_csv(tmp_path / "t.csv")
    found = net.columns(tmp_path / "t.csv")
    assert_same_columns(found, wanted, ["n_index", "c_index"])


def test_tables_of_polars(models):
    polars = pytest.importorskip("polars")
    net, path = pg.to_torch(models["nulls"]), DATA / "nulls.parquet"
    found = net.columns(polars.read_parquet(path, columns=["n", "big", "d", "x", "s", "b", "c"]))
    assert_same_columns(found, read_table(path), set(found) - {"bucket", "n_bucket"})


def test_cells_of_objects_are_texts_as_in_spark():
    cells = [None, True, False, 3, 2.0, np.float32(0.1), Decimal("1.50"), Decimal("1E-8"), np.nan]
    column = pd.DataFrame({"a": pd.Series(cells, dtype=object)})
    texts = [None, "true", "false", "3", "2.0", "0.1", "1.50", "0.00000001", "NaN"]
    assert as_texts(raw_column(column, "a")) == texts


@pytest.mark.parametrize(
    "column",
    [
        pd.date_range("2020-01-01", periods=3),
        pd.date_range("2020-01-01", periods=3, tz="UTC"),
        [datetime.date(2020, 1, 1), None, None],
        pd.to_timedelta([1, 2, 3]),
    ],
)
def test_dates_are_refused(models, column):
    net = pg.to_torch(models["single"])
    with pytest.raises(pg.ArgumentError, match="got dates or times, which no stage of Spark takes"):
        net.predict(pd.DataFrame({"features": column}))


def test_null_has_no_bucket_for_a_module():
    buckets = Buckets(kind="Bucketizer", splits=[-np.inf, 0.0, np.inf], invalid="keep")
    cells = np.array([1.0, None, np.nan], dtype=object)
    np.testing.assert_array_equal(buckets.run(cells), [1.0, np.nan, 2.0])
    with pytest.raises(pg.ArgumentError, match=r"Bucketizer refuses null .* rows 1"):
        row_of(buckets).encode(buckets, cells)


# -- recommenders ----------------------------------------------------------------------------------


def test_factors_of_users_and_items_train(models, tmp_path):
    net, table = pg.to_torch(models["als"]), expected_of("als").dropna()
    net.fit(table, "stars", epochs=30, validation=None)
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]
    wanted = net.predict(table)
    pg.from_torch(net, tmp_path / "tuned")
    again = pg.to_torch(tmp_path / "tuned")
    np.testing.assert_array_equal(again.predict(table), wanted)
    kinds = pq.read_schema(part_of(tmp_path / "tuned", "stages/*/userFactors"))
    assert kinds.field("features").type == pa.list_(pa.field("element", pa.float32(), False))


def test_ids_that_spark_refuses_or_leaves_out(models, tmp_path):
    net = pg.to_torch(models["als"])
    known = {"who": [7], "what": [100]}
    assert np.isnan(net.predict(pd.DataFrame({**known, "who": [8]}))).all()
    for wrong in (7.5, np.nan, 2.0**40):
        with pytest.raises(pg.ArgumentError, match="ids that are no whole numbers of 32 bits"):
            net.predict(pd.DataFrame({**known, "who": [wrong]}))
    with pytest.raises(pg.ArgumentError, match="columns of whole numbers"):
        net.predict(pd.DataFrame({**known, "who": ["7"]}))
    folder = unpacked("als", tmp_path)
    place = part_of(folder, "stages/*/metadata")
    content = json.loads(place.read_text())
    content["paramMap"]["coldStartStrategy"] = "drop"
    place.write_text(json.dumps(content))
    assert pg.to_torch(folder).predict(pd.DataFrame({**known, "who": [8]})).shape == (0,)


@pytest.mark.parametrize("change", [
    lambda rows: rows.clear(),
    lambda rows: rows.append(rows[0]),
    lambda rows: rows[0].update(features=[1.0]),
    lambda rows: rows[0].update(features=None),
])  # fmt: skip
def test_damaged_factors(tmp_path, change):
    folder = unpacked("als", tmp_path)
    changed(part_of(folder, "stages/*/itemFactors"), change)
    with pytest.raises(pg.ModelFileError):
        pg.to_torch(folder)


def test_no_rows(models):
    for name in ("logistic", "forest", "poisson", "text_labels"):
        net = pg.to_torch(models[name])
        table = expected_of(name).iloc[:0]
        assert len(net.predict(table)) == 0


def test_numbers_are_texts_as_in_java():
    values = np.array([1.0, 0.5, 1e7, 12345678.0, 1e-3, 1e-4, -0.0, np.inf, np.nan, 1.5e300])
    wanted = ["1.0", "0.5", "1.0E7", "1.2345678E7", "0.001", "1.0E-4", "-0.0", "Infinity", "NaN",
              "1.5E300"]  # fmt: skip
    assert as_texts(values) == wanted
    assert as_texts(np.array([3, -1])) == ["3", "-1"]
    assert as_texts(np.array([True, False])) == ["true", "false"]


def test_texts_are_split_as_in_java():
    space = JavaPattern.read(" ")
    assert space.split("  a  b ") == ["", "", "a", "", "b"]
    assert space.split("") == [""]
    assert space.split("a") == ["a"]
    assert space.split("  ") == []


def test_gradients_of_topics_are_those_of_differences(models):
    net = pg.to_torch(models["topics"])
    (module,) = (m for m in net.modules() if getattr(m, "words", None) is not None
                 and m.words().shape[0] == 2)  # fmt: skip
    how = dataclasses.replace(module.inference, tolerance=1e-13)
    exact = TopicShares(module.words().detach(), how)
    x = torch.tensor(np.random.default_rng(0).poisson(0.6, (6, exact.words().shape[1]))).double()
    parameters = tuple(exact.parameters())
    assert torch.autograd.gradcheck(
        lambda *ps: torch.func.functional_call(
            exact, dict(zip(dict(exact.named_parameters()), ps, strict=True)), (x,)
        ),
        parameters,
        atol=1e-6,
    )


def test_least_hashes_of_sparse_rows_are_those_of_dense_ones():
    draw = np.random.default_rng(0)
    net = MinHashes(torch.tensor(draw.integers(1, 1 << 30, (3, 2))))
    x = torch.tensor(draw.poisson(0.4, (20, 7))).double()
    x[3] = 0
    found = net(x)
    assert found[3].isnan().all()
    assert not found[x.any(1)].isnan().any()
    torch.testing.assert_close(net(SparseRows.from_dense(x)), found, equal_nan=True)


def test_hashes_are_those_of_spark():
    # The test vectors of MurmurHash3, and Spark's `hash` of a text.
    assert murmur3(b"", seed=0) == 0
    assert murmur3(b"", seed=1) == 0x514E28B7
    assert murmur3(b"test", seed=0) & 0xFFFFFFFF == 0xBA6BD213
    assert murmur3(b"Hello, world!", seed=0) & 0xFFFFFFFF == 0xC0363E43
    assert murmur3(b"a", old=True) == 1485273170


# -- copies ----------------------------------------------------------------------------------------


def test_copies_and_pickles_answer_alike(models):
    net, table = pg.to_torch(models["boosted"]), expected_of("boosted")
    wanted = net.predict(table)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(again.predict(table), wanted)


def test_source_is_not_changed(models):
    model = load(models["logistic"])
    before = [n.values.copy() for s in model.plan.steps.values() for n in s.operator.numbers()]
    net = pg.to_torch(model)
    perturb(net)
    pg.from_torch(net)
    after = [n.values for s in model.plan.steps.values() for n in s.operator.numbers()]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


# -- damaged folders -------------------------------------------------------------------------------


def part_of(folder, pattern):
    (found,) = folder.glob(f"{pattern}/part-*")
    return found


@pytest.fixture
def folder(tmp_path):
    return unpacked("logistic", tmp_path)


def test_folders_of_other_kinds(tmp_path):
    with pytest.raises(pg.ModelFileError, match="no model of Spark"):
        pg.to_torch(tmp_path)
    (tmp_path / "metadata").mkdir()
    with pytest.raises(pg.ModelFileError, match="has no content"):
        pg.to_torch(tmp_path)
    (tmp_path / "metadata" / "part-00000").write_text('{"class": "x.Y", "uid": "z"}')
    with pytest.raises(pg.UntranslatableError, match="no translation"):
        pg.to_torch(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"class": 3}', b"[" * 100_000, b'{"uid": "a"}']
)
def test_damaged_metadata(folder, content):
    part_of(folder, "metadata").write_bytes(content)
    with pytest.raises(pg.ModelFileError):
        pg.to_torch(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 1000])
def test_damaged_tables(folder, content):
    part_of(folder, "stages/4_Log*/data").write_bytes(content)
    with pytest.raises(pg.ModelFileError, match="cannot be read"):
        pg.to_torch(folder)


def test_texts_that_are_no_utf8_are_refused(folder):
    place = part_of(folder, "stages/0_StringIndexer*/data")
    spoiled = pa.array([b"a", b"\xff", b"c"])
    texts = pa.StringArray.from_buffers(3, *spoiled.buffers()[1:])
    lists = pa.ListArray.from_arrays([0, 1], pa.ListArray.from_arrays([0, 3], texts))
    pq.write_table(pa.table({"labelsArray": lists}), place)
    with pytest.raises(pg.ModelFileError, match="'data' is damaged"):
        pg.to_torch(folder)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
def test_thresholds_that_lie_are_refused(folder, value):
    place = part_of(folder, "stages/4_Log*/metadata")
    content = json.loads(place.read_text())
    content["paramMap"]["threshold"] = value
    place.write_text(json.dumps(content))
    with pytest.raises(pg.ModelFileError, match="threshold must be between 0 and 1"):
        pg.to_torch(folder)


@pytest.mark.parametrize("name", ["mus", "sigmas", "weights"])
def test_components_that_are_not_finite_are_refused(tmp_path, name):
    folder = unpacked("mixture", tmp_path)
    place = part_of(folder, "stages/*GaussianMixture*/data")
    table = pq.read_table(place)
    rows = table.to_pylist()
    cell = rows[0][name]
    (cell if name == "weights" else cell[0]["values"])[0] = math.nan
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), place)
    with pytest.raises(pg.ModelFileError, match=r"not finite|damaged"):
        pg.to_torch(folder)


def test_numbers_beyond_all_floats_are_refused(tmp_path):
    folder = unpacked("clusters", tmp_path)
    place = min(folder.glob("stages/*BisectingKMeans*/data/metadata/part-*"))
    content = json.loads(place.read_text())
    place.write_text(json.dumps({**content, "rootId": 0}).replace('"rootId": 0', '"rootId": 1e999'))
    with pytest.raises(pg.ModelFileError, match="tree of centers is damaged"):
        pg.to_torch(folder)


def test_missing_tables_and_stages(folder):
    place = part_of(folder, "stages/4_Log*/data")
    place.unlink()
    with pytest.raises(pg.ModelFileError, match="no content in"):
        pg.to_torch(folder)
    part_of(folder, "stages/2_*/metadata").unlink()
    with pytest.raises(pg.ModelFileError, match="no content"):
        pg.to_torch(folder)


def changed(place, change):
    table = pq.read_table(place)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), place)


def set_field(*keys_and_value):
    *keys, value = keys_and_value

    def change(rows):
        target = rows
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value

    return change


SPARSE = {"type": 0, "size": 1, "indices": [0], "values": [1.0]}


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.clear(),
        lambda rows: rows.append(rows[0]),
        set_field(0, "numClasses", 7),
        set_field(0, "coefficientMatrix", "numRows", 1 << 30),
        set_field(0, "coefficientMatrix", "numCols", -1),
        set_field(0, "coefficientMatrix", "values", None),
        set_field(0, "coefficientMatrix", None),
        set_field(0, "interceptVector", {**SPARSE, "size": 1 << 30}),
        set_field(0, "interceptVector", {**SPARSE, "indices": [5]}),
    ],
)
def test_damaged_coefficients(folder, change):
    changed(part_of(folder, "stages/4_Log*/data"), change)
    with pytest.raises(pg.ModelFileError):
        pg.to_torch(folder)


@pytest.mark.parametrize(
    "change",
    [
        set_field(0, "nodeData", "leftChild", 0),
        set_field(0, "nodeData", "rightChild", 10_000),
        set_field(0, "nodeData", "id", 5),
        set_field(1, "nodeData", "leftChild", 1),
        set_field(0, "nodeData", "split", "leftCategoriesOrThreshold", []),
        set_field(0, "nodeData", "split", "featureIndex", -1),
        set_field(0, "nodeData", "split", None),
        set_field(0, "treeID", 3),
        lambda rows: rows.pop(),
        lambda rows: rows.clear(),
    ],
)
def test_damaged_trees(tmp_path, change):
    folder = unpacked("boosted", tmp_path)
    changed(part_of(folder, "stages/*GBT*/data"), change)
    with pytest.raises(pg.ModelFileError):
        pg.to_torch(folder)


def test_matrices_keep_their_layout(models, tmp_path):
    # Spark refuses coefficients of two classes that are not stored by rows.
    for name, across in [("logistic", True), ("text_labels", None)]:
        net = pg.to_torch(models[name])
        perturb(net)
        pg.from_torch(net, tmp_path / name)
        stages = [folder / "stages" for folder in (models[name], tmp_path / name)]
        before, after = (
            pq.read_table(part_of(folder, "*LogisticRegression*/data")).to_pylist()[0]
            for folder in stages
        )
        flags = [row["coefficientMatrix"]["isTransposed"] for row in (before, after)]
        assert flags[0] == flags[1]
        assert across in (flags[0], None)


def test_isotonic_regressions_stay_isotonic(models, tmp_path):
    net = pg.to_torch(models["isotonic"])
    perturb(net, 5.0)
    pg.from_torch(net, tmp_path / "tuned")
    (step,) = (
        s.operator for s in load(tmp_path / "tuned").plan.steps.values() if s.method == "score"
    )
    assert (np.diff(step.values.values) >= 0).all()
    assert not np.array_equal(step.values.values, 0)


def test_rows_of_trees_may_be_in_any_order(models, tmp_path):
    folder = unpacked("boosted", tmp_path)
    changed(part_of(folder, "stages/*GBT*/data"), lambda rows: rows.reverse())
    table = expected_of("boosted")
    net, original = pg.to_torch(folder), pg.to_torch(models["boosted"])
    np.testing.assert_array_equal(net.predict_proba(table), original.predict_proba(table))
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned")
    again = pg.to_torch(tmp_path / "tuned")
    np.testing.assert_allclose(again.predict_proba(table), net.predict_proba(table), rtol=1e-12)


def test_tables_of_several_files(folder, models):
    place = part_of(folder, "stages/4_Log*/data")
    empty = pq.read_table(place).slice(0, 0)
    pq.write_table(empty, place.with_name("part-00001-x.snappy.parquet"))
    net, table = pg.to_torch(folder), expected_of("logistic")
    perturb(net)
    pg.from_torch(net, folder)
    assert len(list(place.parent.glob("part-*"))) == 1
    np.testing.assert_allclose(
        pg.to_torch(folder).predict_proba(table), net.predict_proba(table), rtol=1e-12
    )


def test_links_and_devices_are_refused(folder, tmp_path):
    (folder / "metadata" / "part-00001").symlink_to("/dev/zero")
    with pytest.raises(pg.ModelFileError, match="no regular file"):
        pg.to_torch(folder)


def test_parameters_of_other_types_are_refused(folder):
    place = part_of(folder, "stages/4_Log*/metadata")
    content = json.loads(place.read_text())
    for name, value in [("threshold", "x"), ("featuresCol", 3), ("fitIntercept", "no")]:
        damaged = {**content, "paramMap": {**content["paramMap"], name: value}}
        place.write_text(json.dumps(damaged))
        with pytest.raises(pg.ModelFileError, match=name):
            pg.to_torch(folder)


# -- writing ---------------------------------------------------------------------------------------


def test_folders_that_hold_something_else_are_not_replaced(models, tmp_path):
    net = pg.to_torch(models["poisson"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(pg.ArgumentError, match="does not hold a model of Spark"):
        pg.from_torch(net, tmp_path / "mine")
    with pytest.raises(pg.ArgumentError, match="no folder"):
        pg.from_torch(net, tmp_path / "none" / "tuned")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_model_replaces_a_model(models, tmp_path):
    folder = unpacked("poisson", tmp_path)
    net, table = pg.to_torch(folder), expected_of("poisson")
    perturb(net)
    pg.from_torch(net, folder)
    np.testing.assert_allclose(pg.to_torch(folder).predict(table), net.predict(table), rtol=1e-12)
    assert [p.name for p in tmp_path.iterdir()] == ["poisson"]


def test_archives_are_models_as_well(models, tmp_path):
    net, table = pg.to_torch(DATA / "logistic.spark"), expected_of("logistic")
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned.spark")
    again = pg.to_torch(tmp_path / "tuned.spark")
    np.testing.assert_allclose(again.predict_proba(table), net.predict_proba(table), rtol=1e-12)
    pg.from_torch(again, tmp_path / "tuned")
    with zipfile.ZipFile(tmp_path / "tuned.spark") as file:
        entries = {Path(name): file.read(name) for name in file.namelist()}
    assert entries == contents_of(tmp_path / "tuned")


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "a//b", "C:x", "a\\b"])
def test_archives_whose_names_lead_elsewhere_are_refused(tmp_path, name):
    path = tmp_path / "model.spark"
    path.write_bytes((DATA / "poisson.spark").read_bytes())
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, "x")
    with pytest.raises(pg.ModelFileError, match="lead elsewhere"):
        pg.to_torch(path)


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "model.spark"
    content = (DATA / "poisson.spark").read_bytes()
    for damaged in (content[:-30], content[:100], b"PK", content.replace(b"PK\1\2", b"PK\1\3")):
        path.write_bytes(damaged)
        with pytest.raises(pg.ModelFileError):
            pg.to_torch(path)


def test_modules_are_saved_with_their_model(models, tmp_path):
    net, table = pg.to_torch(models["text_labels"]), expected_of("text_labels")
    perturb(net)
    again = pg.load(net.save(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(again.predict_proba(table), net.predict_proba(table))
    pg.from_torch(again, tmp_path / "tuned")
    np.testing.assert_array_equal(
        pg.to_torch(tmp_path / "tuned").predict(table), net.predict(table)
    )


def test_paths_are_inspected(models):
    for source in (models["text_labels"], DATA / "text_labels.spark", load(models["text_labels"])):
        steps = pg.inspect(source)
        kinds = {step.name: (step.kind, step.status) for step in steps}
        assert kinds["pca"] == ("spark.PCAModel", "trainable")
    assert pg.inspect(str(models["text_labels"]), freeze=["pca"])["pca"].status != "trainable"
    path = DATA.parent / "mlnet" / "figure1.zip"
    assert any(step.status == "trainable" for step in pg.inspect(path))
    with pytest.raises(FileNotFoundError):
        pg.inspect("none.spark")


def test_the_command_line_takes_folders(models, tmp_path, capsys):
    from pipegrad.cli import main

    assert main(["inspect", str(models["text_labels"])]) == 0
    assert "PCAModel" in capsys.readouterr().out
    table, made = DATA / "text_labels.parquet", tmp_path / "answers.parquet"
    assert main(["score", str(models["text_labels"]), str(table), "-o", str(made)]) == 0
    answers = pd.read_parquet(made)
    assert answers.iloc[:, 0].tolist() == expected_of("text_labels")["answer"].tolist()


def test_a_full_disk_leaves_the_old_folder(models, tmp_path, monkeypatch):
    folder = unpacked("poisson", tmp_path)
    before = {p: p.read_bytes() for p in files_of(folder)}
    net = pg.to_torch(folder)
    perturb(net)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipegrad.sources.spark.model.write_checked", full)
    with pytest.raises(OSError, match="No space"):
        pg.from_torch(net, folder)
    assert {p: p.read_bytes() for p in files_of(tmp_path)} == before
