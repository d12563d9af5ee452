"""HHA: depth as horizontal disparity, height above ground and angle with gravity.

Gupta, Girshick, Arbelaez, Malik, "Learning Rich Features from RGB-D Images", ECCV 2014, as its
authors' MATLAB code computes it (s-gupta/rcnn-depth ``saveHHA.m``, s-gupta/rgbdutils; fact sheet
8): the bytes of the published example come out. FCN's NYUDv2 nets are trained on it.

A point of the picture lies at X = (u - cx) Z / fx, Y = (v - cy) Z / fy: x right, y down, z forward,
in centimetres. Where depth is missing no plane is fitted; what then has no plane gets an angle of
180 degrees, as MATLAB's ``max`` and ``min`` make of NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, hxw

Floats = NDArray[np.float64]

BANDS = ("disparity", "height", "angle")
FINE, COARSE = 3, 10
"""Radii of the windows of a plane: 7x7 for the angle, 21x21 for gravity (processDepthImage.m)."""
ROUNDS = (45.0, 15.0)
"""Degrees within which a plane counts as level or upright, one round of gravity each."""
TURNS = 5  # of each round (processDepthImage.m)
LEAST_TURN = 0.1  # degrees; below it the cloud is left as it is (getRMatrix.m)
ALIKE = 1e-9  # eigenvalues this near, of the largest, are one but for rounding
EYE_LEVEL = 130.0  # cm above ground that a camera is taken to be at where it sees none below -90
NEAREST = 100.0  # cm; disparity grows no further
NYUD_SIZES = {(480, 640): (0, 0), (425, 560): (40, 45)}
"""Of whole frames, and of Gupta's cut without the white border: columns and rows that it drops."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; pixels are counted from 1, as MATLAB does."""

    fx: float
    fy: float
    cx: float
    cy: float


NYUD = Camera(518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465)
"""The colour camera of NYUDv2's toolbox, to which its depth is aligned, for 480x640."""


@dataclass(frozen=True, eq=False)
class Measures:
    """What HHA is made of, before it is rounded to bytes."""

    depth: Floats
    """(H, W) centimetres; 0 where it is missing."""
    height: Floats
    """(H, W) centimetres above the lowest point."""
    angle: Floats
    """(H, W) degrees between a surface's normal and gravity: 0 floor, 90 wall, 180 ceiling."""
    gravity: Floats
    """(3,) unit vector in the camera's axes."""

    def bands(self) -> NDArray[np.uint8]:
        """(H, W, 3) as saveHHA.m writes them: 31000 / cm, cm, degrees + 38, rounded."""
        disparity = 31000 / np.maximum(self.depth, NEAREST)
        stack = np.stack([disparity, self.height, self.angle + 128 - 90], axis=2)
        # MATLAB rounds halves up, numpy to the even number.
        return np.clip(np.floor(stack + 0.5), 0, 255).astype(np.uint8)


def nyud_camera(size: tuple[int, int]) -> Camera:
    """NYUDv2's for a picture of this (height, width): of the cut of 425x560 it is the cut's."""
    left, top = NYUD_SIZES.get(size, (0, 0))
    return Camera(NYUD.fx, NYUD.fy, NYUD.cx - left, NYUD.cy - top)


def hha(
    depth: NDArray[Any],
    raw: NDArray[Any] | None = None,
    *,
    unit: float = 0.001,
    camera: Camera | None = None,
) -> NDArray[np.uint8]:
    """The HHA picture of a depth picture.

    Args:
        depth: (H, W), filled in where the sensor saw nothing; what is left at 0 is missing.
        raw: (H, W) as the sensor gave it, whose zeros count as missing too.
        unit: metres of one count.
        camera: by default ``nyud_camera`` of the size.

    Returns:
        (H, W, 3) uint8, the bands of ``BANDS``; they are no colours and have no other order.

    Raises:
        DataError: D013 sizes differ; D019 depth is missing everywhere.
    """
    if raw is not None and raw.shape != depth.shape:
        message = f"depth is {hxw(depth.shape)}, raw depth {hxw(raw.shape)} (HxW)"
        raise DataError("D013", f"{message}; expected the same size", "cut both alike")
    known = depth > 0 if raw is None else (depth > 0) & (raw > 0)
    size = depth.shape[0], depth.shape[1]
    metres = depth.astype(np.float64) * unit
    return measure(metres, known, camera or nyud_camera(size)).bands()


def measure(metres: Floats, known: NDArray[np.bool_], camera: Camera) -> Measures:
    """Height, angle and gravity from depth.

    Args:
        metres: (H, W).
        known: (H, W), where a sensor measured it: only there planes are fitted.
        camera: of the picture.

    Raises:
        DataError: D019 nothing is known.
    """
    if not known.any():
        message = "depth is missing (0) everywhere, expected a depth picture"
        raise DataError("D019", message, "check which file holds depth")
    z = metres * 100
    u, v = np.arange(1.0, z.shape[1] + 1), np.arange(1.0, z.shape[0] + 1)[:, None]
    x, y = (u - camera.cx) * z / camera.fx, (v - camera.cy) * z / camera.fy
    inverse = np.divide(1.0, z, out=np.zeros_like(z), where=known)
    down = gravity(_outwards(normals(inverse, known, camera, COARSE), x, y, z))
    fine = _outwards(normals(inverse, known, camera, FINE), x, y, z)
    along = rotated_y(down)
    height = -(along[0] * x + along[1] * y + along[2] * z)
    lowest = height.min()
    height -= lowest if lowest <= -90 else -EYE_LEVEL
    cosine = np.clip(np.einsum("c,chw->hw", down, fine), -1, 1)
    angle = np.nan_to_num(np.degrees(np.arccos(cosine)), copy=False, nan=180.0)
    return Measures(z, height, angle, down)


def normals(
    inverse: Floats, known: NDArray[np.bool_], camera: Camera, radius: int
) -> NDArray[np.float64]:
    """The plane through what is known around each pixel, as its unit normal.

    n . (X, Y, Z) = 1 is 1/Z = nx (u - cx)/fx + ny (v - cy)/fy + nz: linear in the pixel, so a
    regression of 1/Z on u and v over the window gives the same plane as MATLAB's moments of X/Z
    and Y/Z. Moments of u, v are whole numbers, and a window without a plane has exactly none.

    Args:
        inverse: (H, W) 1/Z, 0 where it is not known.
        known: (H, W).
        camera: of the picture.
        radius: of the square window; beyond the border nothing is known.

    Returns:
        (3, H, W); NaN where less than three points, or all on a line, are known.
    """
    u, v = np.arange(1.0, known.shape[1] + 1), np.arange(1.0, known.shape[0] + 1)[:, None]
    ones = known.astype(np.float64)
    n0, n1, n2 = (_box(rows, radius, 0) for rows in (ones, ones * v, ones * v * v))
    i0, i1 = _box(inverse, radius, 0), _box(inverse * v, radius, 0)
    n, nu, nuu = (_box(c, radius, 1) for c in (n0, n0 * u, n0 * u * u))
    nv, nuv, nvv = (_box(c, radius, 1) for c in (n1, n1 * u, n2))
    i, iu, iv = (_box(c, radius, 1) for c in (i0, i0 * u, i1))
    uu, uv, vv = n * nuu - nu * nu, n * nuv - nu * nv, n * nvv - nv * nv
    ui, vi = n * iu - nu * i, n * iv - nv * i
    spread = uu * vv - uv * uv
    p, q = vv * ui - uv * vi, uu * vi - uv * ui  # slopes, times ``spread``
    with np.errstate(divide="ignore", invalid="ignore"):
        level = (i * spread - p * nu - q * nv) / n + p * camera.cx + q * camera.cy
        field = np.stack([p * camera.fx, q * camera.fy, level])
        length = np.sqrt((field * field).sum(0))
        length[spread == 0] = np.nan
        field /= length
    return field


def _box(values: Floats, radius: int, axis: int) -> Floats:
    """Sums over 2 ``radius`` + 1 neighbours on an axis; zeros lie beyond the ends."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (radius + 1, radius)
    running = np.moveaxis(np.pad(values, pad).cumsum(axis), axis, 0)
    width = 2 * radius + 1
    sums: Floats = np.moveaxis(running[width:] - running[:-width], 0, axis)
    return sums


def _outwards(field: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
    """Normals that point away from the camera; first into the picture, where that is not decided.

    MATLAB's two signs, with 0 counted as 1; depth that was filled in decides too.
    """
    field *= np.where(field[2] < 0, -1.0, 1.0)
    field *= np.where(field[0] * x + field[1] * y + field[2] * z < 0, -1.0, 1.0)
    return field


def gravity(field: Floats) -> Floats:
    """The direction that floors are across and walls along, from normals (3, H, W) (getYDir.m).

    From straight down in the picture, each turn takes the planes within some degrees of level or
    upright and the direction that fits them best: the smallest eigenvector of the walls' scatter
    less the floors'. Where several fit as well (one wall alone is all that is seen) it is the one
    nearest to the last.
    """
    flat = field.reshape(3, -1)
    flat = flat[:, ~np.isnan(flat[0])]
    down = np.array([0.0, 1.0, 0.0])
    for degrees in (t for t in ROUNDS for _ in range(TURNS)):
        across = np.abs(down @ flat)
        near = np.radians(degrees)
        side = (across < np.sin(near)).astype(np.float64) - (across > np.cos(near))
        if not side.any():  # nothing speaks for another direction
            break
        values, vectors = np.linalg.eigh((flat * side) @ flat.T)
        best = vectors[:, values - values[0] <= ALIKE * np.abs(values).max()]
        nearest = best @ (best.T @ down)
        if not nearest.any():
            break
        down = nearest / np.linalg.norm(nearest)
    return down


def rotated_y(down: Floats) -> Floats:
    """The y axis of the cloud turned so that ``down`` is (0, 1, 0) (getRMatrix.m, rotatePC.m).

    Turning by the least angle takes ``down`` itself to y; below 0.1 degrees nothing is turned.
    """
    level = np.array([0.0, 1.0, 0.0])
    turn = np.degrees(np.arccos(np.clip(down @ level, -1, 1)))
    return down if turn > LEAST_TURN else level
