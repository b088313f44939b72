"""Time spent in each stage of a fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Timings:
    """Seconds spent in each stage.

    Attributes
    ----------
    fitting : float
        Time to fit the pipeline, on all rows and on each split.
    comparing : float
        Time to train the candidates on the splits and to select one.
    training : float
        Time of the final training, either with the selected candidate on all rows or with the
        user's settings.
    """

    fitting: float
    comparing: float
    training: float


@dataclass
class Stopwatch:
    """Measures the time spent under each name.

    Parameters
    ----------
    began : float
        The start, as a value of `time.perf_counter`; now by default.
    spent : dict of str to float
        Seconds by name.
    """

    began: float = field(default_factory=time.perf_counter)
    spent: dict[str, float] = field(default_factory=dict)

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which now adds its seconds to those under a name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - began

        return call

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    def times(self, compared: bool = True) -> Timings:
        """The times by stage; the rest counts as comparison, or as training if none took place."""
        fitting, training = (self.spent.get(name, 0.0) for name in ("fitting", "training"))
        rest = max(0.0, self.seconds - fitting - training)
        return (
            Timings(fitting, rest, training) if compared else Timings(fitting, 0.0, training + rest)
        )
