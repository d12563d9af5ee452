"""A run as each of its heads sees it, and what of it cannot be shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_run import CLASSES, make_run

from page_tree import page_tree
from pixelwise.errors import PixelwiseError
from pixelwise.pages import report, run
from pixelwise.pages.gallery import (
    gallery,
)


@pytest.fixture
def seen(tmp_path: Path) -> run.Run:
    return run.read_run(make_run(tmp_path))


def two_heads(folder: Path) -> run.Run:
    """The synthetic run as one of two heads; of the other no label maps are kept."""
    own = run.read_run(make_run(folder))
    other = {**own.scores, "classes": ["x", "y", "z"], "mean_iu": 0.25, "pixel_accuracy": 0.125}
    return replace(own, scores={"heads": {"labels": own.scores, "b": other}})


def test_each_head_has_its_sections_and_the_run_one_of_the_others(tmp_path: Path) -> None:
    own = two_heads(tmp_path)
    (own.folder / "calibration.json").write_text(
        json.dumps({"heads": {}, "fitted_on": "a", "judged_on": "b", "temperature": {}})
    )
    page = page_tree(report.page(own))
    links = [(a.attributes["href"], a.text) for a in page.all("a")]
    assert links == [
        ("#images-labels", "images: labels"),
        ("#learning", "learning"),
        ("#classes-labels", "classes: labels"),
        ("#classes-b", "classes: b"),
        ("#confusions-labels", "confusions: labels"),
        ("#confusions-b", "confusions: b"),
        ("#calibration", "calibration"),
    ]
    ids = [s.attributes["id"] for s in page.all("section") if "id" in s.attributes]
    assert ids == [
        "scores-labels", "scores-b", "images-labels", "learning", "classes-labels", "classes-b",
        "confusions-labels", "confusions-b", "calibration", "recipe",
    ]  # fmt: skip
    served = page_tree(report.page(replace(own, pictures="/p?name=x")))
    hrefs = {a.attributes["href"] for s in served.all("svg") for a in s.all("a")}
    assert "/p?name=x&head=b&truth=0&guess=1" in hrefs


def test_a_head_sees_its_own_scores_classes_and_label_maps(tmp_path: Path) -> None:
    labels, other = two_heads(tmp_path).heads
    assert (labels.head, other.head) == ("labels", "b")
    assert (labels.classes, other.classes) == (list(CLASSES), ["x", "y", "z"])
    assert labels.guesses != other.guesses
    assert other.scores["mean_iu"] == 0.25
    (alone,) = labels.heads
    assert alone is labels


def test_an_event_tells_of_one_head_what_is_its_own() -> None:
    event = {
        "mean_iu": 0.5,
        "heads": {"a": {"mean_iu": 0.5}, "b": {"f": 0.75}, "odd": 3},
        "head_losses": {"a": 1.0},
    }
    assert run.of_head(event, "a") == {"mean_iu": 0.5, "explained": None, "f": None, "loss": 1.0}
    assert run.of_head(event, "b") == {"mean_iu": None, "explained": None, "f": 0.75}
    assert run.of_head(event, "odd") == run.of_head(event, "none") == {}
    assert run.of_head({"heads": 1, "head_losses": 2}, "a") == {}


def test_a_run_without_pictures_says_why(seen: run.Run) -> None:
    assert gallery(replace(seen, dataset=None)) is None
    assert gallery(replace(seen, scores={})) is None
    own = replace(seen, guesses="nowhere")
    assert gallery(own) is None
    assert own.notes[-1] == "no images: nowhere is missing"
    own = replace(seen, scores=seen.scores | {"split": "no such"})
    assert gallery(own) is None
    assert own.notes[-1].startswith("no images: ")


def test_what_has_no_page_is_refused_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, words in (("file", "is no folder"), ("none", "does not exist")):
        with pytest.raises(PixelwiseError, match=words):
            run.read_run(tmp_path / place)
