"""Continued boosting under drift: 30 tasks, against each library's own continuation.

python benchmarks/continued_boosting.py                      the 30 tasks; prints a table
python benchmarks/continued_boosting.py --tasks 0 10         the tasks from number 0 to 9
python benchmarks/continued_boosting.py --data FOLDER        real tables in order of time, from
                                                             electricity.parquet and
                                                             bike_sharing_hourly.parquet
python benchmarks/continued_boosting.py --out results.json   writes the results as well

A pipeline is fitted on 1,000 old rows. Six calls of 200 new rows follow, each of which is a test
before it is learned from, and 1,000 later rows. The control is what users of a library do
themselves: they continue boosting on each new batch (``init_model``, ``xgb_model``, ``warm_start``)
with as many rounds as the model has. Losses are on the natural scale: log loss, squared error.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import is_classifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from xgboost import XGBClassifier, XGBRegressor

import pipegrad as pg
from pipegrad.graph import copy_source
from pipegrad.online.growth import grow
from pipegrad.training.samples import Samples

OLD, CALLS, ROWS, LATER, COLUMNS, ROUNDS = 1000, 6, 200, 1000, 6, 20


def score(X: np.ndarray) -> np.ndarray:
    """The old concept."""
    return np.maximum(X[:, 0], 0) + np.sin(3 * X[:, 1]) - 0.5


# What the score becomes, at a time between 0 (the first new row) and 1 (the last).


def new_effect(X: np.ndarray, time: np.ndarray) -> np.ndarray:
    """A feature without effect gets one."""
    return score(X) + 0.8 * X[:, 2]


def gradual_effect(X: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The same, little by little."""
    return score(X) + 1.6 * time * X[:, 2]


def rescaled(X: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Effects grow and shrink."""
    return 2 * np.maximum(X[:, 0], 0) + 0.4 * np.sin(3 * X[:, 1]) - 0.5


def group(X: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Another group of users: a prior and an effect differ."""
    return score(X) + 0.7 - 0.8 * np.maximum(X[:, 0], 0)


def twice(X: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Two abrupt changes."""
    return score(X) + np.where(time < 0.5, 0.8, -0.8) * X[:, 3]


def reversed_effect(X: np.ndarray, time: np.ndarray) -> np.ndarray:
    """An effect changes its sign gradually."""
    return np.maximum(X[:, 0], 0) * (1 - 2 * time) + np.sin(3 * X[:, 1]) - 0.5


def interaction(X: np.ndarray, time: np.ndarray) -> np.ndarray:
    """An effect comes to depend on another feature."""
    return score(X) + X[:, 2] * (X[:, 4] > 0)


def unchanged(X: np.ndarray, time: np.ndarray) -> np.ndarray:
    """No change of the concept."""
    return score(X)


Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Name, change of the concept, shift of the first two features, and the change of the prior.
KINDS: list[tuple[str, Change, float, float]] = [
    ("new effect", new_effect, 0.0, 0.0),
    ("rescaled effects", rescaled, 0.0, 0.0),
    ("other group", group, 0.0, 0.0),
    ("covariate shift", unchanged, 1.2, 0.0),
    ("label shift", unchanged, 0.0, 1.0),
    ("gradual effect", gradual_effect, 0.0, 0.0),
    ("two changes", twice, 0.0, 0.0),
    ("reversed effect", reversed_effect, 0.0, 0.0),
    ("interaction", interaction, 0.0, 0.0),
    ("covariates and effect", new_effect, 0.8, 0.0),
]

BOOSTING: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "LightGBM": (
        LGBMClassifier,
        LGBMRegressor,
        {"n_estimators": ROUNDS, "num_leaves": 15, "verbose": -1, "n_jobs": 1},
    ),
    "XGBoost": (
        XGBClassifier,
        XGBRegressor,
        {"n_estimators": ROUNDS, "max_depth": 4, "learning_rate": 0.1, "n_jobs": 1},
    ),
    "CatBoost": (
        CatBoostClassifier,
        CatBoostRegressor,
        {
            "iterations": ROUNDS,
            "learning_rate": 0.1,
            "verbose": 0,
            "allow_writing_files": False,
            "thread_count": 1,
        },
    ),
    "HistGradientBoosting": (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        {"max_iter": ROUNDS, "max_leaf_nodes": 15},
    ),
    "GradientBoosting": (
        GradientBoostingClassifier,
        GradientBoostingRegressor,
        {"n_estimators": ROUNDS, "random_state": 0},
    ),
}
ARMS = ("fitted", "continued", "forget=True", "default")


def draw(
    rng: np.random.Generator,
    rows: int,
    when: np.ndarray | None,
    kind: tuple[Any, ...],
    classes: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one kind of drift; ``when`` is None for old rows."""
    _, change, moved, prior = kind
    X = rng.normal(size=(rows, COLUMNS))
    noise = 0.3 * rng.normal(size=rows)
    if when is None:
        target = score(X) + noise
    else:
        X[:, :2] += moved
        target = change(X, when) + noise + prior
    return X, (target > 0).astype(int) if classes else target


def task(number: int) -> tuple[str, Any, Any, list[Any], Any, Any]:
    """One task: name, pipeline, old rows, calls, later rows and held-out old rows."""
    kind = KINDS[number % len(KINDS)]
    library = list(BOOSTING)[(number + number // 10) % 5]
    classifier, regressor, settings = BOOSTING[library]
    classes = number % 3 != 2
    rng = np.random.default_rng(number)
    model = (classifier if classes else regressor)(**settings)
    old = draw(rng, OLD, None, kind, classes)
    times = np.arange(CALLS * ROWS) / (CALLS * ROWS)
    X, y = draw(rng, CALLS * ROWS, times, kind, classes)
    parts = [slice(i * ROWS, (i + 1) * ROWS) for i in range(CALLS)]
    later = draw(rng, LATER, np.ones(LATER), kind, classes)
    held = draw(rng, LATER, None, kind, classes)
    name = f"{kind[0]}, {library}, {'classes' if classes else 'numbers'}"
    return name, model, old, [(X[p], y[p]) for p in parts], later, held


# Real tables in order of time: file, target, and the rows at which a task starts.
TABLES = (
    ("electricity", "class", (0, 15000, 30000)),
    ("bike_sharing_hourly", "cnt", (0, 6000, 12000)),
)


def real_tasks(folder: Path) -> Iterator[tuple[str, Any, Any, list[Any], Any, Any]]:
    """Tasks like `task` on real tables; a fifth of the old rows is held out at random."""
    for name, label, starts in TABLES:
        table = pd.read_parquet(folder / f"{name}.parquet")
        y = table.pop(label).to_numpy()
        X = table.to_numpy(float)
        classes = len(np.unique(y)) == 2
        y = np.unique(y, return_inverse=True)[1] if classes else y.astype(float)
        for number, start in enumerate(starts):
            rows = np.arange(start, start + OLD * 5 // 4 + CALLS * ROWS + LATER)
            old, new = rows[: OLD * 5 // 4], rows[OLD * 5 // 4 :]
            old = np.random.default_rng(number).permutation(old)
            calls = np.split(new[: CALLS * ROWS], CALLS)
            library = list(BOOSTING)[(number + len(name)) % 5]
            classifier, regressor, settings = BOOSTING[library]
            model = (classifier if classes else regressor)(**settings)
            fitted, held, later = np.sort(old[:OLD]), old[OLD:], new[CALLS * ROWS :]
            yield (
                f"{name} from row {start}, {library}",
                model,
                (X[fitted], y[fitted]),
                [(X[part], y[part]) for part in calls],
                (X[later], y[later]),
                (X[held], y[held]),
            )


def loss(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Log loss or mean squared error."""
    if not is_classifier(model):
        return float(np.mean((model.predict(X) - y) ** 2))
    p = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return float(-np.log(np.clip(p, 1e-15, 1)).mean())


def play(step: Callable[[Any, Any], Any], model: Any, calls: list[Any]) -> tuple[float, Any, float]:
    """Test, then learn: mean loss over the calls, the last model, and seconds."""
    found, began = [], time.perf_counter()
    for X, y in calls:
        found.append(loss(model, X, y))
        model = step(X, y)
    return float(np.mean(found)), model, time.perf_counter() - began


def run(name: str, model: Any, old: Any, calls: list[Any], later: Any, held: Any) -> dict[str, Any]:
    """All arms on one task: loss on the calls, on later rows and on old rows, and seconds."""
    fitted = copy.deepcopy(model).fit(*old)
    state = {"model": fitted}

    def continued(X: np.ndarray, y: np.ndarray) -> Any:
        longer = copy_source(state["model"])
        if grow(longer, Samples(X, y), ROUNDS):
            state["model"] = longer
        return state["model"]

    tuners = {
        arm: pg.FineTuner(model, forget=forget, random_state=0).partial_fit(*old)
        for arm, forget in (("forget=True", True), ("default", None))
    }
    steps = {
        "fitted": lambda X, y: fitted,
        "continued": continued,
        **{
            arm: lambda X, y, tuner=tuner: tuner.partial_fit(X, y).estimator_
            for arm, tuner in tuners.items()
        },
    }
    out: dict[str, Any] = {"task": name}
    for arm, step in steps.items():
        mean, last, seconds = play(step, fitted, calls)
        out[arm] = (mean, loss(last, *later), loss(last, *held), seconds)
    for arm, tuner in tuners.items():
        out[f"{arm} kept"] = tuner.stream_[-1]["kept"]
    return out


def summarize(found: list[dict[str, Any]]) -> str:
    """In how many tasks pipegrad is at least as good as the control, and what it forgot."""
    lines = []
    for place, name in enumerate(("calls", "later rows")):
        ratio = np.array([one["forget=True"][place] / one["continued"][place] for one in found])
        lines.append(
            f"forget=True, {name}: at least as good as the control in {np.sum(ratio <= 1)} of "
            f"{len(found)}; ratio of the losses {np.median(ratio):.2f} (median), {ratio.max():.2f} "
            "(largest)"
        )
    for arm in ARMS[1:]:
        forgot = np.array([one[arm][2] / one["fitted"][2] - 1 for one in found])
        gain = np.array([1 - one[arm][1] / one["fitted"][1] for one in found])
        lines.append(
            f"{arm}: loss on old rows {np.median(forgot):+.1%} (median), {forgot.max():+.1%} "
            f"(largest), at most 1% in {np.sum(forgot <= 0.01)}; gain on later rows "
            f"{np.median(gain):.1%} (median), {gain.min():.1%} (least)"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the tasks, and in how many pipegrad is at least as good as the control."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs=2, default=(0, 30))
    parser.add_argument("--data", type=Path, help="folder of real tables")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tasks = map(task, range(*options.tasks)) if options.data is None else real_tasks(options.data)
    found: list[dict[str, Any]] = []
    for one in starmap(run, tasks):
        found.append(one)
        print(f"{len(found)}: {one['task']}")
        for arm in ARMS:
            calls, later, held, seconds = one[arm]
            print(
                f"   {arm:12s} calls {calls:.4f}  later {later:.4f}  old {held:.4f}  "
                f"{seconds:.1f} s  {one.get(arm + ' kept', '')}",
                flush=True,
            )
        if options.out is not None:
            options.out.write_text(json.dumps(found))
    print(summarize(found))


if __name__ == "__main__":
    main()
