"""The options of training, checked before any work is done."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..errors import ArgumentError
from .criterion import LossLike
from .optimizers import Optim, check_normalized_steps, is_number, try_optim
from .samples import Samples, Validation

# Samples of a batch with ``batch_size="auto"``: on small data at most the first number; on large
# data up to the second.
_BATCH_ROWS = 256
_LARGEST_BATCH = 1024


@dataclass(frozen=True)
class Options:
    """The arguments of `fit` that say how to train, checked."""

    optim: Optim = torch.optim.Adam
    loss: LossLike | None = None
    epochs: int = 100
    batch_size: int | Literal["auto"] = "auto"
    lr: float | Literal["auto"] | None = None
    patience: int | None = 10
    seed: int | None = 0
    callbacks: Sequence[Any] | None = None
    verbose: int = 0
    anchor: float = 0.0
    cross_fit: bool = True

    def check(self) -> None:
        """Refuse wrong values before any work is done."""
        _check_positive_int("epochs", self.epochs)
        if self.batch_size != "auto":
            _check_positive_int("batch_size", self.batch_size, "'auto'")
        if self.patience is not None:
            _check_positive_int("patience", self.patience, "None")
        if isinstance(self.lr, str) and self.lr == "auto":
            check_normalized_steps(self.optim)
        elif self.lr is not None and not (is_number(self.lr) and self.lr > 0):
            raise ArgumentError(f"lr={self.lr!r}; it is a positive number, 'auto' or None.")
        if self.seed is not None and not isinstance(self.seed, numbers.Integral):
            raise ArgumentError(f"seed={self.seed!r}; it is an integer or None.")
        if not (is_number(self.anchor) and self.anchor >= 0):
            raise ArgumentError(f"anchor={self.anchor!r}; it is a number of at least 0.")
        if not isinstance(self.cross_fit, bool):
            raise ArgumentError(f"cross_fit={self.cross_fit!r}; it is True or False.")
        try_optim(self.optim, self.rate)

    @property
    def rate(self) -> float | None:
        """The learning rate, as far as it is known before a search."""
        return None if isinstance(self.lr, str) else self.lr


def callbacks_of(options: Options, epochs: int) -> list[Any]:
    callbacks = list(options.callbacks or [])
    if options.verbose:
        from .progress_bar import ShowProgress

        callbacks.append(("show_progress", ShowProgress(epochs)))
    return callbacks


def batch_rows(wanted: int | Literal["auto"], optimizer: torch.optim.Optimizer, count: int) -> int:
    if wanted != "auto":
        return int(wanted)
    if isinstance(optimizer, torch.optim.LBFGS):
        return count
    # Small data: enough steps in an epoch to get anywhere. Large data: no more than it needs.
    most = min(max(_BATCH_ROWS, count // 128), _LARGEST_BATCH)
    return max(1, min(most, max(32, count // 16)))


def checked_validation(validation: object) -> Validation:
    """The ``validation`` argument; rows of the user's own become `Samples`."""
    if validation is None or (isinstance(validation, float) and 0 < validation < 1):
        return validation
    if isinstance(validation, tuple) and 1 <= len(validation) <= 4:
        return Samples(*validation)
    raise ArgumentError(
        f"validation={validation!r:.60} must be a share between 0 and 1, held-out rows (X, y), or "
        "None."
    )


def _check_positive_int(name: str, value: Any, other: str = "") -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        hint = f", or {other}" if other else ""
        raise ArgumentError(f"{name}={value!r}; it is a whole number of at least 1{hint}.")
