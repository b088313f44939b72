"""Speed and peak memory of training on folders of Parquet, beside plain decoding of the same files.

A folder of 200 million rows of 40 columns (64 GB as float64) is made of links to a few real files.
Each measurement runs in a process of its own; ratios compare numbers of the same process.

    python benchmarks/streaming.py            # a fixed number of rows of folders of 1x, 10x, 100x
    python benchmarks/streaming.py --whole    # one epoch of all 200 million rows as well
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

FILES, ROWS, WIDTH, ROW_GROUP = 20, 100_000, 40, 50_000
MEASURED = 4 << 20


def write_files(folder: Path) -> None:
    """Real files: numbers with six digits, as most tables have them."""
    import pandas as pd

    rng = np.random.default_rng(0)
    weights = rng.normal(size=WIDTH)
    for part in range(FILES):
        X = rng.normal(size=(ROWS, WIDTH)).round(6)
        table = pd.DataFrame(X, columns=[f"x{i}" for i in range(WIDTH)])
        table["label"] = (X @ weights + rng.normal(size=ROWS) * 2 > 0).astype(int)
        table.to_parquet(folder / f"part-{part:02}.parquet", row_group_size=ROW_GROUP)


def linked(real: Path, folder: Path, times: int) -> Path:
    """A folder in which each real file occurs so many times."""
    folder.mkdir()
    for number in range(times):
        for file in sorted(real.iterdir()):
            os.symlink(file, folder / f"{number:04}-{file.name}")
    return folder


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def decoded(folder: Path, rows: int) -> float:
    """Rows per second of plain decoding of all columns, in one thread."""
    from pyarrow import parquet

    began, seen = time.perf_counter(), 0
    for file in sorted(folder.iterdir()):
        with parquet.ParquetFile(file, memory_map=True) as opened:
            for batch in opened.iter_batches(1 << 16, use_threads=False):
                seen += batch.num_rows
        if seen >= rows:
            break
    return seen / (time.perf_counter() - began)


def pipeline(folder: Path):
    import pandas as pd
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = pd.read_parquet(sorted(folder.iterdir())[0]).head(5000)
    X, y = table.drop(columns="label"), table["label"]
    return make_pipeline(StandardScaler(), PCA(10, random_state=0), LogisticRegression(C=0.01)).fit(
        X, y
    )


def measure(folder: Path, rows: int, cache: str | None) -> None:
    import torch
    from skorch.callbacks import Callback

    import pipegrad as pg
    from pipegrad.finetune import StopTraining
    from pipegrad.streaming import stream_fit

    class StopAfter(Callback):
        def on_epoch_end(self, net, **_):
            if net.history[-1, "rows"] >= rows:
                raise StopTraining

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    stream_fit.IN_MEMORY = 0
    plain = decoded(folder, 1 << 21)
    net, before = pg.to_torch(pipeline(folder)), megabytes()
    options = {"epochs": 1000, "patience": None, "validation": 0.02, "cache": cache}
    began = time.perf_counter()
    net.fit(str(folder), "label", callbacks=[StopAfter()], **options)
    rounds = net.history[2:]  # The first one includes what happens once.
    seconds = sum(row["dur"] for row in rounds)
    seen = net.history[-1, "rows"] - net.history[1, "rows"]
    total = time.perf_counter() - began
    peaks = f"peak {megabytes():,.0f} MB ({before:,.0f} before)"
    print(
        f"{seen / seconds:12,.0f} rows/s, {seen / seconds / plain:.2f} of decoding, first row "
        f"after {total - sum(r.get('dur', 0) for r in net.history):.1f} s, {peaks}",
        flush=True,
    )


def run(name: str, folder: Path, rows: int, cache: str = "") -> None:
    print(f"{name:>24}", end="", flush=True)
    command = [sys.executable, __file__, "--one", str(folder), "--rows", str(rows)]
    subprocess.run([*command, "--cache", cache], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whole", action="store_true", help="an epoch of 200 million rows")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=MEASURED, help=argparse.SUPPRESS)
    parser.add_argument("--cache", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(Path(options.one), options.rows, options.cache or None)
        return
    with tempfile.TemporaryDirectory() as scratch:
        real = Path(scratch) / "real"
        real.mkdir()
        write_files(real)
        for times in (1, 10, 100):
            folder = linked(real, Path(scratch) / f"x{times}", times)
            run(f"{times * FILES * ROWS:,} rows", folder, MEASURED)
        run("cached", Path(scratch) / "x1", MEASURED, f"{scratch}/cache")
        if options.whole:
            run("all 200 million", Path(scratch) / "x100", 100 * FILES * ROWS)


if __name__ == "__main__":
    main()
