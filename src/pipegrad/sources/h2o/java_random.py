"""Java's `java.util.Random`, one generator for each row of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FACTOR, _ADDED = np.uint64(0x5DEECE66D), np.uint64(0xB)
_BITS = 48
_MASK = np.uint64((1 << _BITS) - 1)


class JavaRandoms:
    """Generators side by side.

    Parameters
    ----------
    seeds : array of int64
        The seed of each.
    """

    def __init__(self, seeds: NDArray[np.int64]) -> None:
        self._state = (seeds.view(np.uint64) ^ _FACTOR) & _MASK

    def _next(self, rows: NDArray[Any], bits: int) -> NDArray[np.int64]:
        state = (self._state[rows] * _FACTOR + _ADDED) & _MASK
        self._state[rows] = state
        return (state >> np.uint64(_BITS - bits)).astype(np.int64)

    def _uniform(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        high = self._next(rows, 26) << 27
        return (high + self._next(rows, 27)) * 2.0**-53

    def gaussians(self, count: int) -> NDArray[np.float64]:
        """The first normal numbers of each generator (n, count), which come in pairs."""
        out = np.empty((len(self._state), count + count % 2))
        for pair in range(0, count, 2):
            rows = np.arange(len(out))
            while len(rows):
                first = 2 * self._uniform(rows) - 1
                second = 2 * self._uniform(rows) - 1
                square = first * first + second * second
                good = (square < 1) & (square != 0)
                inside = square[good]
                factor = np.sqrt(-2 * np.log(inside) / inside)
                out[rows[good], pair] = first[good] * factor
                out[rows[good], pair + 1] = second[good] * factor
                rows = rows[~good]
        return out[:, :count]

    def below(self, rows: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """A whole number below a bound (n,), from the generators of some rows."""
        out = np.empty(len(rows), dtype=np.int64)
        left = np.arange(len(rows))
        while len(left):
            bits, bound = self._next(rows[left], 31), bounds[left]
            rest = bits % bound
            power = (bound & (bound - 1)) == 0
            # Java draws again where its 32 bits overflow.
            good = power | (bits - rest + bound - 1 < 1 << 31)
            out[left[good]] = np.where(power, (bound * bits) >> 31, rest)[good]
            left = left[~good]
        return out
