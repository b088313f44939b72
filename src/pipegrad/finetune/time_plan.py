"""How the time of a fit is divided between splits, candidates and the training on all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..training.deadline import Deadline, TimeLimitReached

if TYPE_CHECKING:
    from ..training.progress_bar import ShowStages
    from .candidate_run import CandidateRun

# Share of the time that is left for the report and for writing the parameters back.
_CLOSING_SHARE = 0.02
# A run may take this share of the time for training, so that further candidates have a chance.
_RUN_SHARE = 0.5
# Estimates from one split hold for the next one up to this factor.
_SPREAD = 1.15


@dataclass
class TimePlan:
    """Estimates from the work done so far what still fits before the deadline.

    The training on all rows comes last, and its time is reserved: encoding takes as long as on a
    split, and training as long as the selected run took until its best checkpoint, times the ratio
    of the numbers of rows.

    Parameters
    ----------
    deadline : Deadline
        When the fit has to end.
    rows : int
        Number of all rows.

    Attributes
    ----------
    fit_seconds : float
        Seconds of the pipeline's own fit: on all rows until it was fitted on a split.
    encode_seconds : float
        Seconds of translating the fitted pipeline and encoding the rows, of the slowest split.
    select_seconds : float
        Seconds of the last selection among the candidates.
    show : ShowStages, optional
        The display of the progress.
    closing : Deadline
        When all training has to end.
    left_out : list of str
        What there was no time for.
    """

    deadline: Deadline
    rows: int
    fit_seconds: float = 0.0
    encode_seconds: float = 0.0
    select_seconds: float = 0.0
    left_out: list[str] = field(default_factory=list)
    show: ShowStages | None = None

    def __post_init__(self) -> None:
        left = self.deadline.left if self.deadline.limited else 0.0
        self._later: Deadline | None = None
        self.closing = Deadline(self.deadline.end - _CLOSING_SHARE * max(left, 0.0))

    def check_split(self, train_seconds: float = 0.0, refit_seconds: float = 0.0) -> None:
        """Raise `TimeLimitReached` unless another split and the training on all rows fit.

        Parameters
        ----------
        train_seconds : float
            Seconds that the candidates trained on an earlier split; 0 for the first split.
        refit_seconds : float
            Seconds that training on all rows takes; 0 before the first split.
        """
        if not self.deadline.limited:
            return
        split = self._split_seconds(train_seconds)
        last = self.encode_seconds + refit_seconds
        self.closing.check(_SPREAD * (split + last))
        if train_seconds:
            self._later = Deadline(self.closing.end - _SPREAD * (last + self.select_seconds))

    def _split_seconds(self, train_seconds: float) -> float:
        """Seconds of another split; the own fit takes no longer than that on all rows."""
        return self.fit_seconds + self.encode_seconds + train_seconds + 2 * self.select_seconds

    def tell(self, stage: str) -> None:
        """Show the current stage."""
        if self.show is not None:
            self.show.tell(stage)

    def expect(
        self, train_seconds: float, refit_seconds: float, splits: float, refit: bool
    ) -> None:
        """Show how long it will take from now on, after a split.

        Parameters
        ----------
        train_seconds, refit_seconds : float
            Seconds that the candidates take on a split, and the training on all rows.
        splits : float
            Expected number of splits to come.
        refit : bool
            Whether training on all rows follows.
        """
        if self.show is None:
            return
        left = splits * self._split_seconds(train_seconds)
        left += (self.encode_seconds + refit_seconds) if refit else 0.0
        self.show.expect(min(left, self.deadline.left))

    def preparing(self) -> Deadline:
        """When the first split has to be encoded: encoding all rows at the end takes as long."""
        return self.closing.sooner(self.closing.left / 2)

    def run_deadline(
        self, done: Sequence[CandidateRun | None], waiting: int, train_rows: int
    ) -> Deadline:
        """Return when the next run has to end.

        Parameters
        ----------
        done : sequence of CandidateRun
            The runs of earlier candidates on this split.
        waiting : int
            Number of candidates after this one.
        train_rows : int
            Number of training rows of the split.
        """
        if not self.deadline.limited or self._later is not None:
            return self._later or self.deadline
        ratio = _SPREAD * self.rows / train_rows
        left = self.closing.left - _SPREAD * self.encode_seconds - 2 * self.select_seconds
        slowest = max((ratio * run.seconds_until() for run in done if run), default=0.0)
        # After this run, either it or an earlier one trains on all rows.
        most = min(left - slowest, left / (1 + ratio))
        return self.deadline.sooner(most * (_RUN_SHARE if waiting else 1.0))

    def cut(self, name: str, started: bool) -> None:
        """Note that a run had no time, or not enough.

        Raises
        ------
        TimeLimitReached
            After the first split: shorter runs there would count as worse ones.
        """
        if self._later is not None:
            raise TimeLimitReached
        self.left_out.append(f"the rest of {name}" if started else name)

    def refit_seconds(self, runs: Sequence[CandidateRun | None], checkpoint: int) -> float:
        """Estimate how long the training on all rows takes, up to a checkpoint of these runs."""
        found = [
            run.seconds_until(checkpoint) * self.rows / len(run.train)
            for run in runs
            if run is not None
        ]
        return max(found, default=0.0)
