"""Real H2O scores what pipegrad wrote, and trains models anew: `make test-h2o`.

It needs h2o in the virtual environment that the variable H2O names; see `tests/h2o_runtime.py`.
Every model among the fixtures is read, all numbers that train are moved by some percent, the model
is written, and H2O's scorer for MOJOs answers with the file; so does H2O's server, which imports
it as a model.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_h2o import DATA, ERROR, NAMES, answers_of, assert_same, mojo, rounding

import pipegrad as pg
from pipegrad.testing import perturb

RUNTIME = Path(__file__).parents[2] / "h2o_runtime.py"


@pytest.fixture(scope="session")
def python():
    folder = os.environ.get("H2O")
    assert folder, "the variable H2O names no environment with h2o: use `make test-h2o`"
    return Path(folder).resolve() / "bin" / "python"


def moved(path, **options):
    net = pg.to_torch(path, **options)
    perturb(net)
    return net.eval()


def run(python, what, *arguments):
    subprocess.run([str(python), str(RUNTIME), what, *map(str, arguments)], check=True)


@pytest.fixture(scope="session")
def scored(python, tmp_path_factory):
    """Perturbed models, and what H2O's scorer says of them."""
    folder, jobs = tmp_path_factory.mktemp("perturbed"), []
    for name in NAMES:
        pg.from_torch(moved(mojo(name)), folder / f"{name}.zip")
        answers_of(name)[0].to_parquet(folder / f"{name}.rows.parquet")
        jobs.append([str(folder / f"{name}{end}") for end in (".zip", ".rows.parquet", ".parquet")])
    (folder / "jobs.json").write_text(json.dumps(jobs))
    run(python, "score", folder / "jobs.json")
    run(python, "import", folder / "jobs.json")
    return folder


def answers_at(path):
    problem = Path(f"{path}.error")
    assert path.exists(), problem.read_text() if problem.exists() else "no result"
    table = pd.read_parquet(path)
    assert ERROR not in table or table[ERROR].isna().all()
    found = table[[name for name in table if name.startswith("answer:") and name != ERROR]]
    return found.rename(columns=lambda name: name.removeprefix("answer:"))


@pytest.mark.parametrize("name", NAMES)
def test_h2o_scores_written_models_as_the_module_does(scored, name):
    given, _ = answers_of(name)
    expected = answers_at(scored / f"{name}.parquet")
    assert_same(moved(mojo(name)).columns(given), expected, **rounding(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_server_imports_written_models(scored, name):
    """The server takes new levels for others than missing ones: rows without them are compared."""
    given, before = answers_of(name)
    known = knows_all_levels(name, given)
    expected = answers_at(scored / f"{name}.parquet.imported")
    shared = [column for column in expected if column in before]
    assert shared
    mine = moved(mojo(name)).columns(given)
    assert_same(
        {column: np.asarray(mine[column])[known] for column in shared},
        expected.loc[known, shared].reset_index(drop=True),
        tolerance=1e-6,
    )


def knows_all_levels(name, given):
    """Rows without the levels and texts that no model was trained on."""
    texts = given.select_dtypes(exclude="number")
    return ~texts.isin(["unseen", "", "3"]).any(axis=1).to_numpy()


@pytest.fixture(scope="session")
def trained(python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    run(python, "train", folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_models_of_this_h2o_are_read(trained, name):
    table = pd.read_parquet(trained / f"{name}.parquet")
    if ERROR in table:
        table = table[table[ERROR].isna()].drop(columns=ERROR).reset_index(drop=True)
    given = table[[column for column in table if not column.startswith("answer:")]]
    expected = table.drop(columns=given.columns)
    expected = expected.rename(columns=lambda column: column.removeprefix("answer:"))
    assert_same(pg.to_torch(trained / f"{name}.zip").columns(given), expected)


def test_fixtures_are_those_of_all_cases(trained):
    assert {path.stem for path in trained.glob("*.zip")} == {p.stem for p in DATA.glob("*.zip")}
