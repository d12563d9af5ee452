from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from pixelwise.pages.curves import best_validation, class_histories, curves
from pixelwise.pages.gallery import HATCH_GREYS, Shown, chosen, errors, mistakes, of_numbers, paint
from pixelwise.pages.markup import clock, count, percent, render, setting, short
from pixelwise.pages.matrix import confusions, heat_map
from pixelwise.pages.plots import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Line,
    duration,
    from_zero,
    plot,
    smooth,
    sparkline,
    thin,
    ticks,
)


def test_text_is_escaped_and_markup_is_not() -> None:
    made = sparkline([0.5], "<b> & 'x'\"")
    assert "<title>&lt;b&gt; &amp; &#39;x&#39;&#34;</title>" in made
    row = {"name": "<i>", "iu": None, "reason": "<u>", "truth_pixels": 0, "guess_pixels": 0}
    facts = {
        "head": "",
        "absent": ["<i>"],
        "total": 1,
        "with_curves": True,
        "sparkline": lambda *_: made,
    }
    page = render("classes.html", rows=[(row, (1, 2, 3), [0.5])], **facts)
    assert f"<td>{made}</td>" in page
    assert 'style="background:rgb(1, 2, 3)"></i>&lt;i&gt;</span>' in page
    assert page.count("&lt;i&gt;") == 2
    assert "n/a: &lt;u&gt;" in page


def test_a_name_is_no_template() -> None:
    assert "<title>{{ 7 * 7 }}{% x %}{# y #}</title>" in sparkline([], "{{ 7 * 7 }}{% x %}{# y #}")


def test_a_fact_that_a_template_lacks_is_refused() -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        render("spark.svg", points=[])


def test_line_breaks_of_templates_stay_out_of_the_page() -> None:
    made = render("recipe.html", blocks=[("run", {"net": "a\nb"})])
    assert made == (
        '<section id="recipe"><h2>What was trained</h2><div class="recipe"><div class="block">'
        "<h3>Run</h3><dl><div><dt>net</dt><dd>a\nb</dd></div></dl></div></div></section>"
    )


def test_pages_make_control_characters_and_surrogates_visible() -> None:
    assert "<title>a\\x00\\udcff</title>" in sparkline([], "a\x00\udcff")


def test_settings_are_written_for_people() -> None:
    values = [True, None, 0.1234567, [32, 40], {}, {"a": False, "b": [1.5]}, "x"]
    assert [setting(v) for v in values] == [
        *("yes", "none", "0.123457", "32, 40", "none", "a: no, b: 1.5", "x")
    ]


def test_numbers_are_written_for_people() -> None:
    assert percent(0.12345) == "12.3 %"
    assert percent(None) == percent(float("nan")) == "n/a"
    assert count(1234567) == "1\u202f234\u202f567"
    assert short("a" * 30) == "a" * 21 + "\u2026"
    assert [clock(s) for s in (59, 60, 3599, 3725)] == ["59 s", "1 min", "1 h 0 min", "1 h 2 min"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.83, [0, 0.2, 0.4, 0.6, 0.8]),
        (0, 5500, [0, 1000, 2000, 3000, 4000, 5000]),
        (0, 3e-4, [0, 1e-4, 2e-4, 3e-4]),
        (-3, 7, [-2, 0, 2, 4, 6]),
        (4, 4, [4]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("high", [10.0**e * m for e in range(-8, 9) for m in (1, 1.7, 3.3, 9.9)])
def test_ticks_are_few_and_inside(high: float) -> None:
    marks = ticks(0, high)
    assert 2 <= len(marks) <= 6
    assert marks[0] >= 0
    assert marks[-1] <= high * (1 + 1e-9)


def test_smoothing_by_hand() -> None:
    keep = np.exp(-1 / 2)
    assert smooth([1, 3], 2) == pytest.approx([1, (keep + 3) / (keep + 1)])
    assert smooth([5.0] * 4, 10) == pytest.approx([5] * 4)  # the start is not pulled to zero
    assert smooth([1, 2], 0) == [1, 2]


def test_thinning_keeps_the_peaks() -> None:
    x = list(range(10_000))
    y = [0.0] * 10_000
    y[1234], y[7777] = 9.0, -9.0
    points = thin(Line("n", x, y, "main"))
    assert len(points) <= 480
    assert points == sorted(points)
    assert {(1234, 9.0), (7777, -9.0)} <= set(points)
    assert thin(Line("n", [1, 2], [3, 4], "main")) == [(1, 3), (2, 4)]


def test_times_are_told_in_the_unit_that_suits() -> None:
    assert duration(100) == (1, "seconds")
    assert duration(3600) == (60, "minutes")
    assert duration(20_000) == (3600, "hours")


def test_a_curve_runs_from_corner_to_corner_and_is_cut_at_the_top() -> None:
    line = Line("n", [0, 5, 10], [0, 7, 1], "main")
    made = plot("t", [line], from_zero([line], "steps"), Axis((0.0, 1.0), text=str))
    points = re.search(r'points="([^"]+)"', made)
    assert points is not None
    right, bottom = float(WIDTH - RIGHT), float(HEIGHT - BOTTOM)
    middle = (LEFT + right) / 2
    assert points[1] == f"{float(LEFT)},{bottom} {middle},{float(TOP)} {right},{float(TOP)}"


def test_a_sparkline_leaves_gaps_out() -> None:
    made = sparkline([None, 0.0, 1.0], "t")
    assert 'points="48.0,21.0 92.0,3.0"' in made
    assert "<circle" not in sparkline([None], "t")


def check(step: int, iu: float | None, best: bool = False) -> dict:
    return {"event": "validate", "step": step, "mean_iu": iu, "best": best, "seconds": step}


def test_best_is_the_last_that_was_called_best_else_the_highest() -> None:
    called = [check(1, 0.5, True), check(2, 0.4), check(3, 0.6, True), check(4, 0.7)]
    best = best_validation(called)
    assert best is not None
    assert best["step"] == 3
    best = best_validation([check(1, 0.5), check(2, 0.6), check(3, None)])
    assert best is not None
    assert best["step"] == 2
    assert best_validation([]) is None


def test_histories_of_classes_keep_their_gaps() -> None:
    events = [{"event": "validate", "per_class_iu": [0.1, None]}, {"event": "step"}]
    events.append({"event": "validate", "per_class_iu": [0.2, 0.3]})
    assert class_histories(events, 2) == [[0.1, 0.2], [None, 0.3]]


def test_curves_are_there_by_step_and_by_time() -> None:
    steps = [
        {"event": "step", "step": s, "seconds": 60.0 * s, "loss": 1.0, "lr": 0.1} for s in (1, 9)
    ]
    made = curves([*steps, check(9, 0.5, True)])
    assert made is not None
    assert made.count("<figure") == 6  # loss, validation, rate; twice
    assert ">steps<" in made
    assert ">minutes<" in made
    assert "best 50.0 %" in made


def test_no_training_no_curves_and_a_lost_loss_is_skipped() -> None:
    assert curves([{"event": "start"}]) is None
    assert curves([{"event": "step", "step": 1, "seconds": 1, "loss": None}]) is None


COUNTS = np.array([[90, 10, 0], [300, 600, 100], [0, 0, 0]])


def test_largest_confusions_by_hand() -> None:
    by_pixels = [(c.truth, c.guess, c.pixels) for c in confusions(COUNTS)]
    assert by_pixels == [(1, 0, 300), (1, 2, 100), (0, 1, 10)]
    by_share = [(c.truth, c.guess, c.share) for c in confusions(COUNTS, by="share")]
    assert by_share == [(1, 0, 0.3), (0, 1, 0.1), (1, 2, 0.1)]
    assert len(confusions(COUNTS, most=1)) == 1
    assert confusions(np.diag([4, 5])) == []


def test_the_heat_map_is_normalised_by_row() -> None:
    made = heat_map(COUNTS, ["a", "b", "<c>"])
    assert "a taken for b: 10.0 % of its pixels (10 px)" in made
    assert "b found: 60.0 % of its pixels (600 px)" in made
    assert made.count('class="right"') == 2
    assert made.count('class="wrong"') == 3
    assert "not in this truth" in made
    assert "<c>" not in made


def test_a_heat_map_of_many_classes_draws_what_happened_only() -> None:
    made = heat_map(np.eye(150, dtype=np.int64) * 7, [f"class {i}" for i in range(150)])
    assert made.count("<rect") == 151
    assert len(made) < 150_000


def test_worst_and_best_do_not_overlap() -> None:
    rows = [{"name": str(i), "mean_iu": i / 10, "pixel_accuracy": 1.0} for i in (3, 1, 2)]
    rows.append({"name": "void", "mean_iu": None, "pixel_accuracy": None})
    worst, best = chosen(rows, 2)
    assert [r["name"] for r in worst] == ["1", "2"]
    assert [r["name"] for r in best] == ["3"]
    many = [{"name": str(i), "mean_iu": i / 100, "pixel_accuracy": 1.0} for i in range(50)]
    worst, best = chosen(many, 4)
    assert [r["name"] for r in worst] == ["0", "1", "2", "3"]
    assert [r["name"] for r in best] == ["49", "48", "47", "46"]


def test_numbers_are_ranked_by_their_error_and_shown_with_its_scale() -> None:
    rows = [{"name": str(i), "rmse": i / 10} for i in (3, 1, 2)]
    worst, best = chosen([*rows, {"name": "void", "rmse": None}], 2, kind="numbers")
    assert [r["name"] for r in worst + best] == ["3", "2", "1"]
    worst, best = chosen([{"name": "a", "f": 0.2}, {"name": "b", "f": 0.1}], 1, kind="edges")
    assert [r["name"] for r in worst + best] == ["b", "a"]
    truth = np.full((10, 10, 1), 2.0, np.float32)
    truth[0], truth[1] = np.nan, 7.0
    shown = Shown(np.zeros((10, 10, 3), np.uint8), truth, truth + 0.5)
    words, panels = of_numbers(shown, {"rmse": 0.5}, ["metres"])
    assert [word for _, word in words] == [
        "RMSE 0.5 metres",
        "shown from 2 to 7",
        "red errors: 0.5 metres and more",
    ]
    assert [word for word, _ in panels] == ["image", "truth", "guess", "errors"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(panels[3][1].partition(",")[2]))))
    assert picture[0].max() < 60  # not known
    assert (picture[5, 5, 0] > 110, picture[5, 5, 2] < 40) == (True, True)  # the most there is
    edges, _ = of_numbers(shown, {"f": 0.5, "precision": 1.0, "recall": 1 / 3}, ["edges"])
    assert [word for _, word in edges] == ["F 50.0 %", "precision 100.0 %", "recall 33.3 %"]


def test_curves_of_numbers_and_edges_follow_what_leads_their_head() -> None:
    events = [
        {"event": "validate", "step": s, "rmse": 2.0, "explained": e, "delta_1": 0.5, "heads": {
            "distance": {"explained": e, "delta_1": 0.5}, "edges": {"f": f, "precision": 0.4}}}
        for s, e, f in ((1, -30.0, 0.2), (2, 0.25, 0.6), (3, 0.5, 0.3))
    ]  # fmt: skip
    page = curves(events)
    assert page is not None
    assert "best variance explained 50.0 % at step 3" in page
    assert "best F 60.0 % at step 2" in page
    assert "best mean IU" not in page
    assert page.count("within 1.25 times") == page.count("precision") > 0


def test_labels_are_painted_in_their_colours_and_void_is_hatched() -> None:
    painted = paint(np.array([[0, 1, *[255] * 6, 7]], np.uint8), [(1, 2, 3), (4, 5, 6)])
    light, dark = ([grey] * 3 for grey in HATCH_GREYS)
    void = [light, dark, dark, dark, light, light, light]  # three by three, from the left border
    assert painted.tolist() == [[[1, 2, 3], [4, 5, 6], *void]]
    assert paint(np.array([[300]], np.uint16), [(1, 2, 3)]).tolist() == [[light]]


def test_errors_are_red_void_is_dark_and_right_is_grey() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    truth, guess = np.array([[0, 1, 255]]), np.array([[0, 0, 1]])
    right, wrong, void = errors(image, truth, guess)[0].astype(int)
    assert np.ptp(right) <= 1
    assert wrong[0] > 200 > 2 * wrong[1]
    assert void.max() < right.min() / 2


def test_an_image_is_described_in_words() -> None:
    truth = np.array([[0, 0, 0, 0, 1, 1, 1, 1, 255, 255]], np.uint8)
    guess = np.array([[0, 0, 0, 1, 0, 0, 1, 1, 0, 0]], np.uint8)
    shown = Shown(np.zeros((1, 10, 3), np.uint8), truth, guess)
    expected = "tree taken for road (25.0 %); road taken for tree (12.5 %)"
    assert mistakes(shown, ["road", "tree"]) == expected
    same = Shown(shown.image, truth, np.minimum(truth, 1))
    assert mistakes(same, ["road", "tree"]) == "hardly a pixel wrong"
