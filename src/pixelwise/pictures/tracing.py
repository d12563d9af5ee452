"""The regions of a label map and their outlines, exactly: along the edges of pixels.

A region is all pixels of one value that hang together by their edges. Its outlines follow the
cracks between pixels, from corner to corner; the outer corner of the first pixel is (0, 0), so that
pixel (row, column) covers column to column + 1 and row to row + 1. Where two pixels of a region
touch in a corner alone, its outlines touch there and do not cross. Filled by the even-odd rule the
outlines give the label map back, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.labels import Labels

Places = NDArray[np.int64]
Ring = NDArray[np.int64]
"""Corners (n, 2) as x, y, the first not repeated at the end."""


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one value that hang together."""

    value: int
    outer: Ring
    """Clockwise as it is seen, y down: by the numbers alone, counterclockwise."""
    rim: Ring
    """The pixels along ``outer`` where it turns, as column, row; between two of them it runs
    straight or diagonally.
    """
    holes: tuple[Ring, ...]
    """Against the clock."""

    @property
    def filled(self) -> int:
        """Pixels inside the outer outline."""
        return area(self.outer)

    @property
    def pixels(self) -> int:
        """Without those in holes."""
        return self.filled + sum(map(area, self.holes))


def area(ring: Ring) -> int:
    """What a ring encloses, in pixels; below zero against the clock (the shoelace formula)."""
    x, y = ring.T
    inner = x[:-1] @ y[1:] - y[:-1] @ x[1:]
    return int(inner + x[-1] * y[0] - y[-1] * x[0]) // 2


@dataclass(frozen=True, eq=False)
class _Cracks:
    """The edges between pixels of two values, each with its pixel on the right.

    A crack is a number: side * pixels + pixel, side 0 to 3 for a pixel's top, right, bottom and
    left, which are followed clockwise. ``turn`` is the last crack of the straight run that one is
    in, by its place in ``all``; ``after`` the place of the crack that follows.
    """

    all: Places
    after: Places
    turn: Places
    pixel: Ring
    """Column and row of each one's pixel."""
    end: Ring
    """The corner at which each ends."""
    pixels: int
    stride: int

    def at_left(self, place: np.int64, flat: NDArray[np.int32]) -> int:
        """The turn at the left end of the row of equal pixels that ends in a crack's pixel."""
        last = int(self.all[place]) % self.pixels
        first = last - last % self.stride
        others = np.flatnonzero(flat[first:last] != flat[last])
        crack = 3 * self.pixels + first + int(others[-1]) + 1
        return int(self.turn[np.searchsorted(self.all, crack)])


def _cracks(flat: NDArray[np.int32], stride: int) -> _Cracks:
    ahead = np.array([1, stride, -1, -stride])
    count, inner = len(flat), np.flatnonzero(flat >= 0)
    sides = [inner[flat[inner] != flat[inner + ahead[side - 1]]] for side in range(4)]
    cracks = np.concatenate([side * count + pixels for side, pixels in enumerate(sides)])
    side, pixel = cracks // count, cracks % count
    # To the right around the same pixel, straight on along the next one, or left around a third:
    # to the right comes first, so pixels that touch in a corner alone do not hang together.
    front = pixel + ahead[side]
    beside = front + ahead[side - 1]
    right, left = flat[front] != flat[pixel], flat[beside] == flat[pixel]
    to = np.where(right, pixel, np.where(left, beside, front))
    towards = np.where(right, side + 1, np.where(left, side - 1, side)) % 4
    after = np.searchsorted(cracks, towards * count + to)
    turn = np.where(towards != side, np.arange(len(cracks)), after)
    while not np.array_equal(turn, further := turn[turn]):  # twice as far each time
        turn = further
    where = np.stack([pixel % stride - 1, pixel // stride - 1], axis=1)  # of nothing is one around
    end = where + np.stack([side < 2, (side == 1) | (side == 2)], axis=1)
    return _Cracks(cracks, after, turn, where, end, count, stride)


def regions(labels: Labels) -> list[Region]:
    """Those of a label map (H, W), by their topmost pixels, row by row."""
    padded = np.pad(labels.astype(np.int32), 1, constant_values=-1)
    flat, cracks = padded.ravel(), _cracks(padded.ravel(), padded.shape[1])
    rings, ring_of = _rings(cracks)
    found: dict[int, tuple[int, Ring, Ring]] = {}
    holes: list[tuple[int, Ring]] = []
    parent: dict[int, int] = {}
    for number, ring in enumerate(rings):
        for turns, heirs, outline in _parts(ring, cracks.after[ring], cracks.end[ring]):
            if area(outline) < 0:
                holes.append((number, outline))
                continue
            rim = cracks.pixel[np.column_stack([turns, heirs]).ravel()]
            found[number] = int(flat[cracks.all[ring[0]] % cracks.pixels]), outline, rim
        if number not in found:
            # The leftmost cracks of a hole are right sides of the pixels before it.
            downward = ring[cracks.all[ring] // cracks.pixels == 1]
            leftmost = downward[cracks.end[downward, 0].argmin()]
            parent[number] = int(ring_of[cracks.at_left(leftmost, flat)])
    inside: dict[int, list[Ring]] = {number: [] for number in found}
    for number, corners in holes:
        while number not in found:  # a hole of the same region, further to the left
            number = parent[number]
        inside[number].append(corners)
    return [Region(*outline, tuple(inside[number])) for number, outline in found.items()]


def _rings(cracks: _Cracks) -> tuple[list[Places], Places]:
    """The turns of each closed outline, by place, and for each place the number of its outline."""
    ends = np.flatnonzero(cracks.turn == np.arange(len(cracks.all)))
    following = np.full(len(cracks.all), -1)
    following[ends] = cracks.turn[cracks.after[ends]]
    step, rings, ring_of = following.tolist(), list[Places](), following * 0 - 1
    for first in ends.tolist():
        if step[first] < 0:  # on an outline that is there already
            continue
        ring, turn = [], first
        while step[turn] >= 0:
            ring.append(turn)
            step[turn], turn = -1, step[turn]
        rings.append(np.array(ring))
        ring_of[rings[-1]] = len(rings) - 1
    return rings, ring_of


def _parts(turns: Places, heirs: Places, corners: Ring) -> Iterator[tuple[Places, Places, Ring]]:
    """An outline cut where it touches itself: its turns, the cracks after them, its corners."""
    names = [*map(tuple, corners.tolist())]
    if len(set(names)) == len(names):
        yield turns, heirs, corners
        return
    part: list[int] = []  # indices of turns
    after, seen = heirs.tolist(), dict[tuple[int, ...], int]()
    for i, corner in enumerate(names):
        if corner not in seen:
            seen[corner] = len(part)
            part.append(i)
            continue
        first = seen[corner]
        loop = [*part[first + 1 :], i]
        # The loop goes on where the outline went on at first, and the outline where the loop does.
        after[part[first]], after[i] = after[i], after[part[first]]
        for cut in loop[:-1]:
            del seen[names[cut]]
        del part[first + 1 :]
        yield turns[loop], np.array([after[j] for j in loop]), corners[loop]
    yield turns[part], np.array([after[j] for j in part]), corners[part]
