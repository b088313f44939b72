"""How time and memory grow with the steps of a pipeline, with columns, classes and rows.

Every line is a ratio, so that machines compare: time for four times the steps, memory as a multiple
of the data, time for ten times the classes.

Usage: ``python benchmarks/growth.py [--columns 1000] [--rows 2000] [--classes 100] [--large]``
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import time
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg

_STEPS = 100


def chain(count, X, y):
    steps = [(f"s{number}", StandardScaler()) for number in range(count)]
    return Pipeline([*steps, ("ridge", Ridge())]).fit(X, y)


def union(count, X, y):
    parts = [(f"s{number}", StandardScaler()) for number in range(count)]
    return make_pipeline(FeatureUnion(parts), Ridge()).fit(X, y)


def seconds(function):
    function()
    best = np.inf
    for _ in range(3):
        began = time.process_time()
        function()
        best = min(best, time.process_time() - began)
    return best


def steps():
    X = np.random.default_rng(0).normal(size=(60, 8))
    y = X[:, 0]
    ways = {
        "to_torch": lambda net: pg.to_torch(net.source),
        "from_torch": pg.from_torch,
        "str": str,
        "html": lambda net: net._repr_html_(),
        "pickle": lambda net: pickle.loads(pickle.dumps(net)),
        "predict": lambda net: net.predict(X),
    }
    for kind in (chain, union):
        nets = [pg.to_torch(kind(count, X, y)) for count in (_STEPS, 4 * _STEPS)]
        for name, way in ways.items():
            few, many = (seconds(lambda net=net, way=way: way(net)) for net in nets)
            print(f"{kind.__name__:6} {name:10} time for 4 times the steps: x {many / few:.1f}")


def data(rows, columns, classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns))
    scores = X @ rng.normal(size=(columns, max(classes, 2))) / np.sqrt(columns)
    scores += 0.5 * rng.normal(size=scores.shape)
    return X, scores.argmax(1) if classes else scores[:, 0].copy()


def tuned(X, y, classes):
    last = LogisticRegression() if classes else Ridge()
    pipe = make_pipeline(StandardScaler(), last)
    began = time.process_time()
    pg.FineTuner(pipe, random_state=0).fit(X, y)
    return time.process_time() - began


def resident(field):
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) * 1024


def memory(rows, columns, classes):
    """Print the peak of resident memory beyond imports and data; for a process of its own."""
    tuned(*data(60, 3, 2), 2)  # Imports what is loaded on demand.
    X, y = data(rows, columns, classes)
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    spent = tuned(X, y, classes)
    peak = (resident("VmHWM") - before) / X.nbytes
    kind = f"{classes} classes" if classes else "regression"
    print(
        f"FineTuner {rows} x {columns}, {kind}: {peak:.1f} times the data, "
        f"{peak * X.nbytes / 1e9:.2f} GB, {spent:.0f} s"
    )


def classes(many, rows):
    few = tuned(*data(rows, 20, many // 10), many // 10)
    print(
        f"FineTuner time for 10 times the classes: x {tuned(*data(rows, 20, many), many) / few:.1f}"
    )


def in_own_process(*numbers):
    command = [sys.executable, __file__, "--memory", *map(str, numbers)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--large", action="store_true", help="also one million rows")
    parser.add_argument("--memory", type=int, nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    if chosen.memory:
        memory(*chosen.memory)
    else:
        steps()
        tuned(*data(60, 3, 2), 2)
        classes(chosen.classes, chosen.rows)
        in_own_process(chosen.rows, chosen.columns, 2)
        if chosen.large:
            in_own_process(1_000_000, 20, 0)
