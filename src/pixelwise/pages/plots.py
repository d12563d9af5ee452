"""Line plots as inline SVG, coloured by the page's style so that light and dark both read well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from markupsafe import Markup

from pixelwise.pages.markup import render

WIDTH, HEIGHT = 420, 236  # user units; a plot is shown between 330 and 600 px wide
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 36  # room for the words along the axes
GRID = 6  # lines at most: the widest word, as 10.01k, has room between them

_POINTS = 480  # more points than pixels cannot be seen
_DOTS = 60  # of a line that tell their value: closer ones could not be pointed at


class Line(NamedTuple):
    """A curve; ``kind`` is its class in the page's style, and a ``raw`` one has no dots."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str


def plain(value: float) -> str:
    """A number along an axis."""
    if value >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.4g}"


class Axis(NamedTuple):
    """From where to where, what its numbers are of, how they are written, and at how many lines."""

    range: tuple[float, float]
    label: str = ""
    text: Callable[[float], str] = plain
    most: int = GRID


def plot(
    title: str,
    lines: Sequence[Line],
    across: Axis,
    up: Axis,
    mark: tuple[float, float, str] | None = None,
) -> Markup:
    """Curves over a grid; values beyond the end of an axis are drawn at its end.

    Args:
        title: read out in place of the picture.
        lines: the last one is drawn on top.
        across: the horizontal axis.
        up: the vertical axis.
        mark: x, y and the word beside a point.
    """
    x = partial(_place, across.range, LEFT, WIDTH - RIGHT)
    y = partial(_place, up.range, HEIGHT - BOTTOM, TOP)
    dots = [
        (x(a), y(b), f"{line.name} {up.text(b)} at {across.text(a)} {across.label}")
        for line in lines
        if line.kind != "raw"
        for a, b in list(zip(line.x, line.y, strict=True))[:: max(1, len(line.x) // _DOTS)]
    ]
    return render(
        "plot.svg",
        title=title,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        x_label=across.label,
        rows=[(y(value), up.text(value)) for value in ticks(*up.range, up.most)],
        columns=[(x(v), across.text(v)) for v in ticks(*across.range, across.most)],
        curves=[(line.kind, " ".join(f"{x(a)},{y(b)}" for a, b in thin(line))) for line in lines],
        dots=dots,
        mark=mark and (x(mark[0]), y(mark[1]), mark[2]),
    )


def from_zero(lines: Sequence[Line], label: str) -> Axis:
    """A horizontal axis from 0 to the end of the longest line."""
    return Axis((0.0, max((max(line.x, default=0) for line in lines), default=0) or 1.0), label)


def sparkline(values: Sequence[float | None], title: str) -> Markup:
    """A small curve between 0 and 1 without axes; gaps where there is no value."""
    step = 88 / max(1, len(values) - 1)
    points = [
        f"{4 + i * step:.1f},{21 - 18 * v:.1f}" for i, v in enumerate(values) if v is not None
    ]
    return render("spark.svg", title=title, points=points)


def ticks(low: float, high: float, most: int = GRID) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) from ``low`` to ``high``, ``most`` at most.

    >>> ticks(0, 0.83)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def smooth(values: Sequence[float], window: float) -> list[float]:
    """Exponential moving average whose start is not pulled towards zero.

    Args:
        values: in order.
        window: number of values over which one's weight falls to 1/e.
    """
    keep = math.exp(-1 / window) if window > 0 else 0.0
    total = weight = 0.0
    out = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        out.append(total / weight)
    return out


def thin(line: Line, most: int = _POINTS) -> list[tuple[float, float]]:
    """At most ``most`` points that keep the lowest and highest of each stretch."""
    points = list(zip(line.x, line.y, strict=True))
    if len(points) <= most:
        return points
    bins = most // 2
    kept: set[int] = set()
    for i in range(bins):
        stretch = range(i * len(points) // bins, (i + 1) * len(points) // bins)
        kept |= {min(stretch, key=line.y.__getitem__), max(stretch, key=line.y.__getitem__)}
    return [points[i] for i in sorted(kept)]


def duration(longest: float) -> tuple[float, str]:
    """Seconds per unit, and the unit that suits the longest time.

    >>> duration(5400)
    (60.0, 'minutes')
    """
    if longest < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if longest < 3 * 3600 else (3600.0, "hours")


def _place(limits: tuple[float, float], start: float, end: float, value: float) -> float:
    """From ``start`` to ``end`` between the limits; a value outside is drawn at the end."""
    low, high = limits
    return round(start + (min(max(value, low), high) - low) / (high - low) * (end - start), 2)
