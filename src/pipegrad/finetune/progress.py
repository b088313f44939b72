"""How far a fit came, and what it leaves behind where the user interrupts it (Ctrl-C)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..report.results import Report
from ..report.timing import Stopwatch


@dataclass(frozen=True)
class TuningResult:
    """The estimator to keep, with the history and the report.

    ``interrupt`` is the interrupt by the user that ended the fit early, if one did.
    """

    estimator: Any
    improved: bool
    history: Any
    report: Report
    interrupt: KeyboardInterrupt | None = None


@dataclass
class Progress:
    """What a fit has to show so far, and which stages are left.

    Parameters
    ----------
    left : tuple of str
        The stages after the fit of the pipeline that are not complete, in their order.
    compares : bool
        Whether the fit compares training strategies.

    Attributes
    ----------
    result : TuningResult, optional
        The best result so far; None until the pipeline is fitted.
    clock : Stopwatch
        The stopwatch of the whole fit.
    """

    left: tuple[str, ...]
    compares: bool = True
    result: TuningResult | None = None
    clock: Stopwatch = field(default_factory=Stopwatch)

    def fitted(self, pipeline: Any) -> None:
        """Note that the pipeline is fitted."""
        self.result = TuningResult(pipeline, False, None, Report(None, ""))

    def trained(self, estimator: Any, history: Any, report: Report) -> None:
        """Note that the pipeline is trained; only its report is left."""
        self.result = TuningResult(estimator, True, history, report)
        self.left = self.left[-1:]

    def interrupted(
        self, interrupt: KeyboardInterrupt, left_out: tuple[str, ...] = ()
    ) -> TuningResult:
        """Return the result so far, whose report says what is missing.

        Parameters
        ----------
        interrupt : KeyboardInterrupt
            The interrupt, which is raised if there is no result yet.
        left_out : tuple of str
            What a time limit had left out before.
        """
        if self.result is None:
            raise interrupt
        report = replace(
            self.result.report,
            why=f"the fit was interrupted (Ctrl-C) before {self.left[0]} was complete",
            left_out=(*left_out, *self.left),
            seconds=self.clock.seconds,
            times=self.clock.times(self.compares),
        )
        return replace(self.result, report=report, interrupt=interrupt)


def without_old_rows(result: TuningResult, interrupt: KeyboardInterrupt) -> TuningResult:
    """Return the result of a fit that the user interrupted at its very end."""
    missing = "the rows on which partial_fit measures forgetting"
    report = replace(result.report, left_out=(*result.report.left_out, missing))
    return replace(result, report=report, interrupt=interrupt)
