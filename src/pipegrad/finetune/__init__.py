"""Fine-tuning: losses, the training loop, and the estimator that does it all."""

from ._partial import partial_fit
from ._report import Report, Tried
from .training import fit

__all__ = ["Report", "Tried", "fit", "partial_fit"]
