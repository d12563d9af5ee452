"""The permutohedral lattice: where pixels lie in it, and which corners are neighbours.

Adams, Baek, Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice (2010). A
corner's name is the sum of its coordinates times 64-bit factors of sum 0, so that a neighbour's
name is the corner's plus a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.crf.sweeps import Floats, Matrix
from pixelwise.metrics.confusion import compiled

# That two corners of one picture share a name has a chance of about corners^2 / 2^65.
FACTORS = np.random.default_rng(2011).integers(0, 2**64, 64, np.uint64)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: Fibonacci hashing

Each = Callable[[int, Callable[[int], object]], None]  # a function of the numbers below the first


class Lattice(NamedTuple):
    """A Gaussian kernel D^-1/2 K D^-1/2, D the sums of K's rows, times a weight.

    Each part of the picture has a table of the corners that its pixels touch, small enough for a
    processor's own cache; ``gather`` adds them up to all corners, from 1 on, and ``spread`` copies
    those back. Corner 0 stands for all that no pixel touches, and is zero.
    """

    corners: NDArray[np.int32]
    shares: Floats
    """(N, d + 1) both: rows of the tables, and how much of a pixel each is given and gives back."""
    edges: list[int]
    """Where in the tables each part's begins, and the end of all."""
    gather: Matrix
    blurs: list[Matrix]
    """(1/2, 1, 1/2) along each direction."""
    spread: Matrix


def features(image: NDArray[Any], xy: float, values: float = 0.0, top: int = 0) -> Floats:
    """(H * W, 2 + B): pixels of rows from ``top`` on, in deviations; of 0 ``values`` (H * W, 2)."""
    y, x = np.indices(image.shape[:2], np.float32) + np.array([[[top]], [[0]]], np.float32)
    bands = [image[..., i] / np.float32(values) for i in range(image.shape[2] if values else 0)]
    places = [x / np.float32(xy), y / np.float32(xy), *bands]
    return np.stack(places, -1).astype(np.float32, copy=False).reshape(x.size, -1)


def build(
    image: NDArray[Any], xy: float, values: float, weight: float, rows: Sequence[int], each: Each
) -> Lattice:
    """Of a picture in parts that begin at ``rows``, the end of the last among them."""
    width, count = image.shape[1], len(rows) - 1
    sides = 3 + (image.shape[2] if values else 0)
    i = np.arange(1, sides)
    # Deviation 1 of the whole: the blur has variance 1/2, spreading and reading 1/12 each.
    scale = (math.sqrt(2 / 3) * sides / np.sqrt(i * (i + 1.0))).astype(np.float32)
    factors = np.append(FACTORS[: sides - 1], ~FACTORS[: sides - 1].sum() + np.uint64(1))
    corners = np.empty((image.shape[0] * width, sides), np.int32)
    shares = np.empty(corners.shape, np.float32)
    found = [(FACTORS, scale)] * count

    def place(part: int) -> None:
        inside = slice(rows[part] * width, rows[part + 1] * width)
        points = features(image[rows[part] : rows[part + 1]], xy, values, rows[part])
        table, names = _table(points.shape[0] * sides), np.empty(points.shape[0] * sides, np.uint64)
        sums, outputs = np.zeros(names.size, np.float32), (corners[inside], shares[inside])
        known = place_pixels(points * scale, factors, table, names, sums, *outputs)
        found[part] = names[:known].copy(), sums[:known].copy()

    each(count, place)
    edges = np.cumsum([0, *(len(names) for names, _ in found)])
    names, table = np.concatenate([names for names, _ in found]), _table(edges[-1])
    whole, known = np.empty(len(names), np.int32), np.empty(len(names), np.uint64)
    known = known[: number_names(names, *table, known, whole)]
    steps, near = factors * np.uint64(sides), [whole] * sides

    def look(side: int) -> None:
        near[side] = neighbours(known, steps[side], *table)

    each(sides, look)
    halves = np.tile(np.array([1, 0.5, 0.5], np.float32), len(known) + 1)
    sums = np.bincount(whole, np.concatenate([sums for _, sums in found]), len(known) + 1)
    for columns in near:
        sums += 0.5 * sums[columns.reshape(-1, 3)[:, 1:]].sum(1)

    def normalise(part: int) -> None:
        inside, own = slice(rows[part] * width, rows[part + 1] * width), edges[part : part + 2]
        heard = sums[whole[slice(*own)]].astype(np.float32)
        # Before and after, the square root of both: what the blur multiplies by cancels out.
        normalise_shares(heard, np.float32(weight), own[0], corners[inside], shares[inside])

    each(count, normalise)
    ends, ones = np.bincount(whole + 1).cumsum(), np.ones(len(whole), np.float32)
    gather = Matrix(ends, whole.argsort(kind="stable").astype(np.int32), ones)
    blurs = [Matrix.even(columns, halves, 3) for columns in near]
    return Lattice(corners, shares, edges.tolist(), gather, blurs, Matrix.even(whole, ones, 1))


def _table(most: int) -> tuple[int, NDArray[np.uint64], NDArray[np.int32]]:
    """Bits, names and numbers (of none 0) of a hash table for ``most`` names, at most half full."""
    bits = math.ceil(math.log2(max(most, 2))) + 1
    return bits, np.empty(2**bits, np.uint64), np.zeros(2**bits, np.int32)


@compiled
def slot_of(name: Any, bits: Any, table: Any, taken: Any) -> Any:
    """Where a name is, or would be."""
    slot = ((name ^ (name >> np.uint64(29))) * GOLDEN) >> np.uint64(64 - bits)
    while taken[slot] != 0 and table[slot] != name:
        slot = (slot + np.uint64(1)) & np.uint64(2**bits - 1)
    return slot


@compiled
def place_pixels(
    features: Any, factors: Any, where: Any, known: Any, sums: Any, corners: Any, shares: Any
) -> Any:
    """Corners (from 0 on, by their names in ``known``) and shares of pixels; the corners' count.

    ``where`` is an empty ``_table``, ``sums`` are the shares of each corner.
    """
    bits, table, taken = where
    sides, count = features.shape[1] + 1, 0
    numbers, ranks = np.empty((2, sides), np.float32), np.empty((2, sides), np.int32)
    part, names = np.empty(sides + 1, np.float32), np.empty(sides, np.uint64)
    before = np.zeros(sides, np.uint64)
    for pixel in range(features.shape[0]):
        find_simplex(features[pixel], factors, numbers, ranks, part, names)
        for i in range(sides):
            if pixel > 0 and before[i] == names[i]:  # neighbours are mostly alike
                number = corners[pixel - 1, i]
            else:
                slot = slot_of(names[i], bits, table, taken)
                if taken[slot] == 0:
                    known[count] = table[slot] = names[i]
                    count += 1
                    taken[slot] = count
                number, before[i] = taken[slot] - 1, names[i]
            corners[pixel, i], shares[pixel, i] = number, part[i]
            sums[number] += part[i]
    return count


@compiled
def find_simplex(point: Any, factors: Any, numbers: Any, ranks: Any, part: Any, names: Any) -> None:
    """Names of its corners, and barycentric coordinates (``part``, and a number to work with).

    As Kraehenbuehl's permutohedral.cpp: elevate, round, rank, barycentric coordinates.
    """
    d = point.size
    side, part_of_side = np.float32(d + 1), np.float32(1) / np.float32(d + 1)
    elevated, corner, rank, of_rank = numbers[0], numbers[1], ranks[0], ranks[1]
    before, rest = np.float32(0), np.float32(0)
    for i in range(d, 0, -1):
        elevated[i] = before - np.float32(i) * point[i - 1]
        before += point[i - 1]
    elevated[0] = before
    for i in range(d + 1):
        rounded = np.rint(elevated[i] * part_of_side)
        corner[i] = rounded * side
        elevated[i] -= corner[i]
        rest += rounded
    rank[:] = np.int32(rest)
    for i in range(d):
        for j in range(i + 1, d + 1):
            less = np.int32(elevated[i] < elevated[j])  # no branch: it would be guessed wrong
            rank[i] += less
            rank[j] += np.int32(1) - less
    part[:] = 0
    name = np.uint64(0)
    for i in range(d + 1):
        turn = np.int32(rank[i] < 0) - np.int32(rank[i] > d)
        place, moved = rank[i] + turn * np.int32(d + 1), np.float32(turn) * side
        of_rank[place] = i
        share = (elevated[i] - moved) * part_of_side
        part[d - place] += share
        part[d - place + 1] -= share
        name += factors[i] * np.uint64(np.int64(corner[i] + moved))
    part[0] += np.float32(1) + part[d + 1]
    for i in range(d + 1):
        names[i] = name
        # To the next corner all coordinates grow by 1, but that of rank d - i falls by d.
        name -= factors[of_rank[d - i]] * np.uint64(d + 1)


@compiled
def number_names(names: Any, bits: Any, table: Any, taken: Any, known: Any, whole: Any) -> Any:
    """Numbers from 1 on for ``names``, those that are alike once; their count is returned."""
    count = 0
    for i in range(names.size):
        slot = slot_of(names[i], bits, table, taken)
        if taken[slot] == 0:
            known[count], table[slot] = names[i], names[i]
            count += 1
            taken[slot] = count
        whole[i] = taken[slot]
    return count


@compiled
def neighbours(known: Any, step: Any, bits: Any, table: Any, taken: Any) -> Any:
    """Of each corner its number and those beside it, of which the name differs by ``step``."""
    columns = np.zeros(3 * known.size + 3, np.int32)
    for corner in range(1, known.size + 1):
        columns[3 * corner] = corner
        other = taken[slot_of(known[corner - 1] + step, bits, table, taken)]
        columns[3 * corner + 1] = other
        if other > 0:
            columns[3 * other + 2] = corner
    return columns


@compiled
def normalise_shares(heard: Any, weight: Any, first: Any, corners: Any, shares: Any) -> None:
    """``heard`` is what each corner is given by a picture of ones; corners then count from 0."""
    for pixel in range(corners.shape[0]):
        total = np.float32(0)
        for i in range(corners.shape[1]):
            total += shares[pixel, i] * heard[corners[pixel, i]]
        norm = np.sqrt(weight / total)
        for i in range(corners.shape[1]):
            shares[pixel, i] *= norm
            corners[pixel, i] += first
