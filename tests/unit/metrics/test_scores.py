from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from pixelwise.errors import UsageError
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import ClassRow, Scores, kappa, majority, per_class, scores


def test_scores_by_hand() -> None:
    # class 0: 6 px, 4 found, 1 px wrongly given to it: IU 4/7; class 1: 4 px, 3 found, IU 3/6
    found = scores([[4, 2], [1, 3]])
    assert found.pixel_accuracy == pytest.approx(7 / 10)
    assert found.mean_accuracy == pytest.approx((4 / 6 + 3 / 4) / 2)
    assert found.mean_iu == pytest.approx((4 / 7 + 3 / 6) / 2)
    assert found.frequency_weighted_iu == pytest.approx(0.6 * 4 / 7 + 0.4 * 3 / 6)


def test_absent_class_is_left_out_even_when_predicted() -> None:
    # class 2 is not in the truth; its 2 px still cost class 0 (paper, footnote 10)
    found = scores([[6, 0, 2], [0, 2, 0], [0, 0, 0]])
    assert found.mean_iu == pytest.approx((6 / 8 + 1) / 2)
    assert found.mean_accuracy == pytest.approx((6 / 8 + 1) / 2)
    assert found.pixel_accuracy == pytest.approx(8 / 10)


def test_present_class_that_is_never_predicted_counts_zero() -> None:
    found = scores([[3, 0], [1, 0]])
    assert found.mean_iu == pytest.approx((3 / 4 + 0) / 2)


def test_perfect_guess_scores_one() -> None:
    assert scores(np.diag([5, 1, 0])) == Scores(1.0, 1.0, 1.0, 1.0)


def test_counts_too_large_for_32_bit_are_exact() -> None:
    big = 2**40
    assert scores([[big, big], [0, 2 * big]]).pixel_accuracy == pytest.approx(3 / 4)


def test_empty_truth_gives_nan_and_null() -> None:
    found = scores(np.zeros((2, 2), int))
    assert math.isnan(found.mean_iu)
    assert set(found.as_dict().values()) == {None}


def test_rows_of_classes_give_the_reason_for_each_gap() -> None:
    rows = per_class([[6, 0, 2, 0], [1, 1, 0, 0], [0] * 4, [0] * 4], ["a", "b", "c", "d"])
    assert rows[0] == ClassRow("a", 8, 7, 6 / 8, 6 / 9, "")
    assert rows[1] == ClassRow("b", 2, 1, 1 / 2, 1 / 2, "")
    assert rows[2] == ClassRow("c", 0, 2, None, None, "not in this truth; predicted on 2 px")
    assert rows[3] == ClassRow("d", 0, 0, None, None, "not in this truth; never predicted")


def test_wrong_number_of_names_is_refused() -> None:
    with pytest.raises(UsageError, match="3 class names for 2 classes"):
        per_class([[1, 0], [0, 1]], ["a", "b", "c"])


@pytest.mark.parametrize("counts", [[[1, 2, 3], [4, 5, 6]], [1, 2], [[0.5, 0.5], [0.0, 1.0]]])
def test_what_is_no_count_is_refused(counts: list) -> None:
    with pytest.raises(UsageError, match="square of whole numbers"):
        scores(counts)


def test_kappa_by_hand_and_by_scikit_learn() -> None:
    # 2 x 2: 35 of 50 agree; by chance 25 * 30 / 50 + 25 * 20 / 50 = 25 do: (35 - 25) / (50 - 25)
    assert kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, 4000)
    guess = np.where(rng.random(4000) < 0.7, truth, rng.integers(0, 6, 4000))
    assert kappa(confusion(truth, guess, 7)) == pytest.approx(cohen_kappa_score(truth, guess))
    assert kappa(np.diag([3, 0, 9])) == 1
    assert kappa([[6, 0], [2, 0]]) == 0  # one class for all says nothing
    assert math.isnan(kappa(np.zeros((2, 2), int)))
    assert math.isnan(kappa([[5, 0], [0, 0]]))


def test_the_largest_class_alone_by_hand() -> None:
    # 10 px of a, 7 of b, 3 of c, none of d: all given to a, whatever the guesses were
    alone = majority([[1, 9, 0, 0], [0, 7, 0, 0], [0, 0, 2, 1], [0, 0, 0, 0]], list("abcd"))
    assert alone.name == "a"
    assert alone.scores.pixel_accuracy == pytest.approx(10 / 20)
    assert alone.scores.mean_accuracy == pytest.approx(1 / 3)
    assert alone.scores.mean_iu == pytest.approx((10 / 20) / 3)  # b and c get 0, d is absent
    assert alone.scores.frequency_weighted_iu == pytest.approx(10 / 20 * 10 / 20)
    assert alone.sentence() == (
        "the largest class alone (a) would get mean IU 16.7 %, pixel accuracy 50.0 %"
    )


def test_the_largest_class_alone_equals_scoring_such_a_label_map() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(5, (40, 50), p=[0.1, 0.2, 0.4, 0.25, 0.05]).astype(np.uint8)
    truth[:3] = 255
    counts = confusion(truth, rng.integers(0, 5, truth.shape).astype(np.uint8), 5)
    constant = confusion(truth, np.full_like(truth, 2), 5)
    assert majority(counts, list("abcde")).scores == scores(constant)


def test_without_truth_the_largest_class_gets_nothing() -> None:
    alone = majority(np.zeros((2, 2), int), ["a", "b"])
    assert alone.sentence() == ""
    assert set(alone.as_dict().values()) == {"a", None}
