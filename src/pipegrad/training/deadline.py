"""Limits on the time that training takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from .optimizers import is_number

# Rows of the first part of `projected_seconds`, the factor by which it grows, and the share of the
# time left that a part may take.
_FIRST_PART, _GROWTH, _LARGEST_SHARE = 256, 8, 0.05


class TimeLimitReached(Exception):  # noqa: N818 (not an error)
    """The next piece of work would end after the deadline."""


@dataclass(frozen=True)
class Deadline:
    """A point in time by which work has to end.

    Parameters
    ----------
    end : float
        The point in time, in seconds of `clock`; infinity if there is no limit.
    """

    end: float = math.inf

    @staticmethod
    def clock() -> float:
        """The current time in seconds, from an arbitrary origin."""
        return time.perf_counter()

    @classmethod
    def after(cls, seconds: float | None, began: float | None = None) -> Deadline:
        """Return the deadline so many seconds after ``began``, or from now; None: no limit."""
        if seconds is None:
            return cls()
        return cls((cls.clock() if began is None else began) + seconds)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return math.isfinite(self.end)

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.end - self.clock() if self.limited else math.inf

    def sooner(self, seconds: float) -> Deadline:
        """Return the earlier of this deadline and the one that many seconds from now."""
        return Deadline(min(self.end, self.clock() + seconds)) if self.limited else self

    def check(self, needed: float = 0.0) -> None:
        """Raise `TimeLimitReached` if so many seconds are not left."""
        if self.left <= needed:
            raise TimeLimitReached


class Pace:
    """Stops repeated work before a repetition that would end after a deadline.

    The duration of the previous repetition is the estimate for the next one. A `with` statement
    encloses each repetition; it raises `TimeLimitReached` instead of starting one that is too long.

    Parameters
    ----------
    deadline : Deadline
        The deadline.
    expected : float
        Seconds of the first repetition.
    reserve : float
        Seconds that have to be left after the last repetition.
    """

    def __init__(self, deadline: Deadline, expected: float = 0.0, reserve: float = 0.0) -> None:
        self.deadline = deadline
        self.expected = expected
        self.reserve = reserve

    @property
    def fits(self) -> bool:
        """Whether the next repetition would end in time."""
        return self.deadline.left > self.expected + self.reserve

    def __enter__(self) -> None:
        if self.deadline.limited:
            self.deadline.check(self.expected + self.reserve)
            self._began = self.deadline.clock()

    def __exit__(self, *error: object) -> None:
        if self.deadline.limited:
            self.expected = self.deadline.clock() - self._began


def projected_seconds(run: Callable[[int], object], count: int, deadline: Deadline) -> float:
    """Return how long work on many rows will take, from work on a growing part of them.

    Parameters
    ----------
    run : callable
        Does the work for the given number of rows.
    count : int
        Number of all rows.
    deadline : Deadline
        The part grows as long as the estimate, to which constant costs contribute too much, exceeds
        the time that is left.

    Returns
    -------
    float
        Seconds for all rows; 0 without a limit, for which nothing is run.
    """
    if not deadline.limited:
        return 0.0
    size = min(_FIRST_PART, count)
    while True:
        began, left = deadline.clock(), deadline.left
        run(size)
        spent = deadline.clock() - began
        estimate = spent * count / size
        grown = min(_GROWTH * size, count)
        if estimate <= left or grown == size or _GROWTH * spent > _LARGEST_SHARE * left:
            return estimate
        size = grown


def check_seconds(seconds: Any) -> None:
    """Reject a value of ``max_seconds`` that is neither a positive number nor None."""
    if seconds is None or (is_number(seconds) and not isinstance(seconds, bool) and seconds > 0):
        return
    raise ArgumentError(f"max_seconds must be a positive number or None, got {seconds!r}.")
