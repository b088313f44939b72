"""Compares the alternatives behind each rule of the recipe, on the development data sets.

    python benchmarks/accuracy/rule_study.py --data DATA --out rules.parquet
    python benchmarks/accuracy/rule_study.py --out rules.parquet --report docs/recipe.md

DATA is a folder of Parquet files (docs/data.md). Each training strategy starts from the same fitted
pipeline, stops at its best validation checkpoint and is scored on the test set of one random split.
An interrupted run resumes where it stopped. --report writes the tables into the page, between its
markers.

The evaluation data sets (the other half, see data.py) play no part in this.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
import variants  # noqa: E402
from arms import _told, _warm_up, row_losses  # noqa: E402
from search_spaces import VALIDATION_SHARE, clock  # noqa: E402
from templates import TEMPLATES, applies  # noqa: E402

import pipegrad as pg  # noqa: E402
from data import BY_NAME, DEVELOPMENT, MOST_ROWS, load, split  # noqa: E402
from pipegrad.finetune.problem import TrainingProblem  # noqa: E402
from pipegrad.training.optimizers import groups_by_size  # noqa: E402
from pipegrad.training.options import Options  # noqa: E402
from pipegrad.training.samples import Samples  # noqa: E402
from pipegrad.training.splitting import split as divided  # noqa: E402
from pipegrad.training.trainer import Trainer  # noqa: E402

PIPELINES = ("pca", "figure1", "kmeans", "nystroem", "bins", "leaves")
FEW_ROWS = 1_000
KEY = ["group", "data", "template", "split", "arm"]


@dataclass(frozen=True)
class Group:
    """Strategies that are compared with each other, the number of rows, and the splits."""

    strategies: Callable[[TrainingProblem, np.ndarray], list[Any]] | None
    rows: int = MOST_ROWS
    splits: tuple[int, ...] = (0,)


GROUPS = {
    "variants": Group(variants.several),
    "anchors": Group(variants.anchors, FEW_ROWS, (0, 1)),
    "steps": Group(variants.steps),
    "rate": Group(None),
}
_RATES = (1e-3, 1e-2, 1e-1, "auto")
_EPOCHS = 30


@dataclass
class Pair:
    """A fitted pipeline with training, validation and test rows."""

    group: str
    data: Any
    template: str
    split: int
    fitted: Any
    train: tuple[Any, np.ndarray]
    valid: tuple[Any, np.ndarray]
    test: tuple[Any, np.ndarray]

    @classmethod
    def of(cls, group: str, name: str, template: str, seed: int, folder: Path) -> Pair:
        data = BY_NAME[name]
        part = split(data, folder, seed, GROUPS[group].rows)
        classes = part.y if data.task in ("binary", "multiclass") else None
        generator = np.random.default_rng(seed)
        some, held = divided(len(part.y), VALIDATION_SHARE, generator, classes)
        X, y = part.X.iloc[some], part.y[some]
        fitted = TEMPLATES[template](data, part.X).fit(X, y)
        valid, test = (part.X.iloc[held], part.y[held]), (part.X_test, part.y_test)
        return cls(group, data, template, seed, fitted, (X, y), valid, test)

    def strategies(self) -> list[tuple[str, Callable[[], tuple[Any, dict[str, Any]]]]]:
        """Names, and functions that train a module and return it with its record."""
        make = GROUPS[self.group].strategies
        if make is None:
            return [(f"rate {rate}", lambda rate=rate: self._with_rate(rate)) for rate in _RATES]
        net = pg.to_torch(self.fitted)
        task = TrainingProblem.of(net, Samples(*self.train), Samples(*self.valid), Options())
        found = make(task, self.train[1])
        return [(one.name, lambda one=one: _trained(task, one)) for one in found]

    def _with_rate(self, rate: Any) -> tuple[Any, dict[str, Any]]:
        net = pg.to_torch(self.fitted)
        optim = torch.optim.Adam
        if rate != "auto":
            # Relative to the magnitude of each parameter, as in the rate search.
            optim = lambda p: torch.optim.Adam(groups_by_size(p, rate), fused=True)  # noqa: E731
        given = {"lr": "auto"} if rate == "auto" else {}
        net.fit(*self.train, optim=optim, validation=self.valid, epochs=_EPOCHS, **given)
        losses = net.history[:, "valid_loss"]
        told = {"lr": net.history[0].get("lr", np.nan)} if rate == "auto" else {"lr": rate}
        return net, {"checkpoint": int(np.argmin(losses)), "valid": min(losses), **told}

    def losses(self, model: Any) -> np.ndarray:
        """Per-sample losses of the test rows."""
        return row_losses(self.data, model, *self.test)


def _trained(task: TrainingProblem, candidate: Any) -> tuple[Any, dict[str, Any]]:
    task.__dict__.pop("lengths", None)  # Each strategy pays for measuring them.
    run = task.run(candidate)
    Trainer.restore(run)
    return task.net, {"checkpoint": run.best_epoch_, "valid": float(run.best_loss_)}


def measure(pair: Pair) -> list[dict[str, Any]]:
    """One row for each training strategy."""
    key = {"group": pair.group, "data": pair.data.name, "template": pair.template}
    key |= {"split": pair.split, "task": pair.data.task}
    before, found = pair.losses(pg.to_torch(pair.fitted)), []
    for name, train in pair.strategies():
        note = {**key, "arm": name, "before": before.mean(), "after": np.nan, "error": ""}
        began = clock()
        try:
            net, told = train()
            note |= {"seconds": clock() - began, **told}
            after = pair.losses(net)
            noise = (before - after).std() / np.sqrt(len(after))
            note |= {"after": after.mean(), "noise": noise}
        except Exception as error:
            note["error"] = _told(error)
        found.append(note)
    return found


def _measured(job: tuple[str, str, str, int], folder: Path) -> list[dict[str, Any]]:
    """The results of a pair, or one row with the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return measure(Pair.of(*job, folder))
        except Exception as error:
            return [{**dict(zip(KEY, (*job, ""), strict=True)), "error": _told(error)}]


def run(options: argparse.Namespace) -> None:
    """Run all pairs that are still missing; the file is saved after each pair."""
    table = pd.read_parquet(options.out) if options.out.exists() else pd.DataFrame(columns=KEY)
    wanted = [
        (group, name, template, seed)
        for group in options.groups
        for seed in GROUPS[group].splits
        for template in options.templates
        for name in options.sets
        if applies(template, BY_NAME[name], load(BY_NAME[name], options.data, 200)[0])
    ]
    _warm_up()
    for place, job in enumerate(wanted, 1):
        have = table[(table[KEY[:4]] == pd.Series(job, index=KEY[:4])).all(axis=1)]
        if len(have):
            continue
        found = _measured(job, options.data)
        table = pd.DataFrame([*table.to_dict("records"), *found])
        _save(table, options.out)
        print(f"{place}/{len(wanted)}  {', '.join(map(str, job))}: {_short(found)}", flush=True)


def _save(table: pd.DataFrame, path: Path) -> None:
    partial = path.with_suffix(".part")
    table.to_parquet(partial)
    partial.replace(path)


def _short(found: list[dict[str, Any]]) -> str:
    cells = [
        f"{n['arm']} {n['error'][:60] or format(100 * (1 - n['after'] / n['before']), '.1f')}"
        for n in found
    ]
    return "; ".join(cells)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of Parquet files")
    parser.add_argument("--out", type=Path, default=Path("rules.parquet"), help="results")
    parser.add_argument(
        "--sets", nargs="+", choices=DEVELOPMENT, default=DEVELOPMENT, metavar="NAME"
    )
    parser.add_argument("--templates", nargs="+", choices=PIPELINES, default=PIPELINES)
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--report", type=Path, help="write the tables into this page instead")
    options = parser.parse_args(given)
    if options.report is None and options.data is None:
        parser.error("--data must name the folder of Parquet files; see docs/data.md.")
    return options


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    torch.set_num_threads(1)
    if options.report is not None:
        from rule_study_report import write

        write(pd.read_parquet(options.out), options.report)
        return
    run(options)


if __name__ == "__main__":
    main()
