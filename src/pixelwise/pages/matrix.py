"""The confusion count as a picture, and its largest entries in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from pixelwise.metrics.confusion import Counts
from pixelwise.pages.markup import render, short

CELLS = {12: 38, 24: 30, 60: 22}  # most classes: pixels of a cell; the picture scrolls if it must
SMALLEST = 16
LETTER = 6.4  # mean width in px of a letter at the labels' 12 px
SLOPE = 0.72  # of a label's length, its height and width at 45 degrees: sin 45 and a little room

_NUMBERS = 24  # classes up to which a cell is wide enough for its number
_LEAST = 0.0005  # of a row; less is hardly seen, and among 150 classes would double the page


class Confusion(NamedTuple):
    """Pixels of one class that were given to another, or to itself."""

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
    wrong = [c for c in _entries(counts) if c.truth != c.guess]
    return sorted(wrong, key=lambda c: getattr(c, by), reverse=True)[:most]


def section(counts: Counts, names: Sequence[str], head: str = "", link: str = "") -> Markup:
    """Heat map with rows adding up to 100 %, and confusions in words.

    ``link`` is where pictures of a confusion are shown, by ``&truth=1&guess=2``; empty: nowhere.
    """
    lists = [
        ("Most pixels", confusions(counts)),
        ("Largest share of a class", confusions(counts, by="share")),
    ]
    drawn = heat_map(counts, names, link)
    return render("confusions.html", heat_map=drawn, lists=lists, names=names, head=head, link=link)


def heat_map(counts: Counts, names: Sequence[str], link: str = "") -> Markup:
    """(K, K) cells coloured by their share of the row; rows are truth."""
    k = len(names)
    longest = LETTER * max((len(short(name)) for name in names), default=0)
    side = next((size for most, size in CELLS.items() if k <= most), SMALLEST)
    left, top = round(max(126, 14 + longest)), round(22 + SLOPE * longest)
    return render(
        "matrix.svg",
        names=names,
        side=side,
        left=left,
        top=top,
        width=left + k * side + round(SLOPE * longest),
        height=top + k * side + 6,
        cells=[c for c in _entries(counts) if c.share >= _LEAST or c.truth == c.guess],
        empty_rows=np.flatnonzero(counts.sum(1) == 0).tolist(),
        numbered=k <= _NUMBERS,
        link=link,
    )


def _entries(counts: Counts) -> list[Confusion]:
    """What is not 0, row by row."""
    rows = counts.sum(1)
    return [
        Confusion(t, g, int(counts[t, g]), int(counts[t, g]) / int(rows[t]))
        for t, g in np.argwhere(counts > 0).tolist()
    ]
