"""The confusion count as a picture, and its largest entries in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.metrics.confusion import Counts
from pixelwise.report.html import Markup, count, percent, short, tag

CELL = 26  # user units and pixels: the picture scrolls rather than shrinks
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
    return tag(
        "section",
        tag("h2", "Confusions"),
        tag(
            "p",
            "Each row is a class of the truth and adds up to 100 %; columns are what it was "
            "taken for. Blue is right, orange is wrong.",
            class_="lead",
        ),
        tag("div", tag("div", heat_map(counts, names), class_="scroll"), class_="heat"),
        tag("div", words, class_="words"),
        id="confusions",
    )


def heat_map(counts: Counts, names: Sequence[str]) -> Markup:
    """(K, K) cells coloured by their share of the row; empty cells are not drawn."""
    k = len(names)
    labels = [short(name) for name in names]
    left = round(14 + LETTER * max(map(len, labels), default=0))
    top = round(18 + 0.75 * LETTER * max(map(len, labels), default=0))
    rows = counts.sum(1)
    width = left + k * CELL + round(top * 0.8)
    return tag(
        "svg",
        tag("title", "Confusion matrix"),
        tag(
            "text", "truth \u2193  taken for \u2192", x=left - 8, y=top - 8, class_="tick end label"
        ),
        [_names(i, labels[i], names[i], left, top) for i in range(k)],
        [tag("rect", x=left, y=top, width=k * CELL, height=k * CELL, class_="frame")],
        [
            _cell(t, g, int(counts[t, g]), int(rows[t]), names, left, top)
            for t, g in np.argwhere(counts > 0).tolist()
        ],
        [_nothing(t, k, left, top) for t in range(k) if not rows[t]],
        class_="matrix",
        viewBox=f"0 0 {width} {top + k * CELL + 6}",
        width=width,
        role="img",
    )


def _names(i: int, label: str, name: str, left: int, top: int) -> list[Markup]:
    middle = i * CELL + CELL / 2
    x, y = left + middle, top - 7
    turned = f"rotate(-45 {x} {y})"
    full = tag("title", name)
    return [
        tag("text", full, label, x=left - 8, y=top + middle + 4, class_="name end"),
        tag("text", full, label, x=x, y=y, transform=turned, class_="name"),
    ]


def _cell(
    t: int, g: int, pixels: int, row: int, names: Sequence[str], left: int, top: int
) -> Markup | None:
    share = pixels / row
    if share < 0.0005 and t != g:
        return None
    x, y = left + g * CELL, top + t * CELL
    verb = "found" if t == g else f"taken for {names[g]}"
    told = f"{names[t]} {verb}: {percent(share)} of its pixels ({count(pixels)} px)"
    kind = "right" if t == g else "wrong"
    strength = round(0.06 + 0.94 * share**0.7, 3)  # small shares must still show
    number = f"{100 * share:.0f}" if share >= 0.005 and len(names) <= _NUMBERS else ""
    return tag(
        "g",
        tag("title", told),
        tag(
            "rect",
            x=x + 1,
            y=y + 1,
            width=CELL - 2,
            height=CELL - 2,
            rx=3,
            class_=kind,
            fill_opacity=strength,
        ),
        number
        and tag(
            "text",
            number,
            x=x + CELL / 2,
            y=y + CELL / 2 + 3.5,
            class_="number strong" if strength > 0.55 else "number",
        ),
    )


def _nothing(t: int, k: int, left: int, top: int) -> Markup:
    y = top + t * CELL + CELL / 2 + 3.5
    return tag("text", "not in this truth", x=left + k * CELL / 2, y=y, class_="number")


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
