"""ML.NET's random number generator, to the extent that kernel maps need it."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_ALL = 0xFFFFFFFF
_WIDTH = 2 * math.sqrt(2 / math.e)
_FACTOR, _INCREMENT = 1664525, 1013904223
# Each block has as many numbers as a power of two with this exponent.
_DOUBLINGS = 15
_ATTEMPTS = 1 << 14


def _next_of_first(a: int) -> int:
    return (((a & 0xFFFFFFFE) << 12) & _ALL) ^ ((((a << 13) & _ALL) ^ a) >> 19)


def _next_of_second(b: int) -> int:
    return (((b & 0xFFFFFFF8) << 4) & _ALL) ^ ((((b << 2) & _ALL) ^ b) >> 25)


def _next_of_third(c: int) -> int:
    return (((c & 0xFFFFFFF0) << 17) & _ALL) ^ ((((c << 3) & _ALL) ^ c) >> 11)


_STEPS = (_next_of_first, _next_of_second, _next_of_third)


class Tausworthe:
    """A combined Tausworthe generator with a linear congruence.

    Numbers are drawn in blocks: each step is a linear map, so that a power of it takes a whole
    sequence of states to the states that follow.

    Parameters
    ----------
    state : array of uint32, shape (4,)
        Its state.
    """

    def __init__(self, state: Words) -> None:
        self.state = [int(s) for s in state]
        self._unread: Words = np.empty(0, dtype=np.uint32)

    def bits(self, count: int) -> Words:
        """The next numbers of 32 bits."""
        parts, missing = [self._unread], count - len(self._unread)
        while missing > 0:
            parts.append(self._block())
            missing -= len(parts[-1])
        drawn = np.concatenate(parts)
        self._unread = drawn[count:]
        return drawn[:count]

    def single(self, count: int) -> NDArray[np.float64]:
        """Numbers in [0, 1) with 23 bits."""
        return (self.bits(count) >> 9) / 8388608.0

    def gaussian(self, count: int) -> NDArray[np.float64]:
        """Standard normal numbers, by Leva's ratio-of-uniforms method (1992)."""
        found = [np.empty(0)]
        while count > 0:
            pairs = self.bits(2 * _ATTEMPTS)
            u, v = pairs[::2] / 4294967296.0, _WIDTH * (pairs[1::2] / 4294967296.0 - 0.5)
            taken = np.flatnonzero(_accepted(u, v))[:count]
            count -= len(taken)
            if not count:
                self._unread = np.concatenate([pairs[2 * taken[-1] + 2 :], self._unread])
            found.append(v[taken] / u[taken])
        return np.concatenate(found)

    def cauchy(self, count: int) -> NDArray[np.float64]:
        """Standard Cauchy numbers."""
        angles = math.pi * (self.single(count) - 0.5)
        return np.array([math.tan(angle) for angle in angles.tolist()])

    def _block(self) -> Words:
        """The next block of numbers."""
        out = np.zeros(1 << _DOUBLINGS, dtype=np.uint32)
        for i, step in enumerate(_STEPS):
            states = np.array([step(self.state[i])], dtype=np.uint32)
            for table in _powers(i):
                states = np.concatenate([states, _mapped(table, states)])
            self.state[i] = int(states[-1])
            out ^= states
        states = np.array([(_FACTOR * self.state[3] + _INCREMENT) & _ALL], dtype=np.uint32)
        factor, increment = _FACTOR, _INCREMENT
        for _ in range(_DOUBLINGS):
            states = np.concatenate([states, states * np.uint32(factor) + np.uint32(increment)])
            factor, increment = factor * factor & _ALL, (factor * increment + increment) & _ALL
        self.state[3] = int(states[-1])
        return out ^ states


def _accepted(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pairs of Leva's method give a number."""
    x, y = u - 0.449871, np.abs(v) + 0.386595
    inside = x * x + y * (0.19600 * y - 0.25472 * x)
    accepted = inside <= 0.27597
    for i in np.flatnonzero(~accepted & (inside <= 0.27846) & (u > 0)).tolist():
        # The exact logarithm of the platform, since NumPy's may differ in the last digit.
        accepted[i] = v[i] * v[i] <= -4 * u[i] * u[i] * math.log(u[i])
    return accepted


@cache
def _powers(component: int) -> list[Words]:
    """Tables of the powers 1, 2, 4, 8 ... of a step, each (4, 256): by byte of the state."""
    step = _STEPS[component]
    columns = np.array([step(1 << bit) for bit in range(32)], dtype=np.uint32)
    tables = []
    for _ in range(_DOUBLINGS):
        table = np.zeros((4, 256), dtype=np.uint32)
        for bit in range(32):
            has = (np.arange(256) >> bit % 8) & 1 == 1
            table[bit // 8, has] ^= columns[bit]
        tables.append(table)
        columns = _mapped(table, columns)
    return tables


def _mapped(table: Words, states: Words) -> Words:
    """The states that a power of a step takes other states to."""
    first, second = table[0][states & 255], table[1][states >> 8 & 255]
    third, fourth = table[2][states >> 16 & 255], table[3][states >> 24]
    return first ^ second ^ third ^ fourth


def kernel_frequencies(
    state: NDArray[np.uint32],
    features: int,
    outputs: int,
    kernel: Literal["gaussian", "laplacian"],
    width: float,
    sines: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Frequencies (outputs, features) and phases (outputs,) of a kernel map."""
    random = Tausworthe(state)
    draw, scale = random.cauchy, np.float32(width)
    if kernel == "gaussian":
        draw, scale = random.gaussian, np.sqrt(np.float32(2.0 * width))
    drawn = draw(outputs * features).astype(np.float32)
    frequencies = (drawn * scale).reshape(outputs, features)
    if sines:
        return frequencies, None
    phases = (random.single(outputs) - 0.5) * math.pi
    return frequencies, phases.astype(np.float32)
