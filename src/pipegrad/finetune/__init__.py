"""Fine-tuning: losses, the training loop, and the estimator that does it all."""

from ._report import Report, Tried
from .training import fit

__all__ = ["Report", "Tried", "fit"]
