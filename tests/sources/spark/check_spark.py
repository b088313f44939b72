"""Real Spark scores what pipegrad wrote, and trains models anew: `make test-spark`.

It needs pyspark in the virtual environment that the variable SPARK names; see
`tests/spark_runtime.py`. Every model among the fixtures is read, all numbers that train are moved
by some percent, the model is written, and Spark loads the folder and gives every column.
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from test_spark import DATA, NAMES, assert_same_columns, expected_of, table_of

import pipegrad as pg
from pipegrad.testing import perturb

RUNTIME = Path(__file__).parents[2] / "spark_runtime.py"
SOFT = ["boosted", "forest", "tree_regression"]


@pytest.fixture(scope="session")
def python():
    folder = os.environ.get("SPARK")
    assert folder, "the variable SPARK names no environment with pyspark: use `make test-spark`"
    return Path(folder).resolve() / "bin" / "python"


def moved(path, **options):
    net = pg.to_torch(path, **options)
    perturb(net)
    return net.eval()


@pytest.fixture(scope="session")
def scored(python, tmp_path_factory):
    """Perturbed models, and what Spark says of them."""
    folder, jobs = tmp_path_factory.mktemp("perturbed"), []
    for name in NAMES + [f"{name}.soft" for name in SOFT]:
        plain = name.removesuffix(".soft")
        net = moved(DATA / f"{plain}.spark", trees="leaves" if plain == name else "soft")
        pg.from_torch(net, folder / name)
        jobs.append([folder / name, DATA / f"{plain}.parquet", folder / f"{name}.parquet"])
    file = folder / "jobs.json"
    file.write_text(json.dumps([[str(part) for part in job] for job in jobs]))
    subprocess.run([str(python), str(RUNTIME), "score", str(file)], check=True)
    return folder


def table_at(path):
    problem = Path(f"{path}.error")
    assert path.exists(), problem.read_text() if problem.exists() else "no result"
    return pd.read_parquet(path)


@pytest.mark.parametrize("name", NAMES)
def test_spark_scores_written_models_as_the_module_does(scored, name):
    net = moved(DATA / f"{name}.spark")
    found = net.columns(table_of(name, net))
    assert_same_columns(found, table_at(scored / f"{name}.parquet"), found)


@pytest.mark.parametrize("name", SOFT)
def test_spark_routes_rows_by_moved_thresholds(scored, name):
    net = moved(DATA / f"{name}.spark", trees="soft")
    found = net.columns(table_of(name, net))
    assert_same_columns(found, table_at(scored / f"{name}.soft.parquet"), found)


@pytest.fixture(scope="session")
def trained(python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run([str(python), str(RUNTIME), "train", str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_models_of_this_spark_are_read(trained, name):
    net = pg.to_torch(trained / f"{name}.spark")
    table = pd.read_parquet(trained / f"{name}.parquet")
    given = table.drop(columns=[c for c in net.graph.columns if c in table.columns])
    found = net.columns(given)
    assert_same_columns(found, table, found)


def test_fixtures_are_those_of_all_cases():
    cases = RUNTIME.read_text().split("\n@case\ndef ")[1:]
    assert sorted(text.partition("(")[0] for text in cases) == NAMES
    assert all(zipfile.is_zipfile(DATA / f"{name}.spark") for name in NAMES)
    assert all(len(expected_of(name)) for name in NAMES)
