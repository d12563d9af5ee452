"""Plots, read back: where a mark lies by the axes' own words."""

from __future__ import annotations

import numpy as np
import pytest
from plot_reading import Drawn, box, kind, overlap, read

from page_tree import page_tree
from pixelwise.pages.curves import above, written
from pixelwise.pages.plots import (
    HEIGHT,
    WIDTH,
    Axis,
    Line,
    duration,
    from_zero,
    plain,
    plot,
    sparkline,
    thin,
    ticks,
)

RANGES = [(0, 1), (0, 0.83), (-1, 1), (-30, 0.5), (0, 3e-4), (0, 12_345), (0, 987_654), (2, 2.5)]


@pytest.mark.parametrize(("across", "up"), [(a, RANGES[i - 3]) for i, a in enumerate(RANGES)])
def test_points_lie_where_the_axes_say_and_nothing_overlaps(
    across: tuple[float, float], up: tuple[float, float]
) -> None:
    rng = np.random.default_rng(0)
    x, y = (np.sort(rng.uniform(*ends, 5)) for ends in (across, up))
    axes = Axis(across, "steps"), Axis(up, text="{:.3g}".format)
    drawn = Drawn(plot("t", [Line("a", x, y, "main")], *axes, (x[2], y[2], "best 12.3 %")))
    spans = [ends[1] - ends[0] for ends in (across, up)]
    for place, expected in zip(drawn.points("main"), zip(x, y, strict=True), strict=True):
        assert (np.abs(np.subtract(place, expected)) <= [2e-3 * s for s in spans]).all()
    assert drawn.mark()[2] == "best 12.3 %"
    assert np.abs(np.subtract(drawn.mark()[:2], (x[2], y[2]))).max() <= 2e-3 * max(spans)
    boxes = [box(word) for word in drawn.svg.all("text")]
    assert not [pair for i, a in enumerate(boxes) for pair in boxes[:i] if overlap(a, pair)]
    assert min(b[0] for b in boxes) >= -2  # digits are a little narrower
    assert min(b[1] for b in boxes) >= 0
    assert max(b[2] for b in boxes) <= WIDTH + 14  # half a word over the rim, where a page has room
    assert max(b[3] for b in boxes) <= HEIGHT
    lines = [(line.number("y1"), line.number("y2")) for line in drawn.svg.all("line")]
    assert lines == [pytest.approx((at, at)) for at in sorted(drawn.up.values(), reverse=True)]


@pytest.mark.parametrize(
    ("x", "y", "right", "below"),
    [(1, 1, True, False), (1, 9.9, True, True), (9, 1, False, False), (9, 9.9, False, True)],
)
def test_the_word_of_a_mark_stays_inside(x: float, y: float, right: bool, below: bool) -> None:
    ends = (0.0, 10.0)
    source = plot("t", [], Axis(ends), Axis(ends, text=plain), (x, y, "best 100.0 %"))
    (svg,) = page_tree(source).all("svg")
    (dot,) = svg.all("circle")
    (word,) = (t for t in svg.all("text") if "word" in kind(t))
    left, top, end, bottom = box(word)
    assert left >= dot.number("cx") + 5 if right else end <= dot.number("cx") - 5
    assert top > dot.number("cy") if below else bottom < dot.number("cy")
    assert 0 < left < end < WIDTH
    assert 0 < top < bottom < HEIGHT


def test_dots_say_the_value_where_it_lies_and_raw_curves_have_none() -> None:
    """Of 130 points every second one: 60 fit without being closer than a finger."""
    x = list(range(130))
    lines = [Line("rough", x, x, "raw"), Line("a", x, [v / 100 for v in x], "main")]
    source = plot("t", lines, Axis((0, 200), "steps"), Axis((0, 2), text="{:.2f}".format))
    drawn = Drawn(source)
    dots = [c for c in drawn.svg.all("circle") if kind(c) == "hover"]
    assert [dot.text for dot in dots] == [f"a {v / 100:.2f} at {v} steps" for v in x[::2]]
    for dot, at in zip(dots, x[::2], strict=True):
        assert read(drawn.along, dot.number("cx")) == pytest.approx(at, abs=0.02)
        assert read(drawn.up, dot.number("cy")) == pytest.approx(at / 100, abs=0.001)
    few = plot("t", [Line("a", x[:59], x[:59], "main")], Axis((0, 59)), Axis((0, 59)))
    assert few.count("hover") == 59


@pytest.mark.parametrize(("count", "kept"), [(479, 479), (480, 480), (481, 480), (9999, 480)])
def test_a_curve_has_as_many_points_as_can_be_seen(count: int, kept: int) -> None:
    line = Line("a", range(count), [(-1) ** i * i for i in range(count)], "main")
    assert len(thin(line)) == pytest.approx(kept, abs=2 if count > 480 else 0)


def test_thinning_by_hand() -> None:
    """Seven points in two stretches, 0 to 2 and 3 to 6: of each the lowest and the highest."""
    line = Line("a", [10, 11, 12, 13, 14, 15, 16], [5, 9, 1, 2, 3, 8, 7], "main")
    assert thin(line, 4) == [(11, 9), (12, 1), (13, 2), (15, 8)]
    assert thin(line, 7) == list(zip(line.x, line.y, strict=True))


def test_bounds_of_units_and_of_words() -> None:
    assert [duration(s) for s in (0, 179.9, 180, 10_799, 10_800)] == [
        (1.0, "seconds"), (1.0, "seconds"), (60.0, "minutes"), (60.0, "minutes"), (3600.0, "hours"),
    ]  # fmt: skip
    assert [plain(v) for v in (0.25, 9999, 10_000, 12_340)] == ["0.25", "9999", "10k", "12.34k"]
    assert [written(v) for v in (0, 0.5, 0.55, 0.125, 1)] == [
        *("0 %", "50 %", "55 %", "12.5 %", "100 %")
    ]
    assert from_zero([], "steps") == from_zero([Line("", [], [], "main")], "steps")
    assert from_zero([], "steps").range == (0, 1)
    assert from_zero([Line("", [1, 7], [0, 0], ""), Line("", [3], [0], "")], "s").range == (0, 7)


def test_grid_lines_by_hand() -> None:
    """The steps 1, 2, 5 and 10, and beyond them where a logarithm was rounded."""
    assert ticks(0, 5) == [0, 1, 2, 3, 4, 5]
    assert ticks(0, 6) == [0, 2, 4, 6]
    assert ticks(0, 11.9) == [0, 2, 4, 6, 8, 10]
    assert ticks(0, 12) == [0, 5, 10]
    assert ticks(0, 29) == [0, 5, 10, 15, 20, 25]
    assert ticks(0, 30) == [0, 10, 20, 30]
    assert ticks(0, 60 - 1e-9) == [0, 20, 40, 60]
    assert ticks(0.3, 0.7) == pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7])
    assert ticks(0, 4, 3) == [0, 2, 4]
    assert ticks(5, 4) == [5]


def test_a_grid_line_lies_above_what_is_drawn() -> None:
    assert [above(v) for v in (0.83, 1, 1.01, 4.2, 0.00031)] == pytest.approx(
        [1, 1, 1.2, 5, 0.0004]
    )
    assert above(0.83, 0.9) == 0.9
    assert above(0) == above(-3) == 1


def test_a_sparkline_spans_its_box() -> None:
    source = sparkline([0, 0.5, None, 1], "t")
    (svg,) = page_tree(source).all("svg")
    assert svg.all("polyline")[0].attributes["points"] == "4.0,21.0 33.3,12.0 92.0,3.0"
    assert svg.all("circle")[0].attributes["cx"] == "92.0"
    assert 'points="4.0,12.0"' in sparkline([0.5], "t")
