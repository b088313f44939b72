"""Speed-up from training many configurations as one batched module.

The comparison trains the same configurations one after the other with this package's own loop and
fused Adam: the same rows in the same batches, and the same validation loss after each epoch. The
two run in alternation, so that other load affects both; the ratio of the medians counts.

Run: OMP_NUM_THREADS=1 python benchmarks/batched_training.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.finetune import Configuration
from pipegrad.finetune.portfolio import Candidate
from pipegrad.finetune.recipe import TrainingProblem
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples
from pipegrad.training.schedules import one_cycle
from pipegrad.training.search.batched_adam import train_batched

PIPELINES = {
    "scale, PCA(10), ridge": lambda: make_pipeline(StandardScaler(), PCA(10), Ridge()),
    "scale, PCA(10), logistic, 5 classes": lambda: make_pipeline(
        StandardScaler(), PCA(10), LogisticRegression()
    ),
    "scale, Nystroem(20), ridge": lambda: make_pipeline(
        StandardScaler(), Nystroem(n_components=20, random_state=0), Ridge()
    ),
    "scale, Nystroem(100), ridge": lambda: make_pipeline(
        StandardScaler(), Nystroem(n_components=100, random_state=0), Ridge()
    ),
}
ROWS, EPOCHS = 2000, 2


def task_of(name: str) -> TrainingProblem:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS + 500, 20))
    y = X @ rng.normal(size=20) + np.sin(3 * X[:, 0])
    if "classes" in name:
        y = np.digitize(y, np.quantile(y, [0.2, 0.4, 0.6, 0.8]))
    net = pg.to_torch(PIPELINES[name]().fit(X[:ROWS], y[:ROWS]))
    train, valid = Samples(X[:ROWS], y[:ROWS]), Samples(X[ROWS:], y[ROWS:])
    return TrainingProblem.of(net, train, valid, Options())


def batched(task: TrainingProblem, count: int, batch_size: int) -> float:
    rates = [Configuration(lr=10.0 ** (-1 - 3 * i / count)) for i in range(count)]
    started = time.perf_counter()
    train_batched(
        task.net, task.criterion, task.training, task.validating, rates,
        batch_size, EPOCHS, np.random.default_rng(0), one_cycle,
    )  # fmt: skip
    return time.perf_counter() - started


def in_turn(task: TrainingProblem, count: int, batch_size: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        task.run(Candidate("", "relative", batch_size, EPOCHS))
    seconds = time.perf_counter() - started
    with torch.no_grad():
        for parameter, value in zip(
            task.net.trainable_parameters().values(), task.start, strict=True
        ):
            parameter.copy_(value)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{ROWS} x 20 rows, 500 validation rows, {EPOCHS} epochs, float64, one thread")
    print(f"{'pipeline':<36}{'batch':>6}{'count':>6}{'in turn':>10}{'batched':>10}{'ratio':>7}")
    for name in PIPELINES:
        task = task_of(name)
        for batch_size in (32, 256):
            for count in (4, 8, 16):
                times: dict = {in_turn: [], batched: []}
                for turn in range(repeats + 1):
                    for train, found in times.items():
                        seconds = train(task, count, batch_size)
                        if turn:  # The first turn warms up.
                            found.append(seconds)
                slow, fast = (statistics.median(found) for found in times.values())
                print(
                    f"{name:<36}{batch_size:>6}{count:>6}{slow * 1e3:>8.0f}ms{fast * 1e3:>8.0f}ms"
                    f"{slow / fast:>7.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
