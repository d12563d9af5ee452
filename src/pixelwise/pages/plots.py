"""Line plots as inline SVG, coloured by the page's style so that light and dark both read well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pixelwise.pages.markup import Markup, tag

WIDTH, HEIGHT = 420, 236  # user units; a plot is shown between 330 and 600 px wide
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 36

_POINTS = 480  # more points than pixels cannot be seen


@dataclass(frozen=True)
class Line:
    """A curve; ``kind`` is its class in the page's style."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str
    hover: bool = False
    """Points that tell their value."""


@dataclass(frozen=True)
class Mark:
    """One point with a word beside it."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Axes:
    """How coordinates are written and where the value axis ends."""

    x_label: str
    y_text: Callable[[float], str]
    y_range: tuple[float, float]


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def plot(title: str, lines: Sequence[Line], axes: Axes, marks: Sequence[Mark] = ()) -> Markup:
    """Curves over a grid; values above the axis' end are drawn at its end."""
    longest = max((max(line.x, default=0) for line in lines), default=0)
    x = _Scale(0, longest or 1, LEFT, WIDTH - RIGHT)
    y = _Scale(*axes.y_range, HEIGHT - BOTTOM, TOP)
    return tag(
        "svg",
        tag("title", title),
        _grid(x, y, axes),
        [_curve(line, x, y) for line in lines],
        [_hover(line, x, y, axes) for line in lines if line.hover],
        [_mark(mark, x, y) for mark in marks],
        class_="plot",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )


def sparkline(values: Sequence[float | None], title: str) -> Markup:
    """A small curve between 0 and 1 without axes; gaps where there is no value."""
    step = 88 / max(1, len(values) - 1)
    known = [(i, v) for i, v in enumerate(values) if v is not None]
    points = " ".join(f"{4 + i * step:.1f},{21 - 18 * v:.1f}" for i, v in known)
    last = known[-1] if known else None
    return tag(
        "svg",
        tag("title", title),
        tag("line", x1=4, x2=92, y1=21, y2=21, class_="grid"),
        tag("polyline", points=points, class_="line main"),
        last
        and tag("circle", cx=f"{4 + last[0] * step:.1f}", cy=f"{21 - 18 * last[1]:.1f}", r=2.2),
        class_="spark",
        viewBox="0 0 96 24",
        role="img",
    )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
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


def thin(
    x: Sequence[float], y: Sequence[float], most: int = _POINTS
) -> tuple[list[float], list[float]]:
    """At most ``most`` points that keep the lowest and highest of each stretch."""
    if len(x) <= most:
        return list(x), list(y)
    bins = most // 2
    kept: set[int] = set()
    for i in range(bins):
        stretch = range(i * len(x) // bins, (i + 1) * len(x) // bins)
        kept |= {min(stretch, key=y.__getitem__), max(stretch, key=y.__getitem__)}
    order = sorted(kept)
    return [x[i] for i in order], [y[i] for i in order]


def duration(longest: float) -> tuple[float, str]:
    """Seconds per unit, and the unit that suits the longest time.

    >>> duration(5400)
    (60.0, 'minutes')
    """
    if longest < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if longest < 3 * 3600 else (3600.0, "hours")


def _grid(x: _Scale, y: _Scale, axes: Axes) -> list[Markup]:
    rows = [(y(value), axes.y_text(value)) for value in ticks(y.low, y.high)]
    columns = [(x(value), _plain(value)) for value in ticks(x.low, x.high)]
    right = WIDTH - RIGHT
    return [
        *(tag("line", x1=LEFT, x2=right, y1=at, y2=at, class_="grid") for at, _ in rows),
        *(tag("text", word, x=LEFT - 6, y=at + 4, class_="tick end") for at, word in rows),
        *(tag("text", word, x=at, y=HEIGHT - BOTTOM + 16, class_="tick") for at, word in columns),
        tag("text", axes.x_label, x=right, y=HEIGHT - 4, class_="tick end label"),
    ]


def _curve(line: Line, x: _Scale, y: _Scale) -> Markup:
    xs, ys = thin(line.x, line.y)
    points = " ".join(f"{x(a)},{y(_inside(b, y))}" for a, b in zip(xs, ys, strict=True))
    return tag("polyline", points=points, class_=f"line {line.kind}")


def _hover(line: Line, x: _Scale, y: _Scale, axes: Axes) -> list[Markup]:
    stride = max(1, len(line.x) // 60)
    chosen = list(zip(line.x, line.y, strict=True))[::stride]
    told = [
        (a, b, f"{line.name} {axes.y_text(b)} at {_plain(a)} {axes.x_label}") for a, b in chosen
    ]
    return [
        tag("circle", tag("title", word), cx=x(a), cy=y(_inside(b, y)), r=5, class_="hover")
        for a, b, word in told
    ]


def _mark(mark: Mark, x: _Scale, y: _Scale) -> list[Markup]:
    at, up = x(mark.x), y(_inside(mark.y, y))
    late = at > WIDTH * 0.6
    below = up < TOP + 16
    return [
        tag("circle", cx=at, cy=up, r=4, class_="mark"),
        tag(
            "text",
            mark.label,
            x=at - 8 if late else at + 8,
            y=up + 17 if below else up - 8,
            class_="word end" if late else "word",
        ),
    ]


def _inside(value: float, scale: _Scale) -> float:
    return min(max(value, scale.low), scale.high)


def _plain(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.4g}"
