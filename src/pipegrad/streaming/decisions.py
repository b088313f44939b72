"""Decisions of processes that train together: what one of them wants, all do at the same place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..training.deadline import Deadline, Pace, TimeLimitReached
from ..training.stopping import StopTraining
from .workers import Workers


class Decisions:
    """What the processes want, told by numbers that are summed along with the gradients.

    An error, an interrupt or a callback that ends training is kept until the next sum. The sum
    tells all processes, so that none of them waits for another one that has left.

    Parameters
    ----------
    workers : Workers
        The processes.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self._own: BaseException | None = None

    def want(self, error: BaseException) -> None:
        """End training with this error at the next sum; a single process ends at once."""
        if self.workers.alone:
            raise error
        # An error comes before the wish to stop, and the first error before others.
        if self._own is None or _kind(self._own) < _kind(error):
            self._own = error

    @property
    def numbers(self) -> tuple[float, ...]:
        """What to sum: whether this process wants to stop, was interrupted, or failed."""
        kind = 0 if self._own is None else _kind(self._own)
        return tuple(float(kind == place) for place in _KINDS)

    def settle(self, sums: Sequence[float]) -> None:
        """End training if any process wants it, given the sums of their numbers.

        Raises
        ------
        ArgumentError
            If another process failed; a process that failed raises its own error.
        KeyboardInterrupt, StopTraining
            If any process was interrupted, or a callback ended training.
        """
        stopped, interrupted, failed = sums
        own, self._own = self._own, None
        if failed:
            self.workers.raise_first(own if isinstance(own, Exception) else None)
        if interrupted:
            raise own if isinstance(own, KeyboardInterrupt) else KeyboardInterrupt
        if stopped:
            raise StopTraining

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Context in which Ctrl-C is a wish like others; a second one ends the process at once."""
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.workers.alone or not usual or not _in_main_thread():
            yield
            return

        def keep(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.want(KeyboardInterrupt())

        signal.signal(signal.SIGINT, keep)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if isinstance(self._own, KeyboardInterrupt):
            raise self._own


class SharedPace(Pace):
    """A pace that ends for all processes together, when the first of them has no time left.

    Parameters
    ----------
    deadline : Deadline
        The deadline.
    expected : float
        Seconds of the first repetition.
    """

    def __init__(self, deadline: Deadline, expected: float = 0.0) -> None:
        super().__init__(deadline, expected)
        self.late = False

    @property
    def fits(self) -> bool:
        """Whether no process was late at the last sum."""
        return not self.late

    @property
    def own_late(self) -> bool:
        """Whether another repetition like the present one would end too late."""
        if not self.deadline.limited:
            return False
        spent = self.deadline.clock() - self._began
        return self.deadline.left <= spent + self.reserve

    def __enter__(self) -> None:
        if self.late:
            raise TimeLimitReached
        self._began = self.deadline.clock()


_KINDS = _STOPPED, _INTERRUPTED, _FAILED = 1, 2, 3


def _kind(error: BaseException) -> int:
    if isinstance(error, StopTraining):
        return _STOPPED
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _FAILED


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
