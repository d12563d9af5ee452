"""Surface patterns: functions of two coordinates in metres, made of two or three colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate

import numpy as np

from pixelwise.data.scenes.solids import Floats, P

Colour = Floats
"""(3,) in [0, 1]."""
Texture = Callable[[Floats, Floats], Floats]
"""(u, v) in metres to (N, 3) colours in [0, 1]."""


def texture(paint: Callable[Concatenate[Floats, Floats, P], Floats]) -> Callable[P, Texture]:
    """``paint`` called without its first two arguments is a texture, which waits for them."""

    def chosen(*colours: P.args, **named: P.kwargs) -> Texture:
        return lambda u, v: paint(u, v, *colours, **named)

    return chosen


def mixed(share: Floats, first: Colour, second: Colour) -> Floats:
    """(N,) shares in [0, 1] to (N, 3) colours between two."""
    return first + share[:, None] * (second - first)


def grain(u: Floats, v: Floats, cell: float, seed: int) -> Floats:
    """Smooth random values in [0, 1]: a lattice of hashed numbers, blended."""
    x, y = u / cell, v / cell
    i, j = np.floor(x), np.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)

    def corner(a: Floats, b: Floats) -> Floats:
        whole = a.astype(np.int64) * 374761393 + b.astype(np.int64) * 668265263 + seed * 69069
        mix = (whole ^ (whole >> 13)) * 1274126177
        return ((mix ^ (mix >> 16)) & 0xFFFF) / 65535.0

    top = corner(i, j) * (1 - fx) + corner(i + 1, j) * fx
    bottom = corner(i, j + 1) * (1 - fx) + corner(i + 1, j + 1) * fx
    return top * (1 - fy) + bottom * fy


@texture
def plain(u: Floats, v: Floats, colour: Colour, seed: int, rough: float = 0.06) -> Floats:
    """One colour, a little uneven."""
    return colour * (1 + rough * (grain(u, v, 0.15, seed) - 0.5) * 2)[:, None]


@texture
def checker(u: Floats, v: Floats, first: Colour, second: Colour, cell: float) -> Floats:
    """Squares."""
    odd = (np.floor(u / cell) + np.floor(v / cell)) % 2
    return mixed(odd, first, second)


@texture
def stripes(u: Floats, v: Floats, first: Colour, second: Colour, cell: float) -> Floats:
    """Upright stripes (a wallpaper)."""
    del v  # they are endless downwards
    return mixed((u / cell % 1 < 0.5).astype(float), first, second)


@texture
def planks(u: Floats, v: Floats, first: Colour, second: Colour, width: float, seed: int) -> Floats:
    """Boards side by side, each of its own shade, with dark joints and grain along them."""
    board = np.floor(u / width)
    shade = grain(board * 7.3, np.zeros_like(u), 1.0, seed)
    colours = mixed(shade, first, second) * (0.9 + 0.2 * grain(u * 8, v, 0.3, seed + 1))[:, None]
    joint = (u / width % 1) < 0.05
    return np.where(joint[:, None], colours * 0.5, colours)


@texture
def bricks(u: Floats, v: Floats, brick: Colour, mortar: Colour, height: float, seed: int) -> Floats:
    """Courses of bricks, every second one shifted."""
    row = np.floor(v / height)
    along = u / (2.6 * height) + 0.5 * (row % 2)
    seam = (v / height % 1 < 0.16) | (along % 1 < 0.07)
    tint = 0.8 + 0.4 * grain(np.floor(along) * 3.1, row * 5.7, 1.0, seed)
    return np.where(seam[:, None], mortar, brick * tint[:, None])


@texture
def facade(u: Floats, v: Floats, wall: Texture, glass: Colour, floor: float, bay: float) -> Floats:
    """A house front: windows in rows over ``wall``."""
    x, y = u / bay % 1, v / floor % 1
    window = (x > 0.25) & (x < 0.75) & (y > 0.25) & (y < 0.75)
    frame = window & ((np.abs(x - 0.5) < 0.025) | (y < 0.29))
    colours = np.where(window[:, None], glass, wall(u, v))
    return np.where(frame[:, None], 0.9, colours)


@texture
def meadow(u: Floats, v: Floats, first: Colour, second: Colour, seed: int) -> Floats:
    """Grass or leaves: two scales of grain."""
    share = 0.5 * grain(u, v, 0.9, seed) + 0.5 * grain(u, v, 0.12, seed + 1)
    return mixed(share, first, second)


@texture
def asphalt(u: Floats, v: Floats, grey: Colour, wide: float, seed: int) -> Floats:
    """A road ``wide`` metres from kerb to kerb, dashed in the middle."""
    rough = 0.85 + 0.3 * grain(u, v, 0.2, seed)
    dash = (np.abs(u) < 0.09) & (v / 4 % 1 < 0.5)
    kerb = np.abs(np.abs(u) - wide / 2 + 0.25) < 0.07
    return np.where((dash | kerb)[:, None], 0.85, grey * rough[:, None])


@texture
def wheels(u: Floats, v: Floats, coat: Texture) -> Floats:
    """A car's side: ``coat`` with two wheels."""
    wheel = (np.hypot(np.abs(u) - 1.3, v - 0.75) < 0.33) & (np.abs(u) > 0.9)
    return np.where(wheel[:, None], 0.08, coat(u, v))
