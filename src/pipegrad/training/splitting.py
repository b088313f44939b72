"""Random splits of rows into training and validation sets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def split(
    count: int,
    fraction: float,
    generator: np.random.Generator,
    classes: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows at random into a training and a validation set.

    Parameters
    ----------
    count : int
        Number of rows.
    fraction : float
        Share of validation rows.
    generator : numpy Generator
        Generator for the random split.
    classes : array of int64, optional
        Class of each row, for a stratified split that leaves each class a training row.

    Returns
    -------
    train, valid : array of int64
        Row numbers in increasing order.
    """
    wanted = min(max(1, round(fraction * count)), count - 1)
    order = generator.permutation(count)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    # Evenly spaced positions among rows sorted by class give a stratified split.
    places = ((np.arange(wanted) + generator.random()) * count / wanted).astype(np.int64)
    chosen = np.zeros(count, dtype=bool)
    chosen[order[np.minimum(places, count - 1)]] = True
    if classes is not None:
        missing = ~np.isin(classes, classes[~chosen])
        chosen[missing] = False
    rows = np.arange(count)
    return rows[~chosen], rows[chosen]


def folds(
    count: int,
    fraction: float,
    generator: np.random.Generator,
    classes: NDArray[np.int64] | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield random splits like `split`, with disjoint validation sets.

    Parameters
    ----------
    count, fraction, generator, classes
        See `split`.

    Yields
    ------
    train, valid : array of int64
        Row numbers in increasing order; at most ``1 / fraction`` pairs.
    """
    order = generator.permutation(count)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    number = max(2, int(1 / fraction + 1e-9))
    place = np.empty(count, dtype=np.int64)
    place[order] = (np.arange(count) + generator.integers(number)) % number
    rows = np.arange(count)
    for fold in range(number):
        chosen = place == fold
        if classes is not None:
            chosen &= np.isin(classes, classes[~chosen])
        if chosen.any():
            yield rows[~chosen], rows[chosen]
