"""A world looked at through a pinhole camera, lit, and put on film: the scene and its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.scenes import textures as paint
from pixelwise.data.scenes import worlds
from pixelwise.data.scenes.solids import Floats, Point

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at the origin; pixel centres are whole numbers."""

    fx: float
    fy: float
    cx: float
    cy: float
    height: float
    """Metres above the floor."""
    pitch: float
    """Radians, looking down is positive."""
    roll: float
    """Radians."""

    def rotation(self) -> Floats:
        """(3, 3): world directions to camera directions; no turn about the vertical."""
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        turned: Floats = roll @ pitch
        return turned

    def rays(self, size: tuple[int, int]) -> Floats:
        """(H*W, 3) world directions whose part along the camera's axis is 1."""
        v, u = np.mgrid[: size[0], : size[1]].reshape(2, -1)
        x, y = (u - self.cx) / self.fx, (v - self.cy) / self.fy
        turned: Floats = np.stack([x, y, np.ones(u.shape)], axis=1) @ self.rotation()
        return turned


@dataclass(frozen=True)
class Scene:
    """A picture and all that is true of it."""

    world: Literal["room", "street"]
    image: Bytes
    """(H, W, 3)."""
    depth: NDArray[np.uint16]
    """(H, W) millimetres along the camera's axis; 0 where a sensor would have missed it."""
    semantic: Bytes
    """(H, W) ids of ``SCENE_CLASSES``."""
    geometric: Bytes
    """(H, W) ids of ``GEOMETRIC_COLOURS``."""
    camera: Camera
    gravity: Point
    """Unit vector in camera coordinates (x right, y down, z forward)."""


def scene(seed: int, index: int, size: tuple[int, int] = (96, 128)) -> Scene:
    """Scene ``index`` of a seed; even ones are rooms, odd ones streets.

    Args:
        seed: of the data set.
        index: of the scene; any order gives the same scenes.
        size: (height, width); other sizes show the same view.
    """
    rng = np.random.default_rng([seed, index])
    noise = np.random.default_rng([seed, index, 1])  # of its own: sizes differ, scenes must not
    room = index % 2 == 0
    camera = _camera(rng, room, size)
    things = (worlds.room if room else worlds.street)(rng, camera.height)
    rays = camera.rays(size)
    colours = _sky(rng, rays)
    depth, normal, semantic = _nearest(things, rays, colours)
    lit = np.isfinite(depth)
    colours[lit] *= _light(rng, normal[lit], room)[:, None]
    if not room:
        haze = 1 - np.exp(-np.where(lit, depth, 0) / rng.uniform(60, 250))
        colours += haze[:, None] * (0.75 - colours)
    image = _film(rng, noise, colours, size)
    sensed = _sensed(noise, depth, normal, rays, size)
    geometric = _geometry(semantic, normal).reshape(size)
    x, y, z = (camera.rotation() @ np.array([0.0, 1.0, 0.0])).tolist()
    world: Literal["room", "street"] = "room" if room else "street"
    return Scene(world, image, sensed, semantic.reshape(size), geometric, camera, (x, y, z))


def _camera(rng: np.random.Generator, room: bool, size: tuple[int, int]) -> Camera:
    height, width = size
    zoom = rng.uniform(0.6, 0.85) if room else rng.uniform(0.75, 1.1)
    focal = zoom * max(width, 4 * height / 3)
    return Camera(
        focal,
        focal,
        (width - 1) / 2,
        (height - 1) / 2,
        height=rng.uniform(1.2, 1.7) if room else rng.uniform(1.4, 2.4),
        pitch=rng.uniform(-0.08, 0.2) if room else rng.uniform(-0.06, 0.12),
        roll=rng.normal(0, 0.03),
    )


def _nearest(
    things: Sequence[worlds.Thing], rays: Floats, colours: Floats
) -> tuple[Floats, Floats, Bytes]:
    """Depth, normal and class of what each ray meets first; its colours replace those given."""
    depth, normal = np.full(len(rays), np.inf), np.zeros(rays.shape)
    semantic = np.full(len(rays), worlds.SKY, np.uint8)
    for thing in things:
        hits = thing.solid(rays)
        won = hits.depth < depth
        depth[won], normal[won], semantic[won] = hits.depth[won], hits.normal[won], thing.label
        colours[won] = thing.texture(hits.u[won], hits.v[won])
    return depth, normal, semantic


def _geometry(semantic: Bytes, normal: Floats) -> Bytes:
    """(N,) ids of ``GEOMETRIC_COLOURS``; a box's level faces are horizontal, as a table is."""
    level = (np.abs(normal[:, 1]) > 0.9) & ~np.isin(semantic, worlds.ROUND)
    level |= np.isin(semantic, worlds.LEVEL)
    return np.select([semantic == worlds.SKY, level], [0, 1], 2).astype(np.uint8)


def _sky(rng: np.random.Generator, rays: Floats) -> Floats:
    """Blue to white towards the horizon, or overcast, with clouds."""
    up = np.clip(-rays[:, 1] / np.linalg.norm(rays, axis=1), 0, 1)
    blue = np.array([0.35, 0.58, 0.92]) if rng.random() < 0.7 else np.array([0.62, 0.66, 0.7])
    colours = paint.mixed(np.clip(up * 2.2, 0, 1), np.array([0.88, 0.92, 0.96]), blue)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(up > 0.02, 1 / np.maximum(up, 0.02), 50)
    cloud = paint.grain(rays[:, 0] * reach, rays[:, 2] * reach, 1.6, int(rng.integers(1 << 30)))
    share = np.clip((cloud - 0.55) * 3, 0, 0.8)
    return paint.mixed(share, np.zeros(3), np.ones(3)) + (1 - share[:, None]) * colours


def _light(rng: np.random.Generator, normal: Floats, room: bool) -> Floats:
    """Ambient and one direction."""
    sun = np.array([rng.uniform(-1, 1), -rng.uniform(0.5, 1.2), rng.uniform(-1, 0.2)])
    sun /= np.linalg.norm(sun)
    ambient = rng.uniform(0.45, 0.65)
    strength = rng.uniform(0.6, 1.05) if room else rng.uniform(0.75, 1.1)
    lit: Floats = strength * (ambient + (1 - ambient) * np.clip(normal @ sun, 0, 1) * 1.6)
    return lit


def _film(
    rng: np.random.Generator, noise: np.random.Generator, colours: Floats, size: tuple[int, int]
) -> Bytes:
    """White balance, vignette, noise, 8 bits."""
    balance = 1 + rng.normal(0, 0.04, 3)
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j].reshape(2, -1)
    vignette = 1 - 0.12 * (x * x + y * y)
    grainy = colours * balance * vignette[:, None] + noise.normal(0, 0.02, colours.shape)
    image: Bytes = (np.clip(grainy, 0, 1) * 255).round().astype(np.uint8)
    return image.reshape(*size, 3)


def _sensed(
    noise: np.random.Generator, depth: Floats, normal: Floats, rays: Floats, size: tuple[int, int]
) -> NDArray[np.uint16]:
    """Millimetres, with a depth camera's holes: far, grazing, at edges, here and there."""
    metres = np.where(np.isfinite(depth), depth, 0)
    slant = np.abs((normal * rays).sum(1)) / np.linalg.norm(rays, axis=1)
    missing = (metres > 65) | (slant < 0.06) | (noise.random(len(depth)) < 0.01)
    flat = metres.reshape(size)
    edge = np.zeros(size, bool)
    for values, marks in ((flat, edge), (flat.T, edge.T)):
        before, after = values[:-1], values[1:]
        marks[1:] |= np.abs(after - before) > 0.08 * np.minimum(before, after)
    missing |= edge.ravel() & (noise.random(len(depth)) < 0.7)
    millimetres = np.where(missing, 0, (metres * 1000).round())
    return millimetres.astype(np.uint16).reshape(size)
