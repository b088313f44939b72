"""Matplotlib displays of the report of fine-tuning, with scikit-learn's `Display` interface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import ArgumentError
from .charts import AXES
from .formatting import gain_label, percent, plot_label
from .relative_curves import Relative, extent

if TYPE_CHECKING:
    from typing import Self

    from .calibration import Calibration, Reliability
    from .learning_curves import Curve
    from .parameter_changes import MovedStep
    from .results import Report

_KEPT, _TRIED = "#1f5fbf", "#8b94a3"
_ROW = 0.36  # height of a row in inches


class Tuned(Protocol):
    """The part of a fitted `pipegrad.FineTuner` that a display needs."""

    report_: Report


class _Display:
    """Base class: holds the data of a plot and draws it."""

    figure_: Any
    ax_: Any

    @classmethod
    def from_report(cls, report: Report | Tuned, *, ax: Any = None) -> Self:
        """Create and draw the display from a report.

        Parameters
        ----------
        report : Report or FineTuner
            ``tuner.report_``, or the fitted tuner itself.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Returns
        -------
        Display
            The display, with ``ax_``, ``figure_`` and the artists as attributes.

        Raises
        ------
        ArgumentError
            When the report lacks the data of this display.
        """
        return cls._of(_report(report)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Returns
        -------
        Display
            The display itself.
        """
        if ax is None:
            _, ax = _pyplot().subplots(figsize=self._size(), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        self._draw(ax)
        return self

    @classmethod
    def _of(cls, report: Any) -> Self:
        raise NotImplementedError

    def _size(self) -> tuple[float, float]:
        raise NotImplementedError

    def _draw(self, ax: Any) -> None:
        raise NotImplementedError


class TrainingCurvesDisplay(_Display):
    """Learning curves of each candidate, relative to the loss of the fitted pipeline.

    Validation losses are solid, training losses dashed, each averaged over the splits; a dot marks
    the best checkpoint. It is recommended to use `from_report`.

    Parameters
    ----------
    curves : sequence of Curve
        The learning curves, ``report.curves``.
    chosen : str, optional
        Name of the selected candidate.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    lines_ : list of matplotlib Line2D
        Validation losses, one line for each candidate.
    train_lines_ : list of matplotlib Line2D
        Training losses, one line for each candidate.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> from pipegrad.report import TrainingCurvesDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> tuner = pg.FineTuner(Ridge(alpha=10.0), random_state=0).fit(X, y)
    >>> display = TrainingCurvesDisplay.from_report(tuner)  # or tuner.report_
    >>> any(line.get_label().endswith("(selected)") for line in display.lines_)
    True
    """

    def __init__(self, curves: Sequence[Curve], *, chosen: str | None = None) -> None:
        self.curves = tuple(curves)
        self.chosen = chosen

    @classmethod
    def _of(cls, report: Any) -> Self:
        if not report.curves:
            raise ArgumentError(f"The report has no learning curves: {report.why}.")
        return cls(report.curves, chosen=report.chosen)

    def _size(self) -> tuple[float, float]:
        return 6.4, 4.2

    def _draw(self, ax: Any) -> None:
        relative = Relative(self.curves)
        low, high, log = relative.bounds()
        self.lines_, self.train_lines_ = [], []
        ax.axhline(relative.start, color="0.6", linestyle=":", linewidth=1)
        for place, name in enumerate(relative.candidates):
            train, valid, checkpoint = relative.mean(name)
            chosen = name == self.chosen
            look: dict[str, Any] = {"color": f"C{place}", "linewidth": 2.2 if chosen else 1.4}
            label = f"{name} (selected)" if chosen else name
            self.lines_ += ax.plot(valid, label=label, zorder=3 if chosen else 2, **look)
            self.train_lines_ += ax.plot(train, linestyle="--", alpha=0.6, **look)
            ax.plot([checkpoint], [valid[checkpoint]], "o", color=look["color"], zorder=4)
        ax.set_yscale("log" if log else "linear")
        ax.set_ylim(low, high)
        ax.locator_params(axis="x", integer=True)
        ax.set_xlabel("checkpoint (dashed: training, dots: best)")
        ax.set_ylabel(relative.unit_label)
        ax.legend(edgecolor="none", fontsize="small")


class ReliabilityDisplay(_Display):
    """Calibration curve (reliability diagram) before and after training.

    The diagonal is perfect calibration. Bins hold equally many rows; bars are 95% confidence
    intervals. It is recommended to use `from_report`.

    Parameters
    ----------
    calibration : Calibration
        The calibration before and after training, ``report.calibration``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    line_ : matplotlib Line2D
        Curve of the selected pipeline.
    before_line_ : matplotlib Line2D or None
        Curve of the fitted pipeline; None if it was kept unchanged.

    References
    ----------
    Niculescu-Mizil and Caruana, *Predicting good probabilities with supervised learning*, 2005.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> from pipegrad.report import ReliabilityDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> tuner = pg.FineTuner(Ridge(alpha=10.0), random_state=0).fit(X, y)
    >>> ReliabilityDisplay.from_report(tuner.report_).ax_.get_ylabel()
    'mean target'
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    @classmethod
    def _of(cls, report: Any) -> Self:
        calibration = report.calibration
        if calibration is None:
            raise ArgumentError(
                "The report has no calibration: nothing was trained, or the pipeline predicts "
                "neither probabilities nor means."
            )
        return cls(calibration)

    def _size(self) -> tuple[float, float]:
        return 4.8, 4.6

    def _draw(self, ax: Any) -> None:
        found = self.calibration
        same = found.after is found.before
        self.before_line_ = None
        if not same:
            self.before_line_ = self._bins(ax, found.before, _TRIED, "before")
        self.line_ = self._bins(ax, found.after, _KEPT, "fitted pipeline" if same else "after")
        if found.of == "mean":
            values = [*found.before.predicted, *found.after.predicted]
            ax.axline((values[0], values[0]), slope=1, color="0.6", linestyle=":", linewidth=1)
        else:
            ax.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
            low = 0.0 if found.of == "probability" else self._low()
            ax.set(xlim=(low, 1.02), ylim=(low, 1.02))
        name, came = AXES[found.of]
        ax.set(xlabel=name, ylabel=came)
        ax.set_aspect("equal", adjustable="datalim" if found.of == "mean" else "box")
        ax.legend(edgecolor="none", fontsize="small")

    def _low(self) -> float:
        found = self.calibration
        both = (found.before, found.after)
        low = min(v for part in both for v in (*part.predicted, *part.observed))
        return max(0.0, math.floor(low * 10 - 0.5) / 10)

    def _bins(self, ax: Any, found: Reliability, color: str, label: str) -> Any:
        size = 2 * np.asarray(found.errors)
        drawn = ax.errorbar(
            found.predicted, found.observed, size, fmt="o-", color=color, label=label, markersize=4
        )
        return drawn.lines[0]


class MovedStepsDisplay(_Display):
    """Relative parameter change of each step, in descending order.

    It is recommended to use `from_report`.

    Parameters
    ----------
    steps : sequence of MovedStep
        The trained steps, ``report.moved()``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    bars_ : matplotlib BarContainer
        The bars, one for each step.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> from pipegrad.report import MovedStepsDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> tuner = pg.FineTuner(Ridge(alpha=10.0), random_state=0).fit(X, y)
    >>> len(MovedStepsDisplay.from_report(tuner).bars_)
    1
    """

    def __init__(self, steps: Sequence[MovedStep]) -> None:
        self.steps = tuple(steps)

    @classmethod
    def _of(cls, report: Any) -> Self:
        if not report.steps:
            raise ArgumentError(f"No parameter changed: {report.why or 'no step was trained'}.")
        return cls(report.moved())

    def _size(self) -> tuple[float, float]:
        return 6.0, 1.1 + _ROW * len(self.steps)

    def _draw(self, ax: Any) -> None:
        shares = [100 * s.share if math.isfinite(s.share) else 0.0 for s in self.steps]
        self.bars_ = ax.barh(range(len(shares)), shares, height=0.6, color=_KEPT)
        labels = [percent(step.share) for step in self.steps]
        ax.bar_label(self.bars_, labels, padding=4, fontsize="small")
        ax.set_yticks(range(len(shares)), [plot_label(step.name) for step in self.steps])
        ax.invert_yaxis()
        ax.margins(x=0.14)
        ax.set_xlim(left=0)
        ax.set_xlabel("change relative to the fitted parameters, in percent")


class GainDisplay(_Display):
    """Reduction of the validation loss by each candidate and by model selection.

    Bars are 95% confidence intervals. The best of many candidates is optimistically biased; model
    selection is evaluated on rows that took no part in it. It is recommended to use `from_report`.

    Parameters
    ----------
    names : sequence of str
        Names of the candidates and of other entries to compare.
    gains, errors : sequence of float
        Gain of each entry and its standard error; NaN if it was not measured.
    choice : int, optional
        Index of the entry for model selection.
    label : str
        What a gain is, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    containers_ : list of matplotlib ErrorbarContainer
        Dots with their intervals, one for each name.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> from pipegrad.report import GainDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> tuner = pg.FineTuner(Ridge(alpha=10.0), random_state=0).fit(X, y)
    >>> GainDisplay.from_report(tuner).names[-1]
    'model selection'
    """

    def __init__(
        self,
        names: Sequence[str],
        gains: Sequence[float],
        errors: Sequence[float],
        *,
        choice: int | None = None,
        label: str = "reduction of the validation loss",
    ) -> None:
        self.names, self.gains, self.errors = tuple(names), tuple(gains), tuple(errors)
        self.choice, self.label = choice, label

    @classmethod
    def _of(cls, report: Any) -> Self:
        if not report.tried:
            raise ArgumentError(
                "The report compares no candidates.\n"
                "Hint: FineTuner(pipe) without epochs=, lr= or optim= does, given enough rows."
            )
        names = [tried.name for tried in report.tried] + ["model selection"]
        gains = [tried.gain for tried in report.tried] + [report.gain]
        errors = [tried.error for tried in report.tried] + [report.error]
        return cls(names, gains, errors, choice=len(names) - 1, label=gain_label(report))

    def _size(self) -> tuple[float, float]:
        return 6.0, 1.1 + _ROW * len(self.names)

    def _draw(self, ax: Any) -> None:
        ax.axvline(0.0, color="0.6", linestyle=":", linewidth=1)
        self.containers_ = []
        for row, (gain, error) in enumerate(zip(self.gains, self.errors, strict=True)):
            kept = row == self.choice
            look: dict[str, Any] = {
                "color": _KEPT if kept else _TRIED,
                "markersize": 8 if kept else 6,
            }
            drawn = ax.errorbar([gain], [row], xerr=[2 * error], fmt="o", **look)
            self.containers_.append(drawn)
        ax.set_yticks(range(len(self.names)), [plot_label(name) for name in self.names])
        ax.set_ylim(len(self.names) - 0.5, -0.5)
        both = list(zip(self.gains, self.errors, strict=True))
        ax.set_xlim(extent([g - 2 * e for g, e in both], [g + 2 * e for g, e in both]))
        ax.set_xlabel(plot_label(self.label, 200))


def _report(source: Any) -> Any:
    """The report itself, or that of a fitted tuner."""
    from sklearn.utils.validation import check_is_fitted

    if hasattr(source, "fit") and not isinstance(source, type):
        check_is_fitted(source)
        source = getattr(source, "report_", None)
    if not all(hasattr(source, name) for name in ("curves", "calibration", "moved", "tried")):
        raise ArgumentError(
            f"from_report takes a FineTuner or its report_, not {source!r:.60}.\n"
            "Hint: pipegrad.FineTuner(pipe).fit(X, y)."
        )
    return source


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib, which is not installed.\nHint: pip install 'pipegrad[plots]'"
        ) from error
    return pyplot
