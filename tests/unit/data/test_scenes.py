"""Scenes: the same for everyone, and true to their camera."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.scenes.compose import scene
from pixelwise.data.scenes.worlds import SCENE_CLASSES, SCENE_PALETTE
from pixelwise.data.scenes.write import make_scenes
from pixelwise.errors import UsageError

FLOOR, WALL, CEILING, ROAD, GRASS = (
    SCENE_CLASSES.index(n) for n in ("floor", "wall", "ceiling", "road", "grass")
)


def points(made) -> np.ndarray:
    """(H, W, 3) camera coordinates in metres, from the depth alone; NaN where it is missing."""
    height, width = made.depth.shape
    v, u = np.mgrid[:height, :width]
    c = made.camera
    z = np.where(made.depth > 0, made.depth / 1000, np.nan)
    return np.stack([(u - c.cx) / c.fx * z, (v - c.cy) / c.fy * z, z], axis=2)


def test_a_scene_is_a_function_of_seed_and_index() -> None:
    one, again, other = scene(3, 8), scene(3, 8), scene(4, 8)
    for name in ("image", "depth", "semantic", "geometric"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
    assert not np.array_equal(one.image, other.image)
    assert one.world == "room"
    assert scene(3, 9).world == "street"


@pytest.mark.parametrize("index", range(6))
def test_level_surfaces_are_level_at_the_cameras_height(index: int) -> None:
    """The height along gravity of every floor or grass pixel is the camera's, to a millimetre."""
    made = scene(0, index)
    down = points(made) @ np.array(made.gravity)
    ground = FLOOR if made.world == "room" else GRASS
    seen = (made.semantic == ground) & (made.depth > 0)
    assert seen.sum() > 50
    # Depth is rounded to millimetres, and a far point moves by more along gravity.
    assert np.abs(down[seen] - made.camera.height).max() < 2e-3
    if made.world == "street":
        road = (made.semantic == ROAD) & (made.depth > 0)
        assert np.abs(down[road] - made.camera.height + 0.02).max() < 2e-3


def test_gravity_is_a_unit_vector_and_ceilings_are_above() -> None:
    made = scene(0, 2)
    assert np.linalg.norm(made.gravity) == pytest.approx(1)
    down = points(made) @ np.array(made.gravity)
    above = (made.semantic == CEILING) & (made.depth > 0)
    assert above.any()
    assert down[above].max() < 0
    assert np.ptp(down[above]) < 3e-3


def test_walls_stand_upright() -> None:
    """Normals from neighbouring points of a wall are level."""
    made = scene(0, 4)
    p = points(made)
    wall = (made.semantic == WALL) & (made.depth > 0)
    inner = wall[1:-1, 1:-1] & wall[:-2, 1:-1] & wall[2:, 1:-1] & wall[1:-1, :-2] & wall[1:-1, 2:]
    across, along = p[1:-1, 2:] - p[1:-1, :-2], p[2:, 1:-1] - p[:-2, 1:-1]
    normal = np.cross(across, along)[inner]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    assert len(normal) > 200
    assert np.median(np.abs(normal @ np.array(made.gravity))) < 0.05


def test_geometry_follows_from_meaning() -> None:
    for index in range(8):
        made = scene(1, index)
        for label, kinds in (
            (6, {0}),
            (FLOOR, {1}),
            (CEILING, {1}),
            (ROAD, {1}),
            (GRASS, {1}),
            (WALL, {2}),
            (5, {2}),
            (10, {2}),
        ):
            found = set(np.unique(made.geometric[made.semantic == label]).tolist())
            assert found <= kinds
        assert not made.depth[made.semantic == 6].any()


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (60, 20)])
def test_any_size(size: tuple[int, int]) -> None:
    made = scene(0, 1, size)
    assert made.image.shape == (*size, 3)
    assert made.depth.shape == made.semantic.shape == made.geometric.shape == size


def test_another_size_shows_the_same_view() -> None:
    small, large = scene(0, 3, (48, 64)), scene(0, 3, (96, 128))
    shrunk = large.semantic[::2, ::2]
    assert (shrunk == small.semantic).mean() > 0.93


def test_the_set_has_every_class_in_every_split(tmp_path: Path) -> None:
    dataset = open_dataset(make_scenes(tmp_path / "s", count=100, size=(48, 64)))
    assert {s: len(i) for s, i in dataset.splits.items()} == {"train": 70, "val": 10, "test": 20}
    found = inspect(dataset)
    assert not found.problems
    for split in ("train", "val", "test"):
        assert (found.counts("labels")[split].images_with > 0).all(), split
    pixels = found.counts("labels")["train"].pixels
    share = pixels / pixels.sum()
    assert share.min() > 0.005
    for folder in ("depth", "geometric", "labels", "images"):
        assert len(list((tmp_path / "s" / folder).iterdir())) == 100


def test_colours_are_apart() -> None:
    palette = np.array(SCENE_PALETTE, int)
    apart = np.abs(palette[:, None] - palette).sum(2) + 999 * np.eye(12, dtype=int)
    assert apart.min() > 60


def test_too_few_scenes_and_full_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 scenes"):
        make_scenes(tmp_path / "a", count=3)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        make_scenes(tmp_path / "b", count=20)
