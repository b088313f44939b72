"""Training options and their checks."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ..errors import ArgumentError
from .criterion import LossLike
from .deadline import check_seconds
from .optimizers import Optim, check_normalized_steps, is_number, try_optim
from .samples import Samples, Validation

# Maximum batch size with ``batch_size="auto"`` on small and on large data sets.
_BATCH_ROWS = 256
_LARGEST_BATCH = 1024
# The seeds that torch takes.
_SEEDS = 1 << 64


@dataclass(frozen=True)
class Options:
    """The arguments of `fit` that determine how to train."""

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
    max_seconds: float | None = None

    def check(self) -> None:
        """Reject invalid values before training."""
        _check_positive_int("epochs", self.epochs)
        if self.batch_size != "auto":
            _check_positive_int("batch_size", self.batch_size, "'auto'")
        if self.patience is not None:
            _check_positive_int("patience", self.patience, "None")
        if isinstance(self.lr, str) and self.lr == "auto":
            check_normalized_steps(self.optim)
        elif self.lr is not None and not (is_number(self.lr) and self.lr > 0):
            raise ArgumentError(f"lr must be a positive number, 'auto' or None, got {self.lr!r}.")
        _check_seed(self.seed)
        _check_verbose(self.verbose)
        check_callbacks(self.callbacks)
        if not (is_number(self.anchor) and self.anchor >= 0):
            raise ArgumentError(f"anchor must be a non-negative number, got {self.anchor!r}.")
        if not isinstance(self.cross_fit, bool):
            raise ArgumentError(f"cross_fit must be True or False, got {self.cross_fit!r}.")
        check_seconds(self.max_seconds)
        try_optim(self.optim, self.rate)

    @property
    def rate(self) -> float | None:
        """The learning rate; None if it is unset or to be searched for."""
        return None if isinstance(self.lr, str) else self.lr


def _check_seed(seed: Any) -> None:
    if seed is None:
        return
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool):
        raise ArgumentError(f"seed must be an integer or None, got {seed!r}.")
    if not 0 <= int(seed) < _SEEDS:
        raise ArgumentError(f"seed must be from 0 to 2**64 - 1, got {seed}.")


def _check_verbose(verbose: Any) -> None:
    known = isinstance(verbose, bool | np.bool_ | numbers.Integral)
    if not known or verbose < 0:
        raise ArgumentError(f"verbose must be True, False or a number from 0, got {verbose!r:.60}.")


def check_callbacks(callbacks: Any) -> None:
    """Reject what is no list of skorch callbacks, with or without names."""
    if callbacks is None:
        return
    if not isinstance(callbacks, list | tuple):
        raise ArgumentError(f"callbacks must be a list, got {callbacks!r:.60}.\n{_CALLBACKS}")
    for given in callbacks:
        named = isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str)
        one = given[1] if named else given
        if one is not None and not all(hasattr(one, name) for name in _CALLBACK_METHODS):
            raise ArgumentError(
                f"callbacks must hold skorch callbacks, got {given!r:.60}.\n{_CALLBACKS}"
            )


_CALLBACK_METHODS = ("on_train_begin", "on_epoch_end", "set_params")
_CALLBACKS = (
    "Hint: a callback is an object of a subclass of skorch.callbacks.Callback, such as "
    "callbacks=[skorch.callbacks.LRScheduler()]; a function goes into its method on_epoch_end."
)


def callbacks_of(options: Options, epochs: int) -> list[Any]:
    """Return the callbacks of the user, and the progress display if it is wanted."""
    callbacks = list(options.callbacks or [])
    if options.verbose:
        from .progress_bar import ShowProgress

        callbacks.append(("show_progress", ShowProgress(epochs)))
    return callbacks


def batch_rows(wanted: int | Literal["auto"], optimizer: torch.optim.Optimizer, count: int) -> int:
    """Return the batch size for ``count`` rows."""
    if wanted != "auto":
        return int(wanted)
    if isinstance(optimizer, torch.optim.LBFGS):
        return count
    # Small data sets need enough steps per epoch; large ones do not need more steps.
    most = min(max(_BATCH_ROWS, count // 128), _LARGEST_BATCH)
    return max(1, min(most, max(32, count // 16)))


def checked_validation(validation: object) -> Validation:
    """Check the ``validation`` argument; held-out data become `Samples`."""
    if validation is None or (isinstance(validation, float) and 0 < validation < 1):
        return validation
    if isinstance(validation, tuple) and 1 <= len(validation) <= 4:
        return Samples(*validation)
    raise ArgumentError(
        "validation must be a number between 0 and 1, held-out data (X, y), or None, got "
        f"{validation!r:.60}."
    )


def _check_positive_int(name: str, value: Any, other: str = "") -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        hint = f" or {other}" if other else ""
        raise ArgumentError(f"{name} must be a positive integer{hint}, got {value!r}.")
