"""Real H2O scores what pipegrad wrote, and trains models anew: `make test-h2o`.

It needs h2o in the virtual environment that the variable H2O names; see `tests/h2o_runtime.py`.
Every model among the fixtures is read, all numbers that train are moved by some percent, the model
is written, and H2O's scorer for MOJOs answers with the file; so does H2O's server, which imports
it as a model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from test_h2o import DATA, NAMES, answers_of, assert_same, mojo, rounding, rows_for, split

import h2o_runtime
import pipegrad as pg
from h2o_tables import training_table
from pipegrad.testing import perturb

sys.path.append(str(Path(__file__).parents[2] / "fuzz"))
from formats import accepted

# Other fixtures lack what the server asks for; of these algorithms it imports no MOJO.
IMPORTED = [
    name
    for name in NAMES
    if "experimental/modelDetails.json" in zipfile.ZipFile(mojo(name)).namelist()
    and not name.startswith(("kmeans", "pca", "svm"))
]
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


def score(python, folder, models, what="score"):
    """Let H2O answer for the rows of fixtures; the file with its answers for each model."""
    jobs = {}
    for path, name in models:
        rows = folder / f"{name}.rows.parquet"
        answers_of(name)[0].to_parquet(rows)
        jobs[path] = [str(path), str(rows), f"{path}.{what}.parquet"]
    (folder / "jobs.json").write_text(json.dumps(list(jobs.values())))
    run(python, what, folder / "jobs.json")
    return {path: Path(job[-1]) for path, job in jobs.items()}


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Perturbed models by name."""
    folder = tmp_path_factory.mktemp("perturbed")
    for name in NAMES:
        pg.from_torch(moved(mojo(name)), folder / f"{name}.zip")
    return {name: folder / f"{name}.zip" for name in NAMES}


@pytest.fixture(scope="session")
def scored(python, written):
    """What H2O's scorer says of perturbed models."""
    folder = next(iter(written.values())).parent
    results = score(python, folder, [(path, name) for name, path in written.items()])
    return {name: results[path] for name, path in written.items()}


@pytest.fixture(scope="session")
def imported(python, written):
    """What H2O's server says of perturbed models that it imports."""
    folder = next(iter(written.values())).parent
    results = score(python, folder, [(written[name], name) for name in IMPORTED], "import")
    return {name: results[written[name]] for name in IMPORTED}


def answers_at(path):
    problem = Path(f"{path}.error")
    assert path.exists(), problem.read_text() if problem.exists() else "no result"
    given, answers = split(pd.read_parquet(path))
    assert len(given) == len(pd.read_parquet(path)), "H2O refuses rows"
    return answers


@pytest.mark.parametrize("name", NAMES)
def test_h2o_scores_written_models_as_the_module_does(scored, name):
    given, _ = answers_of(name)
    found = moved(mojo(name)).columns(given)
    assert_same(found, answers_at(scored[name]), **rounding(name))


@pytest.mark.parametrize("name", IMPORTED)
def test_the_server_imports_written_models(imported, name):
    """The server takes new levels for others than missing ones: rows without them are compared."""
    given, before = answers_of(name)
    known = knows_all_levels(given)
    expected = answers_at(imported[name])
    shared = [column for column in expected if column in before]
    assert shared
    mine = moved(mojo(name)).columns(given)
    assert_same(
        {column: np.asarray(mine[column])[known] for column in shared},
        expected.loc[known, shared].reset_index(drop=True),
        tolerance=1e-6,
    )


def knows_all_levels(given):
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
    given, expected = rows_for(name, pd.read_parquet(trained / f"{name}.parquet"))
    assert_same(pg.to_torch(trained / f"{name}.zip").columns(given), expected)


def test_what_h2o_accepts_of_damaged_files_gets_its_answers(python, tmp_path):
    """MUTANTS=10000 tries more of them."""
    count = int(os.environ.get("MUTANTS", "150"))
    found = accepted("h2o", {name: mojo(name) for name in NAMES}, count, tmp_path)
    results = score(python, tmp_path, [(path, name) for (name, _), path in found.items()])
    agreed = 0
    for (name, number), (path, result) in zip(found, results.items(), strict=True):
        if result.exists():
            given, expected = split(pd.read_parquet(result))
            try:
                assert_same(pg.to_torch(path).columns(given), expected)
            except pg.ArgumentError as error:
                # H2O takes columns that a table lacks for missing.
                if "lacks columns" not in str(error):
                    raise
                continue
            except (AssertionError, KeyError) as error:
                raise AssertionError(f"mutant {number} of {name}: {error}") from error
            agreed += 1
    assert agreed > len(found) / 3


@pytest.fixture(scope="session")
def h2o(python, tmp_path_factory):
    """The package h2o, with a server: it is plain Python, as are those that it needs."""
    links = tmp_path_factory.mktemp("h2o")
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    for name in ("h2o", "requests", "tabulate", "urllib3", "idna", "certifi", "charset_normalizer"):
        if find_spec(name) is None:
            (links / name).symlink_to(packages / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(links)
        with h2o_runtime.server() as running:
            yield running


# Its sockets are closed by the collector, and it warns of its own age.
@pytest.mark.filterwarnings("ignore")
def test_models_of_a_server_come_back(h2o):
    from h2o.estimators import H2OGeneralizedLinearEstimator, H2OKMeansEstimator

    given, _ = answers_of("glm_gaussian")
    table = given.dropna()[["u", "v"]].reset_index(drop=True)
    table = table[(table.abs() < 1e6).all(axis=1)].assign(y=lambda rows: rows["u"] - rows["v"])
    frame, estimator = h2o.H2OFrame(table), H2OGeneralizedLinearEstimator(lambda_=0.1)
    with pytest.raises(NotFittedError, match="is not trained"):
        pg.to_torch(estimator)
    estimator.train(x=["u", "v"], y="y", training_frame=frame)

    net = pg.to_torch(estimator)
    perturb(net)
    again = pg.from_torch(net.eval())
    assert type(again).__name__ == "H2OGenericEstimator"
    answers = again.predict(frame).as_data_frame()["predict"]
    np.testing.assert_allclose(net.predict(table), answers, rtol=1e-9)
    tuned = pg.FineTuner(estimator, random_state=0).fit(pd.concat([table] * 10), "y")
    assert tuned.report_.after <= tuned.report_.before

    clusters = H2OKMeansEstimator(k=2)
    clusters.train(x=["u", "v"], training_frame=frame)
    with pytest.raises(pg.ArgumentError, match="imports no MOJO of a kmeans model"):
        pg.from_torch(pg.to_torch(clusters))


def test_fixtures_are_those_of_all_cases(trained):
    assert {path.stem for path in trained.glob("*.zip")} == {p.stem for p in DATA.glob("*.zip")}


@pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")
def test_the_code_of_the_page_runs(python, tmp_path, monkeypatch):
    shutil.copy(mojo("ensemble_binomial"), tmp_path / "ensemble.zip")
    training_table().to_parquet(tmp_path / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    page = Path(pg.__file__).parents[2] / "docs" / "h2o.md"
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        exec(compile(block, page, "exec"), names)
    (tmp_path / "jobs.json").write_text(
        json.dumps([[str(tmp_path / n) for n in ("tuned.zip", "rows.parquet", "scored.parquet")]])
    )
    run(python, "score", tmp_path / "jobs.json")
    assert_same(names["columns"], answers_at(tmp_path / "scored.parquet"))
