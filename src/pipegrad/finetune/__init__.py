"""Fine-tuning: losses, the training loop, and the estimator that does it all."""

from ._configuration import Configuration
from ._partial import partial_fit
from ._race import Race, Raced, race
from ._report import Report, Tried
from .training import fit

__all__ = ["Configuration", "Race", "Raced", "Report", "Tried", "fit", "partial_fit", "race"]
