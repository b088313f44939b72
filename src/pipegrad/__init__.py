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
from .featurizer import Featurizer
from .graph import Graph, Step
from .module import PipelineModule
from .registry import Example, Expansion, Objective, Translation, register
from .translate import from_torch, inspect, to_torch

__all__ = [
    "ArgumentError",
    "DivergedError",
    "Example",
    "Expansion",
    "Featurizer",
    "Graph",
    "Objective",
    "PipegradError",
    "PipegradWarning",
    "PipelineModule",
    "RegistrationError",
    "Step",
    "Translation",
    "UntranslatableError",
    "WriteBackError",
    "from_torch",
    "inspect",
    "register",
    "to_torch",
]
__version__ = "0.1.0.dev0"
