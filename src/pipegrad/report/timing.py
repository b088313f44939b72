"""Where the time of a fit went."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Timings:
    """Seconds spent.

    Attributes
    ----------
    fitting : float
        Fitting the pipeline, on all rows and on each split.
    comparing : float
        Training the candidates on the splits, and choosing.
    training : float
        The final training: with the chosen candidate on all rows, or with the user's settings.
    """

    fitting: float
    comparing: float
    training: float


@dataclass
class Stopwatch:
    """Measures where the time goes."""

    began: float = field(default_factory=time.perf_counter)
    spent: dict[str, float] = field(default_factory=dict)

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its seconds counted under a name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - began

        return call

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self.began

    def times(self, compared: bool = True) -> Timings:
        """What is left of the time was comparing; or training, where nothing was compared."""
        fitting, training = (self.spent.get(name, 0.0) for name in ("fitting", "training"))
        rest = max(0.0, self.seconds - fitting - training)
        return (
            Timings(fitting, rest, training) if compared else Timings(fitting, 0.0, training + rest)
        )
