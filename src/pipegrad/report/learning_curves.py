"""Learning curves: training and validation loss at each checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Curve:
    """Losses of one run by checkpoint; the first is the fitted pipeline.

    Attributes
    ----------
    candidate : str
        Name of the training strategy.
    split : int
        Index of the split, from 0.
    train, valid : tuple of float
        Mean training and validation losses.
    seconds : tuple of float
        Time since the start of the run.
    checkpoint : int
        Index of the checkpoint that is best over all splits; for the selected candidate, the one
        that was selected.
    """

    candidate: str
    split: int
    train: tuple[float, ...]
    valid: tuple[float, ...]
    seconds: tuple[float, ...]
    checkpoint: int


def curve(name: str, split: int, history: Any, checkpoint: int) -> Curve:
    """The learning curve in a history whose first row is the fitted pipeline."""
    seconds = np.cumsum([row.get("dur", 0.0) for row in history])
    train, valid = (
        tuple(float(row[key]) for row in history) for key in ("train_loss", "valid_loss")
    )
    return Curve(name, split, train, valid, tuple(seconds.tolist()), checkpoint)


def curves(folds: Sequence[Any], names: Sequence[str], checkpoints: Sequence[int]) -> Any:
    """The learning curves of all completed runs on all splits."""
    return tuple(
        curve(name, split, fold.runs[place].history, checkpoint)
        for place, (name, checkpoint) in enumerate(zip(names, checkpoints, strict=True))
        for split, fold in enumerate(folds)
        if fold.runs[place] is not None
    )
