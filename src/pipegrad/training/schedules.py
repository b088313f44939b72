"""Learning-rate schedules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


# A one-cycle run rises over this share of its steps, from this share of its rate.
RISE, _LOW = 0.3, 0.04


def one_cycle(progress: float) -> float:
    """Share of the full rate: up along a cosine, and down to nothing."""
    if progress < RISE:
        return _LOW + (1 - _LOW) * (1 - math.cos(math.pi * progress / RISE)) / 2
    return (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE))) / 2
