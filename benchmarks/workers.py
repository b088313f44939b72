"""Rows per second of training on a folder with two processes, compared with one.

Both train the same pipeline on the same files with the same batches, in alternation, so that other
load affects both; the ratio of the medians counts. Gradients are summed once per step, so that
larger batches gain more.

Run: python benchmarks/workers.py
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import distributed

import pipegrad as pg
from pipegrad.streaming import stream_fit
from pipegrad.streaming.processes import run_processes

WIDTH, BOUND = 40, 1.35


def write_table(folder, rows, files=8):
    """A folder of files, and a pipeline that was fitted on some rows."""
    generator = np.random.default_rng(0)
    slopes = generator.normal(size=WIDTH)
    for number in range(files):
        X = generator.normal(size=(rows // files, WIDTH))
        table = pd.DataFrame(X, columns=[f"x{i}" for i in range(WIDTH)])
        table["label"] = (X @ slopes + generator.normal(size=len(X)) > 0).astype(int)
        table.to_parquet(folder / f"{number}.parquet", row_group_size=50_000)
    pipe = make_pipeline(StandardScaler(), PCA(20), LogisticRegression())
    return pipe.fit(table.drop(columns="label")[:2000], table["label"][:2000])


def train(pipe, folder, batch_size, epochs, output):
    """Train, and write the seconds of the rounds, without the time before the first one."""
    stream_fit.IN_MEMORY = 0
    net = pg.to_torch(pipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        net.fit(folder, "label", batch_size=batch_size, epochs=epochs, patience=None)
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        rows = net.history[-1, "rows"] - net.history[1, "rows"]
        seconds = sum(net.history[2:, "dur"])
        Path(output).write_bytes(pickle.dumps(rows / seconds))


def speed(count, *arguments):
    """Rows per second of so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder, "speed"))
        run_processes(train, (*arguments, output), count)
        return pickle.loads(Path(output).read_bytes())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=800_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1024, 4096, 16384])
    arguments = parser.parse_args()
    held = True
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        pipe = write_table(Path(name), arguments.rows)
        print(f"{arguments.rows:,} x {WIDTH} rows in files ({time.perf_counter() - started:.0f} s)")
        print(f"{'batch':>6}{'one process':>16}{'two':>14}{'ratio':>8}")
        for size in arguments.batch_sizes:
            found = {1: [], 2: []}
            for _ in range(arguments.repeats):
                for count, speeds in found.items():
                    speeds.append(speed(count, pipe, name, size, arguments.epochs))
            one, two = (statistics.median(speeds) for speeds in found.values())
            held = held and (size < 4096 or two / one >= BOUND)
            print(f"{size:6}{one:12,.0f}/s{two:12,.0f}/s{two / one:8.2f}", flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
