"""A plot as its reader sees it: places of marks in the numbers of the axes' own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from page_tree import Element, page_tree

LETTER = 6.4  # px of a letter's width at 12 px
Points = list[tuple[float, float]]


def value(word: str) -> float:
    """``62.5 %``, ``10k``, ``2e-05``."""
    if word.endswith("%"):
        return float(word[:-1]) / 100
    return 1000 * float(word[:-1]) if word.endswith("k") else float(word)


class Drawn:
    """A plot as its reader sees it; ``x`` and ``y`` make of a tick's number what is linear."""

    def __init__(
        self,
        source: str | Element,
        x: Callable[[float], float] = float,
        y: Callable[[float], float] = float,
    ) -> None:
        (self.svg,) = (page_tree(source) if isinstance(source, str) else source).all("svg")
        words = self.svg.all("text")
        self.up = {y(value(w.text)): w.number("y") - 4 for w in words if kind(w) == "tick end"}
        self.along = {x(value(w.text)): w.number("x") for w in words if kind(w) == "tick"}

    def points(self, kind_of_line: str) -> Points:
        """Of a curve in the numbers of the axes."""
        (line,) = (p for p in self.svg.all("polyline") if kind(p) == f"line {kind_of_line}")
        pairs = [pair.split(",") for pair in line.attributes["points"].split()]
        return [(read(self.along, float(a)), read(self.up, float(b))) for a, b in pairs]

    def mark(self) -> tuple[float, float, str]:
        (dot,) = (c for c in self.svg.all("circle") if kind(c) == "mark")
        (word,) = (t for t in self.svg.all("text") if "word" in kind(t))
        return read(self.along, dot.number("cx")), read(self.up, dot.number("cy")), word.text


def kind(element: Element) -> str:
    return element.attributes.get("class", "")


def read(marks: Mapping[float, float], place: float) -> float:
    """The number at a place, by the first and the last of an axis' words."""
    (low, start), (high, end) = min(marks.items()), max(marks.items())
    return low + (place - start) / (end - start) * (high - low)


def box(word: Element) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a word that is not turned."""
    width, x, y = LETTER * len(word.text), word.number("x"), word.number("y")
    ends = {"word": x, "word end": x - width, "tick": x - width / 2}
    left = ends.get(kind(word), x - width)
    return left, y - 10, left + width, y + 2


def overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(one[i] < other[i + 2] and other[i] < one[i + 2] for i in (0, 1))


def near(points: Points, expected: Points, tolerance: float = 0.004) -> None:
    """To the hundredths of a pixel that are drawn, of axes about as long as their numbers."""
    assert np.array(points).shape == np.array(expected).shape
    most = np.abs(np.array(expected)).max(0)
    assert (np.abs(np.array(points) - np.array(expected)) <= tolerance * most).all()
