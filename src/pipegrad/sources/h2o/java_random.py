"""Java's `java.util.Random`, one generator for each row of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FACTOR, _ADDED = np.uint64(0x5DEECE66D), np.uint64(0xB)
_BITS = 48
_MASK = np.uint64((1 << _BITS) - 1)

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_EVEN = (3.999999999940941908e-01, 2.222219843214978396e-01, 1.531383769920937332e-01)
_ODD = (6.666666666666735130e-01, 2.857142874366239149e-01, 1.818357216161805012e-01,
        1.479819860511658591e-01)  # fmt: skip


def strict_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of numbers above 0 as Java's `StrictMath.log` rounds it, by that of fdlibm."""
    fraction, exponent = np.frexp(values)
    fraction, exponent = 2 * fraction, exponent - 1.0
    high = (fraction.view(np.int64) >> 32) & 0xFFFFF
    upper = ((high + 0x95F64) & 0x100000) != 0
    f = np.where(upper, fraction / 2, fraction) - 1
    exponent = exponent + upper
    s = f / (2 + f)
    z = s * s
    w = z * z
    even = w * (_EVEN[0] + w * (_EVEN[1] + w * _EVEN[2]))
    rest = z * (_ODD[0] + w * (_ODD[1] + w * (_ODD[2] + w * _ODD[3]))) + even
    half = 0.5 * f * f
    middle = ((high - 0x6147A) | (0x6B851 - high)) > 0
    low = exponent * _LN2_LOW
    near = (half - (s * (half + rest) + low)) - f
    far = (s * (f - rest) - low) - f
    return np.asarray(exponent * _LN2_HIGH - np.where(middle, near, far))


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
        return (high + self._next(rows, 27)).astype(np.float64) * 2.0**-53

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
                factor = np.sqrt(-2 * strict_log(inside) / inside)
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
