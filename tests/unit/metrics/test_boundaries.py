from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.errors import DataError
from pixelwise.metrics.boundaries import WIDTHS, boundaries, distances
from pixelwise.metrics.confusion import compiled, confusion


def blocks(seed: int, size: tuple[int, int] = (23, 31), classes: int = 3) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, classes, (5, 6)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST)


def rim_by_erosion(mask: np.ndarray, width: int) -> np.ndarray:
    """As the authors of boundary IU have it: what a 3x3 erosion takes off in so many turns."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (eroded == 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(1, 14))
def test_distances_are_those_of_every_pair(seed: int, height: int, width: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 2, (height, width)).astype(np.uint8)
    if seed % 2:
        labels = np.sort(labels, axis=1)
    expected = np.full(labels.shape, 1 << 30)
    for y, x in np.ndindex(labels.shape):
        v, u = np.nonzero(labels != labels[y, x])
        if v.size:
            expected[y, x] = np.maximum(abs(v - y), abs(u - x)).min()
    assert np.array_equal(compiled(distances)(labels), expected)


@pytest.mark.parametrize("size", [(23, 31), (120, 90), (375, 500)])
def test_boundary_iu_is_that_of_eroded_masks(size: tuple[int, int]) -> None:
    truth, guess = blocks(1, size), np.roll(blocks(1, size), 2, axis=1)
    width = {23: 1, 120: 3, 375: 12}[size[0]]  # 2 % of diagonals of 39, 150 and 625
    expected = []
    for c in range(3):
        a, b = rim_by_erosion(truth == c, width), rim_by_erosion(guess == c, width)
        expected.append((a & b).sum() / (a | b).sum())
    found = boundaries(truth, guess, 3)
    assert np.allclose(found.per_class, expected)
    assert found.boundary_iu == pytest.approx(np.mean(expected))


def test_bands_hold_the_pixels_that_are_near_another_label() -> None:
    truth, guess = blocks(2), blocks(3)
    truth[:4] = 255
    found = boundaries(truth, guess, 3)
    square = [np.ones((2 * w + 1, 2 * w + 1), np.uint8) for w in WIDTHS]
    for width, kernel in zip(WIDTHS, square, strict=True):
        changed = np.zeros(truth.shape, bool)
        for c in np.unique(truth):
            other = (truth != c).astype(np.uint8)
            spread = cv2.dilate(other, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
            changed |= (truth == c) & (spread > 0)
        near = np.where(changed, truth, 255)
        assert np.array_equal(found.bands[WIDTHS.index(width)], confusion(near, guess, 3))


def test_a_small_case_by_hand() -> None:
    """Of 3x8 every pixel of a half is within 1 of the picture's end, of the edge, or neither."""
    truth = np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 3, axis=0).astype(np.uint8)
    guess = np.repeat([[0, 0, 0, 1, 1, 1, 1, 1]], 3, axis=0).astype(np.uint8)
    found = boundaries(truth, guess, 2)
    # The rim is 1 wide. Class 0: 10 of 12 pixels in the truth (not the two in the middle row), 8 of
    # 9 in the guess; in both: rows above and below 3 each, in the middle the first.
    assert found.rims[0].tolist() == [7, 10, 8]
    assert found.per_class[0] == 7 / 11
    assert found.bands[0].tolist() == [[0, 3], [0, 3]]
    assert found.trimap_iu[1] == (0 / 3 + 3 / 6) / 2


def test_a_perfect_guess_scores_one_and_void_is_left_out() -> None:
    truth = blocks(4)
    truth[8:12] = 255
    guess = np.where(truth == 255, 9, truth).astype(np.int64)
    found = boundaries(truth, guess, 3)
    assert found.boundary_iu == 1
    assert set(found.trimap_iu.values()) == {1}
    assert found.bands[-1].sum() <= np.count_nonzero(truth != 255)


def test_one_class_alone_has_the_pictures_end_for_a_rim() -> None:
    """12 pixels on each side of 375x500, one of a small picture."""
    for (height, width), rim in (((375, 500), 12), ((5, 4), 1)):
        whole = np.zeros((height, width), np.uint8)
        pixels = height * width - (height - 2 * rim) * (width - 2 * rim)
        assert boundaries(whole, whole, 1).rims.tolist() == [[pixels] * 3]


def test_bands_around_a_straight_edge_have_as_many_columns_on_each_side() -> None:
    truth = np.zeros((3, 100), np.uint8)
    truth[:, 60:] = 1
    guess = np.zeros((3, 100), np.uint8)
    made = boundaries(truth, guess, 2)
    assert list(made.trimap_iu) == [1, 2, 5, 10, 20]
    assert made.bands.tolist() == [[[3 * w, 0], [3 * w, 0]] for w in (1, 2, 5, 10, 20)]
    assert set(made.trimap_iu.values()) == {0.25}  # half of the guesses, and nothing of class 1
    assert made.as_dict()["trimap_iu"] == dict.fromkeys(("1", "2", "5", "10", "20"), 0.25)
    lossy = boundaries(truth, np.full_like(truth, 2), 3, lossy=True)
    assert lossy.bands[0].tolist() == [[0, 0, 3], [0, 0, 3], [0, 0, 0]]


def test_counts_of_pictures_are_added() -> None:
    first, second = (boundaries(blocks(i), blocks(i + 1), 3) for i in (5, 7))
    total = first + second
    assert np.array_equal(total.rims, first.rims + second.rims)
    assert np.array_equal(total.bands, first.bands + second.bands)


def test_without_an_edge_nothing_is_said_of_bands() -> None:
    flat = np.zeros((40, 40), np.uint8)
    said = boundaries(flat, flat, 2).as_dict()
    assert said["boundary_iu"] == 1  # the picture's end is a rim
    assert set(said["trimap_iu"].values()) == {None}
    void = np.full((4, 4), 255, np.uint8)
    assert boundaries(void, void, 2).as_dict()["boundary_iu"] is None


def test_a_guess_that_names_no_class_is_refused() -> None:
    with pytest.raises(DataError, match="values that name no class: 3 on 1 px"):
        boundaries(np.zeros((2, 2), np.uint8), np.array([[0, 0], [0, 3]], np.uint8), 3)
