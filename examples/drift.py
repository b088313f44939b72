"""A data stream with concept drift: no update, refitting, and incremental fine-tuning.

python examples/drift.py                               a synthetic stream; prints a table
python examples/drift.py --data electricity.parquet    the electricity market of New South Wales, in
                                                       chronological order, labels in column "class"
python examples/drift.py --data bike.parquet --label cnt   any numeric table
python examples/drift.py --picture drift.svg           draws the running loss as well
python examples/drift.py --trees                       LightGBM, with continued boosting

Prequential evaluation (test, then train): rows arrive in batches; each batch is predicted before
its labels become available.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone, is_classifier
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg

Parts = Iterator[tuple[np.ndarray, np.ndarray]]
Arm = Callable[[Any, np.ndarray, np.ndarray, list[int]], Iterator[np.ndarray]]


def make_stream(rows: int = 12096, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ten features of four latent variables, whose weights drift gradually and then jump once."""
    rng = np.random.default_rng(seed)
    when = np.arange(rows)[:, None] / rows
    hidden = rng.normal(size=(rows, 4))
    X = hidden @ rng.normal(size=(4, 10)) + 0.3 * rng.normal(size=(rows, 10))
    first, second, third = rng.normal(size=(3, 4))
    turned = np.clip((when - 0.3) / 0.3, 0, 1)
    meaning = np.where(when > 0.75, third, (1 - turned) * first + turned * second)
    logit = 1.5 * (hidden * meaning).sum(1)
    return X, (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)


def pipelines(classes: bool) -> dict[str, Any]:
    """The unfitted pipelines to compare, by name."""
    last = LogisticRegression(max_iter=2000) if classes else Ridge()
    return {
        "PCA": make_pipeline(StandardScaler(), PCA(3), last),
        "k-means": make_pipeline(StandardScaler(), KMeans(10, n_init=3, random_state=0), last),
        "Nystroem": make_pipeline(
            StandardScaler(), Nystroem(n_components=50, random_state=0), last
        ),
    }


def boosted(classes: bool) -> dict[str, Any]:
    """LightGBM, by name."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    settings = {"n_estimators": 50, "num_leaves": 15, "verbose": -1, "n_jobs": 1}
    return {"LightGBM": (LGBMClassifier if classes else LGBMRegressor)(**settings)}


# The arms: each yields a fitted pipeline before every batch.


def nothing(pipe: Any, X: np.ndarray, y: np.ndarray, starts: list[int]) -> Iterator[Any]:
    """Fitted once, never updated."""
    pipe.fit(X[: starts[0]], y[: starts[0]])
    for _ in starts:
        yield pipe


def refit_all(pipe: Any, X: np.ndarray, y: np.ndarray, starts: list[int]) -> Iterator[Any]:
    """Refitted on all rows so far."""
    for start in starts:
        yield pipe.fit(X[:start], y[:start])


def refit_window(pipe: Any, X: np.ndarray, y: np.ndarray, starts: list[int]) -> Iterator[Any]:
    """Refitted on a sliding window as long as the initial training set."""
    for start in starts:
        window = slice(start - starts[0], start)
        yield pipe.fit(X[window], y[window])


def sgd(pipe: Any, X: np.ndarray, y: np.ndarray, starts: list[int]) -> Iterator[Any]:
    """scikit-learn's own `partial_fit`: earlier steps stay fixed, a linear model is updated."""
    last = SGDClassifier(loss="log_loss", random_state=0)
    if not is_classifier(pipe):
        last = SGDRegressor(random_state=0)
    before = pipe[:-1].fit(X[: starts[0]])
    last.fit(before.transform(X[: starts[0]]), y[: starts[0]])
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        yield make_pipeline(before, last)
        last.partial_fit(before.transform(X[start:stop]), y[start:stop])


def continued(pipe: Any, X: np.ndarray, y: np.ndarray, starts: list[int]) -> Iterator[Any]:
    """LightGBM's own `init_model`: each batch adds as many trees as the model had at first."""
    model = clone(pipe).fit(X[: starts[0]], y[: starts[0]])
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        yield model
        if len(np.unique(y[start:stop])) > 1:
            model = clone(pipe).fit(X[start:stop], y[start:stop], init_model=model)


def learn_on(pipe: Any, X: np.ndarray, y: np.ndarray, starts: list[int]) -> Iterator[Any]:
    """pipegrad: the whole pipeline is updated, and boosted trees may forget the old rows."""
    tuner = pg.FineTuner(pipe, forget=True, random_state=0)
    tuner.partial_fit(X[: starts[0]], y[: starts[0]])
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        yield tuner.estimator_
        tuner.partial_fit(X[start:stop], y[start:stop])


ARMS = {
    "nothing": nothing,
    "refit on all rows": refit_all,
    "refit on a window": refit_window,
    "SGD on the last step": sgd,
    "pipegrad": learn_on,
}


TREE_ARMS = {
    "nothing": nothing,
    "refit on all rows": refit_all,
    "refit on a window": refit_window,
    "continued boosting": continued,
    "pipegrad": learn_on,
}


COLORS = dict(zip(ARMS, ("C0", "C1", "C2", "C4", "C3"), strict=True))
COLORS["continued boosting"] = COLORS["SGD on the last step"]


def losses(model: Any, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per-sample log loss and 0-1 error, or squared and absolute error."""
    if not is_classifier(model):
        gap = np.abs(model.predict(X) - y)
        return gap**2, gap
    p = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return -np.log(np.clip(p, 1e-15, 1)), (model.predict(X) != y).astype(float)


def play(
    arm: Any, pipe: Any, X: np.ndarray, y: np.ndarray, starts: list[int]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Test, then train: losses and errors after the initial rows, and training seconds."""
    found, seconds = [], 0.0
    models = arm(pipe, X, y, starts)
    for start, stop in zip(starts, [*starts[1:], len(X)], strict=True):
        began = time.perf_counter()
        model = next(models)
        seconds += time.perf_counter() - began
        found.append(losses(model, X[start:stop], y[start:stop]))
    loss, error = (np.concatenate(part) for part in zip(*found, strict=True))
    return loss, error, seconds


def compare(
    X: np.ndarray, y: np.ndarray, batch: int, first: float, skip: float, trees: bool = False
) -> tuple[pd.DataFrame, dict[str, dict[str, np.ndarray]]]:
    """All arms on all pipelines; the first ``skip`` of the rows is left out of the results."""
    classes = len(np.unique(y)) < 20
    starts = list(range(int(first * len(X)), len(X), batch))
    counted = slice(max(0, int(skip * len(X)) - starts[0]), None)
    rows, curves = [], {}
    for name, pipe in (boosted(classes) if trees else pipelines(classes)).items():
        curves[name] = {}
        for arm, play_arm in (TREE_ARMS if trees else ARMS).items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loss, error, seconds = play(play_arm, pipe, X, y, starts)
            loss, error = loss[counted], error[counted]
            curves[name][arm] = loss
            rows.append((name, arm, loss.mean(), error.mean(), seconds))
    columns = ["pipeline", "arm", "loss", "error", "seconds"]
    return pd.DataFrame(rows, columns=columns), curves


def draw(curves: dict[str, dict[str, np.ndarray]], batch: int, path: str) -> None:
    """Plot the running mean of the loss."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "pipegrad"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(curves), figsize=(11, 3.6), sharey=True, layout="constrained"
    )
    for ax, (name, arms) in zip(axes, curves.items(), strict=True):
        for arm, loss in arms.items():
            mine = arm == "pipegrad"
            weeks = np.arange(len(loss))[::batch]
            running = np.cumsum(loss) / np.arange(1, len(loss) + 1)
            ax.plot(
                np.arange(len(weeks)),
                running[np.minimum(weeks + batch - 1, len(loss) - 1)],
                label=arm,
                linewidth=2.5 if mine else 1.2,
                color=COLORS[arm],
                zorder=3 if mine else 2,
            )
        ax.set(title=name, xlabel="batches")
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    bound = [np.mean(arms["nothing"]) for arms in curves.values()]
    axes[0].set(ylabel="mean loss so far", ylim=(None, 1.6 * max(bound)))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the table and, if asked for, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a Parquet file in chronological order")
    parser.add_argument("--label", default="class", help="target column")
    parser.add_argument("--batch", type=int, default=336, help="rows per batch")
    parser.add_argument(
        "--first", type=float, default=0.2, help="share of rows for the initial fit"
    )
    parser.add_argument(
        "--skip", type=float, default=0.0, help="share of rows left out of the results"
    )
    parser.add_argument("--trees", action="store_true", help="LightGBM instead of the pipelines")
    parser.add_argument("--picture", help="file for the figure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.data is None:
        X, y = make_stream()
    else:
        table = pd.read_parquet(options.data)
        X, y = table.drop(columns=options.label).to_numpy(float), table[options.label].to_numpy()
    found, curves = compare(X, y, options.batch, options.first, options.skip, options.trees)
    print(found.to_string(index=False, float_format="{:.4g}".format))
    if options.picture:
        draw(curves, options.batch, options.picture)


if __name__ == "__main__":
    main()
