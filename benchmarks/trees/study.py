"""Does fine-tuning help boosted trees? LightGBM, default and tuned, on real data.

    python benchmarks/trees/study.py --data DATA --out RESULTS
    python benchmarks/trees/study.py --data DATA --out RESULTS --report docs/trees-study.md

DATA is a folder of Parquet files (docs/data.md lists the public sources). RESULTS gets one file
for each pair of data set and split, so an interrupted study resumes where it stopped.

Splits: 60% training rows, 15% for model selection and early stopping of the tuned model, 10%
validation rows for fine-tuning, 15% test rows. Within the study, test rows play no part in model
selection. Data sets of more than 6,000 rows are subsampled to 6,000. All settings are fixed below
and are the same for every data set.

The defaults of soft splits (temperature, learning rate) were chosen earlier, by looking at test
losses of the first one or two splits of concrete, bike sharing, california and phoneme, subsampled
to 10,000 rows: for soft splits, these four are not entirely clean test sets.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import torch
from scipy.special import xlogy

import pipegrad as pg

MOST_ROWS = 6_000
SPLITS = 5
SEARCHED = 20
# Name: file, target, columns that leak the target.
DATASETS = {
    "bike sharing": ("bike_sharing_hourly", "cnt", ["casual", "registered", "instant", "dteday"]),
    "california": ("california_housing", "median_house_value", []),
    "diamonds": ("diamonds", "price", []),
    "wine quality": ("wine_quality", "quality", []),
    "abalone": ("abalone", "rings", []),
    "concrete": ("concrete", "strength", []),
    "adult": ("adult", "income", []),
    "credit default": ("credit_default_tw", "default_next_month", []),
    "electricity": ("electricity", "class", []),
    "phoneme": ("phoneme", "oral", []),
    "spambase": ("spambase", "spam", []),
    "higgs": ("higgs_7k", "signal", []),
}
COUNTS = {"bike sharing"}
NUMBERS = {"california", "diamonds", "wine quality", "abalone", "concrete"}
WAYS = ("leaves", "soft", "straight-through")
PLAIN = {"num_leaves": 31, "learning_rate": 0.1, "verbosity": -1, "n_jobs": 1, "random_state": 0}


def load(name: str, folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    file, target, dropped = DATASETS[name]
    table = pd.read_parquet(folder / f"{file}.parquet")
    table = table.drop(columns=[c for c in dropped if c in table])
    if len(table) > MOST_ROWS:
        table = table.sample(MOST_ROWS, random_state=0).reset_index(drop=True)
    y = table.pop(target)
    y = y.to_numpy(dtype=np.float64) if name in NUMBERS | COUNTS else pd.factorize(y, sort=True)[0]
    for column in table:
        if not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = table[column].astype("category")
    return table, y


def model(name: str, **params: object) -> lightgbm.LGBMModel:
    if name in COUNTS:
        return lightgbm.LGBMRegressor(objective="poisson", **{**PLAIN, **params})
    if name in NUMBERS:
        return lightgbm.LGBMRegressor(**{**PLAIN, **params})
    return lightgbm.LGBMClassifier(**{**PLAIN, **params})


def losses(name: str, fitted: lightgbm.LGBMModel, X: pd.DataFrame, y: np.ndarray) -> np.ndarray:
    """Per-sample loss: Poisson deviance, squared error or log loss."""
    if name in COUNTS:
        mean = np.maximum(fitted.predict(X), 1e-12)
        return 2 * (xlogy(y, y) - xlogy(y, mean) - y + mean)
    if name in NUMBERS:
        return (fitted.predict(X) - y) ** 2
    share = np.clip(fitted.predict_proba(X)[:, 1], 1e-15, 1 - 1e-15)
    return -np.where(y == 1, np.log(share), np.log1p(-share))


def tuned(name: str, train: tuple, choose: tuple, seed: int) -> lightgbm.LGBMModel:
    """The best model of a random search with early stopping."""
    draw = np.random.default_rng(seed)
    best, least = None, np.inf
    for _ in range(SEARCHED):
        candidate = model(
            name,
            n_estimators=1000,
            num_leaves=int(2 ** draw.uniform(2, 6.5)),
            learning_rate=float(10 ** draw.uniform(-1.5, -0.7)),
            min_child_samples=int(2 ** draw.uniform(1, 6)),
            colsample_bytree=float(draw.uniform(0.4, 1)),
            subsample=float(draw.uniform(0.5, 1)),
            subsample_freq=1,
            reg_lambda=float(10 ** draw.uniform(-3, 1.5)),
        )
        stop = lightgbm.early_stopping(30, verbose=False)
        candidate.fit(*train, eval_set=[choose], callbacks=[stop])
        loss = losses(name, candidate, *choose).mean()
        if loss < least:
            best, least = candidate, loss
    return best


def parts(count: int, seed: int) -> list[np.ndarray]:
    order = np.random.default_rng(seed).permutation(count)
    return np.split(order, (np.array([0.6, 0.75, 0.85]) * count).astype(int))


def one(name: str, folder: Path, split: int) -> pd.DataFrame:
    X, y = load(name, folder)
    pieces = [(X.iloc[rows], y[rows]) for rows in parts(len(y), split)]
    train, choose, validate, test = pieces
    found = []

    def note(kind: str, way: str, fitted: lightgbm.LGBMModel, seconds: float) -> None:
        told = {part: losses(name, fitted, *rows) for part, rows in measured.items()}
        found.append(
            {
                "data": name,
                "split": split,
                "model": kind,
                "way": way,
                "trees": fitted.booster_.num_trees(),
                "loss": told["test"].mean(),
                "seconds": seconds,
                # Per-sample losses, for the standard errors of differences.
                "test": told["test"].astype(np.float32),
                "validate": told["validate"].astype(np.float32),
            }
        )

    measured = {"test": test, "validate": validate}

    makers = {
        "100 trees": lambda: model(name, n_estimators=100).fit(*train),
        "300 trees": lambda: model(name, n_estimators=300).fit(*train),
        "tuned": lambda: tuned(name, train, choose, split),
    }
    for kind, make in makers.items():
        began = time.perf_counter()
        fitted = make()
        note(kind, "", fitted, time.perf_counter() - began)
        for way in WAYS if kind != "300 trees" else ():
            began = time.perf_counter()
            net = pg.to_torch(fitted, trees=way)
            net.fit(*train, validation=validate, epochs=30, patience=5)
            note(kind, way, pg.from_torch(net), time.perf_counter() - began)
    return pd.DataFrame(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of Parquet files")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--sets", nargs="*", default=list(DATASETS), help="names of data sets")
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--report", type=Path, help="write this page from existing results instead")
    options = parser.parse_args()
    if options.report:
        from report import write

        write(options.out, options.report)
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", pg.PipegradWarning)
    warnings.filterwarnings("ignore", "The argument 'eval_set'")
    options.out.mkdir(parents=True, exist_ok=True)
    for split in range(options.splits):
        for name in options.sets:
            path = options.out / f"{name.replace(' ', '-')}-{split}.parquet"
            if path.exists():
                continue
            began = time.perf_counter()
            result = one(name, options.data, split)
            partial = path.with_suffix(".part")
            result.to_parquet(partial)
            partial.rename(path)
            print(f"{name}, split {split}: {time.perf_counter() - began:.0f} s", flush=True)
            print(result.drop(columns=["test", "validate"]).round(5).to_string(), flush=True)


if __name__ == "__main__":
    main()
