"""Speed-up from fusing consecutive linear maps during training.

``(K @ N) @ w`` costs a pass over all rows for each column of ``N``, ``K @ (N @ w)`` one for each
column of ``w``. Full-batch L-BFGS trains with both orders from the same start; the two run in
alternation, so that other load affects both; the ratio of the medians counts.

Run: OMP_NUM_THREADS=1 python benchmarks/fused_linear_maps.py
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

import pipegrad as pg

ROWS, COLUMNS, WORDS = 8000, 20, 20_000
PIPELINES = {
    "PCA(10), ridge": make_pipeline(PCA(10), Ridge()),
    "Nystroem(100), ridge": make_pipeline(Nystroem(random_state=0), Ridge()),
    "Nystroem(100), logistic, 10 classes": make_pipeline(
        Nystroem(random_state=0), LogisticRegression()
    ),
    "sparse, SVD(100), logistic": make_pipeline(
        TruncatedSVD(100, random_state=0), LogisticRegression()
    ),
    "sparse, SVD(100), logistic, 10 classes": make_pipeline(
        TruncatedSVD(100, random_state=0), LogisticRegression()
    ),
}


def data_of(name: str):
    rng = np.random.default_rng(0)
    if "sparse" in name:
        X = sp.random_array((ROWS, WORDS), density=40 / WORDS, random_state=rng, format="csr")
        y = np.asarray(X[:, : WORDS // 2].sum(1)).ravel()
    else:
        X = rng.normal(size=(ROWS, COLUMNS))
        y = X @ rng.normal(size=COLUMNS) + np.sin(3 * X[:, 0])
    if "logistic" in name:
        classes = 10 if "classes" in name else 2
        y = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    return X, y


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """Apply the maps to the rows one after the other, as in predictions."""
    joining = pg.PipelineModule.fused_linear_maps
    pg.PipelineModule.fused_linear_maps = lambda net: contextlib.nullcontext()
    try:
        yield
    finally:
        pg.PipelineModule.fused_linear_maps = joining


def seconds(fitted, X, y, epochs: int, context) -> float:
    net = pg.to_torch(fitted)
    started = time.perf_counter()
    with context():
        net.fit(X, y, optim=torch.optim.LBFGS, epochs=epochs, validation=None)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{ROWS} rows, {options.epochs} epochs of 20 iterations, float64, one thread")
    print(f"{'pipeline':<42}{'unfused':>10}{'fused':>10}{'ratio':>7}")
    for name, pipe in PIPELINES.items():
        X, y = data_of(name)
        fitted = clone(pipe).fit(X, y)
        times: dict = {unfused: [], contextlib.nullcontext: []}
        for turn in range(options.repeats + 1):
            for context, found in times.items():
                spent = seconds(fitted, X, y, options.epochs, context)
                if turn:  # The first turn warms up.
                    found.append(spent)
        slow, fast = (statistics.median(found) for found in times.values())
        print(f"{name:<42}{slow:>9.2f}s{fast:>9.2f}s{slow / fast:>7.1f}", flush=True)


if __name__ == "__main__":
    main()
