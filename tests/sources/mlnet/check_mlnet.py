"""Real ML.NET scores what pipegrad wrote: `make test-mlnet`.

It needs packages that `tests/mlnet_runtime.py install` puts into the folder that the variable
MLNET names. Every model among the fixtures is read, all numbers that train are moved by some
percent, the model is written, and ML.NET loads the file and gives every column.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_mlnet import (
    DATA,
    MODEST,
    NAMES,
    NOTHING_TRAINS,
    expected_of,
    path_of,
    perturb,
    table_of,
)

import mlnet_runtime
import pipegrad as pg
from pipegrad.modules import TreeEnsemble

sys.path.append(str(Path(__file__).parents[2] / "fuzz"))
from formats import accepted

# Of the largest value in a column: what float32 and the order of a sum leave open.
TOLERANCE = 2e-6
# Frequencies of a Cauchy distribution are large, and waves magnify rounding.
LARGER = {"more_kernel_laplacian": 3e-5}
# What .NET has to give to us: words and counts of words.
GIVEN = {
    "text_featurize": ["t"],
    "text_words": ["w", "c", "ng", "ngt", "ngh"],
    "more_nimbus_text": ["t"],
    "more_text_tokens": ["ng"],
}
SOFT = [
    "more_nimbus_lightgbm_missing",
    "fasttree_regression",
    "fastforest_binary",
    "lightgbm_multiclass",
    "fasttree_categorical",
]


@pytest.fixture(scope="session")
def runtime():
    folder = os.environ.get("MLNET")
    assert folder, "the variable MLNET names no folder with ML.NET: use `make test-mlnet`"
    return Path(folder).resolve()


def softened(name):
    """A model whose thresholds have moved."""
    net = pg.to_torch(path_of(name))
    for part in net.modules():
        if isinstance(part, TreeEnsemble):
            part.soften("soft")
    perturb(net)
    return net.eval()


def run(runtime, jobs):
    """Let ML.NET score (model, table, result), or train (graph, model, table, result)."""
    file = Path(jobs[0][-1]).with_suffix(".jobs.json")
    file.write_text(json.dumps([[str(part) for part in job] for job in jobs]))
    command, variables = mlnet_runtime.python_of(runtime)
    subprocess.run([*command, "run", str(runtime), str(file)], env=variables, check=True)


def columns_of(path):
    problem = Path(f"{path}.error")
    assert path.exists(), problem.read_text() if problem.exists() else "no result"
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="session")
def written(runtime, tmp_path_factory):
    """Perturbed models, and what ML.NET says of them."""
    folder, jobs = tmp_path_factory.mktemp("perturbed"), []
    for name in NAMES:
        jobs.append(
            (folder / f"{name}.zip", DATA / f"{name}.input.parquet", folder / f"{name}.npz")
        )
        net = pg.to_torch(path_of(name))
        perturb(net)
        pg.from_torch(net, jobs[-1][0])
    for name in SOFT:
        model = folder / f"{name}.soft.zip"
        pg.from_torch(softened(name), model)
        jobs.append((model, DATA / f"{name}.input.parquet", folder / f"{name}.soft.npz"))
    run(runtime, jobs)
    return folder


def assert_same(net, table, real, wanted_columns, tolerance=TOLERANCE):
    mine = net.columns(table)
    shared = set(mine) & set(real)
    assert set(wanted_columns) & set(mine) <= shared
    for name in shared:
        one, other = mine[name], real[name]
        assert one.shape == other.shape, name
        if other.dtype.kind == "U":
            assert (one.astype(str) == other).all(), name
            continue
        assert one.dtype == other.dtype, name
        finite = other[np.isfinite(other)].astype(float)
        size = np.abs(finite).max(initial=0.0) or 1.0
        np.testing.assert_allclose(
            one.astype(float), other.astype(float), rtol=0, atol=tolerance * size,
            equal_nan=True, err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_mlnet_scores_written_models_as_the_module_does(written, name):
    real, table = columns_of(written / f"{name}.npz"), table_of(name)
    for column in GIVEN.get(name, ()):
        if column in real:
            table[column] = list(real[column])
    net = pg.to_torch(path_of(name))
    perturb(net)
    if name != "text_words":  # nothing of it is ours
        assert_same(net, table, real, expected_of(name), LARGER.get(name, TOLERANCE))
    if name not in {
        *NOTHING_TRAINS,
        "kernel_map",
        "more_kernel_laplacian",
        "text_featurize",
        "text_words",
    }:
        before = expected_of(name)
        floats = [n for n in before if n in real and before[n].dtype.kind == "f"]
        assert any(not np.array_equal(before[n], real[n], equal_nan=True) for n in floats)


@pytest.mark.parametrize("name", SOFT)
def test_mlnet_scores_moved_thresholds(written, name):
    real = columns_of(written / f"{name}.soft.npz")
    assert_same(softened(name), table_of(name), real, expected_of(name))


@pytest.mark.parametrize("name", ["sdca_regression_l1", "sdca_regression_allzero"])
def test_mlnet_loads_weights_that_filled_up(runtime, tmp_path, name):
    net = pg.to_torch(path_of(name))
    with torch.no_grad():
        for key, parameter in net.trainable_parameters().items():
            if key.endswith("weight"):
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    pg.from_torch(net, tmp_path / "full.zip")
    job = (tmp_path / "full.zip", DATA / f"{name}.input.parquet", tmp_path / "full.npz")
    run(runtime, [job])
    assert_same(net, table_of(name), columns_of(job[2]), expected_of(name))


def test_figure_1_is_better_in_mlnet(runtime, tmp_path):
    train, test = (pd.read_parquet(DATA / f"figure1.{part}.parquet") for part in ("train", "test"))
    net = pg.to_torch(path_of("figure1"))
    net.fit(train, "cnt", epochs=4, optim=torch.optim.LBFGS, validation=None)
    pg.from_torch(net, tmp_path / "tuned.zip")
    files = {"before": path_of("figure1"), "after": tmp_path / "tuned.zip"}
    rows = DATA / "figure1.test.parquet"
    run(runtime, [(model, rows, tmp_path / f"{k}.npz") for k, model in files.items()])
    count = test["cnt"].to_numpy(float)
    losses = {}
    for key in files:
        mean = columns_of(tmp_path / f"{key}.npz")["Score"].astype(float)
        deviance = 2 * np.mean(count * np.log(np.maximum(count, 1) / mean) - count + mean)
        losses[key] = [deviance, np.abs(mean - count).mean(), ((mean - count) ** 2).mean()]
    assert (np.array(losses["after"]) < 0.88 * np.array(losses["before"])).all()


@pytest.mark.parametrize("source", ["figure1.entrypoints.json", "figure1_nimbus.zip"])
def test_mlnet_runs_the_graphs_that_are_written(runtime, tmp_path, source):
    graph = tmp_path / "graph.json"
    if source.endswith(".json"):
        read = pg.Graph.from_json((DATA / source).read_text())
    else:
        read = pg.to_torch(DATA / source).graph
        # The file names the labels of the last predictor alone.
        text = read.to_json(form="mlnet").replace(
            '"FeatureColumnName": "norm"',
            '"FeatureColumnName": "norm", "LabelColumnName": "Label01"',
        )
        read = pg.Graph.from_json(text)
    graph.write_text(read.to_json(form="mlnet"))
    table = pd.read_parquet(DATA / "figure1.train.parquet")
    table["Label01"] = (table["cnt"] > 139).astype("float32")
    table.to_parquet(tmp_path / "rows.parquet")
    model, rows = tmp_path / "new.zip", tmp_path / "rows.parquet"
    run(
        runtime,
        [(graph, path_of("figure1_nimbus"), rows, model), (model, rows, tmp_path / "new.npz")],
    )
    problem = Path(f"{model}.error")
    assert model.exists(), problem.read_text()
    net = pg.to_torch(model)
    assert_same(net, table, columns_of(tmp_path / "new.npz"), ["Score", "norm", "prob1"])
    kinds = [step.kind for step in pg.to_torch(path_of("figure1_nimbus")).graph]
    assert [step.kind for step in net.graph] == kinds


# -- files of others ---------------------------------------------------------------------------


def mutants(folder, count):
    """Damaged files that pipegrad reads nevertheless, as jobs for ML.NET."""
    paths = {name: path_of(name) for name in NAMES if name not in GIVEN}
    return {
        (name, number): (model, DATA / f"{name}.input.parquet", folder / f"{number}.npz")
        for (name, number), model in accepted("mlnet", paths, count, folder).items()
    }


def run_each(runtime, jobs):
    """Let ML.NET score as many as it survives."""
    for start in range(0, len(jobs), 20):
        waiting = jobs[start : start + 20]
        while waiting:
            try:
                run(runtime, waiting)
            except subprocess.CalledProcessError:
                pass
            else:
                break
            results = [job[-1].exists() or Path(f"{job[-1]}.error").exists() for job in waiting]
            waiting = waiting[results.index(False) + 1 :]


@MODEST
def test_what_mlnet_accepts_of_damaged_files_gets_its_answers(runtime, tmp_path):
    """MUTANTS=10000 tries more of them."""
    jobs = mutants(tmp_path, int(os.environ.get("MUTANTS", "150")))
    run_each(runtime, list(jobs.values()))
    accepted = 0
    for (name, number), (model, _, result) in jobs.items():
        if result.exists():
            accepted += 1
            net, real = pg.to_torch(model), columns_of(result)
            try:
                assert_same(net, table_of(name), real, [], 1e-4)
            except AssertionError as error:
                raise AssertionError(f"mutant {number} of {name}: {error}") from error
    assert accepted > len(jobs) / 2
