"""Curves and histograms as inline SVG: no script, no font, no request; colours come from the page's style sheet.

Every chart is a text that can stand in a page. What a screen reader says is its `description`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from mxface.eval.roc import Floats

WIDTH, HEIGHT = 560, 340
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 18, 46


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A labelled range, linear or logarithmic (low > 0), with the places that get a tick."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    tick_format: str = "{:g}"
    logarithmic: bool = False

    def place(self, values: float | Floats) -> Floats:
        """Where values lie: 0 at the low end, 1 at the high end; what lies outside goes to the nearer end."""
        clipped = np.clip(np.asarray(values, np.float64), self.low, self.high)
        if self.logarithmic:
            return np.asarray(np.log(clipped / self.low) / math.log(self.high / self.low), np.float64)
        return np.asarray((clipped - self.low) / (self.high - self.low), np.float64)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points joined by a line; `style` is a class of the style sheet."""

    style: str
    x: Floats
    y: Floats
    filled: bool = False


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A vertical line with a word at one end."""

    x: float
    label: str
    label_at_top: bool = True


def chart(series: Sequence[Series], x: Axis, y: Axis, *, description: str, rules: Sequence[Rule] = ()) -> str:
    """An SVG of lines or filled outlines over a grid."""
    middle = f"translate(14 {(TOP + HEIGHT - BOTTOM) / 2:g})"
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">',
        *(_vertical_tick(x, tick) for tick in x.ticks),
        *(_horizontal_tick(y, tick) for tick in y.ticks),
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 8}">{escape(x.label)}</text>',
        f'<text class="label" transform="{middle} rotate(-90)">{escape(y.label)}</text>',
        *(_path(each, x, y) for each in series),
        *(_rule(x, rule) for rule in rules),
        "</svg>",
    ]
    return "\n".join(parts)


def outline(values: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """The outline (x, y) of a histogram whose bars add up to 100."""
    counts, _ = np.histogram(values, edges)
    heights = 100 * counts / max(len(values), 1)
    return np.repeat(edges, 2), np.concatenate([[0], np.repeat(heights, 2), [0]])


def nice_ticks(high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from 0; the last is not below `high`."""
    step = high / count
    unit = 10 ** math.floor(math.log10(step))
    step = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * unit >= step * (1 - 1e-9)) * unit
    return [step * number for number in range(math.ceil(high / step - 1e-9) + 1)]


def _across(x: Axis, value: float | Floats) -> Floats:
    return LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)


def _down(y: Axis, value: float | Floats) -> Floats:
    return HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)


def _vertical_tick(axis: Axis, tick: float) -> str:
    x = float(_across(axis, tick))
    text = escape(axis.tick_format.format(tick))
    return (
        f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
        f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}">{text}</text>'
    )


def _horizontal_tick(axis: Axis, tick: float) -> str:
    y = float(_down(axis, tick))
    text = escape(axis.tick_format.format(tick))
    return (
        f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="tick side" x="{LEFT - 8}" y="{y + 4:.1f}">{text}</text>'
    )


def _rule(axis: Axis, rule: Rule) -> str:
    x = float(_across(axis, rule.x))
    side = "side" if x > WIDTH / 2 else "after"
    text_x = x - 6 if side == "side" else x + 6
    text_y = TOP + 11 if rule.label_at_top else HEIGHT - BOTTOM - 8
    return (
        f'<path class="rule" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
        f'<text class="tick {side}" x="{text_x:.1f}" y="{text_y}">{escape(rule.label)}</text>'
    )


def _path(series: Series, x: Axis, y: Axis) -> str:
    points: Floats = np.stack([_across(x, series.x), _down(y, series.y)], axis=1).round(1)
    steps = "L".join(f"{across:g} {down:g}" for across, down in _corners(points))
    kind = "area" if series.filled else "line"
    return f'<path class="{kind} {series.style}" d="M{steps}"/>'


def _corners(points: Floats) -> Floats:
    """Points without those that lie on a horizontal or vertical run between their neighbours."""
    moved: NDArray[np.bool_] = np.append(True, np.any(np.diff(points, axis=0) != 0, axis=1))
    points = points[moved]
    if len(points) < 3:
        return points
    before, after = np.diff(points, axis=0)[:-1], np.diff(points, axis=0)[1:]
    turns = ~np.any((before == 0) & (after == 0), axis=1)
    corners: Floats = points[np.concatenate([[True], turns, [True]])]
    return corners
