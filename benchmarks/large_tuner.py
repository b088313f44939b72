"""`FineTuner` on 3,000,000 synthetic flights: what it chooses, what that is worth, and its time.

Each seed draws another sample. A strategy chosen on a sample of five times as many rows is what
the choice is compared with; the time is compared with that of one pass of mini-batch training over
all rows plus that of the comparison on the sample.

    python benchmarks/large_tuner.py --seeds 3
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

FILES, ROWS, UNSEEN = 30, 100_000, 100_000
CARRIERS, AIRPORTS = 14, 120
COLUMNS = ["carrier", "origin", "hour", "distance", "month", "temperature"]


def flights(rows: int, seed: int) -> pd.DataFrame:
    """Delays that depend on carriers, airports, the hour, and the weather at some airports."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    carrier, origin = rng.integers(CARRIERS, size=rows), rng.integers(AIRPORTS, size=rows)
    hour, month = rng.integers(5, 24, size=rows), rng.integers(1, 13, size=rows)
    temperature = rng.normal(15 - 12 * np.cos(month / 6 * np.pi), 8)
    distance = rng.gamma(2, 500, size=rows)
    effect = fixed.normal(size=CARRIERS)[carrier] + fixed.normal(size=AIRPORTS)[origin]
    score = effect + 0.15 * (hour - 12) + 0.5 * np.sin(hour) - 1.5
    score += fixed.normal(size=AIRPORTS)[origin] * temperature / 15
    late = rng.random(rows) < 1 / (1 + np.exp(-score))
    return pd.DataFrame({
        "carrier": [f"C{c}" for c in carrier], "origin": [f"A{a}" for a in origin],
        "hour": hour.astype(float), "distance": distance.round(1), "month": month.astype(float),
        "temperature": temperature.round(1), "late": late.astype(int),
    })  # fmt: skip


def pipeline():
    from sklearn.compose import make_column_transformer
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(StandardScaler(), Nystroem(n_components=40, random_state=0))
    columns = make_column_transformer(
        (numbers, ["hour", "distance", "month", "temperature"]),
        (OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin"]),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=300))


def measure(folder: Path, unseen: pd.DataFrame, seed: int, sample: int) -> dict:
    from sklearn.metrics import log_loss

    import pipegrad as pg
    from pipegrad.finetune import large_tables

    large_tables.SAMPLE_ROWS = sample
    began = time.perf_counter()
    tuner = pg.FineTuner(pipeline(), random_state=seed).fit(folder, "late")
    seconds = time.perf_counter() - began
    X, y = unseen[COLUMNS], unseen["late"]
    return {
        "seconds": seconds,
        "chosen": tuner.report_.chosen,
        "loss": log_loss(y, tuner.predict_proba(X)),
        "sample seconds": tuner.report_.seconds,
        "told": tuner.report_.validation,
    }


def one_pass(folder: Path, some: pd.DataFrame) -> float:
    """Seconds of an epoch of mini-batch training of the pipeline."""
    import pipegrad as pg

    net = pg.to_torch(pipeline().fit(some[COLUMNS], some["late"]))
    began = time.perf_counter()
    net.fit(folder, "late", epochs=1)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--compared", type=int, default=250_000, help="rows of the larger sample")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    from sklearn.metrics import log_loss

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for part in range(FILES):
            flights(ROWS, part).to_parquet(folder / f"{part:02}.parquet", row_group_size=50_000)
        unseen, some = flights(UNSEEN, 1000), flights(50_000, 2000)
        plain = pipeline().fit(some[COLUMNS], some["late"])
        loss = log_loss(unseen["late"], plain.predict_proba(unseen[COLUMNS]))
        seconds = one_pass(folder, some)
        print(f"fitted on 50,000 rows: loss {loss:.5f}; one pass: {seconds:.1f} s", flush=True)
        for seed in range(options.seeds):
            found = measure(folder, unseen, seed, 50_000)
            allowed = seconds + found["sample seconds"]
            print(
                f"seed {seed}: {found['chosen']}, loss {found['loss']:.5f}, "
                f"{found['seconds']:.1f} s, {found['seconds'] / allowed:.2f} of one pass and the "
                f"comparison\n  {found['told']}",
                flush=True,
            )
        if options.compared:
            found = measure(folder, unseen, 0, options.compared)
            print(
                f"sample of {options.compared:,}: {found['chosen']}, loss {found['loss']:.5f}, "
                f"{found['seconds']:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
