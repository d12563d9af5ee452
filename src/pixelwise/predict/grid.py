"""A coarse map drawn at its picture's size.

Stretching it would move it: the first cell of GoogLeNet looks at pixel 126, not at the corner. The
grid says where the cells lie; it comes from the net's geometry.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.geometry import CoordMap

EVERY_PIXEL = CoordMap()
"""The grid of a segmentation net."""


def enlarged(zoom: float) -> CoordMap:
    """Where pixels of an enlarged picture lie on the picture: edges fit, not centres."""
    factor = 1 / Fraction(zoom)
    return CoordMap(factor, (factor - 1) / 2)


def nearest(cells: NDArray[Any], grid: CoordMap, size: tuple[int, int]) -> NDArray[Any]:
    """(H, W) of ``size``: every pixel takes the value of the nearest cell of (h, w)."""
    rows, columns = (
        np.rint(_cell_at(grid, n, count)).astype(np.intp)
        for n, count in zip(size, cells.shape, strict=True)
    )
    return cells[rows[:, None], columns]


def smooth(
    cells: NDArray[np.float32], grid: CoordMap, size: tuple[int, int]
) -> NDArray[np.float32]:
    """(H, W) of ``size``: bilinear between centres of cells, constant beyond the outer ones."""
    tall = _between(cells, _cell_at(grid, size[0], cells.shape[0]))
    return _between(tall.T, _cell_at(grid, size[1], cells.shape[1])).T


def _cell_at(grid: CoordMap, pixels: int, cells: int) -> NDArray[np.float64]:
    """The cell coordinate of each pixel of an axis, held inside the map."""
    where = (np.arange(pixels) - float(grid.shift)) / float(grid.scale)
    return where.clip(0, cells - 1)


def _between(values: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows of ``values`` (n, m) at the fractional positions ``at``."""
    low = at.astype(np.intp)
    high = np.minimum(low + 1, len(values) - 1)
    share = (at - low).astype(np.float32)[:, None]
    mixed: NDArray[np.float32] = values[low] * (1 - share) + values[high] * share
    return mixed
