"""Learning-rate schedules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


# Share of the steps over which the rate rises, and its initial share of the peak rate.
RISE, _LOW = 0.3, 0.04


def one_cycle(progress: float) -> float:
    """Return the share of the peak rate in a one-cycle schedule (Smith and Topin 2019).

    The rate rises along a cosine, and then falls along a cosine to zero.
    """
    if progress < RISE:
        return _LOW + (1 - _LOW) * (1 - math.cos(math.pi * progress / RISE)) / 2
    return (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE))) / 2
