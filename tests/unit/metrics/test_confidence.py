"""Calibration error and temperature: by hand, and by trying many temperatures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pixelwise.metrics.confidence import confidence, temperature


def test_the_calibration_error_by_hand() -> None:
    """Two bins: 4 pixels of 0.9, half of them right, and 2 of 0.5, all right."""
    sure = np.array([0.9] * 4 + [0.5] * 2, np.float32)
    right = np.array([1, 1, 0, 0, 1, 1], bool)
    made = confidence(sure, right)
    assert made.error == pytest.approx((4 * abs(0.5 - 0.9) + 2 * abs(1 - 0.5)) / 6, abs=1e-6)
    low, high = made.as_dict()["reliability"]
    assert (low["pixels"], low["accuracy"], high["accuracy"]) == (2, 1, 0.5)
    assert (low["probability"], high["probability"]) == pytest.approx((0.5, 0.9))
    assert confidence(sure[:4], right[:4]).error == pytest.approx(0.4)
    parts = confidence(sure[:3], right[:3]) + confidence(sure[3:], right[3:])
    assert np.array_equal(parts.table, made.table)
    # In one bin over- and underconfidence cancel out, as Guo et al. define it: 13/15 to 14/15.
    same = confidence(np.array([0.87, 0.93]), np.array([True, True]))
    assert same.error == pytest.approx(0.1)


def test_one_pixel_has_its_own_error_and_none_has_none() -> None:
    assert confidence(np.array([0.7]), np.array([False])).error == pytest.approx(0.7)
    assert confidence(np.array([0.7]), np.array([True])).error == pytest.approx(0.3)
    assert confidence(np.empty(0), np.empty(0, bool)).error == 0


def test_probabilities_fall_into_three_hundred_cells_the_ends_among_them() -> None:
    made = confidence(np.array([0.0, 1 / 300, 0.9999, 1.0]), np.array([1, 0, 1, 0], bool))
    count, sums, right = made.table
    assert made.table.shape == (3, 300)
    assert count.nonzero()[0].tolist() == [0, 1, 299]
    assert count[[0, 1, 299]].tolist() == [1, 1, 2]
    assert sums[[0, 1, 299]] == pytest.approx([0, 1 / 300, 1.9999])
    assert right[[0, 1, 299]].tolist() == [1, 0, 1]


def test_what_a_threshold_leaves() -> None:
    sure = np.array([0.2, 0.5, 0.8, 1.0])
    points = confidence(sure, np.array([0, 0, 1, 1], bool)).as_dict()["risk_coverage"]
    by_threshold = {p["threshold"]: (p["coverage"], p["accuracy"]) for p in points}
    assert by_threshold[0] == (1, 0.5)
    assert by_threshold[0.5] == (0.75, pytest.approx(2 / 3))
    assert by_threshold[0.55] == (0.5, 1)
    assert by_threshold[0.95] == (0.25, 1)
    assert list(by_threshold) == pytest.approx([i / 20 for i in range(20)])
    few = confidence(np.array([0.52]), np.array([True])).as_dict()["risk_coverage"]
    assert [p["threshold"] for p in few] == pytest.approx([i / 20 for i in range(11)])  # to 0.5


@pytest.mark.parametrize("scale", [0.2, 1.0, 6.0])
def test_the_temperature_is_the_likeliest_of_many(scale: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 5))
    soft = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    truth = (rng.random((4000, 1)) > soft.cumsum(1)).sum(1)
    found = temperature(scale * scores, truth)

    def loss(t: float) -> float:
        z = scale * scores / t
        own = np.take_along_axis(z, truth[:, None], 1)[:, 0]
        return float((np.log(np.exp(z).sum(1)) - own).mean())

    tried = np.geomspace(0.05, 20, 2001)
    best = tried[np.argmin([loss(t) for t in tried])]
    assert found == pytest.approx(best, rel=0.005)
    assert found == pytest.approx(scale, rel=0.1)  # of which the labels were drawn


def test_a_handful_of_newtons_steps_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asks for the likelihood twice; a wrong curvature would send it to and fro."""
    rng, exponentials, exp = np.random.default_rng(1), [], np.exp
    scores = rng.normal(size=(500, 4))
    truth = (
        rng.random((500, 1)) > (exp(scores) / exp(scores).sum(1, keepdims=True)).cumsum(1)
    ).sum(1)
    monkeypatch.setattr(np, "exp", lambda x: exponentials.append(0) or exp(x))
    assert temperature(3 * scores, truth) == pytest.approx(3, rel=0.2)
    assert len(exponentials) <= 16


def test_one_wrong_in_a_hundred_that_all_are_sure_of() -> None:
    """Two classes 20 apart are 99 to 1 where 20 / T = ln 99; a whole Newton step goes past it."""
    scores, truth = np.tile([20.0, 0.0], (100, 1)), np.arange(100) == 7
    assert temperature(scores, truth.astype(np.uint8)) == pytest.approx(20 / math.log(99), rel=1e-4)


def test_a_temperature_without_end_stops_at_the_limit() -> None:
    scores = np.array([[3.0, 0.0], [0.0, 2.0]], np.float32)
    assert temperature(scores, np.array([0, 1])) < 0.1  # always right: be surer
    assert temperature(scores, np.array([1, 0])) == pytest.approx(100)  # always wrong
