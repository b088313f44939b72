"""Does the 95% interval of the report hold the gain on new rows? By regime and by size.

    python benchmarks/accuracy/interval_coverage.py --data DATA --out RESULTS [--minutes 8]
    python benchmarks/accuracy/interval_coverage_report.py RESULTS docs/no-harm.md

Each run draws rows of a data set, fits `FineTuner` on some of them, and compares the gain that
its report promises with the gain on rows that it never saw: the loss of the same pipeline fitted
on the same rows minus the loss of the tuned one. Three regimes: random rows with the default
validation; rows in order of time (the later rows are new) with ``TimeSeriesSplit``; rows in
groups (other groups are new) with ``GroupKFold``. RESULTS gets one file for each run, so an
interrupted study resumes.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GroupKFold, TimeSeriesSplit  # noqa: E402
from templates import TEMPLATES  # noqa: E402

import pipegrad as pg  # noqa: E402
from data import BY_NAME, load  # noqa: E402

SIZES = (400, 1000, 2500)
MOST_NEW = 4000
PIPELINES = ("pca", "kmeans", "figure1")
RANDOM = (
    "abalone",
    "wine_quality",
    "california_housing",
    "diamonds",
    "phoneme",
    "spambase",
    "higgs_7k",
    "electricity",
    "adult",
    "bike_sharing_hourly",
    "randhie",
    "ames_housing",
)
ORDERED = ("electricity", "bike_sharing_hourly", "nycflights13")
# Data sets with the column of the groups, which the pipeline does not see.
GROUPED = {"movielens_100k": "userId", "nyc_taxis": "pickup_zone", "nycflights13": "dest"}
SEEDS = 2


@dataclass(frozen=True)
class Run:
    """One fit: where its rows come from, and how many there are."""

    regime: str
    data: str
    pipeline: str
    size: int
    seed: int

    @property
    def file(self) -> str:
        return "-".join(map(str, asdict(self).values())) + ".parquet"


def runs() -> Iterator[Run]:
    """All runs, so that those done first cover all regimes and sizes."""
    sets = {"random": RANDOM, "ordered": ORDERED, "grouped": tuple(GROUPED)}
    found = [
        Run(regime, data, pipeline, size, seed)
        for seed in range(SEEDS)
        for regime, names in sets.items()
        for data in names
        for pipeline in PIPELINES
        for size in SIZES
    ]
    return iter(sorted(found, key=lambda run: (run.seed, zlib.crc32(run.file.encode()))))


def rows_of(run: Run, X: pd.DataFrame, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
    """Row numbers for the fit and for the test, and the groups of the former."""
    rng = np.random.default_rng([run.seed, run.size, zlib.crc32(run.data.encode())])
    count = len(y)
    if run.regime == "ordered":
        # A window of the series: the fit on its first part, the test on what follows.
        new = min(run.size // 2, MOST_NEW)
        start = int(rng.integers(0, count - run.size - new))
        known = np.arange(start, start + run.size)
        return known, np.arange(start + run.size, start + run.size + new), None
    if run.regime == "grouped":
        codes = pd.factorize(X[GROUPED[run.data]])[0]
        order = rng.permutation(codes.max() + 1)
        place = np.argsort(order)[codes]
        by_group = np.argsort(place, kind="stable")
        end = run.size
        while end < count and place[by_group[end]] == place[by_group[end - 1]]:
            end += 1
        known = by_group[:end]
        if len(known) > run.size:
            known = np.sort(rng.choice(known, run.size, replace=False))
        rest = by_group[end:]
        return known, rest[:MOST_NEW], codes[known]
    order = rng.permutation(count)
    return order[: run.size], order[run.size : run.size + MOST_NEW], None


def losses(task: str, model: Any, X: pd.DataFrame, y: np.ndarray) -> np.ndarray:
    """The metric of the loss, row by row."""
    if task == "regression":
        return (model.predict(X) - y) ** 2
    if task == "count":
        mean = model.predict(X)
        safe = np.where(y > 0, y, 1.0)
        return 2 * (y * np.log(safe / mean) - y + mean)
    place = np.searchsorted(model.classes_, y)
    shares = model.predict_proba(X)[np.arange(len(y)), place]
    return -np.log(np.maximum(shares, np.finfo(float).eps))


def measure(run: Run, folder: Path) -> dict[str, Any]:
    """The promised gain with its error, and the gain on new rows with its error."""
    data = BY_NAME[run.data]
    X, y = load(data, folder)
    known, new, groups = rows_of(run, X, y)
    if run.regime == "grouped":
        X = X.drop(columns=GROUPED[run.data])
    pipe = TEMPLATES[run.pipeline](data, X.iloc[known])
    cv = {"ordered": TimeSeriesSplit(5), "grouped": GroupKFold(5)}.get(run.regime)
    tuner = pg.FineTuner(pipe, cv=cv, random_state=run.seed)
    began = time.perf_counter()
    tuner.fit(X.iloc[known], y[known], groups=groups)
    report = tuner.report_
    found = {**asdict(run), "improved": tuner.improved_, "seconds": time.perf_counter() - began}
    found |= {"before": report.before, "gain": report.gain, "error": report.error}
    found |= {"rows": report.rows, "splits": report.splits, "new": len(new)}
    chosen = [c for c in report.curves if c.candidate == report.chosen]
    each = [c.valid[0] - c.valid[min(c.checkpoint, len(c.valid) - 1)] for c in chosen]
    found["split_gains"] = ",".join(f"{value:.6g}" for value in each)
    if tuner.improved_:
        # FineTuner fits the whole pipeline on all rows: the same pipeline untrained.
        fitted = clone(pipe).fit(X.iloc[known], y[known])
        change = losses(data.task, fitted, X.iloc[new], y[new]) - losses(
            data.task, tuner, X.iloc[new], y[new]
        )
        found |= {"new_gain": change.mean(), "new_error": change.std() / len(new) ** 0.5}
    return found


def work(options: argparse.Namespace) -> None:
    """Run what is missing until the time is over."""
    options.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * options.minutes
    for run in runs():
        path, claim = options.out / run.file, options.out / f"{run.file}.claim"
        if time.monotonic() > ends:
            return
        if path.exists() or claim.exists():
            continue
        claim.touch()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = {**measure(run, options.data), "failure": ""}
        except Exception as error:
            found = {**asdict(run), "failure": repr(error)[:300]}
        pd.DataFrame([found]).to_parquet(path)
        claim.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    work(parser.parse_args())


if __name__ == "__main__":
    main()
