"""The permutohedral lattice: where pixels lie in it, and which corners are neighbours.

Adams, Baek, Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice (2010). A
corner's name is the sum of its coordinates times 64-bit factors of sum 0, so that a neighbour's
name is the corner's plus a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.crf.sweeps import Floats, Matrix
from pixelwise.metrics.confusion import compiled

# That two corners of one picture share a name has a chance of about corners^2 / 2^65.
FACTORS = np.random.default_rng(2011).integers(0, 2**64, 64, np.uint64)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: Fibonacci hashing

Bands = Callable[[int, Callable[[int, int], object]], None]


def factors_of(places: Floats, weight: float, bands: Bands) -> tuple[Matrix, list[Matrix], Matrix]:
    """A Gaussian kernel D^-1/2 K D^-1/2, D the sums of K's rows, times ``weight``, in factors.

    Onto the corners of a lattice, its blurs (1/2, 1, 1/2), and back to the pixels, which have
    ``places`` (N, d) in deviations. Corner 0 stands for all that no pixel touches, and is zero.
    """
    corners, shares, beside = build(places, bands)
    flat, count, sides = corners.reshape(-1), len(beside[0]) + 1, len(beside)
    blurs, own = [], np.arange(1, count, dtype=np.int32)
    sums = np.bincount(flat, shares.reshape(-1), count)
    for near in beside:
        halves = np.tile(np.array([1, 0.5, 0.5], np.float32), count - 1)
        starts = np.append(0, np.arange(0, 3 * count, 3))
        blurs.append(Matrix(starts, np.column_stack([own, near]).reshape(-1), halves))
        sums[1:] += 0.5 * sums[near].sum(1)
    # Before and after, the square root of both: what the blur multiplies by cancels out.
    norm = np.sqrt(weight / np.einsum("ij,ij->i", shares, sums[corners]))
    factors = (shares * norm[:, None]).astype(np.float32).reshape(-1)
    starts, order = np.zeros(count + 1, np.int64), np.empty(len(flat), np.int32)
    sort_by_corner(flat, starts, order)
    onto = Matrix(starts, order // np.int32(sides), factors[order])
    return onto, blurs, Matrix(np.arange(0, len(flat) + 1, sides), flat, factors)


def build(features: Floats, bands: Bands) -> tuple[NDArray[np.int32], Floats, list[Any]]:
    """Corners (N, d + 1) of each pixel's simplex, and its shares in them.

    And (M, 2) for each direction: of corners 1 to M those beside them, 0 where no pixel touches it.
    """
    n, sides = features.shape[0], features.shape[1] + 1
    i = np.arange(1, sides)
    # Deviation 1 of the whole: the blur has variance 1/2, spreading and reading 1/12 each.
    scaled = features * np.float32(math.sqrt(2 / 3) * sides / np.sqrt(i * (i + 1.0)))
    factors = np.append(FACTORS[: sides - 1], ~FACTORS[: sides - 1].sum() + np.uint64(1))
    names, shares = np.empty((n, sides), np.uint64), np.empty((n, sides), np.float32)
    bands(n, partial(place_pixels, scaled, factors, names, shares))
    bits = math.ceil(math.log2(n * sides)) + 1  # at most half full
    table, taken = np.empty(2**bits, np.uint64), np.zeros(2**bits, np.int32)
    known, corners = np.empty(n * sides, np.uint64), np.empty((n, sides), np.int32)
    known = known[: number_corners(names, bits, table, taken, known, corners)]
    order = known.argsort()

    def beside(step: np.uint64) -> NDArray[np.int32]:
        places = np.searchsorted(known, known + step, sorter=order).clip(max=len(known) - 1)
        there = known[order[places]] == known + step
        return np.where(there, order[places] + 1, 0).astype(np.int32)

    steps = factors * np.uint64(sides)
    return corners, shares, [np.stack([beside(s), beside(~s + np.uint64(1))], 1) for s in steps]


@compiled
def place_pixels(features: Any, factors: Any, names: Any, shares: Any, a: int, b: int) -> None:
    """Names of the corners of pixels ``a`` to ``b``, and the shares in them.

    As Kraehenbuehl's permutohedral.cpp: elevate, round, rank, barycentric coordinates.
    """
    d = features.shape[1]
    side = np.float32(d + 1)
    elevated, corner = np.empty(d + 1, np.float32), np.empty(d + 1, np.float32)
    rank, of_rank = np.empty((2, d + 1), np.int64)
    part = np.empty(d + 2, np.float32)
    for pixel in range(a, b):
        before = np.float32(0)
        for i in range(d, 0, -1):
            x = features[pixel, i - 1]
            elevated[i] = before - np.float32(i) * x
            before += x
        elevated[0] = before
        rest = 0
        for i in range(d + 1):
            rounded = np.rint(elevated[i] / side)
            corner[i], rank[i] = rounded * side, 0
            rest += int(rounded)
        for i in range(d):
            for j in range(i + 1, d + 1):
                if elevated[i] - corner[i] < elevated[j] - corner[j]:
                    rank[i] += 1
                else:
                    rank[j] += 1
        part[:] = 0
        name = np.uint64(0)
        for i in range(d + 1):
            rank[i] += rest
            turn = (rank[i] < 0) - (rank[i] > d)
            rank[i] += turn * (d + 1)
            corner[i] += turn * side
            of_rank[rank[i]] = i
            rest_of = (elevated[i] - corner[i]) / side
            part[d - rank[i]] += rest_of
            part[d - rank[i] + 1] -= rest_of
            name += factors[i] * np.uint64(np.int64(corner[i]))
        part[0] += np.float32(1) + part[d + 1]
        for i in range(d + 1):
            names[pixel, i], shares[pixel, i] = name, part[i]
            # To the next corner all coordinates grow by 1, but that of rank d - i falls by d.
            name -= factors[of_rank[d - i]] * np.uint64(d + 1)


@compiled
def number_corners(names: Any, bits: int, table: Any, taken: Any, known: Any, corners: Any) -> Any:
    """Numbers from 1 on for ``names``, in the order of the pixels; their count is returned."""
    count = 0
    for pixel in range(names.shape[0]):
        for i in range(names.shape[1]):
            name = names[pixel, i]
            if pixel > 0 and names[pixel - 1, i] == name:  # neighbours are mostly alike
                corners[pixel, i] = corners[pixel - 1, i]
                continue
            slot = ((name ^ (name >> np.uint64(29))) * GOLDEN) >> np.uint64(64 - bits)
            while taken[slot] != 0 and table[slot] != name:
                slot = (slot + np.uint64(1)) & np.uint64(2**bits - 1)
            if taken[slot] == 0:
                known[count], table[slot] = name, name
                count += 1
                taken[slot] = count
            corners[pixel, i] = taken[slot]
    return count


@compiled
def sort_by_corner(corners: Any, starts: Any, order: Any) -> None:
    """Counting sort of ``corners``: ``starts`` (zeros at first) and ``order`` are filled."""
    for corner in corners:
        starts[corner + 1] += 1
    for corner in range(1, starts.size):
        starts[corner] += starts[corner - 1]
    place = starts.copy()
    for i in range(corners.size):
        order[place[corners[i]]] = i
        place[corners[i]] += 1
