"""The training problem of each validation split, created when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ...training.deadline import TimeLimitReached
from ...training.samples import Samples
from ..pipeline import TunablePipeline
from ..problem import TrainingProblem
from .splits import Index, Split, Trial, ValidationSplits


@dataclass(frozen=True)
class SplitProblems:
    """Creates the training problem of each validation split.

    Parameters
    ----------
    pipeline : TunablePipeline
        The user's pipeline.
    samples : Samples
        All samples of the user.
    fit : callable
        Fits a clone of the pipeline on samples.
    problem_of : callable
        Takes the fitted pipeline, its training and its validation samples.
    unusable : list of Exception
        Receives an error for each split that the pipeline does not take.
    """

    pipeline: TunablePipeline
    samples: Samples
    fit: Callable[[Samples], Any]
    problem_of: Callable[[Any, Samples, Samples], TrainingProblem]
    unusable: list[Exception]

    def of(self, splits: ValidationSplits) -> tuple[ValidationSplits, Iterator[TrainingProblem]]:
        """Return the splits that suit the rows, and the problem of each, created lazily."""
        if splits.revise is None:
            return splits, self._problems(splits)
        created: list[TrainingProblem] = []

        def trials() -> Iterator[Trial]:
            for pair in splits.pairs:
                made = self._create(pair, None)
                if made is not None:
                    created.append(made[0])
                    yield *made, pair[1]

        others = splits.revise(trials(), self.samples)
        if others is None:
            return splits, chain(_taken_from(created), self._problems(splits))
        return others, self._problems(others)

    def _problems(self, splits: ValidationSplits) -> Iterator[TrainingProblem]:
        created = (self._create(pair, splits.groups) for pair in splits.pairs)
        return (found[0] for found in created if found is not None)

    def _create(self, pair: Split, groups: Index | None) -> tuple[TrainingProblem, Any] | None:
        training, validation = (self.samples.take(rows) for rows in pair)
        fitted = None
        try:
            fitted = self.fit(training)
            problem = self.problem_of(fitted, training, validation)
        except TimeLimitReached:
            raise
        except Exception as error:
            if not self.pipeline.rejects(fitted, validation.X, error):
                raise
            self.unusable.append(error)
            return None
        problem.groups = None if groups is None else groups[pair[1]]
        return problem, fitted


def _taken_from(created: list[TrainingProblem]) -> Iterator[TrainingProblem]:
    """The problems, of which the list keeps none."""
    while created:
        yield created.pop(0)
