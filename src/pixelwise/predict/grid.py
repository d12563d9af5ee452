"""Where the cells of a coarse map lie on the picture, and the map drawn at the picture's size.

Stretching a map to the picture's size would move it: the first cell of GoogLeNet looks at pixel
126, not at the corner. The positions come from the net's geometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.geometry import CoordMap


@dataclass(frozen=True)
class Grid:
    """Cell ``i`` is centred on pixel ``step * i + first``, on both axes."""

    step: float = 1.0
    first: float = 0.0

    @staticmethod
    def of(cells: CoordMap, zoom: float = 1.0) -> Grid:
        """The grid of a net's output on a picture that it saw enlarged by ``zoom``."""
        step, first = float(cells.scale), float(cells.shift)
        return Grid(step / zoom, (first + 0.5) / zoom - 0.5)

    def nearest(self, cells: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        """Every pixel takes the value of the nearest cell.

        Args:
            cells: (h, w).
            size: (H, W) of the picture.

        Returns:
            (H, W), of the same type.
        """
        rows, columns = (
            np.rint(self._at(n, count)).astype(np.intp)
            for n, count in zip(size, cells.shape, strict=True)
        )
        return cells[rows[:, None], columns]

    def smooth(self, cells: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """Bilinear between the centres of cells; beyond the outer ones their value goes on.

        Args:
            cells: (h, w).
            size: (H, W) of the picture.

        Returns:
            (H, W) float32.
        """
        tall = _between(cells, self._at(size[0], cells.shape[0]))
        return _between(tall.T, self._at(size[1], cells.shape[1])).T

    def _at(self, pixels: int, cells: int) -> NDArray[np.float64]:
        """The cell coordinate of each pixel of an axis, held inside the map."""
        where = (np.arange(pixels) - self.first) / self.step
        return where.clip(0, cells - 1)


EVERY_PIXEL = Grid()
"""Of a segmentation net."""


def _between(values: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows of ``values`` (n, m) at the fractional positions ``at``."""
    low = at.astype(np.intp)
    high = np.minimum(low + 1, len(values) - 1)
    share = (at - low).astype(np.float32)[:, None]
    mixed: NDArray[np.float32] = values[low] * (1 - share) + values[high] * share
    return mixed
