"""Each augmentation of a recipe reaches the pictures that the net is shown, with its own effect.

The pictures are made so that they tell what was done to them: tones of grey that contrast parts
and hue does not, one flat colour, and ramps whose colour is their place.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from make_data import canonical_set
from small_runs import train
from witness import witness

SIZE = (32, 48)
CLASSES = {"left": (200, 0, 0), "right": (0, 200, 0), "rare": (0, 0, 200)}
NARROW = "width=0.0625 threads=1 val_split= augment.mirror=false"
Sample = tuple[np.ndarray, np.ndarray]


def halves() -> np.ndarray:
    truth = np.zeros(SIZE, np.uint8)
    truth[:, SIZE[1] // 2 :] = 1
    return truth


def tones() -> Sample:
    """80 at the left and 120 at the right: 100 on the whole."""
    grey = np.where(halves() == 0, 80, 120).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2), halves()


def flat() -> Sample:
    return np.full((*SIZE, 3), (160, 100, 100), np.uint8), halves()


def ramps() -> Sample:
    """Red is 4 times the row, green 4 times the column, blue tells what is known."""
    rows, columns = np.indices(SIZE, np.uint8)
    return np.stack([4 * rows, 4 * columns, np.full(SIZE, 250, np.uint8)], 2), halves()


def shown(tmp_path: Path, samples: list[Sample], settings: str) -> list[np.ndarray]:
    """The pictures (H, W, 3) of pixel values that a run on ``samples`` shows to its net."""
    data = canonical_set(tmp_path / "set", {"train": samples}, CLASSES)
    with witness() as seen:
        assert train(data, tmp_path / "run", f"{NARROW} {settings}") == 0
    with safe_open(tmp_path / "run/weights/last.safetensors", "pt") as file:
        preprocess = json.loads(file.metadata()["pixelwise"])["preprocess"]
    mean, std = (np.array(preprocess[key]) for key in ("mean", "std"))
    batches = [x.permute(0, 2, 3, 1).double().numpy() * std + mean for x in seen.batches]
    return [picture for batch in batches for picture in batch]


def middle(picture: np.ndarray) -> np.ndarray:
    """(3,) mean of each channel."""
    return picture.mean((0, 1))


def test_brightness_is_a_factor_on_everything(tmp_path: Path) -> None:
    pictures = shown(tmp_path, [tones()], "iterations=12 batch=2 augment.brightness=0.4")
    levels = np.array([middle(p[:, :24]) for p in pictures])
    assert np.ptp(levels) > 30  # up to 64
    assert (levels >= 80 * 0.6 - 1).all()
    assert (levels <= 80 * 1.4 + 1).all()
    assert [middle(p[:, 24:]) / middle(p[:, :24]) for p in pictures] == pytest.approx(
        np.full((24, 3), 1.5), abs=0.03
    )


def test_noise_is_a_share_of_the_deviation_over_the_pictures(tmp_path: Path) -> None:
    """80 and 120 deviate by 20 from their mean: half of it is 10 levels, new at each look."""
    first, second = shown(tmp_path, [tones()], "iterations=2 batch=1 augment.noise=0.5")
    assert first[:, :24].std() == pytest.approx(10, rel=0.1)
    assert np.corrcoef(first[:, :24].ravel(), second[:, :24].ravel())[0, 1] < 0.1


def test_contrast_parts_tones_about_their_mean(tmp_path: Path) -> None:
    pictures = shown(tmp_path, [tones()], "iterations=12 batch=2 augment.contrast=0.5")
    apart = np.array([middle(p[:, 24:])[0] - middle(p[:, :24])[0] for p in pictures])
    assert np.ptp(apart) > 20  # up to 40
    assert (np.abs(apart - 40) <= 21).all()
    assert np.abs(np.array([middle(p) for p in pictures]) - 100).max() < 1.5


def test_saturation_leaves_grey_and_luma_alone(tmp_path: Path) -> None:
    settings = "iterations=12 batch=2 augment.saturation=0.6"
    pictures = shown(tmp_path, [tones(), flat()], settings)
    grey = [p for p in pictures if np.ptp(p[0, 0]) < 2]
    coloured = np.array([middle(p) for p in pictures if np.ptp(p[0, 0]) >= 2])
    assert len(grey) == len(coloured) == 12
    assert np.abs(np.array(grey) - tones()[0]).max() < 1.5
    assert np.abs(coloured @ (0.299, 0.587, 0.114) - 117.94).max() < 1.5
    spread = coloured[:, 0] - coloured[:, 1]
    assert np.ptp(spread) > 25  # up to 72
    assert (np.abs(spread - 60) <= 37).all()
    assert np.abs(coloured[:, 1] - coloured[:, 2]).max() < 1.5


def test_hue_turns_colours_about_grey(tmp_path: Path) -> None:
    pictures = shown(tmp_path, [tones(), flat()], "iterations=12 batch=2 augment.hue=0.25")
    grey = [p for p in pictures if np.ptp(p[0, 0]) < 2]
    coloured = np.array([middle(p) for p in pictures if np.ptp(p[0, 0]) >= 2])
    assert len(grey) == len(coloured) == 12
    assert np.abs(np.array(grey) - tones()[0]).max() < 1.5
    assert np.abs(coloured.sum(1) - 360).max() < 4
    strength = np.linalg.norm(coloured - 120, axis=1)
    assert strength == pytest.approx(np.full(12, 60 * (2 / 3) ** 0.5), abs=2)
    turn = np.arctan2(3**0.5 * (coloured[:, 1] - coloured[:, 2]), 3 * coloured[:, 0] - 360)
    assert np.ptp(turn) > 1  # up to half a turn
    assert np.abs(turn).max() < np.pi / 2 + 0.1


def places(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which pixels are of ``ramps``, and the row and column there that they come from."""
    known = picture[..., 2] > 200
    return known, picture[..., 0] / 4, picture[..., 1] / 4


def test_jitter_shifts_by_up_to_so_many_pixels(tmp_path: Path) -> None:
    """Beside ``ramps`` a dark picture brings the mean colour, which fills, below its blue."""
    dark = np.zeros((*SIZE, 3), np.uint8), halves()
    pictures = shown(tmp_path, [ramps(), dark], "iterations=16 batch=2 augment.jitter=3")
    rows, columns = np.indices(SIZE)
    shifts = set()
    for picture in pictures:
        known, y, x = places(picture)
        if known.any():
            down, right = (rows - y)[known].round(), (columns - x)[known].round()
            assert np.ptp(down) == np.ptp(right) == 0
            shifts.add((int(down[0]), int(right[0])))
            filled = (SIZE[0] - abs(down[0])) * (SIZE[1] - abs(right[0]))
            assert known.sum() == filled
    assert len(shifts) > 6  # of 49
    assert max(max(abs(y), abs(x)) for y, x in shifts) == 3


def test_mirror_turns_half_of_the_pictures(tmp_path: Path) -> None:
    pictures = shown(tmp_path, [ramps()], "iterations=12 batch=2 augment.mirror=true")
    turned = 0
    for picture in pictures:
        _, rows, columns = places(picture)
        assert rows == pytest.approx(np.indices(SIZE)[0], abs=0.01)
        turned += bool(columns[0, 0] > columns[0, -1])
    assert 5 < turned < 19


def test_without_any_setting_nothing_is_changed(tmp_path: Path) -> None:
    for picture in shown(tmp_path, [ramps()], "iterations=3 batch=2"):
        assert np.abs(picture - ramps()[0]).max() < 0.01


@pytest.mark.parametrize(
    ("settings", "size", "step"),
    [
        ("zoom=1.5", (48, 72), 1 / 1.5),
        ("zoom=0.5", (16, 24), 2.0),
        ("zoom=2 crop=16x24", (16, 24), 0.5),
        ("zoom=1.5 augment.scale=2,2 crop=20x30", (20, 30), 1 / 3),
        ("crop=16x24", (16, 24), 1.0),
    ],
)
def test_pictures_are_enlarged_by_the_zoom_and_then_cut(
    tmp_path: Path, settings: str, size: tuple[int, int], step: float
) -> None:
    pictures = shown(tmp_path, [ramps()], f"iterations=4 batch=2 {settings}")
    corners = set()
    for picture in pictures:
        assert picture.shape == (*size, 3)
        _, rows, columns = places(picture)
        inner = np.s_[2:-2, 2:-2]  # at an edge the filter has less to mix
        assert np.diff(rows[inner], axis=0).mean() == pytest.approx(step, abs=0.06)
        assert np.diff(columns[inner], axis=1).mean() == pytest.approx(step, abs=0.06)
        corners.add((round(rows[2, 2]), round(columns[2, 2])))
    assert (len(corners) > 2) == ("crop" in settings)


def test_scale_is_drawn_from_its_range(tmp_path: Path) -> None:
    settings = "iterations=24 batch=1 augment.scale=0.5,2 frozen_bn=true"
    sizes = [p.shape[:2] for p in shown(tmp_path, [ramps()], settings)]
    factors = np.array(sizes) / SIZE
    assert factors.min() >= 0.5
    assert factors.max() <= 2
    assert factors.min() < 0.8
    assert factors.max() > 1.25
    assert np.abs(np.diff(factors, axis=1)).max() < 0.03
    assert 4 < (factors[:, 0] < 1).sum() < 20  # as often smaller as larger


def with_rare(colour: int) -> Sample:
    """A grey picture with a white square of 4x4 in a corner, of a class that is rare."""
    image, truth = np.full((*SIZE, 3), colour, np.uint8), halves()
    image[26:30, 42:46], truth[26:30, 42:46] = 250, 2
    return image, truth


@pytest.mark.parametrize(("rare", "least", "most"), [(0, 0, 10), (1, 24, 24)])
def test_crops_are_centred_on_what_is_rare(
    tmp_path: Path, rare: int, least: int, most: int
) -> None:
    settings = f"iterations=12 batch=2 crop=12x12 augment.rare={rare}"
    pictures = shown(tmp_path, [with_rare(50), with_rare(100)], settings)
    assert least <= sum(bool((p > 200).any()) for p in pictures) <= most


@pytest.mark.parametrize("paste", [0, 1])
def test_what_is_rare_is_pasted_over_other_pictures(tmp_path: Path, paste: int) -> None:
    without = np.full((*SIZE, 3), 50, np.uint8), halves()
    settings = f"iterations=16 batch=2 crop=32x48 augment.paste={paste}"
    pictures = shown(tmp_path, [with_rare(100), without], settings)
    dark = [p for p in pictures if p.min() < 75]
    assert len(dark) == 16
    pasted = [int((p > 200).all(2).sum()) for p in dark]
    assert set(pasted) == ({0, 16} if paste else {0})
