"""Measures of numbers and of edges, by hand and against slower ways."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pixelwise.metrics.measured import (
    MEASURES,
    SIZES,
    SUMS,
    dilated,
    edge_measures,
    edge_sums,
    number_measures,
    number_sums,
)


def test_numbers_by_hand() -> None:
    """Of 2, 4, 4 and void guessed are 2, 5 and 2: off by 0, 1 and 2."""
    truth = np.float32([[[2], [4], [4], [np.nan]]])
    guess = np.float32([[[2], [5], [2], [9]]])
    made = number_measures(number_sums(truth, guess))
    assert made.as_dict() == pytest.approx(
        {
            "rmse": math.sqrt(5 / 3),
            "mean_error": 1.0,
            "absolute_relative": (0 + 1 / 4 + 1 / 2) / 3,
            "squared_relative": (0 + 1 / 4 + 4 / 4) / 3,
            "rmse_log": math.sqrt((math.log(5 / 4) ** 2 + math.log(2) ** 2) / 3),
            "delta_1": 1 / 3,  # 1.25 itself is not below 1.25
            "delta_2": 2 / 3,
            "delta_3": 2 / 3,
            "explained": 1 - (5 / 3) / (8 / 9),
        }
    )
    assert made.beside == "the mean alone would get RMSE 0.9428"
    assert made.values["explained"] == pytest.approx(-7 / 8)
    assert made.lead == pytest.approx(-7 / 8 / (1 + 7 / 8))
    assert made.sentence == "RMSE 1.291, -87.5 % of the variance, 33.3 % within 1.25 times"


def test_sums_of_parts_give_what_the_whole_gives() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 9, (6, 7, 2)).astype(np.float32)
    guess = truth * rng.uniform(0.7, 1.4, truth.shape).astype(np.float32)
    parts = number_sums(truth[:2], guess[:2]) + number_sums(truth[2:], guess[2:])
    whole = number_measures(number_sums(truth, guess))
    assert number_measures(parts).as_dict() == pytest.approx(whole.as_dict())
    y, x = truth.astype(float), guess.astype(float)
    assert whole.values["explained"] == pytest.approx(1 - ((x - y) ** 2).mean() / y.var())
    assert whole.values["delta_1"] == (np.maximum(x / y, y / x) < 1.25).mean()


def test_what_cannot_be_said_is_none_and_better_guesses_lead() -> None:
    truth = np.float32([[[-1], [0], [1]]])
    assert (
        number_measures(number_sums(truth, truth)).as_dict()["delta_1"] == 1
    )  # of the one above 0
    none = number_measures(number_sums(truth - 5, truth)).as_dict()
    assert none["delta_1"] is None
    assert none["rmse"] == 5
    negative = number_measures(number_sums(truth + 2, truth - 9)).as_dict()
    assert negative["rmse_log"] is None
    assert negative["delta_3"] == 0
    leads = [number_measures(number_sums(truth, truth + off)).lead for off in (9, 3, 1, 0.1, 0)]
    assert leads == sorted(leads)
    assert leads[0] > -1
    assert leads[-1] == 1


def test_edges_by_hand() -> None:
    """A line in the fourth column, guessed one off with 0.8 and again far away with 0.4."""
    truth, guess = np.zeros((5, 12, 1), np.float32), np.zeros((5, 12, 1), np.float32)
    truth[:, 3], guess[:, 4], guess[:, 9] = 1, 0.8, 0.4
    truth[0, 4] = np.nan  # void: neither a guess nor an edge
    made = edge_measures(edge_sums(truth, guess)).values
    assert (made["precision"], made["recall"], made["f"]) == (1, 1, 1)
    assert 0.4 < made["threshold"] <= 0.8
    lower = edge_sums(truth, np.minimum(guess, np.float32(0.4)))
    both = edge_measures(lower).values
    assert both["recall"] == 1
    assert both["precision"] == pytest.approx(4 / 9)  # four guesses near, five far


def test_edges_everywhere_are_precise_where_an_edge_is_near() -> None:
    """A line of 12 columns has three near it: precision 1/4 and recall 1 make F 0.4."""
    truth, guess = np.zeros((4, 12, 1), np.float32), np.zeros((4, 12, 1), np.float32)
    truth[:, 3], guess[:, 3] = 1, 0.6
    made = edge_measures(edge_sums(truth, guess))
    assert made.values["f_everywhere"] == pytest.approx(0.4)
    assert made.beside == "edges everywhere would get F 0.400"
    assert made.sentence == "F 1.000 (precision 1.000, recall 1.000)"
    assert made.lead == made.values["f"] == 1
    assert made.values["threshold"] == pytest.approx(1 / 255)  # the first of those that are best
    assert made.as_dict() == made.values


def test_an_edge_may_be_off_by_a_share_of_the_diagonal_and_no_further() -> None:
    """300x400 has a diagonal of 500: 3.75 pixels, rounded 4; of small pictures it is one."""
    for side, reach in (((300, 400), 4), ((30, 40), 1)):
        for off, expected in ((reach, 1.0), (reach + 1, 0.0)):
            truth, guess = np.zeros((*side, 1), np.float32), np.zeros((*side, 1), np.float32)
            truth[:, 10], guess[:, 10 + off] = 1, 1
            assert edge_measures(edge_sums(truth, guess)).values["f"] == expected


def test_f_is_that_of_every_threshold_done_by_itself() -> None:
    rng = np.random.default_rng(3)
    truth = (rng.random((40, 30, 1)) < 0.05).astype(np.float32)
    truth[rng.random((40, 30)) < 0.1] = np.nan
    guess = rng.random((40, 30, 1)).astype(np.float32) ** 2
    best, known, edge = 0.0, np.isfinite(truth[..., 0]), truth[..., 0] > 0
    level = (guess[..., 0] * 255).round()
    for threshold in range(1, 256):
        picked = (level >= threshold) & known

        def near(mask: np.ndarray) -> np.ndarray:
            around = np.pad(mask, 1)
            return np.any([around[y : y + 40, x : x + 30] for y in range(3) for x in range(3)], 0)

        precision = (picked & near(edge)).sum() / max(1, picked.sum())
        recall = (edge & near(picked)).sum() / edge.sum()
        best = max(best, 2 * precision * recall / max(precision + recall, 1e-12))
    assert edge_measures(edge_sums(truth, guess)).values["f"] == pytest.approx(best)


def test_a_map_is_dilated_by_the_highest_in_a_square() -> None:
    values = np.random.default_rng(1).integers(0, 99, (7, 9))
    slow = [
        [values[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].max() for x in range(9)]
        for y in range(7)
    ]
    assert np.array_equal(dilated(values, 2), slow)


def test_sums_have_their_sizes() -> None:
    maps = np.ones((4, 5, 1), np.float32), np.full((4, 5, 1), 0.5, np.float32)
    assert {name: len(sums(*maps)) for name, sums in SUMS.items()} == SIZES
    assert all(MEASURES[name](np.zeros(size)).lead != 1 for name, size in SIZES.items())
