"""Fine-tuning: the losses, the training functions and the reports of `FineTuner`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..report.results import Report, Tried
from ..streaming.fit import fit
from ..training.search.configuration import Configuration
from ..training.search.race import Race, Raced, race
from ..training.stopping import StopTraining

if TYPE_CHECKING:
    from ..online.partial_fit import partial_fit

__all__ = [
    "Configuration",
    "Race",
    "Raced",
    "Report",
    "StopTraining",
    "Tried",
    "fit",
    "partial_fit",
    "race",
]


def __getattr__(name: str) -> Any:
    # Imported lazily, as it loads skorch.
    if name == "partial_fit":
        from ..online.partial_fit import partial_fit

        return partial_fit
    if name == "losses":
        return import_module(f"{__name__}.losses")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
