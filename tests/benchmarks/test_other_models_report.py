"""The page on other models: its tables count right, and folders of different rows do not mix."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from study_files import importable, module  # noqa: F401


def run(data, template, factor, split="0", wider=None):
    """A pipeline with losses of about 1, fine-tuned and widened by factors of its losses."""
    noise = np.tile([0.9, 1.1], 50)
    factors = {"pipeline": 1.0, "finetuned": factor, "wider": wider}
    rows = []
    for arm, scale in factors.items():
        losses = np.zeros(0) if scale is None else scale * noise
        note = {"data": data, "template": template, "split": split, "task": "regression"}
        note |= {"arm": arm, "loss": np.nan if scale is None else scale, "test": losses}
        note |= {"seconds": 8.0 if arm == "finetuned" else 1.0, "error": "", "chosen": "L-BFGS"}
        rows.append(note | {"gain": 0.1, "before": 1.0})
    return rows


def saved(folder, rows, most):
    folder.mkdir()
    for number, row in enumerate(rows):
        pd.DataFrame([row]).to_parquet(folder / f"{number}.parquet")
    (folder / "study.json").write_text(json.dumps({"rows": most}))
    return folder


@pytest.fixture
def folders(tmp_path):
    many = run("concrete", "svm", 0.9) + run("concrete", "svm", 1.04, "1")
    many += [row for data in ("abalone", "phoneme", "credit_g") for row in run(data, "svm", 1.0)]
    many += run("concrete", "nmf", 0.5, wider=0.8) + run("concrete", "linear", 1.0)
    many += run("concrete", "pca", 0.1)  # the main page shows it
    few = run("abalone", "gaussian_process", 1.02)
    return saved(tmp_path / "many", many, 1200), saved(tmp_path / "few", few, 400)


def test_the_page_shows_every_pipeline_with_its_rows_and_losses(folders, tmp_path, capsys):
    page = tmp_path / "page.md"
    names = ("summary", "losses", "pairs", "levels", "wider")
    page.write_text("Text.\n" + "".join(f"<!-- {n} -->\n<!-- /{n} -->\n" for n in names))
    module("other_models_report").main([*map(str, folders), "--page", str(page)])
    assert "8 runs of 4 pipelines" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Text.")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[2:5] == [
        "| NMF, linear model | 1,200 | 1 (too few to judge) | 1 | 50.0% | 100% | 0% | 1 / 0 "
        "| 50.0% | none | 8.0 |",
        "| SVM (RBF kernel) | 1,200 | 4 | 5 | 0.0% | 20% | 20% | 1 / 1 | -4.0% "
        "| concrete (-4.0%) | 8.0 |",
        "| Gaussian process | 400 | 1 (too few to judge) | 1 | -2.0% | 0% | 100% | 0 / 1 "
        "| -2.0% | abalone (-2.0%) | 8.0 |",
    ]
    assert "| concrete | svm | 1 | evaluation | -4.0% |" in text
    assert "| concrete | 1 | 1 → 0.5 | 1 → 0.97 |  |" in text
    assert "| NMF, linear model | 1 | 20.0% | 37.5% | 1 / 0 |" in text
    assert "pca" not in text


def test_results_on_different_numbers_of_rows_do_not_mix(folders, tmp_path):
    other = saved(tmp_path / "other", run("phoneme", "gaussian_process", 1.0), 800)
    with pytest.raises(SystemExit, match="do not mix: gaussian_process"):
        module("other_models_report").read([*folders, other])


def test_every_pipeline_of_the_page_is_one_of_the_study():
    report = module("other_models_report")
    assert {*report.OTHERS, report.LINEAR} <= set(module("templates").TEMPLATES)
    assert set(module("templates").TEMPLATES) <= set(module("study").ORDER)
