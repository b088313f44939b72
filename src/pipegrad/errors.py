"""The errors that pipegrad raises.

::

    PipegradError
    ├── UntranslatableError (TypeError)     a step of the pipeline has no module
    ├── WriteBackError (ValueError)         trained numbers that the source cannot hold
    ├── ModelFileError (ValueError)         a model file is damaged, hostile or of unknown kind
    ├── RegistrationError (ValueError)      a row of the mapping table is wrong
    ├── ArgumentError (ValueError)          an argument of ours is wrong
    └── DivergedError (RuntimeError)        training never gave a finite loss

    PipegradWarning (UserWarning)
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import FrameType


class PipegradError(Exception):
    """Base class of every error that pipegrad raises."""


class UntranslatableError(PipegradError, TypeError):
    """Some steps of a pipeline cannot become modules.

    Parameters
    ----------
    problems : sequence of (str, str, str)
        Path of the step, dotted name of its class, reason. All of them, not the first alone.
    steps : int
        How many steps the pipeline has.
    hint : str
        How to go on.
    freeze : sequence of str
        Steps that stand before those problems: once they are frozen, all problems run in their
        own library. Empty where freezing does not help.
    """

    def __init__(
        self,
        problems: Sequence[tuple[str, str, str]],
        steps: int = 0,
        hint: str = "",
        freeze: Sequence[str] = (),
    ) -> None:
        self.problems = list(problems)
        self.steps = steps
        self.hint = hint
        self.freeze = list(freeze)
        super().__init__(self._message())

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.problems, self.steps, self.hint, self.freeze)

    def _message(self) -> str:
        of = f" of {self.steps}" if self.steps else ""
        plural = "step" if (self.steps or len(self.problems)) == 1 else "steps"
        lines = [f"{len(self.problems)}{of} {plural} cannot be translated."]
        lines += [f"  {path!r} ({kind}): {reason}" for path, kind, reason in self.problems]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)


class WriteBackError(PipegradError, ValueError):
    """The trained numbers do not fit into the source object; nothing was written."""


class ModelFileError(PipegradError, ValueError):
    """A model file cannot be read: it is damaged, contradicts itself, or is of unknown kind."""


class RegistrationError(PipegradError, ValueError):
    """A row of the mapping table is incomplete or contradicts another one."""


class ArgumentError(PipegradError, ValueError):
    """An argument of a pipegrad function is wrong; no work was done."""


class DivergedError(PipegradError, RuntimeError):
    """Training never reached a finite loss; the pipeline is as it was."""


class PipegradWarning(UserWarning):
    """Something went on, but not as well as the user may believe."""


def warn(message: str) -> None:
    """Warn at the user's line, the first outside of this package."""
    package = __name__.split(".")[0]
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, PipegradWarning, stacklevel=level)
