"""Fine-tuning: losses, the training loop, and the estimator that does it all."""

from typing import TYPE_CHECKING, Any

from ..report.results import Report, Tried
from ..training.fit import fit
from ..training.search.configuration import Configuration
from ..training.search.race import Race, Raced, race

if TYPE_CHECKING:
    from ..online.partial_fit import partial_fit

__all__ = ["Configuration", "Race", "Raced", "Report", "Tried", "fit", "partial_fit", "race"]


def __getattr__(name: str) -> Any:
    if name == "partial_fit":  # It needs the training loop, which loads skorch.
        from ..online.partial_fit import partial_fit

        return partial_fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
