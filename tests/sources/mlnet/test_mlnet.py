"""Models of ML.NET: read, translated, trained, written; files that lie are refused."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import struct
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

import pipegrad as pg
from mlnet_files import BlockWriter, chain, concatenation
from pipegrad.source_methods import INFERENCE_METHODS
from pipegrad.sources.mlnet import load
from pipegrad.sources.mlnet.binary import Block
from pipegrad.sources.mlnet.model import read_model
from pipegrad.sources.zip_archive import Archive

DATA = Path(__file__).parents[2] / "data" / "mlnet"
NAMES = sorted(path.stem for path in DATA.glob("*.zip"))
NEEDS_DOTNET = {"text_featurize", "text_words", "more_nimbus_text", "more_text_tokens"}
SERVED = [name for name in NAMES if name not in NEEDS_DOTNET]
# Nothing that the output depends on can train.
NOTHING_TRAINS = {
    "convert_select", "expression", "feature_selection", "key_value", "map_value", "missing",
    "naive_bayes", "norm_binning", "norm_global_contrast", "norm_lp", "norm_supervised_binning",
    "onehot_bag_key_binary", "onehot_hash", "onehot_indicator", "prior", "tree_featurizer",
    "more_convert_integers", "more_convert_numbers", "more_convert_truth",
    "more_expression_coalesce", "more_expression_double", "more_expression_integer",
    "more_expression_with", "more_hash_key", "more_hash_types", "more_key_value_long",
    "more_key_value_text", "more_map_integer", "more_map_key", "more_map_truth",
    "more_missing_double", "more_nimbus_naive_bayes", "more_nimbus_scored_labels", "more_norms",
    "more_onehot_binary",
    "more_onehot_types", "more_tree_featurizer",
}  # fmt: skip
# Where rounding of float32 is magnified: by cancellation near the middle of a distribution, by
# waves of high frequency, by a steep piece of a calibrator.
TOLERANCES = {
    "norm_logmeanvar": 1e-5,
    "norm_meanvar": 1e-5,
    "nimbus_ols": 1e-5,
    "kernel_map": 1e-5,
    "more_kernel_laplacian": 3e-5,
    "svm_calibrator_isotonic": 5e-5,
}
MODEST = pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")


def path_of(name):
    return DATA / f"{name}.zip"


def table_of(name):
    return pd.read_parquet(DATA / f"{name}.input.parquet")


def expected_of(name):
    with np.load(DATA / f"{name}.expected.npz") as file:
        return {key: file[key] for key in file.files}


def assert_same_columns(got, wanted, tolerance=2e-6):
    missing = set(wanted) - set(got)
    assert not missing
    for name, values in wanted.items():
        assert got[name].shape == values.shape, name
        if values.dtype.kind in "OU":
            assert (got[name].astype(str) == values.astype(str)).all(), name
            continue
        assert got[name].dtype == values.dtype, name
        finite = values[np.isfinite(values)].astype(float)
        size = np.abs(finite).max(initial=0.0) or 1.0
        np.testing.assert_allclose(
            got[name].astype(float), values.astype(float), rtol=0, atol=tolerance * size,
            equal_nan=True, err_msg=name,
        )  # fmt: skip


def perturb(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.trainable_parameters().items():
            noise = 0.02 * torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise if name.endswith("log_ratio") else parameter * noise)


@pytest.mark.parametrize("name", SERVED)
def test_columns_are_those_of_mlnet(name):
    got = pg.to_torch(path_of(name)).columns(table_of(name))
    assert_same_columns(got, expected_of(name), TOLERANCES.get(name, 2e-6))


@pytest.mark.parametrize("name", NAMES)
def test_untouched_model_comes_back_byte_for_byte(name, tmp_path):
    pg.from_torch(pg.to_torch(path_of(name)), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == path_of(name).read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.zip"]


@pytest.mark.parametrize("name", SERVED)
def test_changed_numbers_are_read_again(name, tmp_path):
    net, table = pg.to_torch(path_of(name)), table_of(name)
    assert (not net.trainable_parameters()) == (name in NOTHING_TRAINS)
    before = net.columns(table)
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned.zip")
    again = pg.to_torch(tmp_path / "tuned.zip")
    wanted = net.columns(table)
    assert_same_columns(again.columns(table), wanted, 1e-6)
    if net.trainable_parameters():
        floats = [name for name, values in wanted.items() if values.dtype.kind == "f"]
        assert any(not np.array_equal(wanted[n], before[n], equal_nan=True) for n in floats)


@pytest.mark.parametrize("name", ["figure1", "nimbus_logistic", "lightgbm_multiclass"])
def test_all_else_stays_byte_for_byte(name, tmp_path):
    net = pg.to_torch(path_of(name))
    perturb(net)
    pg.from_torch(net, tmp_path / "tuned.zip")
    with zipfile.ZipFile(path_of(name)) as old, zipfile.ZipFile(tmp_path / "tuned.zip") as new:
        assert new.testzip() is None
        left = [n for n in old.namelist() if n in set(new.namelist())]
        assert new.namelist() == left
        dropped = set(old.namelist()) - set(left)
        assert {n.rpartition("/")[2] for n in dropped} <= {"AffineNormalizer.txt", "Calibrator.txt"}
        for entry in left:
            same = old.read(entry) == new.read(entry)
            assert same or entry.endswith("Model.key")
            assert len(old.read(entry)) == len(new.read(entry))


@pytest.mark.parametrize(
    "name", ["sdca_logistic_sparse", "sdca_regression_l1", "sdca_regression_allzero"]
)
def test_sparse_weights_that_fill_up_are_written_anew(name, tmp_path):
    net, table = pg.to_torch(path_of(name)), table_of(name)
    with torch.no_grad():
        for key, parameter in net.trainable_parameters().items():
            if key.endswith("weight"):
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    pg.from_torch(net, tmp_path / "tuned.zip")
    again = pg.to_torch(tmp_path / "tuned.zip")
    assert_same_columns(again.columns(table), net.columns(table), 1e-6)
    pg.from_torch(again, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "tuned.zip").read_bytes()


def test_numbers_that_are_not_finite_are_refused_before_anything_is_written(tmp_path):
    net = pg.to_torch(path_of("figure1"))
    with torch.no_grad():
        next(iter(net.trainable_parameters().values())).fill_(torch.inf)
    with pytest.raises(pg.WriteBackError):
        pg.from_torch(net, tmp_path / "tuned.zip")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_survives_a_failure(tmp_path, monkeypatch):
    target = tmp_path / "model.zip"
    target.write_bytes(b"precious")
    net = pg.to_torch(path_of("ols"))
    perturb(net)

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        pg.from_torch(net, target)
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


# -- what a user sees --------------------------------------------------------------------------


def test_answers():
    net, table = pg.to_torch(path_of("lbfgs_maxent")), table_of("lbfgs_maxent")
    wanted = expected_of("lbfgs_maxent")
    assert (net.predict(table) == wanted["PredictedText"]).all()
    np.testing.assert_allclose(net.predict_proba(table), wanted["Score"], atol=1e-6)
    assert list(net.classes_) == ["<1H OCEAN", "INLAND", "NEAR BAY", "NEAR OCEAN"]

    net, table = pg.to_torch(path_of("fasttree_binary")), table_of("fasttree_binary")
    wanted = expected_of("fasttree_binary")
    assert (net.predict(table) == wanted["PredictedLabel"]).all()
    np.testing.assert_allclose(net.predict_proba(table)[:, 1], wanted["Probability"], atol=1e-6)
    np.testing.assert_allclose(net.decision_function(table), wanted["Score"], rtol=1e-5)

    net, table = pg.to_torch(path_of("figure1")), table_of("figure1")
    np.testing.assert_allclose(net.predict(table), expected_of("figure1")["Score"], rtol=1e-5)
    assert not hasattr(net, "predict_proba")
    assert not hasattr(pg.to_torch(path_of("averaged_perceptron")), "predict_proba")


@pytest.mark.parametrize("name", ["figure1", "kmeans", "sdca_maxent", "pca_anomaly", "norm_minmax"])
def test_methods_are_those_that_the_model_answers(name):
    net = pg.to_torch(DATA / f"{name}.zip")
    offered = {m for m in INFERENCE_METHODS if m != "apply" and hasattr(net, m)}
    assert offered == set(net.source.answers)
    assert hasattr(net, "classes_") == hasattr(net.source, "classes_")
    with pytest.raises(pg.ArgumentError, match="must be a function"):
        net.apply(pd.DataFrame())


def test_labels_of_nimbusml_are_the_users_own():
    net, table = pg.to_torch(path_of("nimbus_logistic")), table_of("nimbus_logistic")
    assert set(net.predict(table).tolist()) <= {0, 1}
    net, table = pg.to_torch(path_of("nimbus_multiclass")), table_of("nimbus_multiclass")
    keys = expected_of("nimbus_multiclass")["PredictedLabel"]
    assert (net.predict(table) == np.array(["1", "2", "3", "4"])[keys - 1]).all()


def test_tables_come_from_files_too(tmp_path):
    table, net = table_of("figure1"), pg.to_torch(str(path_of("figure1")))
    wanted = net.predict(table)
    table.to_csv(tmp_path / "rows.csv", index=False)
    np.testing.assert_allclose(net.predict(tmp_path / "rows.csv"), wanted, rtol=1e-6)
    assert (net.predict(DATA / "figure1.input.parquet") == wanted).all()
    assert (net.predict({n: table[n].to_numpy() for n in table}) == wanted).all()
    with pytest.raises(pg.ArgumentError, match=r"a \.csv or \.parquet file"):
        net.predict("rows.xlsx")
    with pytest.raises(pg.ArgumentError, match="temp"):
        net.predict(table.drop(columns="temp"))
    with pytest.raises(pg.ArgumentError, match="DataFrame"):
        net.predict(np.zeros((3, 12)))


def test_columns_of_absent_labels_are_left_out():
    net, table = pg.to_torch(path_of("figure1")), table_of("figure1")
    all_columns = net.columns(table)
    fewer = net.columns(table.drop(columns="cnt"))
    assert set(all_columns) - set(fewer) == {"Label01"}


def test_text_is_refused_and_can_be_given():
    net, table = pg.to_torch(path_of("text_featurize")), table_of("text_featurize")
    wanted = expected_of("text_featurize")
    with pytest.raises(pg.UntranslatableError, match=r"'t'.*\.NET"):
        net.predict(table)
    with pytest.raises(pg.UntranslatableError, match=r"needs \.NET"):
        pg.to_torch(path_of("text_words")).columns(table_of("text_words"))
    table["t"] = list(wanted.pop("t"))
    assert_same_columns(net.columns(table), wanted)


@pytest.mark.parametrize(
    ("name", "column"), [("more_nimbus_text", "t"), ("more_text_tokens", "ng")]
)
def test_what_net_leaves_of_text_can_be_given(name, column):
    net, table, wanted = pg.to_torch(path_of(name)), table_of(name), expected_of(name)
    with pytest.raises(pg.UntranslatableError, match=rf"'{column}'.*\.NET"):
        net.predict(table)
    table[column] = list(wanted[column])
    made = net.columns(table)
    assert {"Features" if "Features" in wanted else "F", "Score", "PredictedLabel"} <= set(made)
    assert_same_columns(made, {name: values for name, values in wanted.items() if name in made})


def test_figure_1_learns(tmp_path):
    train, test = (pd.read_parquet(DATA / f"figure1.{part}.parquet") for part in ("train", "test"))
    net = pg.to_torch(path_of("figure1"))
    before = losses(net, test)
    net.fit(train, "cnt", epochs=4, optim=torch.optim.LBFGS, validation=None)
    pg.from_torch(net, tmp_path / "tuned.zip")
    after = losses(pg.to_torch(tmp_path / "tuned.zip"), test)
    assert (after < 0.88 * before).all()


def losses(net, table):
    """Poisson deviance, mean absolute and mean squared error."""
    mean, y = net.predict(table).astype(float), table["cnt"].to_numpy(float)
    deviance = 2 * np.mean(y * np.log(np.maximum(y, 1e-9) / mean) - y + mean)
    return np.array([deviance, np.abs(mean - y).mean(), ((mean - y) ** 2).mean()])


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    for name in (
        "figure1.zip",
        "figure1_nimbus.zip",
        "figure1.train.parquet",
        "figure1.test.parquet",
    ):
        shutil.copy(DATA / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    page = (DATA.parents[2] / "docs" / "mlnet.md").read_text("utf-8")
    names = {"__name__": "page"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(compile(block, "mlnet.md", "exec"), names)
    assert names["graph"]["PoissonRegressor"].options["LabelColumnName"] == "cnt"
    assert len(names["columns"]["Score"]) == len(names["test"])
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    [
        "lbfgs_logistic",
        "averaged_perceptron",
        "fasttree_binary",
        "fastforest_binary",
        "lightgbm_multiclass",
        "ffm",
        "ldsvm",
        "ova_lbfgs",
        "ova_averaged_perceptron",
        "pairwise_coupling",
        "lbfgs_maxent",
        "sdca_multiclass_noncalibrated",
        "gam_binary",
        "gam_regression",
        "fasttree_tweedie",
        "lbfgs_poisson",
        "kmeans",
        "nimbus_logistic",
        "nimbus_multiclass",
        "svm_calibrator_isotonic",
    ],
)
@MODEST
def test_every_kind_of_predictor_trains(name):
    # Normalized columns alone, all the same, would be nearest to their centers.
    freeze = ["Transform_001/*"] if name == "kmeans" else None
    net, table = pg.to_torch(path_of(name), freeze=freeze), table_of(name)
    task = net.head.task
    if task == "classification":
        table["answer"] = np.resize(net.classes_, len(table))
    elif task == "regression":
        table["answer"] = np.linspace(0.5, 2.0, len(table))
    label = None if task == "clustering" else "answer"
    net.fit(table, label, epochs=3, validation=None, patience=None)
    losses = [row["train_loss"] for row in net.history]
    assert np.isfinite(losses).all()
    assert min(losses[1:]) < losses[0]


def test_steps_have_names_to_choose_by():
    net = pg.to_torch(path_of("figure1"), freeze=["pca", "Transform_005/*"])
    trained = {step.name for step in net.graph if step.status == "trainable"}
    assert "Transform_003/pca" not in trained
    assert "Transform_012/Score" in trained
    assert not any(name.startswith("Transform_005/") for name in trained)
    again = pg.Graph.from_json(net.graph.to_json())
    assert again.columns == net.graph.columns


# -- graphs of entry points ------------------------------------------------------------------------


def test_entry_points_are_read_and_written():
    text = (DATA / "figure1.entrypoints.json").read_text()
    graph = pg.Graph.from_json(text)
    assert json.loads(graph.to_json(form="mlnet")) == json.loads(text)
    assert pg.Graph.from_json(graph.to_json()) == graph
    assert graph["ColumnConcatenator#2"].inputs == (
        "ColumnCopier",
        "ColumnCopier#2",
        "MinMaxNormalizer",
    )
    assert graph.columns["Score"] == graph.output == "PoissonRegressor"


def test_entry_points_of_a_model():
    graph = pg.to_torch(path_of("figure1_nimbus")).graph
    nodes = json.loads(graph.to_json(form="mlnet"))["nodes"]
    wanted = json.loads((DATA / "figure1.entrypoints.json").read_text())["nodes"]
    # A file does not say that the first classifier was fitted by dual coordinate ascent.
    linear = "Trainers.LogisticRegressionBinaryClassifier"
    assert [n["Name"] for n in nodes] == [
        linear if "Dual" in n["Name"] else n["Name"] for n in wanted
    ]
    for node, other in zip(nodes, wanted):
        assert node["Outputs"] == other["Outputs"]
        for option, value in node["Inputs"].items():
            if option == "Column":
                for column, of in zip(value, other["Inputs"][option], strict=True):
                    assert column.items() <= of.items()
            else:
                assert value == other["Inputs"].get(option), option


@pytest.mark.parametrize("name", SERVED)
def test_entry_points_or_the_reason_why_not(name):
    graph = pg.to_torch(path_of(name)).graph
    reason, text = "", ""
    try:
        text = graph.to_json(form="mlnet")
    except pg.ArgumentError as error:
        reason = str(error)
    assert text or "no entry points for" in reason
    if text:
        again = pg.Graph.from_json(text)
        assert again.to_json(form="mlnet") == text
        made = {n for n, s in graph.columns.items() if graph[s].kind != "mlnet.column"}
        made -= {"PredictedLabel"}  # entry points give an anomaly its score alone
        assert {n for n in made if "@" not in n} <= set(again.columns)


def test_other_graphs_have_no_entry_points():
    ridge = pg.to_torch(Ridge().fit([[0.0], [1.0]], [0.0, 1.0])).graph
    with pytest.raises(pg.ArgumentError, match=r"Only graphs of ML\.NET"):
        ridge.to_json(form="mlnet")
    with pytest.raises(
        pg.ArgumentError, match="form must be one of 'pipegrad', 'mlnet'; got 'onnx'"
    ):
        ridge.to_json(form="onnx")
    for text in ('{"nodes": []}', '{"nodes": [1]}', '{"nodes": {"a": {}}}', "[]"):
        with pytest.raises(pg.ArgumentError):
            pg.Graph.from_json(text)
    node = {"Name": "Data.TextLoader", "Inputs": {}, "Outputs": {"Data": "$data"}}
    with pytest.raises(pg.ArgumentError, match=r"Data\.TextLoader"):
        pg.Graph.from_json(json.dumps({"nodes": [node]}))


# -- files that lie ----------------------------------------------------------------------------


def refused(content, match=None, seconds=1.0):
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(pg.ModelFileError, match=match):
            read_model(Archive(content))
        assert time.perf_counter() - start < seconds
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def packed(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in entries:
            out.writestr(name, data)
    return file.getvalue()


def entries_of(name):
    with zipfile.ZipFile(path_of(name)) as file:
        return {entry: file.read(entry) for entry in file.namelist()}


def test_bombs():
    entries = entries_of("ols")
    entries["TransformerChain/Model.key"] = bytes(60_000_000)
    refused(packed(entries.items()), "unpacks to more")
    content = bytearray(packed(entries.items()))
    # The same, but it says that it is small.
    small = struct.pack("<I", 100)
    content = bytes(content).replace(struct.pack("<I", 60_000_000), small)
    refused(content, "does not have the stated size|contradicts|truncated|unpacks")


def test_truncated_and_trailing():
    content = path_of("figure1").read_bytes()
    for size in (0, 10, 100, len(content) // 2, len(content) - 1):
        refused(content[:size], "zip|damaged")
    refused(content + b"x", "after the end|not a zip")
    refused(b"x" + content)


def test_duplicates_and_strange_names():
    entries = list(entries_of("ols").items())
    with pytest.warns(UserWarning, match="Duplicate"):
        doubled = packed([*entries, entries[1]])
    refused(doubled, "twice")
    refused(packed([*entries, (entries[1][0].upper(), b"")]), "twice")
    for name in ("../evil", "/etc/passwd", "a//b", "a/./b"):
        refused(packed([*entries, (name, b"")]), "unusable name")


def test_missing_entries_and_other_zip_files():
    entries = entries_of("figure1")
    for name in entries:
        if not name.endswith((".txt", "TrainSchema")):
            refused(packed([e for e in entries.items() if e[0] != name]))
    refused(packed([("word/document.xml", b"<x/>")]), "not a model")
    refused(packed([]))


def test_entries_that_overlap():
    content = bytearray(path_of("ols").read_bytes())
    first = content.find(b"PK\x01\x02")
    second = content.find(b"PK\x01\x02", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    refused(bytes(content), "contradicts|overlaps")


@pytest.mark.parametrize("offset", [*range(0x08, 0x40, 4), 0x48, *range(0x80, 0x9C, 4)])
@pytest.mark.parametrize("value", [-1, 0x7FFFFFFF, 1])
def test_headers_that_lie(offset, value):
    entries = entries_of("lbfgs_poisson_sparse")
    for entry, data in entries.items():
        if entry.endswith("Model.key") and struct.unpack_from("<i", data, offset)[0] != value:
            wrong = bytearray(data)
            struct.pack_into("<i", wrong, offset, value)
            content = packed({**entries, entry: bytes(wrong)}.items())
            try:
                read_model(Archive(content))
            except pg.ModelFileError:
                continue
            assert offset in (0x08, 0x0C), entry


def test_models_of_too_many_columns():
    # A concatenation of a column with itself, over and over.
    entries = entries_of("ols")
    entry = "TransformerChain/Transform_000/Model.key"
    block = Block.read(Archive(packed(entries.items())), entry)
    body = struct.pack("<3i", 1, 0, 8_000_000 // 8) + struct.pack("<2i", 1, -1) * 1_000_000
    start = block.data[:0x100]
    rest = block.data[0x100 + block.length :]
    data = bytearray(start + body + rest)
    growth = len(body) - block.length
    struct.pack_into("<q", data, 0x18, len(body))
    for offset in (0x20, 0x30, 0x80, 0x88, 0x90):
        old = struct.unpack_from("<q", data, offset)[0]
        struct.pack_into("<q", data, offset, old + growth)
    refused(packed({**entries, entry: bytes(data)}.items()), seconds=3.0)


def test_mutations_end_in_one_error():
    generator = np.random.default_rng(0)
    contents = [entries_of(name) for name in NAMES]
    for _ in range(400):
        entries = dict(contents[generator.integers(len(contents))])
        name = list(entries)[generator.integers(len(entries))]
        data = bytearray(entries[name])
        for _ in range(generator.integers(1, 4)):
            if data:
                data[generator.integers(len(data))] = generator.integers(256)
        entries[name] = bytes(data[: generator.integers(len(data) + 1)] if _ % 5 == 0 else data)
        read_or_refuse(packed(entries.items()))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_damaged_files_end_in_one_error(data):
    content = bytearray(path_of(data.draw(st.sampled_from(NAMES))).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(content[: data.draw(st.integers(0, len(content)))]))
    read_or_refuse(bytes(content))


def read_or_refuse(content):
    try:
        model = read_model(Archive(content))
    except pg.ModelFileError:
        return
    with contextlib.suppress(pg.PipegradError):
        pg.to_torch(model)


def test_errors_say_which_file():
    with pytest.raises(pg.ArgumentError, match="ends in"):
        pg.to_torch("model.bin")
    with pytest.raises(FileNotFoundError):
        pg.to_torch("nowhere.zip")
    assert "steps" in repr(load(path_of("ols")))
    ridge = pg.to_torch(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))
    with pytest.raises(pg.ArgumentError, match="has no model file format"):
        pg.from_torch(ridge, "x.zip")


# -- what no saved model shows -------------------------------------------------------------------


NAMED = ["a", "b", "c"]
RAW = [(name, "Single") for name in NAMED]
ROWS = pd.DataFrame(np.arange(12.0, dtype=np.float32).reshape(4, 3) / 3, columns=NAMED)


def made(*steps, raw=RAW):
    return read_model(Archive(chain(raw, [concatenation("F", NAMED), *steps])))


def affine(values, offsets, size, slots=None):
    block = BlockWriter("AFF NORM", "AffineNormExec", 0x00010003).i4(4, size)
    block.i4(-1 if slots is None else len(slots), *(slots or ()))
    block.i4(len(values)).f4(*values).i4(len(offsets)).f4(*offsets)
    outer = BlockWriter("NORMALZR", "Normalizer", 0x00010002).i4(1).text("N", "F").u1(1, 9)
    return {"": outer.i4(1, size), "Normalizer_000": block}


def test_some_slots_alone_are_scaled():
    net = pg.to_torch(made(affine([2.0, -4.0], [1.0, 0.5], 3, slots=[0, 2])))
    got, x = net.columns(ROWS)["N"], ROWS.to_numpy()
    np.testing.assert_array_equal(got[:, 1], x[:, 1])
    np.testing.assert_allclose(got[:, [0, 2]], (x[:, [0, 2]] - [1.0, 0.5]) * [2.0, -4.0])


def test_compressed_rows_of_weights(tmp_path):
    model = BlockWriter("MULTI LR", "MultiClassLRExec", 0x00010003)
    model.i4(4, 3, 2).f4(0.5, -0.5).i4(3, 0, 1, 3).i4(3, 2, 0, 1).i4(3).f4(1.0, 2.0, 3.0).u1(0)
    step = BlockWriter("MC  PRED", "MulticlassPredXfer", 0x00010002)
    step.text("F", "y", "Score", "PredictedLabel")
    net = pg.to_torch(made({"": step, "Model": model}))
    logits = ROWS.to_numpy() @ np.array([[0, 0, 1], [2, 3, 0]]).T + [0.5, -0.5]
    wanted = torch.softmax(torch.tensor(logits), 1).numpy()
    np.testing.assert_allclose(net.predict_proba(ROWS), wanted, rtol=1e-5)
    assert set(net.predict(ROWS)) <= {1, 2}
    perturb(net)
    pg.from_torch(net, tmp_path / "same.zip")
    with torch.no_grad():
        net.steps["Transform_001/Score"].body.weight.fill_(0.1)
    pg.from_torch(net, tmp_path / "full.zip")
    again = pg.to_torch(tmp_path / "full.zip")
    np.testing.assert_allclose(again.predict_proba(ROWS), net.predict_proba(ROWS), rtol=1e-6)


def test_sparse_centers(tmp_path):
    model = BlockWriter("KMEANS  ", "KMeansPredictor", 0x00010002).i4(4, 2, 3)
    model.i4(1, 2).f4(2.0).i4(3).f4(1.0, 1.0, 1.0)
    step = BlockWriter("CLUSPRED", "ClusteringPredXfer").text("F")
    net = pg.to_torch(made({"": step, "Model": model}))
    centers = np.array([[0, 0, 2], [1, 1, 1]])
    wanted = ((ROWS.to_numpy()[:, None] - centers) ** 2).sum(2)
    np.testing.assert_allclose(net.columns(ROWS)["Score"], wanted, rtol=1e-5, atol=1e-6)
    net.fit(ROWS, epochs=3, validation=None)
    pg.from_torch(net, tmp_path / "tuned.zip")
    again = pg.to_torch(tmp_path / "tuned.zip")
    assert_same_columns(again.columns(ROWS), net.columns(ROWS), 1e-6)


@pytest.mark.parametrize(
    ("steps", "match"),
    [
        ([affine([1.0] * 2, [], 3)], "other slots"),
        ([affine([1.0] * 3, [], 4)], "4 slots of 3"),
        ([affine([np.inf] * 3, [], 3)], "not finite"),
        ([affine([1.0], [0.0], 3, slots=[3])], "other slots"),
        ([concatenation("G", ["nowhere"])], "which is missing"),
        ([{"": BlockWriter("UNKNOWN ", "Nobody")}], "not supported"),
        ([{"": BlockWriter("CONCAT F", "ConcatTransform", 0x00020000)}], "version"),
        ([{"": BlockWriter("COPYCOLT", "CopyTransform").i4(1 << 30)}], "cannot hold"),
        ([{"": BlockWriter("COPYCOLT", "CopyTransform").i4(1, 0, 7)}], "string"),
    ],
)
def test_contradictions_are_named(steps, match):
    with pytest.raises(pg.ModelFileError, match=match):
        made(*steps)


def test_wide_hashes_stay_sparse():
    raw = [*RAW, ("t", "TextSpan")]
    keys = BlockWriter("HASHTRNS", "HashTransform", 0x00010002).i4(1).text("t", "t")
    keys.i4(20, 7).u1(0)
    ones = BlockWriter("KEY2VECT", "KeyToVectorTransform", 0x00010002).i4(1).text("t", "t").u1(0)
    model = BlockWriter("LIN RGRS", "LinearRegressionExec", 0x00020001).i4(4).f4(1.0)
    model.i4(1 << 20, 0, 0)
    step = BlockWriter("REG PRED", "RegressionPredXfer").text("t")
    net = pg.to_torch(made({"": keys}, {"": ones}, {"": step, "Model": model}, raw=raw))
    table = pd.concat([ROWS] * 500).assign(t=[f"word {i % 99}" for i in range(2000)])
    net.fit(table, np.arange(2000.0) % 99, epochs=2, validation=None)  # dense: 8 GB
    assert np.isfinite(net.predict(table)).all()


def test_expressions():
    def value(source, *inputs):
        block = BlockWriter("EXPRTRNF", "ExprTransform").i4(1, len(inputs)).text(*inputs)
        block.text(source, "out").i4(-1, *[8] * len(inputs))
        return pg.to_torch(made({"": block})).columns(ROWS)

    a, b = ROWS["a"].to_numpy(), ROWS["b"].to_numpy()
    np.testing.assert_allclose(value("x => -x ^ 2 + 1f", "a")["out"], (-a) ** 2 * -1 + 1, rtol=1e-6)
    np.testing.assert_allclose(value("(x, y) => x < y && !(x > 1) ? y : x / 2", "a", "b")["out"],
                               np.where((a < b) & (a <= 1), b, a / 2), rtol=1e-6)  # fmt: skip
    assert value("x => x != 0", "a")["out"].dtype == bool
    for wrong in ("x => ", "x => lower(x)", "x => x +", "x => " + "-" * 200 + "x", "x + 1"):
        assert "out" not in value(wrong, "a")


def test_columns_of_trees_keep_hard_splits():
    net = pg.to_torch(path_of("tree_featurizer"), trees="soft")
    assert not any(name.endswith("shift") for name, _ in net.named_parameters())
