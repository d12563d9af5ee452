from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pixelwise.geometry import CoordMap
from pixelwise.predict.grid import EVERY_PIXEL, enlarged, nearest, smooth


def lie(scale: int, shift: int | Fraction) -> CoordMap:
    return CoordMap(Fraction(scale), Fraction(shift))


def test_positions_by_hand() -> None:
    grid = lie(4, 3)  # cells at pixels 3 and 7
    cells = np.array([[0.0, 1.0]], np.float32)
    assert smooth(cells, grid, (2, 10))[0].tolist() == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert nearest(cells, grid, (1, 10))[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    tall, wide = smooth(cells.T, grid, (10, 1)), smooth(cells, grid, (1, 10))
    assert tall[:, 0].tolist() == wide[0].tolist()


def test_one_cell_covers_the_picture() -> None:
    cells = np.array([[0.7]], np.float32)
    assert (smooth(cells, lie(32, 126), (5, 300)) == np.float32(0.7)).all()


def test_a_linear_field_is_kept_between_the_outer_cells() -> None:
    grid, y, x = lie(8, 5), np.arange(5), np.arange(6)
    cells = (3 * y[:, None] - 2 * x).astype(np.float32)
    rows, columns = (np.arange(40) - 5) / 8, (np.arange(48) - 5) / 8
    expected = 3 * rows[:, None] - 2 * columns
    inside = (slice(5, 38), slice(5, 46))
    assert smooth(cells, grid, (40, 48))[inside] == pytest.approx(expected[inside], abs=1e-5)


def test_zoom_moves_centres_of_pixels() -> None:
    assert enlarged(1.0).then(lie(32, 126)) == lie(32, 126)
    assert enlarged(2.0).then(lie(32, 126)) == lie(16, Fraction("62.75"))  # (126 + 1/2) / 2 - 1/2


def test_every_pixel_is_the_identity() -> None:
    cells = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(smooth(cells, EVERY_PIXEL, (3, 4)), cells)
    assert np.array_equal(nearest(cells, EVERY_PIXEL, (3, 4)), cells)
