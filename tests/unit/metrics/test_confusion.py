from __future__ import annotations

import numpy as np
import pytest

from pixelwise.errors import DataError, UsageError
from pixelwise.metrics import confusion as counting
from pixelwise.metrics.confusion import confusion, strange_values


def slow_count(truth: np.ndarray, guess: np.ndarray, num_classes: int) -> np.ndarray:
    """The obvious way: one pixel after the other."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    for t, g in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
        if t != 255:
            counts[t, g] += 1
    return counts


def test_counts_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
    guess = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)
    counts = confusion(truth, guess, 3)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


@pytest.mark.parametrize("num_classes", [1, 2, 21, 150, 254, 255])
@pytest.mark.parametrize("pixels", [0, 1, 3, 4, 5, 1023])
def test_equals_counting_one_by_one(num_classes: int, pixels: int) -> None:
    rng = np.random.default_rng(num_classes * 10_000 + pixels)
    truth = rng.integers(0, num_classes, pixels, dtype=np.uint8)
    guess = rng.integers(0, num_classes, pixels, dtype=np.uint8)
    truth[rng.random(pixels) < 0.2] = 255
    assert np.array_equal(
        confusion(truth, guess, num_classes), slow_count(truth, guess, num_classes)
    )


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int16, np.int32, np.int64, np.uint64])
def test_every_integer_type_counts_alike(dtype: type) -> None:
    truth = np.array([[0, 1, 2], [2, 2, 1]])
    guess = np.array([[0, 2, 2], [1, 2, 1]])
    expected = [[1, 0, 0], [0, 1, 1], [0, 1, 2]]
    assert confusion(truth.astype(dtype), guess.astype(dtype), 3).tolist() == expected
    assert confusion(truth.astype(np.uint8), guess.astype(dtype), 3).tolist() == expected


def test_bool_masks_are_two_classes() -> None:
    truth, guess = np.array([True, True, False]), np.array([True, False, False])
    assert confusion(truth, guess, 2).tolist() == [[1, 0], [1, 1]]


def test_more_than_255_classes_keep_255_as_void() -> None:
    truth = np.array([0, 299, 299, 255], np.uint16)
    guess = np.array([0, 299, 1, 7], np.uint16)
    counts = confusion(truth, guess, 300)
    assert counts.sum() == 3
    assert (counts[0, 0], counts[299, 299], counts[299, 1]) == (1, 1, 1)


def test_strided_readonly_and_fortran_inputs_count_alike() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, (40, 60), dtype=np.uint8)
    guess = rng.integers(0, 4, (40, 60), dtype=np.uint8)
    expected = slow_count(truth[::2, ::-3], guess[::2, ::-3], 4)
    truth.setflags(write=False)
    assert np.array_equal(confusion(truth[::2, ::-3], guess[::2, ::-3], 4), expected)
    assert np.array_equal(
        confusion(np.asfortranarray(truth), guess, 4), slow_count(truth, guess, 4)
    )
    assert np.array_equal(confusion(truth.T, guess.T, 4), slow_count(truth, guess, 4))


def test_counting_does_not_change_its_input() -> None:
    truth, guess = np.array([0, 255], np.uint8), np.array([1, 77], np.uint8)
    confusion(truth, guess, 2)
    assert truth.tolist() == [0, 255]
    assert guess.tolist() == [1, 77]


def test_bytes_alone_are_counted_by_the_compiled_way(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = []
    for name in ("_count_bytes", "_count_any"):
        monkeypatch.setattr(counting, name, lambda *_, name=name: ways.append(name))
    small, wide = np.zeros(3, np.uint8), np.zeros(3, np.int16)
    for maps in ((small, small), (small > 0, small), (wide, wide), (small, wide), (wide, small)):
        confusion(*maps, 255)
    confusion(small, small, 256)
    assert ways == ["_count_bytes"] * 2 + ["_count_any"] * 4


def test_long_maps_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call for as many pixels as tables of 32 bits hold for sure, else one for each part."""
    sizes: list[int] = []

    def seen(function):
        def call(truth: np.ndarray, guess: np.ndarray, num_classes: int) -> np.ndarray:
            sizes.append(truth.size)
            return function(truth, guess, num_classes)

        return call

    monkeypatch.setattr(counting, "compiled", seen)
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, 1003)).astype(np.uint8)
    truth[:40] = 255
    expected = slow_count(truth, guess, 3)
    assert np.array_equal(confusion(truth, guess, 3), expected)
    assert sizes == [1003]
    assert 2**24 < counting._CHUNK < 2**32
    monkeypatch.setattr(counting, "_CHUNK", 250)
    assert np.array_equal(confusion(truth, guess, 3), expected)
    assert sizes[1:] == [250, 250, 250, 250, 3]


def test_long_runs_do_not_overflow_a_table() -> None:
    side = np.zeros(2**16 * 5 + 3, np.uint8)  # would overflow 16-bit tables
    assert confusion(side, side, 2).tolist() == [[side.size, 0], [0, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("num_classes", [3, 254])
def test_guess_of_void_on_a_counted_pixel_is_refused_with_value_and_count(
    dtype: type, num_classes: int
) -> None:
    truth = np.array([0, 1, 1, 255], dtype)
    guess = np.array([0, 255, 255, 255], dtype)
    with pytest.raises(DataError, match=r"the guess .*: 255 on 2 px \(expected 0\.\.") as caught:
        confusion(truth, guess, num_classes)
    assert caught.value.code == "D012"


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_guess_beyond_the_classes_is_refused_commonest_first(dtype: type) -> None:
    truth = np.zeros(6, dtype)
    guess = np.array([0, 9, 7, 9, 9, 7], dtype)
    told = r"the guess .* 9 on 3 px, 7 on 2 px \(expected 0\.\.6\)"
    with pytest.raises(DataError, match=told) as caught:
        confusion(truth, guess, 7)
    assert caught.value.code == "D012"


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize("num_classes", [3, 253])
def test_truth_beyond_the_classes_is_refused_not_dropped(dtype: type, num_classes: int) -> None:
    truth = np.array([0, 1, 254, 255], dtype)
    told = rf"the truth .* 254 on 1 px \(expected 0\.\.{num_classes - 1}, or 255"
    with pytest.raises(DataError, match=told) as caught:
        confusion(truth, np.zeros(4, dtype), num_classes)
    assert caught.value.code == "D012"


def test_void_and_strange_truth_that_cancel_in_number_are_told_apart() -> None:
    truth = np.array([255, 255, 40, 40], np.uint8)
    with pytest.raises(DataError, match="40 on 2 px"):
        confusion(truth, np.zeros(4, np.uint8), 3)


def test_strange_values_are_those_outside_of_the_classes_the_commonest_first() -> None:
    values = np.array([-1, 0, 6, 7, 7, 8, 255, 255, 255])
    assert strange_values(values, 7) == "255 on 3 px, 7 on 2 px, -1 on 1 px, 8 on 1 px"
    assert strange_values(values, 9) == "255 on 3 px, -1 on 1 px"
    assert strange_values(values, 400) == "255 on 3 px, -1 on 1 px"
    assert strange_values(values[1:3], 7) == ""


def test_negative_values_are_refused() -> None:
    with pytest.raises(DataError, match="-1 on 1 px"):
        confusion(np.array([0, -1]), np.array([0, 0]), 2)
    with pytest.raises(DataError, match=r"the guess has .* -1 on 1 px"):
        confusion(np.array([0, 1]), np.array([0, -1]), 2)


def test_strange_values_under_void_do_not_matter() -> None:
    truth = np.array([255, 255, 1], np.uint8)
    guess = np.array([255, 200, 1], np.uint8)
    assert confusion(truth, guess, 2).tolist() == [[0, 0], [0, 1]]


def test_differing_sizes_are_refused_with_both_sizes() -> None:
    with pytest.raises(DataError, match="truth is 4x5 but guess is 5x4") as caught:
        confusion(np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), 2)
    assert caught.value.code == "D013"


def test_scores_instead_of_labels_are_refused() -> None:
    with pytest.raises(DataError, match="guess holds float32"):
        confusion(np.zeros(3, np.uint8), np.zeros(3, np.float32), 2)


def test_no_class_is_refused() -> None:
    with pytest.raises(UsageError, match="0 classes"):
        confusion(np.zeros(3, np.uint8), np.zeros(3, np.uint8), 0)


def test_all_void_counts_nothing() -> None:
    void = np.full((3, 4), 255, np.uint8)
    assert confusion(void, void, 2).tolist() == [[0, 0], [0, 0]]


def test_void_is_no_guess_even_where_255_could_be_a_class() -> None:
    with pytest.raises(DataError, match="255 on 1 px"):
        confusion(np.array([0, 1], np.uint16), np.array([0, 255], np.uint16), 300)
