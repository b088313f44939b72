"""Fine-tuning: losses, the training loop, and the estimator that does it all."""

from .training import fit

__all__ = ["fit"]
