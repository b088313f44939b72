"""The study of coverage: its rows do not mix, it resumes, and its page counts right."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from study_files import importable, module  # noqa: F401

pytestmark = pytest.mark.usefixtures("importable")


def table(count=400):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"userId": rng.integers(0, 30, size=count).astype(str), "a": range(count)})


@pytest.mark.parametrize("regime", ["random", "ordered", "grouped"])
@pytest.mark.parametrize("seed", range(3))
def test_new_rows_are_new(regime, seed):
    coverage, X = module("interval_coverage"), table()
    run = coverage.Run(regime, "movielens_100k", "pca", 150, seed)
    known, new, groups = coverage.rows_of(run, X, np.zeros(len(X)))
    assert len(known) == len(np.unique(known)) == 150
    assert len(new)
    assert not set(known) & set(new)
    if regime == "ordered":
        assert known.max() < new.min()
    if regime == "grouped":
        assert not set(X.userId[known]) & set(X.userId[new])
        assert len(groups) == len(known)


def test_first_runs_cover_all_regimes_and_sizes():
    coverage = module("interval_coverage")
    every = list(coverage.runs())
    first = every[: len(every) // coverage.SEEDS]
    assert {run.seed for run in first} == {0}
    assert len({(run.regime, run.size) for run in first}) == 3 * len(coverage.SIZES)
    assert len({run.file for run in every}) == len(every)


def test_it_runs_and_resumes(tmp_path, monkeypatch):
    coverage, rng = module("interval_coverage"), np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc"))
    X.assign(strength=X.a + X.b).to_parquet(tmp_path / "concrete.parquet")
    run = coverage.Run("random", "concrete", "pca", 60, 0)
    broken = coverage.Run("random", "abalone", "pca", 60, 0)
    monkeypatch.setattr(coverage, "runs", lambda: iter([run, broken]))
    out = tmp_path / "results"
    command = ["coverage", "--data", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    coverage.main()
    found = pd.read_parquet(out / run.file).iloc[0]
    assert found.failure == ""
    assert found.rows <= 60
    assert found.error >= 0
    assert "FileNotFoundError" in pd.read_parquet(out / broken.file).failure[0]
    monkeypatch.setattr(coverage, "measure", lambda *_: pytest.fail("repeated"))
    coverage.main()
    assert not list(out.glob("*.claim"))


def results(folder):
    """Two runs that the interval covers, one that only both errors cover, one that neither does."""
    folder.mkdir()
    gains = {"a": (1.0, 0.1), "b": (0.9, 0.1), "c": (0.75, 0.2), "d": (-0.5, 0.1), "same": (1, 1)}
    for name, (new, error) in gains.items():
        row = {"regime": "random", "data": name, "pipeline": "pca", "size": 400, "seed": 0}
        row |= {"improved": name != "same", "gain": 1.0, "error": 0.1, "failure": ""}
        pd.DataFrame([{**row, "new_gain": new, "new_error": error}]).to_parquet(
            folder / f"{name}.parquet"
        )
    return folder


def test_the_page_counts(tmp_path, monkeypatch):
    report = module("interval_coverage_report")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.START}\nold\n{report.END}\nafter\n")
    command = ["coverage_report", str(results(tmp_path / "results")), str(page)]
    monkeypatch.setattr(sys, "argv", command)
    report.main()
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    row = next(line for line in text.splitlines() if line.startswith("| random | all |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == "4"
    assert cells[3].startswith("50% (")
    assert cells[4] == "75%"
    assert cells[-1] == "1"
    assert (tmp_path / "coverage.svg").read_text().startswith("<?xml")
