"""Make a fitted pipeline differentiable, fine-tune all of it, and get the same kind back."""

from .errors import (
    ArgumentError,
    DivergedError,
    PipegradError,
    PipegradWarning,
    RegistrationError,
    UntranslatableError,
    WriteBackError,
)
from .registry import Example, Expansion, Objective, Translation, register

__all__ = [
    "ArgumentError",
    "DivergedError",
    "Example",
    "Expansion",
    "Objective",
    "PipegradError",
    "PipegradWarning",
    "RegistrationError",
    "Translation",
    "UntranslatableError",
    "WriteBackError",
    "register",
]
__version__ = "0.1.0.dev0"
