"""What the recipe costs: CPU time of `FineTuner.fit` over that of the pipeline's own fit.

    python benchmarks/accuracy/recipe_cost.py --data DATA --out now.parquet
    python benchmarks/accuracy/recipe_cost.py --out now.parquet --before then.parquet

DATA is a folder of Parquet files (docs/data.md). The pairs are pipelines of the study on
development data sets (see data.py), and two wide tables with many k-means centers, which take
longest. CPU time of one thread does not depend on other load as wall time does. Gains are those on
20% test rows. An interrupted run resumes where it stopped; the second command compares two runs,
for instance of two versions (PYTHONPATH names the folder of another version's package).
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from arms import _warm_up, row_losses  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from templates import TEMPLATES, applies  # noqa: E402

import pipegrad as pg  # noqa: E402
from data import BY_NAME, DEVELOPMENT, DataSet, Split, load, split  # noqa: E402

# Every third pair of development data sets and pipelines, so that each has its turn.
PIPELINES = ("linear", "pca", "kmeans", "figure1", "nystroem", "leaves", "bins", "gbdt", "stacking")
EVERY = 3
ROWS = 6_000
# Own fits are repeated until they took so many seconds.
_LEAST = 0.1
WIDE = {"wide_120": (4_800, 100, 120), "wide_200": (4_800, 104, 200)}


def wide(name: str) -> tuple[Any, Split]:
    """Return a pipeline with many centers, and a table whose target is not linear."""
    rows, columns, centers = WIDE[name]
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(rows * 5 // 4, 8))
    noise = rng.normal(size=(len(latent), columns))
    X = pd.DataFrame(latent @ rng.normal(size=(8, columns)) + noise)
    y = np.sin(2 * latent[:, 0]) + latent[:, 1] * latent[:, 2] + 0.3 * rng.normal(size=len(X))
    pipe = make_pipeline(StandardScaler(), KMeans(centers, n_init=1, random_state=0), Ridge())
    data = DataSet(name, "regression", "y")
    return pipe, Split(data, X[:rows], y[:rows], X[rows:], y[rows:])


def pairs(folder: Path) -> list[tuple[str, str]]:
    """Names of data sets and pipelines."""
    every = []
    for place, name in enumerate(DEVELOPMENT):
        data = BY_NAME[name]
        if data.text:
            continue
        X, _ = load(data, folder, 200)
        every += [(name, t) for i, t in enumerate(PIPELINES) if (i + place) % EVERY == 0]
        every = [(n, t) for n, t in every if n != name or applies(t, data, X)]
    return every + [(name, "kmeans") for name in WIDE]


def cpu(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call, and the seconds of CPU time of this process."""
    began = time.process_time()
    return run(), time.process_time() - began


def measure(name: str, template: str, folder: Path) -> dict[str, Any]:
    if name in WIDE:
        pipe, part = wide(name)
    else:
        part = split(BY_NAME[name], folder, 0, ROWS)
        pipe = TEMPLATES[template](part.data, part.X)
    fits: list[float] = []
    while not fits or (sum(fits) < _LEAST and len(fits) < 20):
        fitted, seconds = cpu(lambda: clone(pipe).fit(part.X, part.y))
        fits.append(seconds)
    tuner, seconds = cpu(lambda: pg.FineTuner(pipe, random_state=0).fit(part.X, part.y))
    before, after = (row_losses(part.data, m, part.X_test, part.y_test) for m in (fitted, tuner))
    change = (before - after) / before.mean()
    report = tuner.report_
    return {
        "data": name,
        "template": template,
        "own": float(np.median(fits)),
        "seconds": seconds,
        "gain": float(change.mean()),
        "error": float(change.std() / np.sqrt(len(change))),
        "told": report.gain / report.before if report.chosen else 0.0,
        "splits": report.splits,
        "chosen": report.chosen or "",
        "test": after.astype(np.float32),
        "tried": str([(t.name, round(t.seconds, 2), t.rows) for t in report.tried]),
        "times": str(report.times),
    }


def compare(now: pd.DataFrame, then: pd.DataFrame) -> str:
    """Return the costs and gains of two runs on the pairs that they share."""
    both = now.merge(then, on=["data", "template"], suffixes=("", "_then"))
    lines = [f"{'pair':34}{'own':>8}{'then':>8}{'now':>8}{'x then':>8}{'x now':>8}  gains"]
    more, noise = [], []
    for r in both.itertuples():
        better = (r.test_then - r.test) / max(abs(float(np.mean(r.test_then))), 1e-12)
        more.append(r.gain - r.gain_then)
        noise.append(float(np.std(better) / np.sqrt(len(better))))
        mark = "" if abs(more[-1]) < 2 * noise[-1] or abs(more[-1]) < 0.002 else "  !"
        lines.append(
            f"{r.data + ' ' + r.template:34}{r.own:8.3f}{r.seconds_then:8.2f}{r.seconds:8.2f}"
            f"{r.seconds_then / r.own:8.0f}{r.seconds / r.own:8.0f}  {r.gain_then:7.2%}"
            f" {r.gain:7.2%}  {more[-1]:+.2%} +- {noise[-1]:.2%}{mark}"
        )
    for label, seconds in (("then", both.seconds_then), ("now", both.seconds)):
        ratio = seconds / both.own
        tail = f"90%: {ratio.quantile(0.9):.0f}"
        lines.append(f"{label}: median {ratio.median():.0f} times the own fit, {tail}")
    lines.append(f"seconds: {both.seconds_then.sum():.0f} then, {both.seconds.sum():.0f} now")
    error = np.std(more) / np.sqrt(len(more))
    lines.append(
        f"mean gain {both.gain_then.mean():.2%} then, {both.gain.mean():.2%} now: "
        f"{np.mean(more):+.2%} +- {error:.2%}"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of Parquet files")
    parser.add_argument("--out", type=Path, required=True, help="results")
    parser.add_argument("--before", type=Path, help="results of another run to compare with")
    parser.add_argument("--minutes", type=float, default=60.0, help="no new pair after this time")
    parser.add_argument("--only", nargs="*", help="only these data sets")
    options = parser.parse_args()
    done = pd.read_parquet(options.out) if options.out.exists() else pd.DataFrame()
    if options.before:
        print(compare(done, pd.read_parquet(options.before)))
        return
    torch.set_num_threads(1)
    known = set(zip(done.data, done.template, strict=True)) if len(done) else set()
    end = time.perf_counter() + 60 * options.minutes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _warm_up()
        for name, template in pairs(options.data):
            if (name, template) in known or (options.only and name not in options.only):
                continue
            if time.perf_counter() > end:
                raise SystemExit("pairs are left; run the command again to continue.")
            found = measure(name, template, options.data)
            done = pd.concat([done, pd.DataFrame([found])], ignore_index=True)
            done.to_parquet(options.out)
            print(
                f"{name} {template}: {found['own']:.3f} s own, {found['seconds']:.1f} s, "
                f"{found['seconds'] / found['own']:.0f} times, {found['splits']} splits, gain "
                f"{found['gain']:.2%} {found['tried']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
