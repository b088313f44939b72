"""SVG elements for charts: axes, lines, dots, bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..graph.display.markup import escape

Point = tuple[float, float]
# Lines that leave a chart continue for this multiple of its size.
_FAR = 5.0


@dataclass(frozen=True)
class Axis:
    """A scale that maps values to coordinates.

    Parameters
    ----------
    low, high : float
        The values at both ends.
    start, end : float
        The coordinates of ``low`` and ``high``.
    log : bool
        Whether the scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The coordinate of a value, clipped to the ends."""
        return self.free(min(max(value, self.low), self.high))

    def free(self, value: float) -> float:
        """The coordinate of a value, which may lie beyond the ends."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(value) - low) / (high - low)
        return self.start + min(max(share, -_FAR), _FAR) * (self.end - self.start)

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value

    def ticks(self, count: int = 5) -> list[float]:
        """Round values between the ends."""
        if self.log:
            found = [
                f * 10.0**p
                for p in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
                for f in (1, 2, 5)
            ]
            found = [t for t in found if self.low <= t <= self.high]
            if len(found) > count:
                found = [t for t in found if f"{t:e}"[0] == "1"]
            return found[:: max(1, math.ceil(len(found) / count))]
        raw = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


def spread(low: float, high: float, margin: float = 0.05) -> tuple[float, float]:
    """The two ends with a margin on both sides; never equal."""
    room = margin * (high - low) or max(abs(low) * 0.1, 1e-12)
    return low - room, high + room


def picture(title: str, width: float, height: float, parts: Iterable[str]) -> str:
    """An SVG image with a title, which screen readers read."""
    label = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
        f"<title>{label}</title>{''.join(parts)}</svg>"
    )


def window(x: Axis, y: Axis, parts: Iterable[str]) -> str:
    """The parts, clipped to the rectangle between two axes."""
    left, top = min(x.start, x.end), min(y.start, y.end)
    width, height = abs(x.end - x.start), abs(y.end - y.start)
    return (
        f'<svg x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'viewBox="{left:.1f} {top:.1f} {width:.1f} {height:.1f}" overflow="hidden">'
        f"{''.join(parts)}</svg>"
    )


def line(style: str, start: Point, end: Point) -> str:
    """A straight line."""
    return (
        f'<line class="pg-{style}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" '
        f'x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
    )


def path(style: str, points: Sequence[Point]) -> str:
    """A polyline through all points."""
    where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="pg-{style}" points="{where}"/>'


def dot(style: str, at: Point, radius: float = 4.0, tooltip: str = "") -> str:
    """A dot with an optional tooltip."""
    title = f"<title>{escape(tooltip)}</title>" if tooltip else ""
    return (
        f'<circle class="pg-{style}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}">'
        f"{title}</circle>"
    )


def box(style: str, left: float, top: float, width: float, height: float, tooltip: str = "") -> str:
    """A filled rectangle with an optional tooltip."""
    title = f"<title>{escape(tooltip)}</title>" if tooltip else ""
    return (
        f'<rect class="pg-{style}" x="{left:.1f}" y="{top:.1f}" width="{max(width, 0):.1f}" '
        f'height="{height:.1f}" rx="2">{title}</rect>'
    )


def words(style: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    """Text; ``anchor`` is "start", "middle" or "end"."""
    return (
        f'<text class="pg-{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def label(value: float) -> str:
    """A number as the label of a tick."""
    return "0" if abs(value) < 1e-15 else f"{value:.4g}"
