"""The confusion count as a picture, and its largest entries in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.metrics.confusion import Counts
from pixelwise.pages.markup import Markup, count, percent, short, tag

CELLS = {12: 38, 24: 30, 60: 22}  # most classes: pixels of a cell; the picture scrolls if it must
SMALLEST = 16
LETTER = 6.4  # mean width of a letter at the labels' size

_NUMBERS = 24  # classes up to which a cell holds its number


@dataclass(frozen=True)
class Confusion:
    """Pixels of one class that were given to another."""

    truth: int
    guess: int
    pixels: int
    share: float
    """Of the true class's pixels."""


def confusions(counts: Counts, most: int = 6, by: str = "pixels") -> list[Confusion]:
    """The largest confusions, by ``pixels`` or by ``share`` of the true class.

    Args:
        counts: (K, K); rows are truth.
        most: how many at most; what never happened is left out.
        by: ``pixels`` or ``share``.
    """
    off = counts.copy()
    np.fill_diagonal(off, 0)
    shares = off / np.maximum(1, counts.sum(1, keepdims=True))
    rank = off if by == "pixels" else shares
    order = np.argsort(-rank, axis=None, kind="stable")[:most]
    found = [divmod(int(i), len(counts)) for i in order]
    return [Confusion(t, g, int(off[t, g]), float(shares[t, g])) for t, g in found if off[t, g]]


def matrix(counts: Counts, names: Sequence[str]) -> Markup:
    """The section: heat map with rows adding up to 100 %, and confusions in words."""
    words = [
        _list("Most pixels", confusions(counts), names),
        _list("Largest share of a class", confusions(counts, by="share"), names),
    ]
    picture = tag("div", tag("div", heat_map(counts, names), class_="scroll"), class_="heat")
    return tag(
        "section",
        tag("h2", "Confusions"),
        tag(
            "p",
            "Each row is a class of the truth and adds up to 100 %; columns are what it was "
            "taken for. Blue is right, orange is wrong.",
            class_="lead",
        ),
        tag("div", picture, tag("div", words, class_="words"), class_="confusions"),
        id="confusions",
    )


def heat_map(counts: Counts, names: Sequence[str]) -> Markup:
    """(K, K) cells coloured by their share of the row; empty cells are not drawn."""
    k = len(names)
    longest = max((len(short(name)) for name in names), default=0)
    side = next((size for most, size in CELLS.items() if k <= most), SMALLEST)
    left, top = round(max(126, 14 + LETTER * longest)), round(22 + 0.72 * LETTER * longest)
    board = _Board(side, left, top, names)
    rows = counts.sum(1)
    width, height = left + k * side + round(0.72 * LETTER * longest), top + k * side + 6
    return tag(
        "svg",
        tag("title", "Confusion matrix"),
        tag("text", "truth \u2193  taken for \u2192", x=left - 8, y=top - 8, class_="end label"),
        [board.labels(i) for i in range(k)],
        tag("rect", x=left, y=top, width=k * side, height=k * side, class_="frame"),
        [
            board.cell(t, g, int(counts[t, g]), int(rows[t]))
            for t, g in np.argwhere(counts > 0).tolist()
        ],
        [board.nothing(t) for t in range(k) if not rows[t]],
        class_="matrix",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
    )


@dataclass(frozen=True)
class _Board:
    """Where cells and labels stand."""

    side: int
    left: int
    top: int
    names: Sequence[str]

    def labels(self, i: int) -> list[Markup]:
        """The class's name at its row and, turned, at its column."""
        middle = i * self.side + self.side / 2
        x, y = self.left + middle, self.top - 7
        word, full = short(self.names[i]), tag("title", self.names[i])
        row = {"x": self.left - 8, "y": self.top + middle + 4}
        return [
            tag("text", full, word, class_="name end", **row),
            tag("text", full, word, x=x, y=y, transform=f"rotate(-45 {x} {y})", class_="name"),
        ]

    def cell(self, t: int, g: int, pixels: int, row: int) -> Markup | None:
        """One cell; confusions of less than half a per mille are left out."""
        share, names = pixels / row, self.names
        if share < 0.0005 and t != g:
            return None
        verb = "found" if t == g else f"taken for {names[g]}"
        told = f"{names[t]} {verb}: {percent(share)} of its pixels ({count(pixels)} px)"
        strength = round(0.06 + 0.94 * share**0.7, 3)  # small shares must still show
        x, y, size = self.left + g * self.side, self.top + t * self.side, self.side - 2
        square = {"x": x + 1, "y": y + 1, "width": size, "height": size, "rx": 3}
        kind = "right" if t == g else "wrong"
        number = f"{100 * share:.0f}" if share >= 0.005 and len(names) <= _NUMBERS else ""
        return tag(
            "g",
            tag("title", told),
            tag("rect", class_=kind, fill_opacity=strength, **square),
            number and self._word(number, x + self.side / 2, y, strong=strength > 0.55),
        )

    def nothing(self, t: int) -> Markup:
        """What stands in the row of a class without truth."""
        x = self.left + len(self.names) * self.side / 2
        return self._word("not in this truth", x, self.top + t * self.side)

    def _word(self, word: str, x: float, top: float, *, strong: bool = False) -> Markup:
        kind = "number strong" if strong else "number"
        return tag("text", word, x=x, y=top + self.side / 2 + 3.5, class_=kind)


def _list(title: str, found: Sequence[Confusion], names: Sequence[str]) -> Markup:
    items = [
        tag(
            "li",
            tag("b", names[c.truth]),
            " taken for ",
            tag("b", names[c.guess]),
            tag("span", f"{percent(c.share)} of {names[c.truth]}, {count(c.pixels)} px"),
        )
        for c in found
    ]
    body = tag("ol", items) if items else tag("p", "Nothing was confused.")
    return tag("div", tag("h3", title), body)
