"""What stands in a room and along a street: solids with classes and surfaces, drawn by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixelwise.data.scenes import textures as paint
from pixelwise.data.scenes.solids import Floats, Point, Solid, ball, box, plane, post

SCENE_COLOURS = {
    "floor": (176, 137, 104),
    "wall": (222, 203, 164),
    "ceiling": (240, 240, 235),
    "door": (140, 86, 75),
    "furniture": (148, 103, 189),
    "ball": (255, 127, 14),
    "sky": (143, 197, 245),
    "road": (110, 110, 120),
    "grass": (140, 200, 75),
    "building": (214, 93, 93),
    "tree": (34, 120, 60),
    "car": (31, 90, 200),
}
"""Class to colour, in the order of the labels."""
SCENE_CLASSES, SCENE_PALETTE = tuple(SCENE_COLOURS), tuple(SCENE_COLOURS.values())
FLOOR, WALL, CEILING, DOOR, FURNITURE, BALL, SKY, ROAD, GRASS, BUILDING, TREE, CAR = range(12)
GEOMETRIC_COLOURS = {
    "sky": (143, 197, 245),
    "horizontal": (120, 180, 90),
    "vertical": (200, 90, 80),
}
LEVEL = (FLOOR, CEILING, ROAD, GRASS)
"""Classes that are horizontal whatever the normal says: the road is a flat box."""
ROUND = (BALL, TREE)
"""Classes that are vertical whatever the normal says."""


@dataclass(frozen=True)
class Thing:
    """A solid with its class and its surface."""

    solid: Solid
    label: int
    texture: paint.Texture


def room(rng: np.random.Generator, h: float) -> list[Thing]:
    """Four walls, a floor and a ceiling turned a little, a door, furniture, balls."""
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
        Thing(plane(h), FLOOR, floor),
        Thing(plane(h - high), CEILING, above),
        Thing(box(centre, (wide, 40.0, deep), turn, inside=True), WALL, _surface(rng)),
    ]
    frame = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])  # the room's axes to the world's

    def place(x: float, y: float, z: float) -> Point:
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
        things.append(Thing(box(at, thin, turn), DOOR, board))
    for _ in range(int(rng.integers(2, 5))):
        w, t, d = rng.uniform(0.5, 1.4), rng.uniform(0.4, 1.4), rng.uniform(0.4, 0.9)
        at = place(rng.uniform(-0.75, 0.75), h - t / 2, rng.uniform(0.0, 0.85))
        block = box(at, (w, t, d), turn + rng.choice([0, 0, rng.uniform(-0.6, 0.6)]))
        things.append(Thing(block, FURNITURE, _surface(rng)))
    for _ in range(int(rng.integers(1, 4))):
        r = rng.uniform(0.18, 0.42)
        x, y, z = place(rng.uniform(-0.7, 0.7), h - r, rng.uniform(-0.1, 0.6))
        two = paint.stripes(_tone(rng, 0.4, 0.9), _tone(rng, 0.4, 0.9), r * rng.uniform(0.6, 1.6))
        things.append(Thing(ball((x, y, z), r), BALL, two))
    return things


def street(rng: np.random.Generator, h: float) -> list[Thing]:
    """A road through grass, houses along it, trees, cars."""
    seed = int(rng.integers(1 << 30))
    turn, wide = rng.uniform(-0.35, 0.35), rng.uniform(4.5, 8)
    shift = rng.uniform(-0.25, 0.25) * wide
    green = np.array([0.3, 0.5, 0.2]) * rng.uniform(0.7, 1.4) + rng.normal(0, 0.05, 3)
    grass = paint.meadow(np.clip(green * 0.6, 0, 1), np.clip(green * 1.3, 0, 1), seed)
    grey = np.full(3, rng.uniform(0.25, 0.55)) + rng.normal(0, 0.02, 3)
    c, s = np.cos(turn), np.sin(turn)

    def place(x: float, y: float, z: float) -> Point:
        return c * x - s * z, y, s * x + c * z

    # Two centimetres above the grass, so that rays meet the road first.
    road = box(place(shift, h + 0.5, 200), (wide, 1.04, 480), turn)
    things = [
        Thing(plane(h), GRASS, grass),
        Thing(road, ROAD, paint.asphalt(grey, wide, seed)),
    ]
    for side in (-1.0, 1.0):
        z = rng.uniform(6, 12)
        while z < 45:
            w, tall, long = rng.uniform(5, 9), rng.uniform(4, 11), rng.uniform(6, 12)
            if rng.random() < 0.7:
                x = shift + side * (wide / 2 + rng.uniform(2.5, 6) + w / 2)
                glass = np.array([0.25, 0.32, 0.42]) * rng.uniform(0.6, 1.5)
                wall, storey = _surface(rng), rng.uniform(2.4, 3.2)
                front = paint.facade(wall, glass, storey, rng.uniform(1.8, 3))
                house = box(place(x, h - tall / 2, z + long / 2), (w, tall, long), turn)
                things.append(Thing(house, BUILDING, front))
            z += long + rng.uniform(1, 6)
    for _ in range(int(rng.integers(2, 6))):
        side, z = float(rng.choice([-1, 1])), rng.uniform(6, 26)
        x, y, z = place(shift + side * (wide / 2 + rng.uniform(0.8, 3.0)), h, z)
        stem, crown = rng.uniform(1.2, 2.4), rng.uniform(0.9, 1.9)
        leaf = np.array([0.2, 0.42, 0.16]) * rng.uniform(0.6, 1.4) + rng.normal(0, 0.06, 3)
        bark = paint.plain(np.array([0.35, 0.25, 0.18]) * rng.uniform(0.7, 1.3), seed, 0.3)
        leaves = paint.meadow(np.clip(leaf * 0.5, 0, 1), np.clip(leaf * 1.3, 0, 1), seed + 5)
        stretch = rng.uniform(0.9, 1.5)
        things.append(Thing(post(x, z, 0.09 * crown + 0.08, y - stem - 0.5, y), TREE, bark))
        top = ball((x, y - stem - crown * stretch * 0.8, z), crown, stretch)
        things.append(Thing(top, TREE, leaves))
    for _ in range(int(rng.integers(1, 4))):
        lane = shift + float(rng.choice([-1, 1])) * wide * rng.uniform(0.2, 0.36)
        x, _, z = place(lane, 0, rng.uniform(5.5, 20))
        coat = paint.plain(_tone(rng, 0.2, 0.85), seed + 9, 0.03)
        dark = paint.plain(np.array([0.12, 0.14, 0.18]), seed + 10)
        things += [
            Thing(box((x, h - 0.62, z), (1.75, 0.75, 4.1), turn), CAR, paint.wheels(coat)),
            Thing(box((x, h - 1.2, z + 0.2), (1.5, 0.55, 2.1), turn), CAR, dark),  # windows
            Thing(box((x, h - 1.5, z + 0.2), (1.5, 0.08, 2.1), turn), CAR, coat),  # roof
            Thing(box((x, h - 0.16, z), (1.6, 0.3, 3.6), turn), CAR, dark),
        ]
    return things


# -- surfaces --------------------------------------------------------------------------------
def _tone(rng: np.random.Generator, low: float = 0.25, high: float = 0.9) -> Floats:
    """A random colour, not too grey."""
    value, hue = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
    swing = rng.uniform(0.05, 0.35) * np.cos(hue + np.array([0, 2.09, 4.19]))
    return np.clip(value + swing, 0.03, 1)


def _surface(rng: np.random.Generator) -> paint.Texture:
    """A random upright surface."""
    first, second = _tone(rng), _tone(rng)
    seed = int(rng.integers(1 << 30))
    match int(rng.integers(4)):
        case 0:
            return paint.stripes(first, 0.8 * first + 0.2 * second, rng.uniform(0.15, 0.5))
        case 1:
            mortar = np.full(3, rng.uniform(0.5, 0.8))
            return paint.bricks(first, mortar, rng.uniform(0.07, 0.12), seed)
        case 2:
            return paint.planks(first, 0.7 * first + 0.3 * second, rng.uniform(0.15, 0.4), seed)
        case _:
            return paint.plain(first, seed)
