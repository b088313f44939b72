"""Cost of an epoch of `net.fit`, compared with a hand-written training loop.

Both train the same modules with the same optimizer on the same rows in the same batches, and
compute the same validation loss after each epoch. They run in alternation, so that other load
affects both; the ratio of the medians counts.

Run: python benchmarks/epoch_cost.py
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg

BOUNDS = {256: 1.25, 4096: 1.1}
PIPELINES = {
    "scaler, linear": lambda: make_pipeline(StandardScaler(), LinearRegression()),
    "scaler, PCA(50), linear": lambda: make_pipeline(StandardScaler(), PCA(50), LinearRegression()),
}


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


def by_hand(net, X, y, held, held_y, batch_size, epochs):
    """Seconds of each epoch."""
    model = torch.nn.Sequential(*net.steps.values())
    optimizer = adam(list(model.parameters()))
    X, y, held, held_y = (torch.from_numpy(a) for a in (X, y, held, held_y))
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        order = torch.randperm(len(X))
        total = 0.0
        for start in range(0, len(X), batch_size):
            rows = order[start : start + batch_size]
            optimizer.zero_grad()
            loss = ((model(X[rows]) - y[rows]).square() / 2).mean()
            loss.backward()
            optimizer.step()
            total = total + loss.detach() * len(rows)
        total = float(total) / len(X)
        with torch.no_grad():
            size = max(batch_size, 2048)
            parts = zip(held.split(size), held_y.split(size), strict=True)
            float(sum((model(x) - t).square().sum() / 2 for x, t in parts)) / len(held)
        seconds.append(time.perf_counter() - started)
    return seconds


def ours(net, X, y, held, held_y, batch_size, epochs):
    """Seconds of each epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        net.fit(
            X, y, optim=adam, validation=(held, held_y), batch_size=batch_size,
            epochs=epochs, patience=None,
        )  # fmt: skip
    return net.history[1:, "dur"]


def compare(make, batch_size, repeats, epochs):
    """Median seconds of an epoch: ours, hand-written."""
    generator = np.random.default_rng(0)
    X, held = generator.normal(size=(20_000, 100)), generator.normal(size=(4_000, 100))
    weights = generator.normal(size=100)
    y, held_y = X @ weights + 1, held @ weights + 1
    pipe = make().fit(X[:200], y[:200])
    times = {ours: [], by_hand: []}
    for turn in range(repeats + 1):
        for run, found in times.items():
            seconds = run(pg.to_torch(pipe), X, y, held, held_y, batch_size, epochs)
            if turn:  # The first turn warms up.
                found.extend(seconds)
    return [statistics.median(found) for found in times.values()]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    print("20,000 x 100 rows, 4,000 validation rows, float64, fused Adam")
    print(f"{'pipeline':28}{'batch':>6}{'ours':>10}{'by hand':>10}{'ratio':>8}{'bound':>8}")
    held = True
    for name, make in PIPELINES.items():
        for batch_size, bound in BOUNDS.items():
            mine, theirs = compare(make, batch_size, arguments.repeats, arguments.epochs)
            ratio = mine / theirs
            held = held and ratio <= bound
            print(
                f"{name:28}{batch_size:6}{mine * 1e3:8.2f}ms{theirs * 1e3:8.2f}ms"
                f"{ratio:8.3f}{bound:8.2f}"
            )
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
