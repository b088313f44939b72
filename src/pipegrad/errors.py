"""The errors that pipegrad raises.

::

    PipegradError
    ├── UntranslatableError (TypeError)     a step of the pipeline has no module
    ├── WriteBackError (ValueError)         the source cannot hold the trained parameters
    ├── ModelFileError (ValueError)         a model file is corrupt, malicious or of unknown kind
    ├── RegistrationError (ValueError)      a translation in the mapping table is invalid
    ├── ArgumentError (ValueError)          an argument of a pipegrad function is invalid
    └── DivergedError (RuntimeError)        training never reached a finite loss

    PipegradWarning (UserWarning)
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import FrameType

from .printable import printable


class PipegradError(Exception):
    """Base class of every error that pipegrad raises."""

    def __str__(self) -> str:
        # Messages quote names of others, such as those in a file.
        return printable(super().__str__(), keep="\n")


class UntranslatableError(PipegradError, TypeError):
    """Some steps of a pipeline cannot become modules.

    Parameters
    ----------
    problems : sequence of (str, str, str)
        All problems, each with the path of the step, the dotted name of its class and the reason.
    steps : int
        Number of steps of the pipeline.
    hint : str
        Possible remedies.
    freeze : sequence of str
        Trainable steps that precede the problems. If they are frozen, the untranslatable steps run
        in their own library. Empty if freezing does not help.
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
        lines += [
            f"  {path!r} ({printable(kind)}): {printable(reason)}"
            for path, kind, reason in self.problems
        ]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)


class WriteBackError(PipegradError, ValueError):
    """The source object cannot hold the trained parameters; nothing was written."""


class ModelFileError(PipegradError, ValueError):
    """A model file cannot be read: it is corrupt, inconsistent or of unknown kind."""


class RegistrationError(PipegradError, ValueError):
    """A translation in the mapping table is incomplete or conflicts with another one."""


class ArgumentError(PipegradError, ValueError):
    """An argument of a pipegrad function is invalid; no work was done."""


class DivergedError(PipegradError, RuntimeError):
    """Training never reached a finite loss; the pipeline is unchanged."""


class PipegradWarning(UserWarning):
    """A problem that did not stop the work but may affect its result."""


def warn(message: str) -> None:
    """Warn at the user's line, the first outside this package."""
    package = __name__.split(".")[0]
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(printable(message, keep="\n"), PipegradWarning, stacklevel=level)
