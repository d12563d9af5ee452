"""Copies are known again whatever was done to them; other pictures are not taken for copies."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from make_data import picture
from pixelwise.data import likeness
from pixelwise.data.likeness import look_alikes, sketch


def photo(seed: int, size: tuple[int, int] = (90, 120)) -> np.ndarray:
    """(H, W, 3) smooth shapes, as photos are at a sketch's size."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


COPIES = {
    "the same": lambda image: image,
    "JPEG": lambda image: as_jpeg(image, 30),
    "half the size": lambda image: resized(image, 45, 60),
    "half the size as JPEG": lambda image: as_jpeg(resized(image, 45, 60), 50),
    "six times the size": lambda image: resized(image, 540, 720),
    "brighter": lambda image: (image * 0.8 + 40).astype(np.uint8),
    "in grey": lambda image: image.astype(np.float32).mean(2, keepdims=True).astype(np.uint8),
    "of 16 bits": lambda image: image[..., :1].repeat(3, axis=2).astype(np.uint16) * 257,
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_known_again(copy: str) -> None:
    images = [photo(seed) for seed in range(40)]
    if copy == "of 16 bits":  # which has one band here
        images = [image[..., :1].repeat(3, axis=2) for image in images]
    copies = [COPIES[copy](image) for image in images]
    sketches = np.stack([sketch(image) for image in (*images, *copies)])
    assert sorted(look_alikes(sketches)) == [(i, i + 40) for i in range(40)]


def test_other_pictures_are_not_alike() -> None:
    blocks = np.stack([sketch(picture(i)[0]) for i in range(60)])
    assert len(list(look_alikes(np.stack([sketch(photo(i)) for i in range(300)])))) == 0
    assert len(list(look_alikes(blocks))) < 20  # three blocks each: some do lie alike


def test_nearly_all_that_comparing_every_pair_finds_have_a_partner() -> None:
    """Twenty stills under clouds of fifteen strengths: pairs above and below the threshold."""
    clouds = [photo(1000 + i).astype(float) - 128 for i in range(300)]
    images = [photo(i // 15) + 0.02 * (i % 15) * clouds[i] for i in range(300)]
    sketches = np.stack([sketch(image.clip(0, 255).astype(np.uint8)) for image in images])
    table = sketches.astype(np.float32)
    slow = {(i, j) for i, j in np.argwhere(table @ table.T >= likeness.ALIKE).tolist() if i < j}
    found = set(look_alikes(sketches))
    assert 200 < len(slow) < 1500
    assert found <= slow
    assert len({j for _, j in found}) > 0.98 * len({j for _, j in slow})


def test_a_still_camera_costs_no_square_of_its_frames() -> None:
    sketches = np.repeat(sketch(photo(0))[None], 3000, axis=0)
    found = list(look_alikes(sketches))
    assert found == [(0, j) for j in range(1, 3000)]


def test_flat_pictures_have_nothing_to_be_alike_in() -> None:
    rng = np.random.default_rng(0)
    flat = [np.full((40, 50, 3), level, np.uint8) for level in (0, 90, 255)]
    noisy = [rng.integers(99, 102, (40, 50, 3), np.uint8) for _ in range(3)]
    sketches = np.stack([sketch(image) for image in (*flat, *noisy)])
    assert not sketches.any()
    assert not list(look_alikes(sketches))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (5, 3), (16, 16), (17, 200)])
def test_a_sketch_is_the_mean_of_equal_parts_of_any_size(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    fine = np.kron(image.astype(np.float64).mean(2), np.ones((16, 16)))  # parts of whole pixels
    slow = fine.reshape(16, size[0], 16, size[1]).mean((1, 3))
    slow -= slow.mean()
    length = np.linalg.norm(slow)
    expected = slow.ravel() / length if length > 32 else np.zeros(256)
    assert sketch(image) == pytest.approx(expected, abs=1e-3)


def test_no_pictures_have_no_pairs() -> None:
    assert not list(look_alikes(np.zeros((0, 256), np.float16)))
