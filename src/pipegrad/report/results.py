"""What fine-tuning tried, and what came of it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import ArgumentError
from .calibration import Calibration
from .learning_curves import Curve
from .parameter_changes import MovedStep
from .timing import Timings


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
    """What was tried, what was chosen, and why; ``print`` it, or look at it in a notebook.

    `pipegrad.report` draws parts of it with matplotlib.

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
    loss : str
        Name of the loss.
    steps : tuple of MovedStep
        How far each trained step of the pipeline that is kept is from where it was fitted, in the
        order of the pipeline; empty if the pipeline is as it was fitted.
    curves : tuple of Curve
        Losses of each candidate by checkpoint, on each split.
    calibration : Calibration, optional
        Whether predictions mean what they say, before and after, on rows that nothing was fitted
        on; each row counts alike. None where predictions claim nothing of the kind: clusters,
        columns, classes without probabilities.
    times : Timings, optional
        Where the seconds went.
    recalibrated : str
        How scores were scaled and shifted at the end; empty if they were not.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import pipegrad as pg
    >>> X, y = load_diabetes(return_X_y=True)
    >>> pipe = make_pipeline(StandardScaler(), Ridge(alpha=1000.0))
    >>> report = pg.FineTuner(pipe, random_state=0).fit(X, y).report_
    >>> sorted(step.name for step in report.moved())
    ['ridge', 'standardscaler']
    >>> report.calibration.of
    'mean'
    >>> page = report.to_html()
    >>> page[:15]
    '<!DOCTYPE html>'
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
    loss: str = ""
    steps: tuple[MovedStep, ...] = ()
    curves: tuple[Curve, ...] = ()
    calibration: Calibration | None = None
    times: Timings | None = None
    recalibrated: str = ""

    @property
    def after(self) -> float:
        """Validation loss after training."""
        return self.before - self.gain

    @property
    def interval(self) -> tuple[float, float]:
        """``gain`` less and plus two standard errors."""
        return self.gain - 2 * self.error, self.gain + 2 * self.error

    @property
    def verdict(self) -> str:
        """Whether it helped, in one line without a full stop."""
        if self.chosen is None:
            return f"As it was fitted: {self.why}"
        if not self.before > 0:
            return f"Improved: the validation loss is {self.gain:.3g} lower"
        share = self.gain / self.before
        told = "more than 99.9%" if share > 0.9995 else f"{share:.1%}"
        return f"Improved: the validation loss is {told} lower"

    def moved(self) -> tuple[MovedStep, ...]:
        """The steps, first the one that moved farthest for its size."""
        return tuple(sorted(self.steps, key=lambda step: -step.share))

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as one page that needs nothing else: no scripts, no links, its own pictures.

        Parameters
        ----------
        path : str or path, optional
            Where to write it, too (``"report.html"``); the file is there as a whole or not at all.

        Returns
        -------
        str
            The page.

        Raises
        ------
        ArgumentError
            When the path is no HTML file, or its folder is missing; nothing is written.
        """
        from .page import page

        target = None if path is None else _checked(path)
        text = page(self)
        if target is not None:
            _write(text, target)
        return text

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_html` to a file.

        Parameters
        ----------
        path : str or path
            It ends in ``.html``.

        Returns
        -------
        Path
            The file.
        """
        self.to_html(path)
        return Path(path)

    def _repr_html_(self) -> str:
        from .page import card

        return card(self)

    def __str__(self) -> str:
        from .text import text

        return text(self)


def _checked(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"{target}: a report is a page; its file ends in .html.")
    if not target.parent.is_dir():
        raise ArgumentError(f"{target}: there is no folder {str(target.parent)!r}.")
    return target


def _write(text: str, path: Path) -> None:
    """All of it or nothing."""
    with TemporaryDirectory(dir=path.parent) as folder:
        partial = Path(folder, path.name)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
