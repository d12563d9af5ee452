"""What the page of a run shows is what lies in its files: names, numbers, colours and pictures.

The net knows three colours well; the truth it is scored on was changed in places, so that what is
taken for what is not symmetric. The counts are made here from the label files alone.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import canonical_set, picture
from page_tree import Element, number, page_tree, pixels, swatch, table
from small_runs import train

CLASSES = {"heaven": (10, 20, 30), "meadow": (200, 100, 0), "asphalt": (40, 250, 160)}
NAMES = tuple(CLASSES)
RENAMED = ((0, 1, 81), (1, 2, 144), (2, 0, 100))
"""What the first pixels of a class are called in each picture: it is said to be another class's."""
PAIRS = list(itertools.permutations(range(3), 2))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    held = [picture(i) for i in (17, 18, 19)]
    for (_, truth), (true, said, count) in zip(held, RENAMED, strict=True):
        rows, columns = np.nonzero(truth == true)
        truth[rows[:count], columns[:count]] = said
        truth[:2, -9:] = 255
    splits = {"train": [picture(i) for i in range(8)], "val": held}
    return canonical_set(tmp_path_factory.mktemp("page") / "set", splits, CLASSES)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "run"
    settings = "iterations=40 width=0.25 threads=1 batch=4 optim.lr=0.01 validate_every=20"
    assert train(data, folder, settings) == 0
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> Element:
    return page_tree((run / "report.html").read_text("utf-8"))


def label_maps(data: Path, run: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Truth and guess by name."""
    return {
        path.stem: (np.array(Image.open(data / "labels" / path.name)), np.array(Image.open(path)))
        for path in sorted((run / "evaluation/guesses").iterdir())
    }


@pytest.fixture(scope="module")
def counts(data: Path, run: Path) -> np.ndarray:
    """(3, 3) pixels by truth and guess; exchanging the two would change every number."""
    made = np.zeros((3, 3), int)
    for truth, guess in label_maps(data, run).values():
        known = truth != 255
        np.add.at(made, (truth[known], guess[known]), 1)
    assert made.min() > 0
    assert all(made[a, b] != made[b, a] for a, b in PAIRS)
    assert len({*made.sum(0), *made.sum(1)}) == 6
    assert len({*made.diagonal()}) == 3
    return made


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def test_the_four_numbers_are_those_of_the_files(page: Element, counts: np.ndarray) -> None:
    hits, truth, guess = counts.diagonal(), counts.sum(1), counts.sum(0)
    iu = hits / (truth + guess - hits)
    expected = {
        "mean IU": iu.mean(),
        "pixel accuracy": hits.sum() / truth.sum(),
        "mean accuracy": (hits / truth).mean(),
        "frequency weighted IU": (truth * iu).sum() / truth.sum(),
    }
    assert len({percent(v) for v in expected.values()}) == 4
    for name, value in expected.items():
        assert re.search(rf"\b{name} {re.escape(percent(value))}", page.text), name


def test_each_class_has_its_own_numbers_and_colour(page: Element, counts: np.ndarray) -> None:
    rows = table(page, "class", "IU", "px in truth", "px in guess")
    assert tuple(row["class"].text for row in rows) == NAMES
    for i, row in enumerate(rows):
        hits, truth, guess = counts[i, i], counts[i].sum(), counts[:, i].sum()
        assert swatch(row["class"]) == CLASSES[NAMES[i]]
        assert number(row["px in truth"].text) == truth
        assert number(row["px in guess"].text) == guess
        assert row["IU"].text == percent(hits / (truth + guess - hits))
        assert row["accuracy"].text == percent(hits / truth)
        assert row["share of truth"].text == percent(truth / counts.sum())


def test_the_legend_gives_each_name_its_colour(page: Element) -> None:
    items = {e.text: e for e in page.all("li") if e.text in NAMES}
    assert {name: swatch(items[name]) for name in NAMES} == CLASSES


def test_what_was_taken_for_what_is_told_in_words(page: Element, counts: np.ndarray) -> None:
    """In the cells of the matrix and in the lists beside it, all with shares and pixels."""
    text = page.text
    for true, guess in PAIRS:
        pixels = counts[true, guess]
        share = re.escape(percent(pixels / counts[true].sum()))
        named = rf"{NAMES[true]} taken for {NAMES[guess]}:? "
        said = re.findall(rf"{named}{share} of [a-z]+[ a-z]*[,(] ?([\d\s,]+) px", text)
        assert len(said) >= 2, (NAMES[true], NAMES[guess])
        assert {number(s) for s in said} == {pixels}


def test_cells_of_the_matrix_stand_in_their_rows_and_columns(
    page: Element, counts: np.ndarray
) -> None:
    (matrix,) = (s for s in page.all("svg") if s.text.startswith("Confusion matrix"))
    labels = [e for e in matrix.all("text") if any(t.text in NAMES for t in e.all("title"))]
    columns = {e.all("title")[0].text: e for e in labels if "rotate" in str(e.attributes)}
    rows = {e.all("title")[0].text: e for e in labels if "rotate" not in str(e.attributes)}
    assert set(rows) == set(columns) == set(NAMES)
    (axes,) = (e for e in matrix.all("text") if "taken for" in e.text and not e.all("title"))
    assert re.search(r"truth \u2193.*taken for \u2192", axes.text)  # rows are truth
    for true, guess in PAIRS:
        words = f"{NAMES[true]} taken for {NAMES[guess]}:"
        (cell,) = (
            g for g in matrix.all("g") if any(t.text.startswith(words) for t in g.all("title"))
        )
        (title,) = (e.text for e in cell.all("title"))
        assert percent(counts[true, guess] / counts[true].sum()) in title
        (pixels,) = re.findall(r"\(([\d\s,]+) px", title)
        assert number(pixels) == counts[true, guess]
        (square,) = cell.all("rect")
        x = square.number("x") + square.number("width") / 2
        y = square.number("y") + square.number("height") / 2
        nearest = min(rows, key=lambda name: abs(rows[name].number("y") - y))
        assert nearest == NAMES[true]
        nearest = min(columns, key=lambda name: abs(columns[name].number("x") - x))
        assert nearest == NAMES[guess]


def test_panels_show_truth_and_guess_in_the_classes_colours(
    page: Element, data: Path, run: Path
) -> None:
    images = {e.attributes["alt"]: e for e in page.all("img")}
    palette = np.array(list(CLASSES.values()))
    for name, maps in label_maps(data, run).items():
        for panel, labels in zip(("truth", "guess"), maps, strict=True):
            known = labels != 255
            shown = pixels(images[f"{panel} of {name}"])
            assert np.array_equal(shown[known], palette[labels[known]]), panel
        truth, guess = maps
        wrong = (truth != guess) & (truth != 255)
        shown = pixels(images[f"errors of {name}"]).astype(int)
        redness = shown[..., 0] - shown[..., 1:].mean(2)
        assert redness[wrong].mean() > 40  # of 150, less what the JPEG smears
        assert redness[~wrong].mean() < 10
        original = np.array(Image.open(data / "images" / f"{name}.png")).astype(int)
        assert np.abs(pixels(images[f"image of {name}"]) - original).mean() < 25  # noise, as a JPEG


def test_panels_have_their_words_below_them(page: Element) -> None:
    figures = [f for f in page.all("figure") if f.all("img")]
    assert len(figures) == 3
    for figure in figures:
        words = [f"{e.attributes['alt'].split()[0]}" for e in figure.all("img")]
        assert words == ["image", "truth", "guess", "errors"]
        below = [e.text for e in figure.all("span") if e.text in words]
        assert below == words
        name = figure.all("img")[0].attributes["alt"].split()[-1]
        assert name in figure.all("figcaption")[0].text


def test_captions_tell_the_scores_of_their_own_image(page: Element, data: Path, run: Path) -> None:
    captions = [f.all("figcaption")[0].text for f in page.all("figure") if f.all("img")]
    scores = {}
    for name, (truth, guess) in label_maps(data, run).items():
        known = truth != 255
        ius = [
            ((truth == c) & (guess == c)).sum() / ((truth == c) | (guess == c))[known].sum()
            for c in np.unique(truth[known])
        ]
        scores[name] = float(np.mean(ius))
        (caption,) = (c for c in captions if name in c)
        assert f"mean IU {percent(scores[name])}" in caption
        assert f"pixel accuracy {percent((truth == guess)[known].mean())}" in caption
    order = sorted(scores, key=scores.__getitem__)  # two worst, then the best
    assert [next(n for n in scores if n in c) for c in captions] == order
