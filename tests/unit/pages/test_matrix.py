"""The confusion matrix, read back: cells against counts, names against their rows."""

from __future__ import annotations

import numpy as np
import pytest
from plot_reading import LETTER, kind

from page_tree import page_tree
from pixelwise.pages.matrix import heat_map, section

SIDES = {1: 38, 12: 38, 13: 30, 24: 30, 25: 22, 60: 22, 61: 16}
"""Classes, and pixels of a cell."""


@pytest.mark.parametrize("k", SIDES)
def test_cells_lie_in_their_row_and_column(k: int) -> None:
    rng = np.random.default_rng(k)
    counts = rng.integers(1, 100, (k, k)) * (rng.random((k, k)) < 3 / k)
    names = [f"class number {i}" for i in range(k)]
    (svg,) = page_tree(heat_map(counts, names)).all("svg")
    frame, *cells = svg.all("rect")
    left, top, side = frame.number("x"), frame.number("y"), SIDES[k]
    assert frame.number("width") == frame.number("height") == k * side
    seen = {}
    for cell in cells:
        assert cell.number("width") == cell.number("height") == side - 2
        column, row = (cell.number("x") - left - 1) / side, (cell.number("y") - top - 1) / side
        seen[row, column] = (kind(cell), cell.number("fill-opacity"))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    assert seen == {
        (t, g): ("right" if t == g else "wrong", round(0.06 + 0.94 * shares[t, g] ** 0.7, 3))
        for t, g in np.argwhere(counts).tolist()
    }
    numbers = [t for t in svg.all("text") if kind(t) in ("number", "number strong")]
    digits = [t.text for t in numbers if t.text.isdigit()]
    percents = [f"{100 * shares[t, g]:.0f}" for t, g in np.argwhere(shares >= 0.005).tolist()]
    assert digits == (percents if k <= 24 else [])
    empty = [t.number("y") for t in numbers if not t.text.isdigit()]
    rows = np.flatnonzero(counts.sum(1) == 0)
    assert empty == [top + row * side + side / 2 + 3.5 for row in rows]


@pytest.mark.parametrize("longest", [1, 17, 18, 22, 40])
def test_names_stand_at_their_rows_and_columns_within_the_matrix(longest: int) -> None:
    """Turned by 45 degrees a name is as high and as wide as 0.71 of its length."""
    names = ["m" * longest, "b", "c"]
    (svg,) = page_tree(heat_map(np.eye(3, dtype=int), names)).all("svg")
    left, top = (svg.all("rect")[0].number(axis) for axis in "xy")
    width, height = svg.number("width"), svg.number("height")
    assert svg.attributes["viewbox"] == f"0 0 {width:.0f} {height:.0f}"
    written = [t for t in svg.all("text") if "name" in kind(t)]
    for i, (row, column) in enumerate(zip(written[::2], written[1::2], strict=True)):
        assert row.number("y") - 4 == top + 38 * i + 19
        assert column.number("x") == left + 38 * i + 19
        assert (row.number("x"), column.number("y")) == (left - 8, top - 7)
        for word in (row, column):
            length = LETTER * min(22, len(names[i]))
            assert word.all("title")[0].text == names[i]
            if word is row:
                assert word.number("x") - length >= 0
            else:
                x, y = column.number("x"), column.number("y")
                assert column.attributes["transform"] == f"rotate(-45 {x} {y:.0f})"
                assert y - 0.71 * length - 8 >= 0
                assert x + 0.71 * length <= width
    (label,) = (t for t in svg.all("text") if "label" in kind(t))
    assert label.number("x") - LETTER * len(label.text) > -30  # arrows and spaces are narrow
    assert height == top + 3 * 38 + 6
    assert width <= left + 3 * 38 + 0.73 * LETTER * 22


def test_shares_too_small_to_be_seen_are_not_drawn() -> None:
    """A two-thousandth is the least; what is right is drawn whatever it is; numbers from 0.5 %."""
    counts = np.array([[1, 4, 9995, 0], [1, 0, 0, 0], [50, 45, 9905, 0], [0, 5, 0, 9995]])
    (svg,) = page_tree(heat_map(counts, list("abcd"))).all("svg")
    titles = [t.text for t in svg.all("title")]
    drawn = [t for t in titles if ":" in t]
    assert drawn == [
        "a found: 0.0 % of its pixels (1 px)",
        "a taken for c: 100.0 % of its pixels (9 995 px)",
        "b taken for a: 100.0 % of its pixels (1 px)",
        "c taken for a: 0.5 % of its pixels (50 px)",
        "c taken for b: 0.4 % of its pixels (45 px)",
        "c found: 99.1 % of its pixels (9 905 px)",
        "d taken for b: 0.1 % of its pixels (5 px)",
        "d found: 100.0 % of its pixels (9 995 px)",
    ]
    numbers = [t.text for t in svg.all("text") if "number" in kind(t)]
    assert numbers == ["100", "100", "0", "99", "100"]


def test_six_confusions_are_told_of_each_order() -> None:
    counts = np.arange(16).reshape(4, 4) * 1000
    page = page_tree(section(counts, list("abcd")))
    pixels, share = ([li.text for li in ol.all("li")] for ol in page.all("ol"))
    assert len(pixels) == len(share) == 6
    assert pixels[0] == "d taken for c 25.9 % of d, 14 000 px"
    assert share[0] == "a taken for d 50.0 % of a, 3 000 px"
    nothing = page_tree(section(np.diag([4, 5]), list("ab")))
    assert nothing.text.count("Nothing was confused.") == 2
