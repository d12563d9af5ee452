"""Evaluated pictures, the worst first, or by one confusion."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_run import CLASSES, make_run
from tests.page_tree import Element, page_tree, pixels

from pixelwise.errors import UsageError
from pixelwise.pages import by_picture, report
from pixelwise.pages.by_picture import ANY, counted
from pixelwise.pages.run import Run, read_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(make_run(tmp_path))


def shown(run: Run, pair: by_picture.Pair = ANY, first: int = 0) -> Element:
    made = by_picture.page(run, counted(run), pair, first, name="a&b", link="/p?name=a%26b")
    return page_tree(made)


def names(page: Element) -> list[str]:
    return [figure.all("figcaption")[0].all("b")[0].text for figure in page.all("figure")]


def test_confusions_are_counted_in_each_picture(run: Run) -> None:
    """Four rows of 32 pixels in one, eighteen in the other; what is void is not counted."""
    assert counted(run) == {"good": {(0, 1): 4 * 32}, "bad": {(1, 0): 18 * 32}, "void": {}}


@pytest.mark.parametrize(
    ("pair", "expected", "told"),
    [
        ((None, None), ["bad", "good"], "by mean IU"),
        ((0, 1), ["good"], "128 px, 11.1 % of road here"),  # of 36 rows of 32
        ((None, 0), ["bad"], "576 px, 25.0 % of the picture"),  # of 36 rows of 64 that count
        ((0, None), ["good"], "128 px"),
        ((1, 2), [], "That never happened"),
    ],
)
def test_pictures_come_by_what_is_asked(
    run: Run, pair: by_picture.Pair, expected: list[str], told: str
) -> None:
    page = shown(run, pair)
    assert names(page) == expected
    assert told in page.text


def test_one_confusion_alone_is_red(run: Run) -> None:
    page = shown(run, (0, 1))
    red = pixels(page.all("img")[3]).astype(int)
    mark = (red[..., 0] - red[..., 1]) > 60
    assert mark[5, 10]  # road taken for the other class
    assert not mark[30, 50]
    assert 0.9 < mark.sum() / 128 < 1.3  # of a JPEG, whose edges are soft


def test_pages_are_turned_and_keep_what_was_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_picture, "EACH", 1)
    first, second = shown(run), shown(run, first=1)
    assert (names(first), names(second)) == (["bad"], ["good"])
    links = [a.attributes["href"] for page in (first, second) for a in page.all("a")]
    turned = [f"/p?name=a%26b&truth=&guess=&first={at}" for at in (1, 0)]
    assert links == ["page?name=a%26b", turned[0], "page?name=a%26b", turned[1]]
    chosen = shown(run, (0, 1)).all("option")
    assert [o.text for o in chosen if "selected" in o.attributes] == [CLASSES[0], CLASSES[1]]


def test_a_run_that_keeps_no_label_maps_says_so(run: Run) -> None:
    shutil.rmtree(run.folder / run.guesses)
    with pytest.raises(UsageError, match="evaluation/guesses is missing") as caught:
        counted(run)
    assert "pixelwise evaluate" in caught.value.hint
    with pytest.raises(UsageError, match="class 3, expected 0 to 2"):
        by_picture.page(run, {}, (3, None), name="", link="")


def test_cells_of_a_served_report_lead_to_the_pictures(run: Run) -> None:
    served = page_tree(report.page(replace(run, pictures="/p?name=x")))
    (matrix,) = [svg for svg in served.all("svg") if svg.attributes.get("class") == "matrix"]
    cells = {a.attributes["href"] for a in matrix.all("a")}
    assert cells == {"/p?name=x&truth=0&guess=1", "/p?name=x&truth=1&guess=0"}
    words = [a.attributes["href"] for li in served.all("li") for a in li.all("a")]
    assert set(words) >= cells  # and by the keyboard
    assert not [a for svg in page_tree(report.page(run)).all("svg") for a in svg.all("a")]


def source(run: Run, counts: by_picture.Counted, pair: by_picture.Pair, first: int = 0) -> str:
    return by_picture.page(run, counts, pair, first, name="x", link="/p")


def test_pictures_by_their_scores_need_no_counts(run: Run) -> None:
    page = page_tree(source(run, {}, (None, None)))
    assert "1 to 2 of 2 by mean IU" in page.text
    assert len(page.all("figure")) == 2
    assert [i.attributes["alt"] for i in page.all("img")][3] == "errors of bad"


def test_labels_that_changed_since_they_were_counted_are_shown(run: Run) -> None:
    counts = counted(run)
    assert run.dataset is not None
    void = np.full((40, 64), 255, np.uint8)
    Image.fromarray(void).save(run.dataset.root / "labels/good.png")
    assert "128 px, " in page_tree(source(run, counts, (0, 1))).text


def test_what_cannot_be_read_is_told_and_the_others_are_counted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.folder / run.guesses / "good.png").unlink()
    assert list(counted(run)) == ["bad", "void"]
    assert run.notes[-1].startswith("1 pictures are not counted, the first: ")
    monkeypatch.setattr(by_picture, "MOST", 2)
    counts = counted(run)
    assert list(counts) == ["bad"]
    assert "pictures were looked at" not in source(run, counts, (1, 0))
    assert "The first 2 pictures were looked at." in source(run, {**counts, "good": {}}, (1, 0))


@pytest.mark.parametrize("place", [(0, None), (2, None), (None, 2)])
def test_every_class_can_be_asked_for(run: Run, place: by_picture.Pair) -> None:
    assert "taken for" in source(run, {}, place)
    with pytest.raises(UsageError, match="class 3, expected 0 to 2"):
        source(run, {}, (place[0], 3))


@pytest.mark.parametrize(
    ("first", "turns"),
    [(0, {"next": 12}), (5, {"previous": 0, "next": 17}), (12, {"previous": 0, "next": 24}),
     (24, {"previous": 12})],
)  # fmt: skip
def test_twelve_pictures_are_on_a_page(run: Run, first: int, turns: dict[str, int]) -> None:
    rows = [{"name": f"no {i}", "mean_iu": i / 100} for i in range(30)]
    own = replace(run, scores=run.scores | {"per_image": rows})
    page = page_tree(source(own, {}, ANY, first))
    links = [(a.text, a.attributes["href"]) for a in page.all("a") if a.text != "report"]
    assert links == [(word, f"/p&truth=&guess=&first={at}") for word, at in turns.items()]
    assert [n for n in own.notes if "is not shown" in n] == [
        f"no {i} is not shown: 'no {i}'" for i in range(first, min(30, first + 12))
    ]


def test_one_confusion_is_red_and_others_are_not(run: Run) -> None:
    """Of any other class taken for road: 18 rows of 32 in the right half."""
    *_, panel = page_tree(source(run, counted(run), (None, 0))).all("img")
    red = pixels(panel).astype(int)
    marked = (red[..., 0] - red[..., 1]) > 60
    assert marked[5:21, 34:].all()
    assert not marked[:, :31].any()
    assert not marked[24:].any()
    assert pixels(panel)[0].max() < 110  # void
