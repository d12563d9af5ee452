"""HHA: the published bytes, the slow obvious way, and rooms of which everything is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from pixelwise.data.hha import (
    COARSE,
    FINE,
    NYUD,
    Camera,
    gravity,
    hha,
    measure,
    normals,
    nyud_camera,
    rotated_y,
)
from pixelwise.data.scenes import compose
from pixelwise.data.scenes.compose import scene
from pixelwise.data.scenes.solids import box, plane
from pixelwise.data.scenes.worlds import CEILING, FLOOR, WALL
from pixelwise.errors import DataError

Stored = Callable[[str], np.ndarray]
SMALL = Camera(30.0, 32.0, 15.3, 11.8)


@pytest.fixture
def stored(real_data: Path) -> Callable[[str], np.ndarray]:
    def read(name: str) -> np.ndarray:
        with Image.open(real_data / "hha" / name) as image:
            return np.asarray(image)

    return read


def test_the_bytes_of_the_authors_matlab_code_come_out(stored: Stored) -> None:
    """One NYUDv2 frame, in-painted depth in tenths of a millimetre (Depth2HHA-python's demo)."""
    made = hha(stored("0.png"), unit=0.0001)
    assert np.array_equal(made, stored("matlab_hha.png"))


def test_with_raw_depth_the_published_port_agrees_wherever_there_is_a_plane(stored: Stored) -> None:
    """Windows with less than a plane give the port rounding noise, and here 218."""
    depth, raw, port = stored("0.png"), stored("0_raw.png"), stored("hha.png")
    made = hha(depth, raw, unit=0.0001)
    known = raw > 0
    field = normals(np.where(known, 1 / (depth * 0.01), 0), known, NYUD, FINE)
    plane_there = ~np.isnan(field[0])
    apart = np.abs(made.astype(int) - port)
    assert apart[..., 0].max() == 0
    assert apart[..., 1].max() <= 1  # gravity turns by 0.02 degrees with the noise of such windows
    assert apart[plane_there].max() <= 1
    assert (apart[plane_there] == 0).mean() > 0.998
    assert (made[~plane_there][:, 2] == 218).all()
    nothing_around = ~seen_around(known)
    assert (port[nothing_around][:, 2] == 218).all()


def seen_around(known: np.ndarray) -> np.ndarray:
    """Whether anything is known in the 7x7 window."""
    return sliding_window_view(np.pad(known, FINE), (7, 7)).any(axis=(2, 3))


def slow_normals(z: np.ndarray, known: np.ndarray, camera: Camera, radius: int) -> np.ndarray:
    """n . P = 1 by least squares in 1/Z, window by window (computeNormalsSquareSupport.m)."""
    height, width = z.shape
    field = np.full((3, height, width), np.nan)
    for row in range(height):
        for column in range(width):
            rows = slice(max(0, row - radius), row + radius + 1)
            columns = slice(max(0, column - radius), column + radius + 1)
            v, u = np.nonzero(known[rows, columns])
            v, u = v + rows.start, u + columns.start
            a = np.stack(
                [(u + 1 - camera.cx) / camera.fx, (v + 1 - camera.cy) / camera.fy, np.ones(len(u))],
                axis=1,
            )
            if len(u) < 3 or np.linalg.matrix_rank(a) < 3:
                continue
            n = np.linalg.lstsq(a, 1 / z[v, u], rcond=None)[0]
            field[:, row, column] = n / np.linalg.norm(n)
    return field


@pytest.mark.parametrize("radius", [1, FINE, COARSE])
def test_normals_equal_a_least_squares_fit_in_each_window(radius: int) -> None:
    rng = np.random.default_rng(radius)
    z = rng.uniform(100, 400, (18, 25))
    known = rng.random(z.shape) < (0.3 if radius == 1 else 0.6)
    known[:9, :9] = False  # a hole in which smaller windows see nothing
    known[12:, 15:] = False
    known[12, 15:] = True  # a row: points on a line make no plane
    made = normals(np.where(known, 1 / z, 0), known, SMALL, radius)
    slow = slow_normals(z, known, SMALL, radius)
    assert np.array_equal(np.isnan(made), np.isnan(slow))
    assert np.isnan(slow).any() == (radius < COARSE)
    assert np.nanmax(np.abs(made - slow)) < 1e-8


def bare_room(
    size: tuple[int, int], pitch: float, roll: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Camera, np.ndarray]:
    """Depth and height (m), true normals in the world's axes, camera and gravity."""
    focal = 0.9 * size[1]
    middle = (size[1] / 2, size[0] / 2)
    view = compose.Camera(focal, focal, *middle, height=1.4, pitch=pitch, roll=roll)
    rays = view.rays(size)
    walls = box((0.3, 0.0, 1.2), (4.4, 40.0, 5.0), 0.3, inside=True)(rays)
    every = (plane(1.4)(rays), plane(1.4 - 2.6)(rays), walls)
    nearest = np.argmin([hits.depth for hits in every], axis=0)
    depth = np.min([hits.depth for hits in every], axis=0)
    normal = np.stack([hits.normal for hits in every])[nearest, np.arange(len(rays))]
    camera = Camera(focal, focal, middle[0] + 1, middle[1] + 1)  # which counts from 1
    height = (1.4 - rays[:, 1] * depth).reshape(size)
    down = view.rotation() @ [0.0, 1.0, 0.0]
    return depth.reshape(size), height, normal.reshape(*size, 3), camera, down


@pytest.mark.parametrize(("pitch", "roll"), [(0.0, 0.0), (0.15, -0.04), (0.3, 0.1)])
def test_a_bare_room_is_measured_as_it_is(pitch: float, roll: float) -> None:
    depth, height, normal, camera, down = bare_room((240, 320), pitch, roll)
    found = measure(depth, np.ones(depth.shape, bool), camera)
    off = np.degrees(np.arccos(min(1.0, float(found.gravity @ down))))
    assert off < 0.25
    assert abs(found.depth - 100 * depth).max() < 1e-9
    assert height.min() < 1e-9  # it sees the floor
    farthest = 100 * (depth * np.hypot(1, 0.7)).max()
    assert abs(found.height - 100 * height).max() < 2 * farthest * np.radians(off) + 1e-6
    true = np.degrees(np.arccos(np.clip(-normal[..., 1], -1, 1)))  # of planes that look at us
    windows = sliding_window_view(normal, (7, 7), axis=(0, 1))
    alone = (abs(windows - windows[..., :1, :1]).max(axis=(2, 3, 4)) < 1e-9)[..., None]
    one_plane = np.pad(alone[..., 0], FINE)
    assert one_plane.mean() > 0.7
    assert abs(found.angle - true)[one_plane].max() < off + 1e-6
    bands = found.bands()[..., 2][one_plane]
    for degrees, value in ((0, 38), (90, 128)):
        near = bands[abs(true[one_plane] - degrees) < 1]
        assert near.size > 1000
        assert set(near.tolist()) <= {value - 1, value, value + 1}
        assert (near == value).mean() > 0.9


def test_made_rooms_have_floors_of_38_walls_of_128_and_ceilings_of_218() -> None:
    """480x640, holes and furniture included; depth is whole millimetres."""
    size = 480, 640
    for index in (0,):
        made = scene(0, index, size)
        view = made.camera
        camera = Camera(view.fx, view.fy, view.cx + 1, view.cy + 1)
        known = made.depth > 0
        found = measure(made.depth * 0.001, known, camera)
        assert np.degrees(np.arccos(found.gravity @ np.array(made.gravity))) < 0.5
        bands = found.bands().astype(int)
        for label, value in ((FLOOR, 38), (WALL, 128), (CEILING, 218)):
            if (made.semantic == label).sum() > 1000:
                assert abs(np.median(bands[made.semantic == label, 2]) - value) <= 1
        rise = view.height - view.rays(size)[:, 1].reshape(size) * made.depth * 0.001
        assert abs(found.height - 100 * rise)[known].max() < 2  # cm; 0.2 degrees at 5 m
        disparity = np.floor(31000 / np.maximum(made.depth[known] / 10, 100) + 0.5)
        assert np.array_equal(bands[known][:, 0], np.minimum(disparity, 255))


def test_missing_depth_is_near_and_upside_down_as_matlab_makes_it() -> None:
    """ch0 = 31000 / max(0, 100) saturates, NaN angles become 180 + 38, heights that of the lens."""
    depth, *_, camera, _ = bare_room((60, 80), 0.2, 0.0)
    counts = (1000 * depth).round().astype(np.uint16)
    counts[20:40, 30:50] = 0
    made = hha(counts, camera=camera)
    middle = made[24:36, 34:46]
    assert (middle[..., 0] == 255).all()
    assert (middle[..., 2] == 218).all()
    assert np.ptp(middle[..., 1]) == 0
    # Filled in, but known to be missing: disparity and height are there, planes are not.
    filled = np.where(counts == 0, 2000, counts).astype(np.uint16)
    made = hha(filled, counts, camera=camera)
    assert (made[24:36, 34:46, 0] == 155).all()  # 31000 / 200
    assert (made[24:36, 34:46, 2] == 218).all()


def test_channels_by_hand() -> None:
    """A wall straight ahead at 2 m: 155; heights of 130 cm at the lens; 90 + 38 degrees."""
    camera = Camera(100.0, 100.0, 20.0, 15.0)
    made = hha(np.full((29, 39), 2000, np.uint16), camera=camera)
    assert made[14, 19].tolist() == [155, 130, 128]
    assert made[13, 19].tolist() == [155, 132, 128]  # a pixel is 2 cm
    assert hha(np.full((29, 39), 1216, np.uint16), camera=camera)[14, 19, 0] == 255  # 254.93
    assert hha(np.full((29, 39), 1240, np.uint16), camera=camera)[14, 19, 0] == 250
    assert hha(np.full((29, 39), 400, np.uint16), camera=camera)[14, 19, 0] == 255


def test_metres_in_float32_say_the_same_as_millimetres() -> None:
    depth, *_, camera, _ = bare_room((60, 80), 0.2, 0.0)
    counts = (1000 * depth).round().astype(np.uint16)
    metres = counts.astype(np.float32) / 1000
    apart = hha(metres, unit=1.0, camera=camera).astype(int) - hha(counts, camera=camera)
    assert abs(apart).max() <= 1


def test_gravity_is_the_direction_across_floors_and_along_walls() -> None:
    down = np.array([0.1, 0.97, 0.2]) / np.linalg.norm([0.1, 0.97, 0.2])
    side = np.cross(down, [0, 0, 1])
    walls = np.stack([side / np.linalg.norm(side), np.cross(down, side / np.linalg.norm(side))])
    field = np.concatenate([np.repeat(down[:, None], 40, 1), np.repeat(walls.T, 30, 1)], axis=1)
    field = np.concatenate([field, np.full((3, 9), np.nan)], axis=1)[:, None]
    assert gravity(field) == pytest.approx(down, abs=1e-9)
    assert gravity(np.full((3, 4, 4), np.nan)).tolist() == [0, 1, 0]
    tilted = np.array([0, np.cos(np.radians(0.09)), np.sin(np.radians(0.09))])
    assert rotated_y(tilted).tolist() == [0, 1, 0]
    assert rotated_y(down) is down


def test_the_cut_of_425x560_has_the_camera_of_the_cut(stored: Stored) -> None:
    """Rows 46 to 470 and columns 41 to 600, counted from 1 (nyu-hooks, cropIt.m)."""
    whole, cut = nyud_camera((480, 640)), nyud_camera((425, 560))
    assert whole == NYUD
    assert (cut.cx, cut.cy) == (pytest.approx(285.58244941), pytest.approx(208.73616633))
    inverse = 1 / (stored("0.png") * 0.01)
    rows, columns = slice(45, 470), slice(40, 600)
    known, inner = np.ones((425, 560), bool), np.s_[:, FINE:-FINE, FINE:-FINE]
    field = normals(inverse, np.ones((480, 640), bool), whole, FINE)[:, rows, columns][inner]
    made = normals(inverse[rows, columns], known, cut, FINE)[inner]
    assert abs(made - field).max() < 1e-7
    assert abs(normals(inverse[rows, columns], known, whole, FINE)[inner] - field).max() > 0.05
    part = np.ascontiguousarray(stored("0.png")[rows, columns])
    assert np.array_equal(hha(part, unit=0.0001), hha(part, unit=0.0001, camera=cut))


def test_depth_that_is_missing_everywhere_or_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"depth is missing \(0\) everywhere") as caught:
        hha(np.zeros((8, 8), np.uint16))
    assert caught.value.code == "D019"
    with pytest.raises(DataError, match=r"depth is 8x8, raw depth 8x9 \(HxW\)") as caught:
        hha(np.ones((8, 8), np.uint16), np.ones((8, 9), np.uint16))
    assert caught.value.code == "D013"


def test_a_depth_picture_of_one_pixel_has_no_plane() -> None:
    assert hha(np.full((1, 1), 2000, np.uint16), camera=SMALL)[0, 0, [0, 2]].tolist() == [155, 218]


def test_the_authors_demo_frame_is_encoded_with_its_raw_depth(stored: Stored) -> None:
    """560x425, millimetres: a real frame in the size of FCN's NYUDv2 (rcnn-depth's demo)."""
    depth, raw = stored("rcnn_depth_demo/depth.png"), stored("rcnn_depth_demo/rawdepth.png")
    made = hha(depth, raw)
    assert made.shape == (425, 560, 3)
    found = measure(depth * 0.001, raw > 0, nyud_camera((425, 560)))
    assert np.array_equal(made, found.bands())
    assert found.gravity[1] > 0.8  # a camera held upright
    share = [(np.abs(found.angle - a) < 10).mean() for a in (0, 90)]
    assert min(share) > 0.05  # floors or tables, and walls
