"""Fine-tuning: the losses, the training functions and the reports of `FineTuner`."""

from typing import TYPE_CHECKING, Any

from ..report.results import Report, Tried
from ..training.fit import fit
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
    if name == "partial_fit":  # Imported lazily because it loads skorch.
        from ..online.partial_fit import partial_fit

        return partial_fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
