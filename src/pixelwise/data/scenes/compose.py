"""Rooms and streets put together from solids, looked at through a pinhole camera, and lit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.scenes import textures as paint
from pixelwise.data.scenes.solids import Ball, Box, Floats, Hits, Plane, Post, Solid, Texture

SCENE_CLASSES = (
    "floor",
    "wall",
    "ceiling",
    "door",
    "furniture",
    "ball",
    "sky",
    "road",
    "grass",
    "building",
    "tree",
    "car",
)
SCENE_PALETTE = (
    (176, 137, 104),
    (222, 203, 164),
    (240, 240, 235),
    (140, 86, 75),
    (148, 103, 189),
    (255, 127, 14),
    (143, 197, 245),
    (110, 110, 120),
    (140, 200, 75),
    (214, 93, 93),
    (34, 120, 60),
    (31, 90, 200),
)
GEOMETRIC_CLASSES = ("sky", "horizontal", "vertical")
SKY, HORIZONTAL, VERTICAL = 0, 1, 2

World = Literal["room", "street"]


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
        cp, sp, cr, sr = (
            np.cos(self.pitch),
            np.sin(self.pitch),
            np.cos(self.roll),
            np.sin(self.roll),
        )
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        turned: Floats = roll @ pitch
        return turned

    def rays(self, size: tuple[int, int]) -> Floats:
        """(H*W, 3) world directions whose part along the camera's axis is 1."""
        v, u = np.mgrid[: size[0], : size[1]].reshape(2, -1)
        seen = np.stack(
            [(u - self.cx) / self.fx, (v - self.cy) / self.fy, np.ones(u.shape)], axis=1
        )
        turned: Floats = seen @ self.rotation()
        return turned


@dataclass(frozen=True)
class Scene:
    """A picture and all that is true of it."""

    world: World
    image: NDArray[np.uint8]
    """(H, W, 3)."""
    depth: NDArray[np.uint16]
    """(H, W) millimetres along the camera's axis; 0 where a sensor would have missed it."""
    semantic: NDArray[np.uint8]
    """(H, W) ids of ``SCENE_CLASSES``."""
    geometric: NDArray[np.uint8]
    """(H, W) ids of ``GEOMETRIC_CLASSES``."""
    camera: Camera
    gravity: tuple[float, float, float]
    """Unit vector in camera coordinates (x right, y down, z forward)."""


@dataclass(frozen=True)
class Thing:
    """A solid with its class and its surface; a box's level faces count as horizontal."""

    solid: Solid
    label: int
    texture: Texture
    level: bool = False
    """Horizontal whatever the normal says (floor, road), else by the normal for boxes."""


def scene(seed: int, index: int, size: tuple[int, int] = (96, 128)) -> Scene:
    """Scene ``index`` of a seed; even ones are rooms, odd ones streets.

    Args:
        seed: of the data set.
        index: of the scene; any order gives the same scenes.
        size: (height, width); other sizes show the same view.
    """
    rng = np.random.default_rng([seed, index])
    world: World = "room" if index % 2 == 0 else "street"
    camera = _camera(rng, world, size)
    things = _room(rng, camera) if world == "room" else _street(rng, camera)
    rays = camera.rays(size)
    noise = np.random.default_rng([seed, index, 1])  # of its own: sizes differ, scenes must not
    image, depth, semantic, geometric = _look(rng, noise, things, rays, world, size)
    g = camera.rotation() @ np.array([0.0, 1.0, 0.0])
    gravity = (float(g[0]), float(g[1]), float(g[2]))
    return Scene(world, image, depth, semantic, geometric, camera, gravity)


def _camera(rng: np.random.Generator, world: World, size: tuple[int, int]) -> Camera:
    height, width = size
    room = world == "room"
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


def _tone(rng: np.random.Generator, low: float = 0.25, high: float = 0.9) -> Floats:
    """A random colour, not too grey."""
    value, hue = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
    swing = rng.uniform(0.05, 0.35) * np.cos(hue + np.array([0, 2.09, 4.19]))
    return np.clip(value + swing, 0.03, 1)


def _surface(rng: np.random.Generator) -> Texture:
    """A random upright surface."""
    first, second = _tone(rng), _tone(rng)
    seed = int(rng.integers(1 << 30))
    match int(rng.integers(4)):
        case 0:
            return paint.stripes(first, 0.8 * first + 0.2 * second, rng.uniform(0.15, 0.5))
        case 1:
            return paint.bricks(
                first, np.full(3, rng.uniform(0.5, 0.8)), rng.uniform(0.07, 0.12), seed
            )
        case 2:
            return paint.planks(first, 0.7 * first + 0.3 * second, rng.uniform(0.15, 0.4), seed)
        case _:
            return paint.plain(first, seed)


# -- worlds ----------------------------------------------------------------------------------
def _room(rng: np.random.Generator, camera: Camera) -> list[Thing]:
    """Four walls, a floor and a ceiling turned a little, a door, furniture, balls."""
    h = camera.height
    wide, deep, high = rng.uniform(3.6, 6), rng.uniform(4.2, 7), rng.uniform(2.4, 3.0)
    turn = rng.uniform(-0.5, 0.5)
    c, s = np.cos(turn), np.sin(turn)
    back = deep / 2 - rng.uniform(0.4, 1.2)  # the camera stands near the wall behind it
    aside = rng.uniform(-0.2, 0.2) * wide
    centre = (c * aside - s * back, h - high / 2, s * aside + c * back)
    seed = int(rng.integers(1 << 30))
    floor = (
        paint.planks(_tone(rng, 0.3, 0.6), _tone(rng, 0.3, 0.6), rng.uniform(0.1, 0.25), seed)
        if rng.random() < 0.5
        else paint.checker(_tone(rng), _tone(rng, 0.5, 0.95), rng.uniform(0.25, 0.6))
    )
    above = paint.plain(np.full(3, rng.uniform(0.8, 0.97)), seed, 0.02)
    things = [
        Thing(Plane(h), 0, floor, level=True),
        Thing(Plane(h - high), 2, above, level=True),
        Thing(Box(centre, (wide, 40.0, deep), turn, inside=True), 1, _surface(rng)),
    ]
    frame = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])  # the room's axes to the world's

    def place(x: float, y: float, z: float) -> tuple[float, float, float]:
        p = frame @ np.array([x * wide / 2, 0, z * deep / 2]) + [centre[0], 0, centre[2]]
        return float(p[0]), y, float(p[2])

    for wall in rng.permutation(3)[: int(rng.integers(1, 3))]:  # doors, on walls that can be seen
        tall = rng.uniform(1.9, 2.15)
        if wall == 0:
            at, thin = place(rng.uniform(-0.6, 0.6), h - tall / 2, 0.985), (1.0, tall, 0.06)
        else:
            side = 0.985 if wall == 1 else -0.985
            at, thin = place(side, h - tall / 2, rng.uniform(0.2, 0.7)), (0.06, tall, 1.0)
        board = paint.planks(_tone(rng, 0.2, 0.6), _tone(rng, 0.2, 0.6), 0.25, seed + 3)
        things.append(Thing(Box(at, thin, turn), 3, board))
    for _ in range(int(rng.integers(2, 5))):
        w, t, d = rng.uniform(0.5, 1.4), rng.uniform(0.4, 1.4), rng.uniform(0.4, 0.9)
        at = place(rng.uniform(-0.75, 0.75), h - t / 2, rng.uniform(0.0, 0.85))
        box = Box(at, (w, t, d), turn + rng.choice([0, 0, rng.uniform(-0.6, 0.6)]))
        things.append(Thing(box, 4, _surface(rng)))
    for _ in range(int(rng.integers(1, 4))):
        r = rng.uniform(0.18, 0.42)
        x, y, z = place(rng.uniform(-0.7, 0.7), h - r, rng.uniform(-0.1, 0.6))
        two = paint.stripes(_tone(rng, 0.4, 0.9), _tone(rng, 0.4, 0.9), r * rng.uniform(0.6, 1.6))
        things.append(Thing(Ball((x, y, z), r), 5, two))
    return things


def _street(rng: np.random.Generator, camera: Camera) -> list[Thing]:
    """A road through grass, houses along it, trees, cars."""
    h, seed = camera.height, int(rng.integers(1 << 30))
    turn, wide = rng.uniform(-0.35, 0.35), rng.uniform(4.5, 8)
    shift = rng.uniform(-0.25, 0.25) * wide
    green = np.array([0.3, 0.5, 0.2]) * rng.uniform(0.7, 1.4) + rng.normal(0, 0.05, 3)
    grass = paint.meadow(np.clip(green * 0.6, 0, 1), np.clip(green * 1.3, 0, 1), seed)
    grey = np.full(3, rng.uniform(0.25, 0.55)) + rng.normal(0, 0.02, 3)
    c, s = np.cos(turn), np.sin(turn)

    def place(x: float, y: float, z: float) -> tuple[float, float, float]:
        return c * x - s * z, y, s * x + c * z

    road = Box(
        place(shift, h + 0.5, 200), (wide, 1.04, 480), turn
    )  # two centimetres above the grass
    things = [
        Thing(Plane(h), 8, grass, level=True),
        Thing(road, 7, _asphalt(grey, wide, seed), level=True),
    ]
    for side in (-1.0, 1.0):
        z = rng.uniform(6, 12)
        while z < 45:
            w, tall, long = rng.uniform(5, 9), rng.uniform(4, 11), rng.uniform(6, 12)
            if rng.random() < 0.7:
                x = shift + side * (wide / 2 + rng.uniform(2.5, 6) + w / 2)
                glass = np.array([0.25, 0.32, 0.42]) * rng.uniform(0.6, 1.5)
                front = paint.facade(
                    _surface(rng), glass, rng.uniform(2.4, 3.2), rng.uniform(1.8, 3)
                )
                house = Box(place(x, h - tall / 2, z + long / 2), (w, tall, long), turn)
                things.append(Thing(house, 9, front))
            z += long + rng.uniform(1, 6)
    for _ in range(int(rng.integers(2, 6))):
        side, z = float(rng.choice([-1, 1])), rng.uniform(6, 26)
        x, y, z = place(shift + side * (wide / 2 + rng.uniform(0.8, 3.0)), h, z)
        stem, crown = rng.uniform(1.2, 2.4), rng.uniform(0.9, 1.9)
        leaf = np.array([0.2, 0.42, 0.16]) * rng.uniform(0.6, 1.4) + rng.normal(0, 0.06, 3)
        bark = paint.plain(np.array([0.35, 0.25, 0.18]) * rng.uniform(0.7, 1.3), seed, 0.3)
        leaves = paint.meadow(np.clip(leaf * 0.5, 0, 1), np.clip(leaf * 1.3, 0, 1), seed + 5)
        stretch = rng.uniform(0.9, 1.5)
        things.append(Thing(Post(x, z, 0.09 * crown + 0.08, y - stem - 0.5, y), 10, bark))
        top = Ball((x, y - stem - crown * stretch * 0.8, z), crown, stretch)
        things.append(Thing(top, 10, leaves))
    for _ in range(int(rng.integers(1, 4))):
        x, _, z = place(
            shift + float(rng.choice([-1, 1])) * wide * rng.uniform(0.2, 0.36),
            0,
            rng.uniform(5.5, 20),
        )
        coat = paint.plain(_tone(rng, 0.2, 0.85), seed + 9, 0.03)
        dark = paint.plain(np.array([0.12, 0.14, 0.18]), seed + 10)
        things.append(Thing(Box((x, h - 0.62, z), (1.75, 0.75, 4.1), turn), 11, _wheels(coat)))
        things.append(Thing(Box((x, h - 1.2, z + 0.2), (1.5, 0.55, 2.1), turn), 11, dark))
        things.append(Thing(Box((x, h - 1.5, z + 0.2), (1.5, 0.08, 2.1), turn), 11, coat))
        things.append(Thing(Box((x, h - 0.16, z), (1.6, 0.3, 3.6), turn), 11, dark))
    return things


def _asphalt(grey: Floats, wide: float, seed: int) -> Texture:
    def texture(u: Floats, v: Floats) -> Floats:
        rough = 0.85 + 0.3 * paint.grain(u, v, 0.2, seed)
        dash = (np.abs(u) < 0.09) & (v / 4 % 1 < 0.5)
        kerb = np.abs(np.abs(u) - wide / 2 + 0.25) < 0.07
        return np.where((dash | kerb)[:, None], 0.85, grey * rough[:, None])

    return texture


def _wheels(coat: Texture) -> Texture:
    def texture(u: Floats, v: Floats) -> Floats:
        wheel = (np.hypot(np.abs(u) - 1.3, v - 0.75) < 0.33) & (np.abs(u) > 0.9)
        return np.where(wheel[:, None], 0.08, coat(u, v))

    return texture


# -- light -----------------------------------------------------------------------------------
def _look(
    rng: np.random.Generator,
    noise: np.random.Generator,
    things: list[Thing],
    rays: Floats,
    world: World,
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint8]]:
    """Nearest hits, shaded; what a depth sensor would have seen of them; their classes."""
    count = len(rays)
    depth, normal = np.full(count, np.inf), np.zeros((count, 3))
    colours, semantic = _sky(rng, rays), np.full(count, 6, np.uint8)
    geometric = np.full(count, SKY, np.uint8)
    for thing in things:
        hits = thing.solid.hit(rays)
        won = hits.depth < depth
        if not won.any():
            continue
        depth[won], normal[won] = hits.depth[won], hits.normal[won]
        colours[won] = np.broadcast_to(thing.texture(hits.u[won], hits.v[won]), (won.sum(), 3))
        semantic[won] = thing.label
        geometric[won] = _geometry(thing, hits)[won]
    lit = np.isfinite(depth)
    colours[lit] *= _light(rng, normal[lit], world)[:, None]
    if world == "street":
        haze = 1 - np.exp(-np.where(lit, depth, 0) / rng.uniform(60, 250))
        colours += haze[:, None] * (0.75 - colours)
    image = _film(rng, noise, colours, size)
    sensed = _sensed(noise, depth, normal, rays, size)
    return image, sensed, semantic.reshape(size), geometric.reshape(size)


def _geometry(thing: Thing, hits: Hits) -> NDArray[np.uint8]:
    level = np.abs(hits.normal[:, 1]) > 0.9 if isinstance(thing.solid, Box) else np.False_
    return np.where(level | thing.level, HORIZONTAL, VERTICAL).astype(np.uint8) * np.ones(
        len(hits.depth), np.uint8
    )


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


def _light(rng: np.random.Generator, normal: Floats, world: World) -> Floats:
    """Ambient and one direction."""
    sun = np.array([rng.uniform(-1, 1), -rng.uniform(0.5, 1.2), rng.uniform(-1, 0.2)])
    sun /= np.linalg.norm(sun)
    ambient = rng.uniform(0.45, 0.65)
    strength = rng.uniform(0.75, 1.1) if world == "street" else rng.uniform(0.6, 1.05)
    lit: Floats = strength * (ambient + (1 - ambient) * np.clip(normal @ sun, 0, 1) * 1.6)
    return lit


def _film(
    rng: np.random.Generator, noise: np.random.Generator, colours: Floats, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """White balance, vignette, noise, 8 bits."""
    balance = 1 + rng.normal(0, 0.04, 3)
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j].reshape(2, -1)
    vignette = 1 - 0.12 * (x * x + y * y)
    grainy = colours * balance * vignette[:, None] + noise.normal(0, 0.02, colours.shape)
    image: NDArray[np.uint8] = (np.clip(grainy, 0, 1) * 255).round().astype(np.uint8)
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
    for axis in (0, 1):
        step = np.abs(np.diff(flat, axis=axis)) > 0.08 * np.minimum(
            *(np.delete(flat, i, axis=axis) for i in (0, -1))
        )
        where = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        edge[where] |= step
    missing |= edge.ravel() & (noise.random(len(depth)) < 0.7)
    millimetres = np.where(missing, 0, (metres * 1000).round())
    return millimetres.astype(np.uint16).reshape(size)
