"""Validation of rows in the order of time, and how often independent rows are taken for such rows.

The last 20% of the rows of each series are the test set, which nothing else sees::

    python benchmarks/accuracy/time_order.py --data DATA --out order.jsonl
    python benchmarks/accuracy/time_order.py --data DATA --out shuffled.jsonl --shuffled 20
    python benchmarks/accuracy/time_order.py --out order.jsonl --report

Runs that the file has are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error
from sklearn.model_selection import TimeSeriesSplit
from templates import TEMPLATES
from time_order_data import SERIES

import pipegrad as pg
from data import DATASETS, DataSet, load
from pipegrad.finetune.pipeline import TunablePipeline
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.finetune.validation.problems import SplitProblems
from pipegrad.finetune.validation.rule import SplitChoice
from pipegrad.finetune.validation.splits import RowSplitter
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples

TEST_SHARE = 0.2
ROWS = 3_000
ARMS: dict[str, dict[str, Any]] = {
    "random": {"validation_split": "random"},
    "default": {},
    "time series split": {"cv": TimeSeriesSplit(5)},
}
PIPELINES = ("kmeans", "nystroem", "pca", "gbdt")


def losses(data: DataSet, model: Any, X: pd.DataFrame, y: np.ndarray) -> float:
    """Poisson deviance of counts, squared error of numbers, log loss of classes."""
    if data.task == "count":
        return float(mean_poisson_deviance(y, np.maximum(model.predict(X), 1e-9)))
    if data.task == "regression":
        return float(mean_squared_error(y, model.predict(X)))
    return float(log_loss(y, model.predict_proba(X), labels=model.classes_))


def prepared(data: DataSet, y: np.ndarray, train: int) -> np.ndarray:
    if data.task == "regression":
        return (y - y[:train].mean()) / y[:train].std()
    return y if data.task == "count" else y.astype(int)


def run(name: str, template: str, arm: str, folder: Path, rows: int) -> dict[str, Any]:
    """Fine-tune on the earlier rows, and compare with the fitted pipeline on the later ones."""
    data, X, y = SERIES[name](folder, rows)
    train = len(y) - round(TEST_SHARE * len(y))
    y = prepared(data, y, train)
    pipe = TEMPLATES[template](data, X.iloc[:train])
    began = time.perf_counter()
    tuner = pg.FineTuner(pipe, random_state=0, **ARMS[arm]).fit(X.iloc[:train], y[:train])
    seconds = time.perf_counter() - began
    fitted = pipe.fit(X.iloc[:train], y[:train])
    tests = X.iloc[train:], y[train:]
    report = tuner.report_
    return {
        "before": losses(data, fitted, *tests),
        "after": losses(data, tuner.estimator_, *tests),
        "improved": bool(tuner.improved_),
        "chosen": report.chosen,
        "validation": report.validation,
        "expected": report.gain / report.before if report.before else 0.0,
        "error": report.error / report.before if report.before else 0.0,
        "splits": report.splits,
        "seconds": seconds,
    }


def rule_of_shuffled(data: DataSet, folder: Path, seed: int, rows: int) -> dict[str, Any]:
    """Return which validation shuffled rows of a data set get by default."""
    X, y = load(data, folder, rows)
    mixed = np.random.default_rng(seed).permutation(len(y))
    X, y = X.iloc[mixed].reset_index(drop=True), prepared(data, y, len(y))[mixed]
    pipe = TunablePipeline(TEMPLATES["tfidf" if data.text else "linear"](data, X))
    classes = None if data.task in ("count", "regression") else y
    samples = Samples(X, y)
    splitter = RowSplitter(np.arange(len(y)), classes, 0.2, seed)
    splits = SplitChoice(splitter, "auto").initial(samples)
    options = Options(optim=torch.optim.Adam, seed=seed)

    def problem_of(fitted: Any, training: Samples, validation: Samples) -> TrainingProblem:
        return TrainingProblem.of(pipe.translate(fitted), training, validation, options)

    found, _ = SplitProblems(pipe, samples, pipe.fit, problem_of, []).of(splits)
    return {"validation": found.why}


def _wanted(options: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    if options.shuffled:
        for seed in range(options.shuffled):
            yield from ((data.name, "linear", str(seed)) for data in DATASETS)
        return
    for template in options.pipelines:
        for name in options.series:
            text = name == "airline_tweets"
            if text and template != options.pipelines[0]:
                continue
            for arm in options.arms:
                yield name, "tfidf" if text else template, arm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shuffled", type=int, default=0, help="shuffles of each data set")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--series", nargs="*", default=list(SERIES))
    parser.add_argument("--pipelines", nargs="*", default=list(PIPELINES))
    parser.add_argument("--arms", nargs="*", default=["random", "default"])
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if options.report:
        print(report(pd.read_json(options.out, lines=True)))
        return
    warnings.simplefilter("ignore")
    known = set()
    if options.out.exists():
        known = {tuple(json.loads(line)["key"]) for line in options.out.read_text().splitlines()}
    by_name = {data.name: data for data in DATASETS}
    end = time.monotonic() + 60 * options.minutes
    for key in _wanted(options):
        if key in known or time.monotonic() > end:
            continue
        name, template, arm = key
        try:
            if options.shuffled:
                found = rule_of_shuffled(by_name[name], options.data, int(arm), options.rows)
            else:
                found = run(name, template, arm, options.data, options.rows)
        except Exception as error:
            found = {"failed": repr(error)[:300]}
        with options.out.open("a") as file:
            file.write(json.dumps({"key": key, **found}) + "\n")


def report(runs: pd.DataFrame) -> str:
    """Return the table of the documentation: relative loss reductions on the later rows."""
    runs[["data", "pipeline", "arm"]] = runs.key.tolist()
    runs["gain"] = 100 * (1 - runs.after / runs.before)
    table = runs.pivot_table(index=["data", "pipeline"], columns="arm", values="gain", sort=False)
    lines = ["| data | pipeline | " + " | ".join(table.columns) + " |"]
    lines.append("|" + " --- |" * (2 + len(table.columns)))
    for (data, pipeline), row in table.iterrows():
        cells = ["" if np.isnan(v) else f"{v:.1f}" for v in row]
        lines.append(f"| {data} | {pipeline} | " + " | ".join(cells) + " |")
    real = table[table["random"] > 1] if "random" in table else table
    for arm in table:
        kept = real[arm].clip(lower=0).sum() / real["random"].sum()
        lines.append(
            f"\n{arm}: worst {table[arm].min():.1f}, worse than -1 in "
            f"{(table[arm] < -1).sum()} of {table[arm].count()}, "
            f"{100 * kept:.0f}% of the gains of random validation kept"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
