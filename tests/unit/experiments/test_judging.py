"""How an arm looks at pictures: in blocks, disturbed."""

from __future__ import annotations

import numpy as np
import pytest

from pixelwise.experiments.claims import Look
from pixelwise.experiments.judging import by_blocks, disturbed

PIXEL = np.array([100.0, 110.0, 120.0])


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def test_blocks_are_labelled_by_themselves(image: np.ndarray) -> None:
    """What gives each picture its mean says which pixels it saw."""
    sizes = []

    def mean(block: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(block.shape[:2])
        return {"": np.full(block.shape[:2], block[..., 0].mean().round(), np.uint8)}

    labels = by_blocks(mean, 25)(image)[""]
    assert sizes == [(25, 25), (25, 25), (25, 10), (15, 25), (15, 25), (15, 10)]
    assert labels.shape == (40, 60)
    assert labels[39, 59] == image[25:, 50:, 0].mean().round()
    assert labels[24, 25] == image[:25, 25:50, 0].mean().round()


def test_a_picture_as_it_is_stays(image: np.ndarray) -> None:
    assert np.array_equal(disturbed(image, Look(), PIXEL), image)


def test_noise_has_its_deviation_and_is_the_same_for_all_arms() -> None:
    grey = np.full((80, 80, 3), 128, np.uint8)
    noisy = disturbed(grey, Look(noise=20), PIXEL)
    assert noisy.dtype == np.uint8
    assert (noisy.astype(float) - 128).std() == pytest.approx(20, rel=0.03)
    assert np.array_equal(noisy, disturbed(grey, Look(noise=20), PIXEL))


def test_hidden_squares_are_the_mean_pixel_and_cover_at_most_their_part(image: np.ndarray) -> None:
    hidden = (disturbed(image, Look(hidden=0.2), PIXEL) == PIXEL).all(2)
    side = round((0.2 * 40 * 60 / 4) ** 0.5)  # 11
    assert side**2 <= hidden.sum() <= 4 * side**2 + 3
    assert np.array_equal(image[~hidden], disturbed(image, Look(hidden=0.2), PIXEL)[~hidden])


def test_blur_takes_away_what_is_finer(image: np.ndarray) -> None:
    """Noise of one pixel, averaged over about 4x4 of them, has about a quarter of its deviation."""
    blurred = disturbed(image, Look(blur=4), PIXEL)
    assert blurred.shape == image.shape
    assert 0.1 < blurred.std() / image.std() < 0.35
    steps = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    inner = slice(8, -8)
    smooth = disturbed(steps, Look(blur=4), PIXEL)
    assert np.abs(smooth[:, inner].astype(int) - steps[:, inner]).max() <= 2
