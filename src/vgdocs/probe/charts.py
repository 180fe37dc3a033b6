"""The two kinds of drawing in a report, as SVG without a script: a strip of layers by steps, and lines.

Colours are classes, which the page's style sheet turns into the site's tokens: a drawing follows light, dark and print.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Value = float | None

LEVELS = 4  # colours to either side of the middle one
WIDTH, HEIGHT = 360, 216  # of a chart of lines
LEFT, RIGHT, TOP, BOTTOM = 56, 10, 12, 38  # its margins
SPAN = 50  # factor between the values from which on an axis is logarithmic
MARKS = {"cross": "× nan or inf", "ring": "○ exactly 0"}
POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """Where a quantity is too small, as it should be, and too large: the ends and the middle of a strip's colours."""

    small: float
    usual: float
    large: float

    def level(self, value: Value) -> str:
        """The class of a cell: `l0` to `l8`, `zero`, `bad` for what isn't finite, or none for what was not seen."""
        if value is None:
            return ""
        if not math.isfinite(value):
            return "bad"
        if value == 0:
            return "zero"
        end = self.small if value < self.usual else self.large
        share = min(math.log(value / self.usual) / math.log(end / self.usual), 1.0)
        return f"l{LEVELS + round(share * LEVELS) * (-1 if value < self.usual else 1)}"


@dataclass(frozen=True)
class Line:
    """A series to draw: its points, its name in the legend, and its role among the site's colours."""

    name: str
    role: str
    points: Sequence[tuple[float, Value]]


def strip(rows: Sequence[Sequence[Value]], scale: Scale, label: str) -> str:
    """A cell for each value, row by row, stretched to whatever size the page gives it.

    Neighbours in a row that look alike are one rectangle, and all rectangles of a colour one path.
    """
    paths: dict[str, list[str]] = {}
    for y, row in enumerate(rows):
        x = 0
        for level, cells in itertools.groupby(map(scale.level, row)):
            width = len(list(cells))
            if level:
                paths.setdefault(level, []).append(f"M{x} {y}h{width}v1h-{width}z")
            x += width
    drawn = "".join(f'<path class="{level}" d="{"".join(parts)}"/>' for level, parts in sorted(paths.items()))
    size = f"0 0 {max(map(len, rows), default=1)} {len(rows)}"
    return f'<svg viewBox="{size}" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{drawn}</svg>'


def chart(lines: Sequence[Line], across: str, up: str, label: str) -> str:
    """Lines over steps or layers; the upright axis is logarithmic where the values span more than a factor of `SPAN`.

    What can't be placed is marked at the edge: a cross on top is nan or inf, a ring at the foot a zero on a
    logarithmic axis.
    """
    xs = [x for line in lines for x, y in line.points if y is not None]
    ys = [y for line in lines for _, y in line.points if y is not None and math.isfinite(y)]
    if not xs:
        return ""
    positive = [y for y in ys if y > 0]
    logarithmic = bool(positive) and min(ys) >= 0 and max(positive) > SPAN * min(positive)
    heights = [math.log10(y) for y in positive] if logarithmic else ys
    low, high = _room(heights, logarithmic)
    left, right = (min(xs), max(xs)) if min(xs) < max(xs) else (min(xs) - 1, max(xs) + 1)

    def x_of(value: float) -> float:
        return LEFT + (value - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def y_of(height: float) -> float:
        return HEIGHT - BOTTOM - (height - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    levels = _powers(low, high) if logarithmic else _round_numbers(low, high, 4)
    rows = [(y_of(level), _number(level, logarithmic)) for level in levels]
    columns = [(x_of(value), f"{int(value):,}") for value in _round_numbers(left, right, 5) if value == int(value)]
    parts, marks = [_axes(rows, columns, across, up)], set()
    for line in lines:
        runs: list[list[str]] = [[]]
        for x, y in line.points:
            if y is not None and math.isfinite(y) and (y > 0 or not logarithmic):
                runs[-1].append(f"{x_of(x):.1f} {y_of(math.log10(y) if logarithmic else y):.1f}")
                continue
            runs.append([])
            if y is not None:
                kind = "ring" if y == 0 else "cross"
                marks.add(kind)
                parts.append(_mark(x_of(x), y_of(low if y == 0 else high), kind))
        path = "".join("M" + "L".join(run) for run in runs if len(run) > 1)
        dots = "".join(f"M{run[0]}h0" for run in runs if len(run) == 1)
        parts.append(f'<path class="line {line.role}" d="{path}"/>' if path else "")
        parts.append(f'<path class="dot {line.role}" d="{dots}"/>' if dots else "")
    drawn = "".join(parts)
    legend = "".join(f'<span class="{line.role}">{escape(line.name)}</span>' for line in lines if len(lines) > 1)
    legend += "".join(f'<span class="mark">{text}</span>' for kind, text in MARKS.items() if kind in marks)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{drawn}</svg>'
    return svg + (f'<p class="legend">{legend}</p>' if legend else "")


def _room(heights: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    low, high = (min(heights), max(heights)) if heights else (0.0, 1.0)
    if logarithmic:
        return (math.floor(low), math.ceil(high)) if math.floor(low) < math.ceil(high) else (low - 1, high + 1)
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _axes(rows: Sequence[tuple[float, str]], columns: Sequence[tuple[float, str]], across: str, up: str) -> str:
    parts = []
    for y, text in rows:
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for x, text in columns:
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(across)}</text>')
    upright = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 9 {upright})" x="9" y="{upright}"'
    parts.append(f'<text class="axis" {turned} text-anchor="middle">{escape(up)}</text>')
    return "".join(parts)


def _number(height: float, logarithmic: bool) -> str:
    if logarithmic:
        return "1" if height == 0 else f"10{str(round(height)).translate(POWERS)}"
    return f"{height:.3g}".replace("-", "−")


def _powers(low: float, high: float) -> list[float]:
    every = math.ceil((high - low) / 5)
    return [float(power) for power in range(math.ceil(low), math.floor(high) + 1) if power % every == 0]


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for times in (1, 2, 5, 10) if (step := times * power) >= rough)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _mark(x: float, y: float, kind: str) -> str:
    if kind == "ring":
        return f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    return f'<path class="cross" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>'
