"""Surface patterns: functions of two coordinates in metres, made of two or three colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.scenes.solids import Floats, Texture

Colour = NDArray[np.float64]


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


def plain(colour: Colour, seed: int, rough: float = 0.06) -> Texture:
    """One colour, a little uneven."""

    def paint(u: Floats, v: Floats) -> Floats:
        return colour * (1 + rough * (grain(u, v, 0.15, seed) - 0.5) * 2)[:, None]

    return paint


def checker(first: Colour, second: Colour, cell: float) -> Texture:
    """Squares."""

    def paint(u: Floats, v: Floats) -> Floats:
        odd = (np.floor(u / cell) + np.floor(v / cell)) % 2
        return mixed(odd, first, second)

    return paint


def stripes(first: Colour, second: Colour, cell: float) -> Texture:
    """Upright stripes (a wallpaper)."""

    def paint(u: Floats, v: Floats) -> Floats:
        del v
        return mixed((u / cell % 1 < 0.5).astype(float), first, second)

    return paint


def planks(first: Colour, second: Colour, width: float, seed: int) -> Texture:
    """Boards side by side, each of its own shade, with dark joints and grain along them."""

    def paint(u: Floats, v: Floats) -> Floats:
        board = np.floor(u / width)
        shade = grain(board * 7.3, np.zeros_like(u), 1.0, seed)
        colours = (
            mixed(shade, first, second) * (0.9 + 0.2 * grain(u * 8, v, 0.3, seed + 1))[:, None]
        )
        joint = (u / width % 1) < 0.05
        return np.where(joint[:, None], colours * 0.5, colours)

    return paint


def bricks(brick: Colour, mortar: Colour, height: float, seed: int) -> Texture:
    """Courses of bricks, every second one shifted."""

    def paint(u: Floats, v: Floats) -> Floats:
        row = np.floor(v / height)
        along = u / (2.6 * height) + 0.5 * (row % 2)
        seam = (v / height % 1 < 0.16) | (along % 1 < 0.07)
        tint = 0.8 + 0.4 * grain(np.floor(along) * 3.1, row * 5.7, 1.0, seed)
        return np.where(seam[:, None], mortar, brick * tint[:, None])

    return paint


def facade(wall: Texture, glass: Colour, floor: float, bay: float) -> Texture:
    """A house front: windows in rows over ``wall``."""

    def paint(u: Floats, v: Floats) -> Floats:
        x, y = u / bay % 1, v / floor % 1
        window = (x > 0.25) & (x < 0.75) & (y > 0.25) & (y < 0.75)
        frame = window & ((np.abs(x - 0.5) < 0.025) | (y < 0.29))
        colours = np.where(window[:, None], glass, wall(u, v))
        return np.where(frame[:, None], 0.9, colours)

    return paint


def meadow(first: Colour, second: Colour, seed: int) -> Texture:
    """Grass or leaves: two scales of grain."""

    def paint(u: Floats, v: Floats) -> Floats:
        share = 0.5 * grain(u, v, 0.9, seed) + 0.5 * grain(u, v, 0.12, seed + 1)
        return mixed(share, first, second)

    return paint
