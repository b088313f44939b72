"""Settings by rule: a few ways to train, compared on rows that nothing was fitted on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ArgumentError, DivergedError
from ._candidates import ENOUGH, MORE, Candidate, Run, portfolio
from ._choice import AGREEING, WORTH, Choice, choose
from ._criterion import Criterion, make_criterion
from ._crossfit import cross_fitted
from ._curvature import scales
from ._data import gather
from ._evidence import Clock, MovedStep, curves, moved_steps
from ._loader import Loader, Rows
from ._loop import unit
from ._recalibrate import recalibrate
from ._reliability import calibrations
from ._report import Report, Tried
from ._trees import softened
from .training import Options, callbacks_of, prepare, run

if TYPE_CHECKING:
    from ..module import PipelineModule

# Below so many rows no difference could be told from noise.
_FEWEST = 50
_FOLDS = AGREEING
# More rows than these would not make the choice surer.
MOST_HELD = 10_000
# Standard errors of gain that many rows must show for another split to be worth its time.
_PROMISING = 0.5
# Standard errors behind the best after which a candidate is given up.
_BEHIND = 1.0


@dataclass
class Task:
    """A module with data, and its parameters at the start."""

    net: PipelineModule
    criterion: Criterion
    training: Rows
    validating: Rows | None
    options: Options
    start: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, net: PipelineModule, train: Any, valid: Any, options: Options) -> Task:
        """Encode the rows once for all candidates."""
        if not net.trainable_parameters():
            raise ArgumentError(
                "Nothing to train: every parameter is frozen.\nHint: pipegrad.inspect."
            )
        function, objective = make_criterion(options.loss, net.objective, net.head)
        X, y, weight, *groups = train
        data = gather(net, X, y, weight, valid, None, *groups)
        data = cross_fitted(net, data, X, y, weight, options.seed)
        generator = np.random.default_rng(options.seed)
        parts = prepare(net, data, objective, function, valid, generator)
        start = [p.detach().clone() for p in net.trainable_parameters().values()]
        return cls(net, *parts, options, start)

    def loss(self) -> float:
        """Of the rows that train, at the start."""
        self.net.eval()
        with torch.no_grad():
            batches = Loader(self.training, 4096)
            sums = [
                self.criterion(self.net(b[0]), b[1], b.weight, b.groups) * len(b[0])
                for b in batches
            ]
        return float(sum(sums)) / len(self.training)

    def target(self) -> NDArray[Any] | None:
        """What the rows that validate are compared with."""
        rows = self.validating
        if rows is None or rows.target is None:
            return None
        return rows.target[rows.index].cpu().numpy()

    @cached_property
    def lengths(self) -> list[float]:
        """Of scaled coordinates, at the start."""
        parameters = list(self.net.trainable_parameters().values())
        self.net.eval()
        seed = self.options.seed or 0
        found = scales(self.net, self.criterion, self.training, parameters, seed)
        return [length / unit(self.loss()) for length in found]

    def run(
        self,
        candidate: Candidate,
        goal: tuple[int, float] | None = None,
        rivals: Sequence[Run] = (),
    ) -> Run:
        """Train from the start, all the way or to a goal; the parameters stay where they end."""
        parameters = list(self.net.trainable_parameters().values())
        with torch.no_grad():
            for parameter, value in zip(parameters, self.start, strict=True):
                parameter.copy_(value)
        optimizer = candidate.optimizer(parameters, self.lengths if candidate.full else ())
        epochs = candidate.epochs
        if goal is not None:
            epochs = min(epochs, goal[0] + (MORE if candidate.full else 0))
        trainer = Run(
            candidate,
            self.net,
            self.criterion,
            optimizer,
            self.training,
            self.validating,
            batch_size=candidate.batch_size,
            max_epochs=epochs,
            patience=candidate.patience if self.validating else None,
            generator=np.random.default_rng(self.options.seed),
            callbacks=callbacks_of(self.options, epochs),
            anchor=candidate.anchor,
            goal=goal,
            rivals=rivals,
        )
        run(trainer, self.net, self.options, optimizer)
        return trainer


@dataclass
class Fold:
    """What came of all candidates on one split; ``target`` is that of the rows that validate."""

    target: NDArray[Any] | None
    start: NDArray[np.float64]
    runs: list[Run | None]
    seconds: list[float]

    def losses(self, epochs: Sequence[int]) -> NDArray[np.float64]:
        """Shape (candidates, checkpoints, rows); runs that ended early go on as they ended."""
        out = np.full((len(self.runs), max(epochs), len(self.start)), np.inf)
        for place, trained in enumerate(self.runs):
            if trained is None:
                continue
            found = np.stack(trained.losses_[1:])
            out[place, : len(found)] = found
            if not trained.diverged_:
                out[place, len(found) : epochs[place]] = found[-1]
        return out


@dataclass(frozen=True)
class Outcome:
    """The estimator to keep, with the history and the report."""

    estimator: Any
    improved: bool
    history: Any
    report: Report


# X, y and weights; and groups where the loss compares them.
Part = tuple[Any, ...]
Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def tune(
    fit: Callable[[Part], Any],
    translate: Callable[[Any], PipelineModule],
    write_back: Callable[[PipelineModule], Any],
    pick: Callable[[NDArray[np.int64]], Part],
    splits: Iterator[Split],
    rows: NDArray[np.int64],
    options: Options,
) -> Outcome:
    """Fit, compare the candidates on splits of the rows, and train on all rows with the best.

    Parameters
    ----------
    fit : callable
        Fits a new copy of the pipeline on a part.
    translate, write_back : callable
        Between a fitted pipeline and a module.
    pick : callable
        From row numbers to a part ``(X, y, weight)``, or ``(X, y, weight, groups)``.
    splits : iterator
        Row numbers that train and that validate, one pair for each split.
    rows : array of int64
        All rows, on which the pipeline that is kept is fitted.
    options : Options
        With the loss, batch size, seed, anchor, callbacks.
    """
    clock = Clock()
    fit = clock.timed("fitting", fit)
    whole = fit(pick(rows))
    if len(rows) < _FEWEST:
        translate(whole)  # Complains about what could not be trained.
        why = f"{len(rows)} rows are too few to tell an improvement from chance"
        report = Report(None, why, seconds=clock.seconds, times=clock.times())
        return Outcome(whole, False, None, report)
    folds: list[Fold] = []
    candidates: list[Candidate] = []
    seed = options.seed or 0
    for train, valid in splits:
        task = Task.of(translate(fit(pick(train))), pick(train), pick(valid), options)
        soft = bool(softened(task.net))
        candidates = candidates or portfolio(task.training, options, task.loss(), soft)
        racing = _racing(folds, candidates)
        if folds and not any(racing):
            break
        folds.append(_try_all(task, _scaled(candidates, len(task.training)), racing))
        epochs = [c.epochs for c in candidates]
        losses = np.concatenate([fold.losses(epochs) for fold in folds], axis=2)
        starts = [fold.start for fold in folds]
        split = np.repeat(np.arange(len(folds)), [len(rows) for rows in starts])
        choice = choose(np.concatenate(starts), losses, seed, split, _size(folds[0].target))
        if len(folds) == _FOLDS or _settled(choice, losses.shape[2]):
            break
    tried = _summary(candidates, folds)
    estimator, why, steps, again = None, _why_not(choice), (), ""
    if choice.clear and choice.best is not None:
        number, checkpoint = choice.best
        done = [fold.runs[number] for fold in folds]
        train_whole = clock.timed("training", _train_whole)
        estimator, steps, again = train_whole(
            whole, translate, write_back, pick(rows), candidates[number], checkpoint, done, options
        )
        why = "" if estimator is not None else _UNSTABLE
    checkpoints = [t.epochs for t in tried]
    if choice.best is not None:
        checkpoints[choice.best[0]] = choice.best[1] + 1
    kept_best = None if estimator is None else choice.best
    best = 0 if choice.best is None else choice.best[0]
    shown = next((f.runs[best] for f in folds if f.runs[best] is not None), None)
    report = Report(
        candidates[best].name if estimator is not None else None,
        why,
        before=choice.before,
        gain=choice.gain,
        error=choice.error,
        wanted=choice.asked,
        rows=losses.shape[2],
        splits=len(folds),
        tried=tried,
        seconds=clock.seconds,
        loss=task.criterion.name,
        steps=steps,
        curves=curves(folds, [c.name for c in candidates], checkpoints),
        calibration=calibrations(folds, kept_best, task.net.head, task.criterion.name),
        times=clock.times(),
        recalibrated=again,
    )
    history = None if shown is None else shown.history
    kept = whole if estimator is None else estimator
    return Outcome(kept, estimator is not None, history, report)


def _size(target: NDArray[Any] | None) -> float:
    """The root mean square of numbers that are predicted; 1 for labels."""
    if target is None or target.dtype.kind != "f":
        return 1.0
    return float(np.sqrt(np.mean(np.square(target, dtype=np.float64))))


_UNSTABLE = "trained on all rows, the best candidate did not do what it did on fewer"


def _settled(choice: Choice, count: int) -> bool:
    """Whether another split could still change the answer."""
    if count >= ENOUGH:
        return choice.clear or choice.gain < _PROMISING * choice.error
    return choice.clear and choice.gain > 2 * choice.wanted * choice.error


def _why_not(choice: Choice) -> str:
    if choice.best is None:
        return "no candidate gave a finite loss"
    if choice.gain <= 0:
        return "no candidate did better on rows that had no part in choosing it"
    return "the improvement is no larger than its noise, and ties go to the original"


def _scaled(candidates: list[Candidate], count: int) -> list[Candidate]:
    """The same candidates for another number of rows."""
    return [replace(c, batch_size=count) if c.full else c for c in candidates]


def _racing(folds: list[Fold], candidates: list[Candidate]) -> list[bool]:
    """Which candidates may still win: better than the original where it flatters them most, and
    not behind the best by more than the noise of both.
    """
    if not folds:
        return [True] * len(candidates)
    before = float(np.mean(np.concatenate([fold.start for fold in folds])))
    losses = np.concatenate([f.losses([c.epochs for c in candidates]) for f in folds], axis=2)
    means = losses.mean(axis=2)
    checkpoints = means.argmin(axis=1)
    rows = losses[np.arange(len(candidates)), checkpoints]
    best = rows[rows.mean(axis=1).argmin()]
    finite = np.isfinite(rows).all(axis=1)
    behind = np.where(finite[:, None], rows, 0.0) - best
    error = behind.std(axis=1) / math.sqrt(len(best))
    helps = means.min(axis=1) < before - WORTH * abs(before)
    return list(finite & helps & (behind.mean(axis=1) <= _BEHIND * error))


def _try_all(task: Task, candidates: list[Candidate], racing: list[bool]) -> Fold:
    runs: list[Run | None] = []
    seconds, start = [], None
    for candidate, runs_on in zip(candidates, racing, strict=True):
        if not runs_on:
            runs.append(None)
            seconds.append(0.0)
            continue
        began = time.perf_counter()
        try:
            rivals = [done for done in runs if done is not None and done.candidate.full]
            trained = task.run(candidate, rivals=rivals)
        except DivergedError:
            runs.append(None)
        else:
            runs.append(trained)
            start = trained.losses_[0]
        seconds.append(time.perf_counter() - began)
    if start is None or not np.isfinite(start).all():
        raise DivergedError(
            "The loss of the fitted pipeline is not finite on rows that it was not fitted on."
        )
    return Fold(task.target(), start, runs, seconds)


def _summary(candidates: list[Candidate], folds: list[Fold]) -> tuple[Tried, ...]:
    epochs = [candidate.epochs for candidate in candidates]
    found = []
    for place, candidate in enumerate(candidates):
        seconds = sum(fold.seconds[place] for fold in folds)
        ran = [fold for fold in folds if fold.runs[place] is not None]
        if not ran:
            found.append(Tried(candidate.name, 0, math.nan, math.nan, 0, seconds))
            continue
        start = np.concatenate([fold.start for fold in ran])
        losses = np.concatenate([fold.losses(epochs)[place] for fold in ran], axis=1)
        checkpoint = int(losses.mean(axis=1).argmin())
        gains = start - losses[checkpoint]
        error = float(np.std(gains, ddof=1) / math.sqrt(len(gains)))
        gain = float(gains.mean())
        found.append(Tried(candidate.name, checkpoint + 1, gain, error, len(gains), seconds))
    return tuple(found)


def _train_whole(
    whole: Any,
    translate: Callable[[Any], PipelineModule],
    write_back: Callable[[PipelineModule], Any],
    part: Part,
    candidate: Candidate,
    checkpoint: int,
    runs: list[Run | None],
    options: Options,
) -> tuple[Any, tuple[MovedStep, ...], str]:
    """The chosen candidate on all rows, about as far as on fewer; None if that went astray.

    With how far each step moved, and how the scores were recalibrated.
    """
    net = translate(whole)
    task = Task.of(net, part, None, options)
    (candidate,) = _scaled([candidate], len(task.training))
    expected = float(np.mean([_drop(done, checkpoint) for done in runs]))
    try:
        trained = task.run(candidate, (checkpoint + 1, expected))
    except DivergedError:
        return None, (), ""
    # The training loss is all that there is to compare now.
    astray = expected > 0 and _drop(trained, len(trained.history)) < 0.5 * expected
    if trained.diverged_ or astray:
        return None, (), ""
    again = recalibrate(net, runs, checkpoint, options.loss, options.seed or 0)
    return write_back(net), moved_steps(net), again


def _drop(trained: Run | None, checkpoint: int) -> float:
    """By how much the training loss fell up to a checkpoint."""
    if trained is None:
        return 0.0
    losses = trained.history[:, "train_loss"]
    return float(losses[0] - losses[min(checkpoint + 1, len(losses) - 1)])
