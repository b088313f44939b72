"""Losses by checkpoint, for the report."""

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
        Which way to train.
    split : int
        On which split, from 0.
    train, valid : tuple of float
        Mean losses.
    seconds : tuple of float
        Time since the start of the run.
    checkpoint : int
        The best one over all splits; of the chosen candidate, the chosen one.
    """

    candidate: str
    split: int
    train: tuple[float, ...]
    valid: tuple[float, ...]
    seconds: tuple[float, ...]
    checkpoint: int


def curve(name: str, split: int, history: Any, checkpoint: int) -> Curve:
    """The losses in a history, whose first row is the fitted pipeline."""
    seconds = np.cumsum([row.get("dur", 0.0) for row in history])
    train, valid = (
        tuple(float(row[key]) for row in history) for key in ("train_loss", "valid_loss")
    )
    return Curve(name, split, train, valid, tuple(seconds.tolist()), checkpoint)


def curves(folds: Sequence[Any], names: Sequence[str], checkpoints: Sequence[int]) -> Any:
    """Of all runs on all splits that came to an end."""
    return tuple(
        curve(name, split, fold.runs[place].history, checkpoint)
        for place, (name, checkpoint) in enumerate(zip(names, checkpoints, strict=True))
        for split, fold in enumerate(folds)
        if fold.runs[place] is not None
    )
