"""Palettes, colouring, overlays."""

import csv
from pathlib import Path

import numpy as np

from pixelwise.labels import (
    CAMVID_CLASSES,
    CAMVID_PALETTE,
    VOC_CLASSES,
    colour,
    distinct_palette,
    full_palette,
    heat_colours,
    heat_map,
    overlay,
    three_bands,
    voc_palette,
)


def test_the_voc_palette_by_its_published_entries() -> None:
    """Fact sheet 3.2."""
    palette = voc_palette()
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {i: tuple(palette[i].tolist()) for i in known} == known


def test_the_voc_palette_is_the_one_in_the_files(real_data: Path) -> None:
    with (real_data / "voc_samples" / "voc_colormap_256.csv").open() as f:
        rows = [r for r in csv.reader(f) if r and r[0].strip().isdigit()]
    assert len(rows) == 256
    stored = {int(r[0]): tuple(int(v) for v in r[-3:]) for r in rows}
    assert stored == {i: tuple(c) for i, c in enumerate(voc_palette().tolist())}


def test_class_lists_have_a_colour_each() -> None:
    assert len(VOC_CLASSES) == 21
    assert len(CAMVID_CLASSES) == len(set(CAMVID_PALETTE)) == 11


def test_made_colours_differ() -> None:
    for count in (2, 12, 40):
        made = distinct_palette(count).astype(int)
        apart = np.abs(made[:, None] - made).sum(2) + 999 * np.eye(count, dtype=int)
        assert apart.min() > (60 if count <= 12 else 12)


def test_colouring_and_void() -> None:
    palette = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    found = colour(np.array([[0, 1, 255, 7]], np.uint8), palette)
    assert found.tolist() == [[[1, 2, 3], [4, 5, 6], [224, 224, 192], [0, 0, 0]]]
    assert full_palette(palette).shape == (256, 3)


def test_overlay_by_hand_and_void_shows_the_picture() -> None:
    image = np.array([[[100, 100, 100], [10, 20, 30]]], np.uint8)
    palette = np.array([[200, 0, 50]], np.uint8)
    found = overlay(image, np.array([[0, 255]], np.uint8), palette, opacity=0.25)
    assert found.tolist() == [[[125, 75, 88], [10, 20, 30]]]


def test_heat_goes_from_blue_to_red() -> None:
    low, middle, high = heat_colours(np.array([[0.0, 0.5, 1.0]], np.float32))[0].astype(int)
    assert low[2] > low[0] == 0
    assert high[0] > high[2] == 0
    assert middle[1] == 255


def test_heat_maps_are_blue_for_none_and_red_for_the_most() -> None:
    share = np.zeros((2, 2), np.float32)
    share[1, 1] = 0.2
    drawn = heat_map(np.zeros((2, 2, 3), np.uint8), share).astype(int)
    assert drawn[0, 0, 2] > 50 > drawn[0, 0, 0]
    assert drawn[1, 1, 0] > 50 > drawn[1, 1, 2]
    nothing = heat_map(np.zeros((1, 1, 3), np.uint8), np.full((1, 1), 1e-9, np.float32))
    assert nothing[0, 0, 0] == 0  # a class that is nowhere has no red


def test_false_colours_are_the_bands_that_are_named_or_spread_over_the_spectrum() -> None:
    image = np.zeros((10, 10, 12), np.uint16)
    image[...] = np.arange(100).reshape(10, 10, 1) * np.arange(12) * 10
    seen = three_bands(image, (4, 2, 0))
    # 0..99: the 2nd hundredth is 1.98, the 98th 97.02
    assert seen[0, :3, 0].tolist() == [0, 0, 0]
    assert seen[5, 0, 0] == round((50 - 1.98) / (97.02 - 1.98) * 255)
    assert (seen[..., 0] == seen[..., 1]).all()
    assert not seen[..., 2].any()
    assert np.array_equal(three_bands(image), three_bands(image, (10, 6, 2)))
    assert np.array_equal(three_bands(image[..., :6]), three_bands(image, (0, 1, 2)))
    gaps = image.astype(np.float32)
    gaps[0], gaps[:, 0, 4] = np.nan, np.nan
    assert not three_bands(gaps, (4, 2, 0))[0].any()
    assert three_bands(gaps, (4, 2, 0))[9, 9].tolist() == [255, 255, 0]
    assert not three_bands(np.full((2, 2, 1), np.nan, np.float32)).any()
