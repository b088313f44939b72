"""How much of the gain of training remains under monotone constraints, and what the order costs.

A model is fitted on a part of the training rows, with constraints on the features that correlate
most with the target, and trained on all of them, with its constraints and with all leaves free. Of
two optimizers, the one with the lower validation loss counts.

    python benchmarks/monotone_gain.py --data FOLDER

FOLDER holds the Parquet files of docs/data.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightgbm import LGBMRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.metrics import mean_squared_error
from xgboost import XGBRegressor

import pipegrad as pg
from pipegrad.modules import LeafOrder, TreeEnsemble

SETS = {
    "california_housing": "median_house_value",
    "diamonds": "price",
    "abalone": "rings",
    "concrete": "strength",
    "wine_quality": "quality",
    "bike_sharing_hourly": "cnt",
}
CONSTRAINED, ROWS = 3, 6000


def models(signs: list[int], seed: int) -> dict[str, object]:
    """One model of each library, with the constraints of its columns."""
    return {
        "LightGBM": LGBMRegressor(
            n_estimators=100, monotone_constraints=signs, verbose=-1, n_jobs=1, random_state=seed
        ),
        "XGBoost": XGBRegressor(
            n_estimators=100, max_depth=5, monotone_constraints=tuple(signs), n_jobs=1
        ),
        "HistGradientBoosting": HistGradientBoostingRegressor(
            monotonic_cst=signs, random_state=seed
        ),
        "RandomForest": RandomForestRegressor(
            30, min_samples_leaf=5, monotonic_cst=signs, random_state=seed
        ),
    }


def load(folder: Path, name: str, seed: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Numeric columns, standardized target and the signs of the constraints."""
    table = pd.read_parquet(folder / f"{name}.parquet").dropna()
    table = table.sample(min(ROWS, len(table)), random_state=seed)
    y = table.pop(SETS[name]).to_numpy(dtype=float)
    X = table.select_dtypes("number")
    correlation = X.corrwith(pd.Series(y, index=X.index), method="spearman")
    strongest = correlation.abs().sort_values().index[-CONSTRAINED:]
    signs = [int(np.sign(correlation[c])) if c in strongest else 0 for c in X.columns]
    return X.to_numpy(dtype=float), (y - y.mean()) / y.std(), signs


def free(net: pg.PipelineModule) -> None:
    """Remove the order of the leaves."""
    for part in net.modules():
        if isinstance(part, TreeEnsemble) and part.order is not None:
            none = torch.zeros(0, dtype=torch.int64)
            part.order = LeafOrder(none, none, part.order.lower.shape[0])


def trained(model: object, constrained: bool, training: tuple, valid: tuple) -> object:
    """The model after training with the optimizer that is better on the validation rows."""
    found = []
    for optim, epochs in ((torch.optim.Adam, 40), (torch.optim.LBFGS, 15)):
        net = pg.to_torch(model)
        if not constrained:
            free(net)
        net.fit(*training, optim=optim, epochs=epochs, patience=5, validation=valid)
        found.append(pg.from_torch(net))
    return min(found, key=lambda after: mean_squared_error(valid[1], after.predict(valid[0])))


def main() -> None:
    """Print the gains on test rows, and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    options = parser.parse_args()
    total = np.zeros(2)
    for name in options.sets:
        X, y, signs = load(options.data, name, 0)
        third = len(X) // 3
        fit, train, valid, test = (
            slice(0, third),
            slice(0, 2 * third),
            slice(2 * third, 2 * third + third // 2),
            slice(2 * third + third // 2, len(X)),
        )
        for library, model in models(signs, 0).items():
            model.fit(X[fit], y[fit])
            before = mean_squared_error(y[test], model.predict(X[test]))
            gains, seconds = [], []
            for constrained in (True, False):
                start = time.perf_counter()
                after = trained(model, constrained, (X[train], y[train]), (X[valid], y[valid]))
                seconds.append(time.perf_counter() - start)
                gains.append(1 - mean_squared_error(y[test], after.predict(X[test])) / before)
            total += gains
            print(
                f"{name:20s} {library:22s} constrained {gains[0]:+.3f} ({seconds[0]:.1f} s)  "
                f"free {gains[1]:+.3f} ({seconds[1]:.1f} s)",
                flush=True,
            )
    print(f"share of the gain kept: {total[0] / total[1]:.2f}")


if __name__ == "__main__":
    main()
