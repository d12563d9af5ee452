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


def test_what_a_threshold_leaves() -> None:
    sure = np.array([0.2, 0.5, 0.8, 1.0])
    points = confidence(sure, np.array([0, 0, 1, 1], bool)).as_dict()["risk_coverage"]
    by_threshold = {p["threshold"]: (p["coverage"], p["accuracy"]) for p in points}
    assert by_threshold[0] == (1, 0.5)
    assert by_threshold[0.5] == (0.75, pytest.approx(2 / 3))
    assert by_threshold[0.55] == (0.5, 1)
    assert by_threshold[0.95] == (0.25, 1)


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


def test_one_wrong_in_a_hundred_that_all_are_sure_of() -> None:
    """Two classes 20 apart are 99 to 1 where 20 / T = ln 99; a whole Newton step goes past it."""
    scores, truth = np.tile([20.0, 0.0], (100, 1)), np.arange(100) == 7
    assert temperature(scores, truth.astype(np.uint8)) == pytest.approx(20 / math.log(99), rel=1e-4)


def test_a_temperature_without_end_stops_at_the_limit() -> None:
    scores = np.array([[3.0, 0.0], [0.0, 2.0]], np.float32)
    assert temperature(scores, np.array([0, 1])) < 0.1  # always right: be surer
    assert temperature(scores, np.array([1, 0])) == pytest.approx(100)  # always wrong
