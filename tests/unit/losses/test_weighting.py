"""Class weights by hand."""

import math

import numpy as np
import pytest

from pixelwise.losses.weighting import class_weights

PIXELS = np.array([60, 30, 10, 0], np.int64)
IN_IMAGES = np.array([100, 60, 20, 0], np.int64)


def scaled(raw: list[float]) -> list[float]:
    """So that the average pixel weighs 1."""
    mean = sum(w * p for w, p in zip(raw, (0.6, 0.3, 0.1, 0.0), strict=True))
    return [w / mean for w in raw]


def test_none_weighs_all_alike_but_what_never_occurs() -> None:
    assert class_weights(PIXELS, IN_IMAGES, "none").tolist() == [1, 1, 1, 0]


def test_sqrt() -> None:
    raw = [1 / math.sqrt(0.6), 1 / math.sqrt(0.3), 1 / math.sqrt(0.1), 0]
    assert class_weights(PIXELS, IN_IMAGES, "sqrt").tolist() == pytest.approx(scaled(raw))


def test_enet() -> None:
    raw = [1 / math.log(1.62), 1 / math.log(1.32), 1 / math.log(1.12), 0]
    assert class_weights(PIXELS, IN_IMAGES, "enet").tolist() == pytest.approx(scaled(raw))


def test_median_counts_only_pictures_with_the_class() -> None:
    raw = [0.5 / 0.6, 1, 1, 0]  # frequencies 0.6, 0.5, 0.5
    weights = class_weights(PIXELS, IN_IMAGES, "median").tolist()
    assert weights == pytest.approx(scaled(raw))


def test_inverse_weighs_each_class_alike_in_all() -> None:
    raw = [1 / 0.6, 1 / 0.3, 1 / 0.1, 0]
    weights = class_weights(PIXELS, IN_IMAGES, "inverse")
    assert weights.tolist() == pytest.approx(scaled(raw))
    assert (weights * PIXELS).tolist() == pytest.approx([100 / 3] * 3 + [0])


def test_effective_is_cuis_number_with_an_equal_share_of_the_pixels() -> None:
    """Of 100 million pixels in four classes; beta ** n by its own definition."""
    pixels = PIXELS * 10**6
    beta = 1 - 4 / 10**8
    raw = [(1 - beta) / (1 - beta**n) if n else 0 for n in pixels.tolist()]
    weights = class_weights(pixels, IN_IMAGES, "effective").tolist()
    assert weights == pytest.approx(scaled(raw), rel=1e-5)


@pytest.mark.parametrize("scheme", ["none", "sqrt", "enet", "inverse", "effective"])
def test_without_a_pixel_no_class_weighs_anything(scheme) -> None:
    """Of one pixel its class weighs 1."""
    nothing, one = np.zeros(3, np.int64), np.array([0, 1, 0])
    assert class_weights(nothing, nothing, scheme).tolist() == [0, 0, 0]
    made = class_weights(one, one, scheme)
    assert made.tolist() == pytest.approx([0, 1, 0])
    assert made.dtype == np.float32
