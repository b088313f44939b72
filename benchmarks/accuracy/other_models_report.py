"""Writes the tables of docs/accuracy-of-other-models.md from results of `study.py`.

    python benchmarks/accuracy/study.py --data DATA --out FEW --rows 1200 --splits 0 1 \\
        --controls none --sets NAME ... --templates splines svm ...
    python benchmarks/accuracy/study.py --data DATA --out FEWER --rows 300 --splits 0 1 \\
        --controls none --sets NAME ... --templates gaussian_process
    python benchmarks/accuracy/other_models_report.py FEW FEWER --page PAGE

Each folder of results has its own limit of rows; a pipeline is in one folder only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import figures
import pandas as pd
from figures import WORTH
from rule_study_report import filled

from data import DATASETS
from report import failures_table, markdown, pairs_table, percent, worse_table

# Pipelines that the main page of the study does not show, and stacks, which hold neighbors.
OTHERS = {
    "splines": "splines, linear model",
    "nmf": "NMF, linear model",
    "kernel_pca": "KernelPCA, linear model",
    "mlp": "MLP, early stopping",
    "mlp_full": "MLP",
    "naive_bayes": "GaussianNB",
    "discriminant": "LDA",
    "svm": "SVM (RBF kernel)",
    "gaussian_process": "Gaussian process",
    "stacking": "stack with kNN",
}
# What their losses are compared with.
LINEAR = "linear"
# A pipeline on fewer data sets than this says little.
ENOUGH = 4


def read(folders: Sequence[Path]) -> pd.DataFrame:
    """Results of these models; ``most`` is the limit of rows of their folder."""
    parts = []
    for folder in folders:
        settings = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        parts.append(figures.read(folder).assign(most=settings["rows"]))
    found = pd.concat(parts, ignore_index=True)
    found = figures.random_splits(found[found.template.isin([*OTHERS, LINEAR])])
    twice = found.groupby("template").most.nunique()
    if (twice > 1).any():
        names = ", ".join(twice[twice > 1].index)
        raise SystemExit(f"Results with different limits of rows do not mix: {names}.")
    return found


def summary_table(table: pd.DataFrame) -> str:
    """One row for each pipeline, those with the largest median first."""
    runs, costs = figures.compare(table, "finetuned", "pipeline"), figures.costs(table)
    found = [figures.summary(name, runs[runs.template == name]) for name in OTHERS]
    ran = sorted((one for one in found if one.runs), key=lambda one: -one.median)
    rows = [_summary_row(one, runs, table, costs) for one in ran]
    head = ["pipeline", "rows", "data sets", "runs", "median reduction", "better by 0.5%"]
    head += ["worse by 0.5%", "better / worse beyond noise", "worst run", "losses", "CPU seconds"]
    return markdown(head, rows)


def _summary_row(
    one: figures.Summary, runs: pd.DataFrame, table: pd.DataFrame, costs: pd.DataFrame
) -> list[str]:
    mine = runs[runs.template == one.name]
    few = " (too few to judge)" if one.sets < ENOUGH else ""
    return [
        OTHERS[one.name],
        f"{table.most[table.template == one.name].iloc[0]:,}",
        f"{one.sets}{few}",
        str(one.runs),
        percent(one.median),
        percent(one.better, 0),
        percent(one.worse, 0),
        f"{one.helped} / {one.harmed}",
        percent(one.worst),
        _losses(mine),
        f"{costs.seconds[costs.template == one.name].median():.1f}",
    ]


def _losses(runs: pd.DataFrame) -> str:
    """Data sets of the runs that got worse, the worst first."""
    lost = runs[runs.reduction < -WORTH].sort_values("reduction")
    told = [f"{row.data} ({percent(row.reduction)})" for row in lost.itertuples()]
    return ", ".join(told) or "none"


def widths_table(table: pd.DataFrame) -> str:
    """Against the same pipeline with twice as many components, knots or neurons, as fitted."""
    rows = []
    for name, label in OTHERS.items():
        part = table[table.template == name]
        wider = figures.compare(part, "wider", "pipeline")
        if not len(wider):
            continue
        tuned = figures.compare(part, "finetuned", "wider")
        both = [figures.pairs(some).reduction.median() for some in (wider, tuned)]
        better = f"{(tuned.z > figures.NOISE).sum()} / {(tuned.z < -figures.NOISE).sum()}"
        rows.append([label, str(len(tuned)), *map(percent, both), better])
    head = ["pipeline", "runs", "wider instead of narrow", "fine-tuned instead of wider"]
    return markdown([*head, "better / worse beyond noise"], rows)


def levels_table(table: pd.DataFrame) -> str:
    """Test losses before and after fine-tuning, means over splits; those of a linear model."""
    ran = table[table.loss.notna()]
    means = ran.groupby(["data", "template", "arm"], sort=False).loss.mean()
    names = [name for name in OTHERS if (ran.template == name).any()]
    rows = []
    for data in DATASETS:
        if (ran.data == data.name).any():
            linear = means.get((data.name, LINEAR, "pipeline"))
            cells = ["" if linear is None else f"{linear:.3g}"]
            cells += [_before_and_after(means, data.name, name) for name in names]
            rows.append([data.name, *cells])
    return markdown(["data", "linear model", *(OTHERS[name] for name in names)], rows)


def _before_and_after(means: pd.Series, data: str, template: str) -> str:
    arms = [means.get((data, template, arm)) for arm in ("pipeline", "finetuned")]
    return "" if None in arms else " → ".join(f"{loss:.3g}" for loss in arms)


def tables(table: pd.DataFrame) -> dict[str, str]:
    """Tables by the names of their markers."""
    others = table[table.template != LINEAR]
    runs = figures.compare(others, "finetuned", "pipeline")
    return {
        "summary": summary_table(others),
        "losses": worse_table(others, runs),
        "pairs": pairs_table(figures.pairs(runs)),
        "levels": levels_table(table),
        "wider": widths_table(others),
        "failures": failures_table(table),
    }


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, help="folders that study.py wrote")
    parser.add_argument("--page", type=Path, required=True, help="page with markers to fill")
    options = parser.parse_args(given)
    found = read(options.results)
    text = options.page.read_text(encoding="utf-8")
    options.page.write_text(filled(text, tables(found)), encoding="utf-8")
    count = len(found[figures.RUN].drop_duplicates())
    print(f"{options.page}: {count} runs of {found.template.nunique()} pipelines")


if __name__ == "__main__":
    main()
