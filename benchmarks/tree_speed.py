"""Speed and memory of hard trees, compared with the native library and hummingbird.

Three models on 100,000 x 30 float32 rows, with batches of 1, 10,000 and 100,000. The contenders are
timed in alternation, so that other load affects all of them; the ratios of the medians count, in
wall-clock and CPU time. Then the costs of translating, writing back and an epoch of fine-tuning the
leaves, and the memory of 1,000 trees of depth 20.

Run: python benchmarks/tree_speed.py
The hummingbird columns need `pip install hummingbird-ml`, preferably in a separate environment;
without it they stay empty.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings

import lightgbm
import numpy as np
import torch
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)

import pipegrad as pg

ROWS, FEATURES = 100_000, 30
BATCHES = (1, 10_000, 100_000)
BOUNDS = {1: 1.0, 100_000: 2.0}
PATIENCE = 20.0  # time limit of a contender in one cell, in seconds


def data():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    slope = generator.normal(size=FEATURES) * 0.3
    y = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2]) + X @ slope
    return X, y + generator.normal(size=ROWS)


def booster(threads):
    return lightgbm.LGBMRegressor(n_estimators=500, num_leaves=31, n_jobs=threads, verbose=-1)


def models(X, y, threads):
    boosting = HistGradientBoostingRegressor(
        max_iter=100, max_leaf_nodes=31, early_stopping=False, random_state=0
    )
    forest = RandomForestRegressor(
        100, max_depth=10, max_features=10, max_samples=30_000, n_jobs=threads, random_state=0
    )
    yield "HistGradientBoosting 100 x 31", boosting.fit(X, y)
    yield "LightGBM 500 x 31", booster(threads).fit(X, y)
    yield "RandomForest 100 x depth 10", forest.fit(X, y)


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe(threads: int) -> None:
    names = ("torch", "scikit-learn", "lightgbm", "hummingbird-ml")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"{threads} threads; load average {os.getloadavg()[0]:.1f} at the start")


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# -- speed -----------------------------------------------------------------------------------------


def contenders(model, X):
    """Prediction functions, by name of the contender."""
    net = pg.to_torch(model).eval()
    trees = net.steps[next(iter(net.steps))]

    def ours(x):
        with torch.inference_mode():
            return trees(torch.from_numpy(x)).numpy()

    found = {"ours": ours, "native": model.predict}
    try:
        from hummingbird.ml import convert
    except ImportError:
        return found
    for name, backend in (("hb", "torch"), ("hb jit", "torch.jit")):
        found[name] = convert(model, backend, X[:10_000]).predict
    return found


def measure(found, x, repeats):
    """Median wall-clock and CPU seconds of a call, by name."""
    calls = max(1, 50 // len(x))
    times = {name: [] for name in found}
    for name, call in found.items():
        started = time.perf_counter()
        call(x)  # warms up
        if time.perf_counter() - started > PATIENCE / 2:
            times[name].append((time.perf_counter() - started, float("nan")))
    for _ in range(repeats):
        for name, call in found.items():
            if calls * sum(clock for clock, _ in times[name]) > PATIENCE / 2:
                continue
            clock, spent = time.perf_counter(), time.process_time()
            for _ in range(calls):
                call(x)
            clock, spent = time.perf_counter() - clock, time.process_time() - spent
            times[name].append((clock / calls, spent / calls))
    return {
        name: tuple(map(statistics.median, zip(*each, strict=True)))
        for name, each in times.items()
    }  # fmt: skip


def speed(X, y, threads, repeats) -> bool:
    print(
        f"\n{'milliseconds of a call':30}{'batch':>8}{'ours':>10}{'native':>10}{'hb':>10}"
        f"{'hb jit':>10}  {'ours/native':>12}{'cpu':>7}{'bound':>7}{'ours/best hb':>14}"
    )
    held = True
    for name, model in models(X, y, threads):
        found = contenders(model, X)
        for batch in BATCHES:
            if isinstance(model, RandomForestRegressor):
                model.n_jobs = 1 if batch == 1 else threads  # the faster setting
            times = measure(found, X[:batch], repeats)
            clock = {key: value[0] for key, value in times.items()}
            ratio = clock["ours"] / clock["native"]
            spent = times["ours"][1] / times["native"][1]
            others = [clock[key] for key in ("hb", "hb jit") if key in clock]
            beside = clock["ours"] / min(others) if others else float("nan")
            bound = BOUNDS.get(batch, float("inf"))
            held = held and ratio <= bound and not beside > 1
            cells = "".join(
                f"{clock[key] * 1e3:10.2f}" if key in clock else f"{'-':>10}"
                for key in ("ours", "native", "hb", "hb jit")
            )
            print(
                f"{name:30}{batch:8,}{cells}  {ratio:12.2f}{spent:7.2f}"
                f"{bound if bound < 100 else '':>7}{beside:14.3f}",
                flush=True,
            )
    if version("hummingbird-ml") == "not installed":
        print("hummingbird is not installed; its columns are empty.")
    return held


# -- other costs -----------------------------------------------------------------------------------


def epoch(trees, kept, y, batch):
    """One epoch over rows with precomputed leaves."""
    optimizer = torch.optim.Adam(trees.parameters(), lr=1e-3, fused=True)
    for rows in torch.randperm(len(y)).split(batch):
        optimizer.zero_grad()
        loss = (trees.score(kept.index_select(0, rows)) - y[rows]).square().mean()
        loss.backward()
        optimizer.step()


def costs(X, y, threads, repeats) -> bool:
    model = booster(threads).fit(X, y)
    net = pg.to_torch(model)
    trees = next(m for m in net.modules() if isinstance(m, pg.modules.TreeEnsemble))
    kept, target = trees.leaves(torch.from_numpy(X), torch.int32), torch.from_numpy(y)
    work = copy.deepcopy(trees)
    tasks = {
        "library's own fit": lambda: booster(threads).fit(X, y),
        "translation": lambda: pg.to_torch(model),
        "write back": lambda: pg.from_torch(net),
        "finding all leaves, once": lambda: trees.leaves(torch.from_numpy(X), torch.int32),
    }
    for batch in (1024, 4096, 8192):
        tasks[f"epoch, batch {batch:,}"] = lambda batch=batch: epoch(work, kept, target, batch)
    with torch.no_grad():
        trees.leaf_values.add_(0.01)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            clock, spent = time.perf_counter(), time.process_time()
            task()
            times[name].append((time.perf_counter() - clock, time.process_time() - spent))
    found = {
        name: tuple(map(statistics.median, zip(*each, strict=True)))
        for name, each in times.items()
    }  # fmt: skip
    tenth = found["library's own fit"][0] / 10
    bounds = {name: tenth for name in tasks if "epoch" in name}
    bounds |= {"translation": 1.0, "write back": 1.0}
    print(f"\n{'LightGBM 500 x 31, 100,000 rows':34}{'seconds':>10}{'cpu':>10}{'bound':>10}")
    for name, (clock, spent) in found.items():
        bound = f"{bounds[name]:10.3f}" if name in bounds else ""
        print(f"{name:34}{clock:10.3f}{spent:10.3f}{bound}", flush=True)
    return all(found[name][0] <= bound for name, bound in bounds.items())


# -- memory ----------------------------------------------------------------------------------------


def gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def memory(threads: int) -> bool:
    """Peak memory of 1,000 deep trees, in a separate process."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(10_000, FEATURES)).astype(np.float32)
    y = X[:, 0] + generator.normal(size=len(X))
    forest = ExtraTreesRegressor(1000, max_depth=20, max_features=1, n_jobs=threads, random_state=0)
    forest.fit(X, y)
    nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    deepest = max(tree.get_depth() for tree in forest.estimators_)
    print(f"\n1,000 trees of depth {deepest}, {nodes:,} nodes: peak memory", flush=True)
    print(f"{gigabytes():6.2f} GB after the fit")
    net = pg.to_torch(forest).eval()
    trees = net.steps[next(iter(net.steps))]
    print(f"{gigabytes():6.2f} GB after the translation")
    for rows in (1_000, 10_000, 100_000):
        x = torch.from_numpy(np.resize(X, (rows, FEATURES)))
        started = time.perf_counter()
        with torch.inference_mode():
            out = trees(x)
        seconds = time.perf_counter() - started
        print(
            f"{gigabytes():6.2f} GB after {rows:,} rows ({seconds:.2f} s); one byte per row "
            f"and node would take {rows * nodes / 2**30:,.0f} GB"
        )
    gap = np.abs(out[: len(X)].numpy() - forest.predict(X)).max()
    print(f"largest difference from scikit-learn: {gap:.1e}")
    return gigabytes() < 8


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=("speed", "costs", "memory"))
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(chosen.threads)
    if chosen.only == "memory":
        return 0 if memory(chosen.threads) else 1
    describe(chosen.threads)
    X, y = data()
    held = True
    if chosen.only in (None, "speed"):
        held = speed(X, y, chosen.threads, chosen.repeats) and held
    if chosen.only in (None, "costs"):
        held = costs(X, y, chosen.threads, chosen.repeats) and held
    if chosen.only is None:
        command = [sys.executable, __file__, "--only", "memory", "--threads", str(chosen.threads)]
        held = subprocess.run(command).returncode == 0 and held
    print(f"load average {os.getloadavg()[0]:.1f} at the end")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
