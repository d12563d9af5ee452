"""What pages show of pictures, to the pixel, and which of them they choose."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from make_data import picture
from pixelwise.labels import shown_numbers
from pixelwise.pages.gallery import (
    Shown,
    chosen,
    errors,
    mistakes,
    of_numbers,
    paint,
    panels,
    thumbnail,
)
from pixelwise.pictures.images import resize

PALETTE = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


def opened(url: str) -> tuple[str | None, np.ndarray]:
    """Format and pixels of a data URL, whose type says the format."""
    kind, _, data = url.partition(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == f"data:image/{str(image.format).lower()}"
    return image.format, np.array(image.convert("RGB"))


def test_void_is_hatched_along_the_falling_diagonal() -> None:
    """Stripes of three pixels in 235 and 120, by the sum of row and column."""
    painted = paint(np.full((7, 9), 255, np.uint8), PALETTE)
    assert painted.shape == (7, 9, 3)
    for row in range(7):
        for column in range(9):
            grey = 235 if (row + column) // 3 % 2 == 0 else 120
            assert painted[row, column].tolist() == [grey] * 3
    assert (
        paint(np.zeros((2, 2), np.uint8), []).tolist()
        == paint(np.full((2, 2), 255, np.uint8), []).tolist()
    )  # no class has a colour


def test_errors_by_hand() -> None:
    """Luma by BT.601, lifted to 70 and flattened; a fifth of it shows through the red."""
    image = np.array([[[0, 0, 0], [255, 255, 255], [200, 100, 50], [200, 100, 50]]], np.uint8)
    truth, guess = np.array([[0, 0, 0, 255]]), np.array([[0, 0, 1, 0]])
    black, white, wrong, void = errors(image, truth, guess)[0].tolist()
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    grey = 70 + 0.62 * luma
    assert black == [70] * 3
    assert white == [int(70 + 0.62 * 255)] * 3
    assert wrong == [int(0.2 * grey + 0.8 * c) for c in (235, 38, 70)]
    assert void == [int(0.45 * grey)] * 3


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((480, 360), (480, 360)),
        ((481, 300), (480, 299)),
        ((960, 720), (480, 360)),
        ((100, 1000), (48, 480)),
        ((3000, 1), (480, 1)),
        ((1, 3000), (1, 480)),
        ((1, 1), (1, 1)),
    ],
)
def test_thumbnails_are_at_most_480_pixels_wide_and_high(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert thumbnail(size) == shown


def test_panels_are_the_picture_its_labels_and_what_is_wrong() -> None:
    image, truth = picture(3, (40, 600))
    guess = np.where(truth == 2, 1, truth).astype(np.uint8)
    made = panels(Shown(image, truth, guess), PALETTE)
    assert [word for word, _ in made] == ["image", "truth", "guess", "errors"]
    (photo, small), (labels, true), (_, guessed), (drawn, wrong) = (opened(url) for _, url in made)
    assert (photo, labels, drawn) == ("JPEG", "PNG", "JPEG")
    size = (32, 480)
    assert {p.shape for p in (small, true, guessed, wrong)} == {(*size, 3)}
    one, other = (resize(m, size, method="nearest") for m in (truth, guess))
    assert (true == np.array(PALETTE)[one]).all()
    assert (guessed == np.array(PALETTE)[other]).all()
    expected = errors(resize(image, size, method="bilinear"), one, other)
    assert np.abs(wrong.astype(int) - expected).mean() < 8  # JPEG


def test_confusions_of_less_than_a_thousandth_are_not_told_and_three_at_most() -> None:
    truth = np.zeros((100, 100), np.uint8)
    guess = truth.copy()
    guess.flat[:9], guess.flat[10:20] = 1, 2
    shown = Shown(np.zeros((100, 100, 3), np.uint8), truth, guess)
    names = ["a", "b", "c", "d", "e"]
    assert mistakes(shown, names) == "a taken for c (0.1 %)"
    guess.flat[1000:1400] = np.repeat([1, 2, 3, 4], 100)
    assert mistakes(shown, names) == (
        "a taken for c (1.1 %); a taken for b (1.1 %); a taken for d (1.0 %)"
    )
    nothing = Shown(shown.image, np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert mistakes(nothing, names) == "hardly a pixel wrong"


def test_four_pictures_of_each_end_are_chosen() -> None:
    rows = [{"name": str(i), "mean_iu": i / 10} for i in range(10)]
    worst, best = chosen(rows)
    assert [r["name"] for r in worst + best] == ["0", "1", "2", "3", "9", "8", "7", "6"]
    worst, best = chosen(rows[:5])
    assert [r["name"] for r in worst + best] == ["0", "1", "2", "4", "3"]


def test_numbers_are_shown_on_the_scale_of_the_truth() -> None:
    """From 1 to 5, red; of the errors, where 98 of 100 pixels are right, all is blue up to them."""
    truth = np.linspace(1, 5, 100, dtype=np.float32).reshape(10, 10, 1)
    guess = truth + 0.25
    guess[0, 0] = 90.0
    words, made = of_numbers(Shown(np.zeros((10, 10, 3), np.uint8), truth, guess), {"rmse": 2}, "m")
    assert [w for _, w in words][1:] == ["shown from 1 to 5", "red errors: 0.25 m and more"]
    drawn = [opened(url) for _, url in made]
    assert {kind for kind, _ in drawn} == {"JPEG"}
    for (_, seen), numbers, ends in zip(
        drawn[1:], (truth, guess, np.abs(guess - truth)), [(1, 5), (1, 5), (0, 0.25)], strict=True
    ):
        assert np.abs(seen.astype(int) - shown_numbers(numbers, ends)).mean() < 25  # JPEG
    nowhere = np.full((4, 4, 1), np.nan, np.float32)
    words, _ = of_numbers(Shown(np.zeros((4, 4, 3), np.uint8), nowhere, nowhere), {"rmse": 0}, "m")
    assert [w for _, w in words][1:] == ["shown from 0 to 1", "red errors: 0 m and more"]
    edges = np.array([[[0.0], [0.5]], [[0.0], [0.0]]], np.float32)
    scores = {"f": 0.5, "precision": 0.5, "recall": 0.5}
    _, made = of_numbers(Shown(np.zeros((2, 2, 3), np.uint8), edges, edges * 0), scores, "e")
    whole = shown_numbers(np.abs(edges), (0.0, 1.0))  # not to their own highest
    assert np.abs(opened(made[3][1])[1].astype(int) - whole).mean() < 40
