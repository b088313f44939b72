"""Files of ML.NET, LightGBM, XGBoost and CatBoost as ONNX files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipegrad as pg
from pipegrad.sources.mlnet import load
from pipegrad.sources.mlnet.operators.categories import Hash
from pipegrad.testing import DATASETS, assert_close

pytest.importorskip("onnxruntime")
import onnx
from onnx import helper

from pipegrad.answer_differences import difference
from pipegrad.export.measured import onnx_answers, session
from pipegrad.export.mlnet_hashes import WHOLE, hash_keys
from pipegrad.export.onnx_file import onnx_file
from pipegrad.export.onnx_graph import ELEMENT, GraphWriter
from pipegrad.export.table import Part

MLNET = Path(__file__).parents[1] / "data" / "mlnet"
NAMES = sorted(path.stem for path in MLNET.glob("*.zip"))
REFUSED = {
    "more_convert_numbers": "parses text",
    "more_convert_truth": "parses text",
    "more_hash_types": "no operator for its hash of TextSpan",
    "more_nimbus_sparse_multiclass": "no operator for its hash of TextSpan",
    "more_nimbus_text": "which needs .NET",
    "more_text_tokens": "which needs .NET",
    "onehot_hash": "no operator for its hash of TextSpan",
    "text_featurize": "which needs .NET",
    "text_words": "which needs .NET",
}
# As in the tests of what the modules compute.
TOLERANCES = {
    "kernel_map": 1e-5,
    "more_kernel_laplacian": 3e-5,
    "nimbus_ols": 1e-5,
    "norm_logmeanvar": 1e-5,
    "norm_meanvar": 1e-5,
    "pca_anomaly": 1e-5,
    "svm_calibrator_isotonic": 5e-5,
}
QUICK = ("convert_select", "more_hash_key", "linear_svm", *REFUSED)


def table_of(name):
    return pd.read_parquet(MLNET / f"{name}.input.parquet")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES],
)
def test_columns_of_mlnet_are_outputs(name):
    model, table = load(MLNET / f"{name}.zip"), table_of(name)
    if name in REFUSED:
        with pytest.raises(pg.UntranslatableError, match=REFUSED[name]):
            onnx_file(model, dtype=None, rows=None, opset=20)
        return
    file = session(onnx_file(model, dtype=None, rows=None, opset=20))
    found = onnx_answers(file, table, model)
    assert {f"{column}.output" for column in model.answers.values()} <= set(found)
    with np.load(MLNET / f"{name}.expected.npz") as saved:
        wanted = {f"{key}.output": saved[key] for key in saved.files}
    for key in set(found) & set(wanted):
        values = wanted[key].reshape(len(table), -1)
        text = values.dtype.kind in "OU"
        assert found[key].shape == values.shape, key
        assert text or found[key].dtype == values.dtype, key
        gap = difference(found[key], values.astype(object) if text else values)
        assert gap <= TOLERANCES.get(name, 2e-6), f"{key} differs by {gap:.1e}"
    assert set(found) & set(wanted)
    for key, values in onnx_answers(file, table[:0], model).items():
        assert values.shape == (0, *found[key].shape[1:]), key


@pytest.mark.slow
def test_labels_are_no_inputs(tmp_path):
    name = "nimbus_logistic"
    path = pg.export(MLNET / f"{name}.zip", tmp_path / "model.onnx", rows=table_of(name))
    model = onnx.load(path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    gaps = json.loads(facts["largest_difference"])
    assert gaps["PredictedLabel.output"] == 0
    assert 0 <= gaps["Score.output"] < 1e-6
    inputs = {one.name for one in model.graph.input}
    answers = {one.name for one in model.graph.output}
    assert {"PredictedLabel.output", "Score.output", "Probability.output"} <= answers
    assert "label" not in inputs
    net, table = pg.to_torch(MLNET / f"{name}.zip"), table_of(name)[sorted(inputs)]
    found = onnx_answers(session(path.read_bytes()), table)
    assert (found["PredictedLabel.output"][:, 0] == net.columns(table)["PredictedLabel"]).all()


@pytest.mark.slow
def test_a_column_that_only_training_needs_is_left_out(tmp_path):
    path = pg.export(MLNET / "figure1.zip", tmp_path / "model.onnx")
    model = onnx.load(path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert "it needs column 'cnt', which no prediction needs" in facts["columns_left_out"]
    assert "cnt" not in {one.name for one in model.graph.input}
    assert "Label01.output" not in {one.name for one in model.graph.output}


@pytest.mark.slow
def test_a_module_of_a_file_exports_its_present_parameters(tmp_path):
    net, table = pg.to_torch(MLNET / "linear_svm.zip"), table_of("linear_svm")
    for parameter in net.trainable_parameters().values():
        parameter.data.mul_(1.5)
    path = pg.export(net, tmp_path / "model.onnx")
    found = onnx_answers(session(path.read_bytes()), table, net.source)
    assert_close(found["Score.output"][:, 0], net.columns(table)["Score"], 2e-6)


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("ordered", [False, True])
def test_hashes_of_whole_numbers_are_those_of_mlnet(kind, ordered):
    names = {"Key": "uint32", "Boolean": "bool", "SByte": "int8", "Byte": "uint8"}
    dtype = names.get(kind, kind.lower())
    rng = np.random.default_rng(0)
    if dtype == "bool":
        values = rng.random((50, 3)) < 0.5
    else:
        limits = np.iinfo(dtype)
        values = rng.integers(limits.min, limits.max, size=(50, 3), dtype=dtype, endpoint=True)
        values[0], values[1], values[2] = 0, limits.min, limits.max
    operator = Hash(kind=kind, bits=13, seed=314489979, ordered=ordered)
    writer = GraphWriter("float32")
    writer.add_input("x", dtype, ["rows", 3])
    part = hash_keys(writer, operator, Part("x", 3, dtype))
    writer.node("Identity", part.name, output="y")
    writer.outputs.append(helper.make_tensor_value_info("y", ELEMENT["int64"], ["rows", 3]))
    model = helper.make_model(
        writer.graph("hash"), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    (found,) = session(model.SerializeToString()).run(None, {"x": values})
    assert (found == operator.run(values)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["model.txt", "model.json", "model.ubj", "model.cbm", "catboost.json"]
)
def test_files_of_boosted_trees_answer_as_their_libraries(name, tmp_path):
    X, y = DATASETS["missing"]()
    path = tmp_path / name
    if path.suffix == ".txt":
        import lightgbm

        model = lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1).fit(X, y)
        model.booster_.save_model(path)
    elif name in ("model.cbm", "catboost.json"):
        import catboost

        model = catboost.CatBoostRegressor(iterations=4, verbose=0, allow_writing_files=False)
        model.fit(X, y).save_model(str(path), format=path.suffix[1:])
    else:
        import xgboost

        model = xgboost.XGBRegressor(n_estimators=4, n_jobs=1).fit(X, y)
        model.save_model(path)
    for thing in (path, pg.to_torch(path)):
        file = pg.export(thing, tmp_path / "model.onnx")
        found = onnx_answers(session(file.read_bytes()), X)
        assert_close(found["variable"][:, 0], model.predict(X), 1e-6)
