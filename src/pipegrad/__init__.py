"""Make a fitted pipeline differentiable, fine-tune it end to end, and translate it back."""

from .errors import (
    ArgumentError,
    DivergedError,
    ModelFileError,
    PipegradError,
    PipegradWarning,
    RegistrationError,
    UntranslatableError,
    WriteBackError,
)
from .export import export
from .featurizer import Featurizer
from .finetune.tuner import FineTuner
from .graph import Graph, Step
from .inspection import Inspection, inspect
from .loading import load
from .module import PipelineModule
from .registry import Example, Expansion, Objective, Translation, register
from .scoring import ScoringSummary, score
from .serving import CompiledPipeline, compile  # noqa: A004
from .supported import Supported, supported
from .translate import from_torch, to_torch

__all__ = [
    "ArgumentError",
    "CompiledPipeline",
    "DivergedError",
    "Example",
    "Expansion",
    "Featurizer",
    "FineTuner",
    "Graph",
    "Inspection",
    "ModelFileError",
    "Objective",
    "PipegradError",
    "PipegradWarning",
    "PipelineModule",
    "RegistrationError",
    "ScoringSummary",
    "Step",
    "Supported",
    "Translation",
    "UntranslatableError",
    "WriteBackError",
    "compile",
    "export",
    "from_torch",
    "inspect",
    "load",
    "register",
    "score",
    "supported",
    "to_torch",
]
__version__ = "0.1.0.dev0"


def __getattr__(name: str) -> object:
    # Few need the contract tests, MLflow or Spark; the import is lazy to save time.
    if name in ("mlflow", "spark", "testing"):
        import importlib

        return importlib.import_module(f"pipegrad.{name}")
    raise AttributeError(f"module 'pipegrad' has no attribute {name!r}")
