"""What fine-tuning tried, and what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tried:
    """One candidate on the rows that validate.

    Attributes
    ----------
    name : str
        Which.
    epochs : int
        Its best checkpoint.
    gain : float
        How much lower the validation loss is there than that of the fitted pipeline. The best of
        many flatters; the report's own gain does not.
    error : float
        Standard error of ``gain``, from the differences of rows.
    rows : int
        On how many rows; fewer than the report's if it was given up early.
    seconds : float
        Time for all splits.
    """

    name: str
    epochs: int
    gain: float
    error: float
    rows: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """What was tried, what was chosen, and why; ``print`` it.

    Attributes
    ----------
    chosen : str, optional
        Name of the candidate; None if the pipeline is as it was fitted.
    why : str
        Why the pipeline is as it was fitted; empty otherwise.
    before : float
        Validation loss of the fitted pipeline.
    gain : float
        How much lower training made it, measured on rows that had no part in choosing the
        candidate.
    error : float
        Standard error of ``gain``; NaN if it was not measured.
    wanted : float
        How many standard errors were asked for.
    rows, splits : int
        Rows that validated, in how many splits.
    tried : tuple of Tried
        The candidates.
    seconds : float
        Time for everything.
    """

    chosen: str | None
    why: str
    before: float = math.nan
    gain: float = 0.0
    error: float = math.nan
    wanted: float = math.nan
    rows: int = 0
    splits: int = 0
    tried: tuple[Tried, ...] = ()
    seconds: float = 0.0

    @property
    def after(self) -> float:
        """Validation loss after training."""
        return self.before - self.gain

    @property
    def interval(self) -> tuple[float, float]:
        """``gain`` less and plus two standard errors."""
        return self.gain - 2 * self.error, self.gain + 2 * self.error

    def __str__(self) -> str:
        lines = [f"Chosen: {self.chosen or 'the pipeline as it was fitted'}"]
        if self.why:
            lines.append(f"Why: {self.why}.")
        if self.tried:
            lines += ["", *self._prequential(), "", *self._table()]
        return "\n".join([*lines, "", f"{self.seconds:.1f} seconds"])

    def _evidence(self) -> list[str]:
        low, high = self.interval
        splits = "1 split" if self.splits == 1 else f"{self.splits} splits"
        return [
            f"Validation loss: {self.before:.5g} before, {self.after:.5g} after "
            f"({self.rows} rows, {splits}).",
            f"Gain: {self.gain:.3g}, 95% interval {low:.3g} to {high:.3g}; "
            f"{self.wanted:g} standard errors were asked for.",
        ]

    def _table(self) -> list[str]:
        width = max(len(t.name) for t in self.tried)
        head = f"{'candidate':<{width}}  epochs       gain      error   rows  seconds"
        return [head] + [
            f"{t.name:<{width}}  {t.epochs:>6}  {t.gain:>9.3g}  {t.error:>9.2g}  {t.rows:>5}"
            f"  {t.seconds:>7.1f}"
            for t in self.tried
        ]
