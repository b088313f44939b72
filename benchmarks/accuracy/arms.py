"""The arms of the study: everything that is compared for one pipeline on one split."""

from __future__ import annotations

import contextlib
import json
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import xlogy
from search_spaces import VALIDATION_SHARE, clock, search
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import TimeSeriesSplit
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from templates import REFERENCE, TEMPLATES, prepared, width
from variants import by_hand

import pipegrad as pg
from data import BY_NAME, DataSet, Split, split
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples
from pipegrad.training.trainer import Trainer

CONTEXT = "context"
# Lower bounds of a predicted rate (Poisson deviance) and of a probability (log loss).
_LEAST_RATE, _LEAST_SHARE = 1e-9, 1e-15
# Training from random weights: more epochs than any fine-tuning run, and the rate of Adam.
_EPOCHS = 200
_RATE = 1e-2


class Skip(Exception):  # noqa: N818 (not an error)
    """An arm that does not apply here, with the reason."""


@dataclass(frozen=True)
class Job:
    """One data set, pipeline and split: one result file."""

    data: str
    template: str
    split: str
    rows: int
    controls: bool
    search: bool = True

    @property
    def file(self) -> str:
        return f"{self.data}.{self.template}.{self.split}.parquet"

    @property
    def seed(self) -> int:
        return 0 if self.split == "time" else int(self.split)


def row_losses(data: DataSet, model: Any, X: pd.DataFrame, y: np.ndarray) -> np.ndarray:
    """Per-sample loss: Poisson deviance, squared error or log loss; never negative."""
    if data.task == "count":
        mean = np.maximum(model.predict(X), _LEAST_RATE)
        return np.maximum(2 * (xlogy(y, y) - xlogy(y, mean) - y + mean), 0.0)
    if data.task == "regression":
        return (model.predict(X) - y) ** 2
    shares = np.zeros((len(y), int(max(y.max(), np.max(model.classes_))) + 1))
    shares[:, np.asarray(model.classes_, dtype=int)] = model.predict_proba(X)
    known = shares[np.arange(len(y)), y.astype(int)]
    return -np.log(np.clip(known, _LEAST_SHARE, 1.0))


@dataclass
class Bench:
    """A pipeline and a split: fits and evaluates models, and collects the results of the arms."""

    job: Job
    part: Split
    found: list[dict[str, Any]]

    @property
    def data(self) -> DataSet:
        return self.part.data

    def pipe(self, wider: bool = False) -> Any:
        return TEMPLATES[self.job.template](self.data, self.part.X, wider=wider)

    def loss(self, model: Any, X: Any, y: Any) -> np.ndarray:
        return row_losses(self.data, model, X, y)

    def run(self, arm: str, make: Callable[[], tuple[Any, dict[str, Any]]]) -> Any:
        """Fit a model; record its loss and time, or why there is none."""
        note: dict[str, Any] = {"arm": arm, "error": "", "skipped": ""}
        began, model = clock(), None
        try:
            model, told = make()
            note["seconds"] = clock() - began
            losses = self.loss(model, self.part.X_test, self.part.y_test)
            if not np.isfinite(losses).all():
                raise ValueError("a loss on the test rows is not finite")
            note |= {"loss": float(losses.mean()), "test": losses.astype(np.float32), **told}
        except Skip as reason:
            note["skipped"] = str(reason)
        except Exception as error:
            model = None
            note["error"] = _told(error)
        self.found.append(note)
        return model

    def divided(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """The rows outside the test set, split into training and validation rows."""
        X, y = self.part.X, self.part.y
        held = round(VALIDATION_SHARE * len(y))
        order = np.random.default_rng(self.job.seed).permutation(len(y))
        some, others = order[held:], order[:held]
        return (X.iloc[some], y[some]), (X.iloc[others], y[others])

    def seconds(self, arm: str) -> float:
        return next((n.get("seconds", 0.0) for n in self.found if n["arm"] == arm), 0.0)


def _told(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"


@cache
def _warm_up() -> None:
    """Load everything that is loaded lazily, so that the first job is not charged for it."""
    X = np.linspace(-1, 1, 60)[:, None]
    pg.FineTuner(Ridge(), random_state=0).fit(X, X[:, 0])


def run_job(job: Job, folder: Path, threads: int = 1) -> pd.DataFrame:
    """Run all arms of a job; one row per arm."""
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    data = BY_NAME[job.data]
    part = split(data, folder, job.split if job.split == "time" else int(job.split), job.rows)
    bench = Bench(job, part, [])
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore")
        _warm_up()
        if job.template == CONTEXT:
            _context(bench)
        else:
            _arms(bench)
    return table(job, bench.found, data.task, len(part.y))


def table(job: Job, found: list[dict[str, Any]], task: str = "", rows: int = 0) -> pd.DataFrame:
    """Records as rows of a table in which every column is present."""
    known = {"data": job.data, "template": job.template, "split": job.split, "task": task}
    blank = {
        "loss": np.nan,
        "seconds": np.nan,
        "test": np.zeros(0, np.float32),
        "improved": False,
        "chosen": "",
        "why": "",
        "before": np.nan,
        "gain": np.nan,
        "gain_error": np.nan,
        "splits": 0,
        "tuning_seconds": np.nan,
        "settings": "",
    }
    return pd.DataFrame([{**known, "rows": rows, **blank, **note} for note in found])


def _arms(bench: Bench) -> None:
    job, part = bench.job, bench.part
    pipe = bench.pipe()
    fitted = bench.run("pipeline", lambda: (clone(pipe).fit(part.X, part.y), {}))
    if fitted is None:
        return
    bench.run("finetuned", lambda: _finetuned(bench, pipe))
    if job.split == "time":
        bench.run("ordered", lambda: _finetuned(bench, pipe, cv=TimeSeriesSplit(5)))
    if job.search:
        bench.run("search", lambda: _searched(bench, pipe))
    bench.run("wider", lambda: _wider(bench, pipe))
    if job.controls:
        bench.run("last", lambda: _last(bench, pipe, fitted))
        bench.run("random", lambda: _random(bench, pipe))
        if job.template in REFERENCE.values():
            bench.run("by_hand", lambda: _by_hand(bench, pipe))


def _finetuned(bench: Bench, pipe: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    tuner = pg.FineTuner(pipe, random_state=bench.job.seed, **options)
    tuner.fit(bench.part.X, bench.part.y)
    report = tuner.report_
    return tuner, {
        "improved": bool(tuner.improved_),
        "chosen": report.chosen or "",
        "why": report.why,
        "before": report.before,
        "gain": report.gain,
        "gain_error": report.error,
        "splits": report.splits,
        "tuning_seconds": report.seconds,
    }


def _searched(bench: Bench, pipe: Any) -> tuple[Any, dict[str, Any]]:
    seconds = bench.seconds("finetuned")
    if not seconds:
        raise Skip("fine-tuning took no time that the search could match")
    part, columns = bench.part, width(bench.data, bench.part.X)
    found = search(pipe, part.X, part.y, bench.loss, columns, seconds, bench.job.seed)
    settings = {name: _plain(value) for name, value in found.settings.items()}
    told = json.dumps({"tried": found.tried, **settings})
    return found.model, {"settings": told, "tuning_seconds": found.seconds}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _wider(bench: Bench, pipe: Any) -> tuple[Any, dict[str, Any]]:
    wider = bench.pipe(wider=True)
    if _values(wider) == _values(pipe):
        raise Skip("the pipeline has nothing to widen")
    return wider.fit(bench.part.X, bench.part.y), {}


def _values(pipe: Any) -> dict[str, Any]:
    return {k: v for k, v in pipe.get_params().items() if isinstance(v, int | float | str | tuple)}


def _last(bench: Bench, pipe: Any, fitted: Any) -> tuple[Any, dict[str, Any]]:
    training = [s.name for s in pg.inspect(fitted) if s.status == "trainable"]
    if len(training) < 2:
        raise Skip("only the last operator is trainable")
    return _finetuned(bench, pipe, train=training[-1:])


def _random(bench: Bench, pipe: Any) -> tuple[Any, dict[str, Any]]:
    """Train from random weights for as long as fine-tuning took; the better of L-BFGS and Adam."""
    seconds, seed = bench.seconds("finetuned"), bench.job.seed
    if not seconds:
        raise Skip("fine-tuning took no time that training could match")
    (X, y), valid = bench.divided()
    fitted = clone(pipe).fit(X, y)
    best, least, chosen = None, np.inf, ""
    for name, optim in (("L-BFGS", torch.optim.LBFGS), ("Adam", _adam)):
        try:
            net = _from_random(fitted, seed)
            settings = {"epochs": _EPOCHS, "seed": seed, "max_seconds": seconds / 2}
            net.fit(X, y, optim=optim, validation=valid, **settings)
            model = pg.from_torch(net)
        except pg.PipegradError as error:
            chosen = chosen or f"{name}: {str(error).splitlines()[0]}"
            continue
        value = bench.loss(model, *valid).mean()
        if value < least:
            best, least, chosen = model, value, name
    if best is None:
        raise Skip(chosen)
    return best, {"chosen": chosen}


def _by_hand(bench: Bench, pipe: Any) -> tuple[Any, dict[str, Any]]:
    """The reference portfolio on this split: three strategies, the best validation checkpoint.

    Its baseline (``before``) is the pipeline fitted on the same training rows, without the
    validation rows.
    """
    train, valid = bench.divided()
    fitted = clone(pipe).fit(*train)
    net = pg.to_torch(fitted)
    task = TrainingProblem.of(net, Samples(*train), Samples(*valid), Options(seed=bench.job.seed))
    runs = []
    for candidate in by_hand(task):
        with contextlib.suppress(pg.DivergedError):
            runs.append(task.run(candidate))
    best = min(runs, key=lambda run: run.best_loss_)
    Trainer.restore(best)
    before = float(bench.loss(fitted, bench.part.X_test, bench.part.y_test).mean())
    return net, {"chosen": best.candidate.name if best.best_epoch_ else "", "before": before}


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=_RATE)


def _from_random(fitted: Any, seed: int) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return pg.to_torch(fitted, init="random")


def _context(bench: Bench) -> None:
    """Other kinds of model on the same columns."""
    part, data = bench.part, bench.data
    steps = TEMPLATES["tfidf"](data, part.X)[:-1] if data.text else prepared(data, part.X)
    for name, model in (("hist_gradient_boosting", _boosted(data)), ("mlp", _mlp(data))):
        scaled = [StandardScaler()] if name == "mlp" else []
        pipe = make_pipeline(clone(steps), *scaled, model)
        bench.run(name, lambda pipe=pipe: (pipe.fit(part.X, part.y), {}))


def _boosted(data: DataSet) -> Any:
    if data.task == "count":
        return HistGradientBoostingRegressor(loss="poisson", random_state=0)
    if data.task == "regression":
        return HistGradientBoostingRegressor(random_state=0)
    return HistGradientBoostingClassifier(random_state=0)


def _mlp(data: DataSet) -> Any:
    options = {"early_stopping": True, "random_state": 0}
    if data.task == "count":
        return MLPRegressor(loss="poisson", **options)
    return (MLPRegressor if data.task == "regression" else MLPClassifier)(**options)
