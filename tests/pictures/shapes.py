"""Curves, bands and cells as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tests.pictures.units import written

Points = Sequence[tuple[float, float]]
"""Moments (seconds) and values, in order."""

PALETTE = (
    "#73bf69",
    "#f2cc0c",
    "#5794f2",
    "#ff9830",
    "#f2495c",
    "#b877d9",
    "#37872d",
    "#8ab8ff",
    "#fade2a",
    "#fa6400",
)
NAMED: Mapping[str, str] = {
    "green": "#73bf69",
    "blue": "#5794f2",
    "yellow": "#f2cc0c",
    "orange": "#ff9830",
    "red": "#f2495c",
    "purple": "#b877d9",
    "dark-red": "#c4162a",
    "dark-green": "#37872d",
    "super-light-blue": "#c0d8ff",
    "light-purple": "#ca95e5",
}
"""Grafana's names for colours."""


class Curve(msgspec.Struct, frozen=True):
    """One series, ready to be drawn."""

    name: str
    colour: str
    points: Points
    limit: bool = False
    """Drawn dashed, and never stacked."""


class Frame(msgspec.Struct, frozen=True):
    """Where moments and values lie within a picture of this size."""

    width: float
    height: float
    begin: float
    end: float
    top: float
    left: float = 64
    below: float = 18
    bottom: float = 0
    """Above 0 the axis is logarithmic, from here on."""

    def x(self, moment: float) -> float:
        """How far from the left."""
        return self.left + (self.width - self.left - 8) * (moment - self.begin) / (self.end - self.begin)

    def y(self, value: float) -> float:
        """How far from the top."""
        room = self.height - self.below - 6
        if self.bottom:
            share = math.log(max(value, self.bottom) / self.bottom) / math.log(self.top / self.bottom)
        else:
            share = value / self.top
        return 6 + room * (1 - min(share, 1))

    def ticks(self) -> list[float]:
        """Where the lines of the grid are."""
        if self.bottom:
            lowest, highest = math.ceil(math.log10(self.bottom)), math.floor(math.log10(self.top))
            return [10.0**power for power in range(lowest, highest + 1)]
        return [float(f"{self.top * step / 4.3:.2g}") for step in range(5)]


def svg(width: float, height: float, *parts: str) -> str:
    """A picture."""
    return f'<svg width="{width:.0f}" height="{height:.0f}">{"".join(parts)}</svg>'


def text(x: float, y: float, said: str, anchor: str = "middle") -> str:
    """A few words."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(said)}</text>'


def chart(
    curves: Sequence[Curve], frame: Frame, unit: str, *, stacked: bool, bars: bool, exemplars: Points = ()
) -> str:
    """Axes, then the curves; exemplars are points on top."""
    parts = [_axes(frame, lambda value: written(value, unit))]
    floor: dict[float, float] = {}
    for curve in curves:
        if stacked and not curve.limit:
            parts.append(_layer(curve, frame, floor, bars=bars))
        else:
            parts.append(_line(curve, frame))
    parts += [
        f'<circle cx="{frame.x(at):.1f}" cy="{frame.y(value):.1f}" r="3" fill="#6e9fff" stroke="#111"/>'
        for at, value in exemplars
    ]
    return svg(frame.width, frame.height, *parts)


def highest(curves: Sequence[Curve], *, stacked: bool) -> float:
    """The top of the axis: a little above everything."""
    sums: dict[float, float] = {}
    single = [0.0]
    for curve in curves:
        for at, value in curve.points:
            if math.isfinite(value):
                single.append(value)
                if not curve.limit:
                    sums[at] = sums.get(at, 0.0) + value
    top = max([*single, *(sums.values() if stacked else ())])
    return top * 1.08 if top > 0 else 1.0


def lowest(curves: Sequence[Curve], exemplars: Points) -> float:
    """The bottom of a logarithmic axis."""
    values = [value for curve in curves for _, value in (*curve.points, *exemplars)]
    return min((value for value in values if 0 < value < math.inf), default=0.001) / 1.5


def _axes(frame: Frame, label: Callable[[float], str]) -> str:
    lines = []
    for value in frame.ticks():
        y = frame.y(value)
        lines.append(f'<path d="M{frame.left} {y:.1f} H{frame.width - 8}" class="grid"/>')
        lines.append(text(frame.left - 6, y + 3, label(value), "end"))
    return "".join(lines)


def _line(curve: Curve, frame: Frame) -> str:
    pieces: list[str] = []
    down = False
    for at, value in curve.points:
        if math.isfinite(value):
            pieces.append(f"{'L' if down else 'M'}{frame.x(at):.1f} {frame.y(value):.1f}")
        down = math.isfinite(value)
    dash = ' stroke-dasharray="8 6" stroke-width="2"' if curve.limit else ' stroke-width="1.5"'
    return f'<path d="{" ".join(pieces)}" fill="none" stroke="{curve.colour}"{dash}/>'


def _layer(curve: Curve, frame: Frame, floor: dict[float, float], *, bars: bool) -> str:
    up, down, sticks = [], [], []
    wide = max(2.0, (frame.width - frame.left) / max(len(curve.points), 1) - 1)
    for at, value in curve.points:
        low = floor.get(at, 0.0)
        high = low + (value if math.isfinite(value) else 0.0)
        floor[at] = high
        x, y, base = frame.x(at), frame.y(high), frame.y(low)
        up.append(f"{x:.1f} {y:.1f}")
        down.append(f"{x:.1f} {base:.1f}")
        sticks.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{max(base - y, 0):.1f}"/>')
    if bars:
        return f'<g fill="{curve.colour}" opacity=".85">{"".join(sticks)}</g>'
    outline = " L".join(up)
    area = " L".join([*up, *reversed(down)])
    fill = f'<path d="M{area}z" fill="{curve.colour}" opacity=".45"/>' if area else ""
    return fill + (f'<path d="M{outline}" fill="none" stroke="{curve.colour}"/>' if outline else "")


def bands(rows: Mapping[str, Sequence[tuple[float, str, str]]], frame: Frame) -> str:
    """For each name the moments, words and colours of what was the matter; equal neighbours are one band."""
    height = (frame.height - 8) / max(len(rows), 1)
    parts = []
    for number, (name, states) in enumerate(rows.items()):
        y = number * height
        parts.append(text(frame.left - 6, y + height / 2 + 4, name, "end"))
        begun = 0
        for index in range(1, len(states) + 1):
            if index < len(states) and states[index][1] == states[begun][1]:
                continue
            x = frame.x(states[begun][0])
            until = frame.x(states[index][0]) if index < len(states) else frame.x(frame.end)
            _, said, colour = states[begun]
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 3:.1f}" width="{max(until - x - 1, 1):.1f}" '
                f'height="{height * 0.85 - 3:.1f}" fill="{colour}" opacity=".8"/>'
            )
            if until - x > 7 * len(said):
                parts.append(f'<g class="said">{text(x + 5, y + height / 2 + 3, said, "start")}</g>')
            begun = index
    return svg(frame.width, frame.height, *parts)


def cells(buckets: Mapping[float, Points], frame: Frame, unit: str, exemplars: Points) -> str:
    """A heatmap: cumulative buckets become the counts between two bounds."""
    bounds = sorted(buckets)
    counts = {bound: dict(buckets[bound]) for bound in bounds}
    used = [
        (low, high, {at: counts[high][at] - counts.get(low, {}).get(at, 0.0) for at in counts[high]})
        for low, high in zip((0.0, *bounds), bounds, strict=False)
        if math.isfinite(high)
    ]
    used = [row for row in used if max(row[2].values(), default=0) > 0] or used[:1]
    most = max(max(row[2].values(), default=0) for row in used) or 1
    height = (frame.height - frame.below) / len(used)
    parts = []
    for number, (low, high, row) in enumerate(used):
        y = frame.height - frame.below - (number + 1) * height
        parts.append(text(frame.left - 6, y + 4, written(high, unit), "end"))
        wide = (frame.width - frame.left) / max(len(row), 1)
        parts += [
            f'<rect x="{frame.x(at):.1f}" y="{y:.1f}" width="{wide:.1f}" height="{height - 1:.1f}" '
            f'fill="{_turbo((count / most) ** 0.5)}"/>'
            for at, count in row.items()
            if count > 0
        ]
        parts += [
            f'<circle cx="{frame.x(at):.1f}" cy="{y + height / 2:.1f}" r="3" fill="#fff" stroke="#111"/>'
            for at, value in exemplars
            if low < value <= high
        ]
    return svg(frame.width, frame.height, *parts)


def _turbo(share: float) -> str:
    return f"hsl({250 - 250 * min(share, 1):.0f} 80% {35 + 20 * share:.0f}%)"
