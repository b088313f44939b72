"""ML.NET's random number generator, to the extent that kernel maps need it."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_ALL = 0xFFFFFFFF
_WIDTH = 2 * math.sqrt(2 / math.e)


class Tausworthe:
    """A combined Tausworthe generator with a linear congruence.

    Parameters
    ----------
    state : array of uint32, shape (4,)
        Its state.
    """

    def __init__(self, state: NDArray[np.uint32]) -> None:
        self.state = [int(s) for s in state]

    def bits(self) -> int:
        """The next 32 bits."""
        a, b, c, d = self.state
        a = (((a & 0xFFFFFFFE) << 12) & _ALL) ^ ((((a << 13) & _ALL) ^ a) >> 19)
        b = (((b & 0xFFFFFFF8) << 4) & _ALL) ^ ((((b << 2) & _ALL) ^ b) >> 25)
        c = (((c & 0xFFFFFFF0) << 17) & _ALL) ^ ((((c << 3) & _ALL) ^ c) >> 11)
        d = (1664525 * d + 1013904223) & _ALL
        self.state = [a, b, c, d]
        return a ^ b ^ c ^ d

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return self.bits() / 4294967296.0

    def single(self) -> float:
        """A number in [0, 1) with 23 bits."""
        return (self.bits() >> 9) / 8388608.0

    def gaussian(self) -> float:
        """A standard normal number, by Leva's ratio-of-uniforms method (1992)."""
        while True:
            u = self.uniform()
            v = _WIDTH * (self.uniform() - 0.5)
            x, y = u - 0.449871, abs(v) + 0.386595
            inside = x * x + y * (0.19600 * y - 0.25472 * x)
            if inside <= 0.27597:
                return v / u
            if inside <= 0.27846 and u > 0 and v * v <= -4 * u * u * math.log(u):
                return v / u

    def cauchy(self) -> float:
        """A standard Cauchy number."""
        return math.tan(math.pi * (self.single() - 0.5))


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
    drawn = np.array([draw() for _ in range(outputs * features)], dtype=np.float32)
    frequencies = (drawn * scale).reshape(outputs, features)
    if sines:
        return frequencies, None
    phases = [(random.single() - 0.5) * math.pi for _ in range(outputs)]
    return frequencies, np.array(phases, dtype=np.float32)
