"""Regions of a label map by their area: small ones go to their neighbours, holes are filled.

A region is all pixels of one label that hang together by their edges, as in outlines
(``pictures.tracing``); what lies in a hole hangs together by corners too. Void is no label: nothing
is given to it, and none of it is given away. Maps are (H, W) uint8, or uint16 without void, of any
tool.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.labels import VOID
from pixelwise.metrics.confusion import compiled
from pixelwise.settings import Count, Share, settings

Map = NDArray[np.uint8]

EDGES = ((0, -1), (-1, 0))
CORNERS = (*EDGES, (-1, -1), (-1, 1))
"""Rows and columns to the neighbours of a pixel that come before it."""


@settings("sieve.", hint="--reject 0.5 --min-area 50 --fill-holes 20")
class Sieve:
    """What labels of a prediction stay."""

    fill_holes: Count = 0
    """Pixels of the largest hole in a region that its label fills."""
    min_area: Count = 0
    """Pixels of the smallest region that is left to its label."""
    reject: Share = 0.0
    """The least probability of the best class; below it a pixel is void."""


def sieved(labels: Map, sieve: Sieve, probability: NDArray[np.float32] | None = None) -> Map:
    """A label map after ``sieve``; ``probability`` (H, W), needed to reject, is of the best class.

    Holes come first, as they make regions larger, and void last: its pixels are those, and no
    others, of which the net is not sure.
    """
    labels = without_holes(labels, sieve.fill_holes) if sieve.fill_holes else labels
    labels = without_small(labels, sieve.min_area) if sieve.min_area > 1 else labels
    if not sieve.reject:
        return labels
    assert probability is not None
    kept = labels.copy()
    kept[probability < sieve.reject] = VOID
    return kept


def without_holes(labels: Map, most: int) -> Map:
    """(H, W) with holes of at most ``most`` pixels filled by the label of the region around them.

    A hole is what a region surrounds, whatever is in it; what touches the picture's border is none.
    """
    filled = labels.copy()
    for value in np.unique(labels[_known(labels)]):
        parts, count = connected(filled == value, CORNERS)
        hole = np.bincount(parts.ravel(), minlength=count) <= most
        for rim in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
            hole[rim] = False
        filled[hole[parts] & _known(filled)] = value
    return filled


def without_small(labels: Map, least: int) -> Map:
    """(H, W) in which regions of fewer than ``least`` pixels have the label of a neighbour.

    The smallest is the first to go, to the label that shares the most edges of pixels with it (the
    lower one of equals), and is one region with what has that label beside it. Regions that have no
    neighbours but void stay.
    """
    while True:
        parts, count = connected(labels, EDGES)
        area, value = np.bincount(parts.ravel(), minlength=count), np.empty(count, np.int64)
        value[parts] = np.where(_known(labels), labels.astype(np.int64), -1)
        small, rank = (area < least) & (value >= 0), area.argsort(kind="stable").argsort()
        sides = [(parts[:, :-1], parts[:, 1:]), (parts[:-1], parts[1:])]
        edges = [np.stack([a, b])[:, (a != b) & (small[a] | small[b])] for a, b in sides]
        one, other = np.concatenate([*edges, *(edge[::-1] for edge in edges)], 1).astype(np.int64)
        kept = small[one] & (value[other] >= 0)
        one, other = one[kept], other[kept]
        # All go at once that are the smallest beside them: as if one went after the other.
        waiting = np.zeros(count, bool)
        waiting[one[small[other] & (rank[other] < rank[one])]] = True
        goes = ~waiting[one]
        if not goes.any():
            return labels
        borders = one[goes] * 2**16 + value[other[goes]]
        names, lengths = np.unique(borders, return_counts=True)
        order = np.lexsort((-(names % 2**16), lengths))  # the longest last, of equals the lowest
        value[names[order] // 2**16] = names[order] % 2**16
        labels = np.where(value[parts] >= 0, value[parts], labels).astype(labels.dtype)


def _known(labels: Map) -> NDArray[np.bool_]:
    wide = labels.dtype != np.uint8  # 255 is a class there
    return np.full(labels.shape, True) if wide else np.asarray(labels != VOID)


def connected(values: NDArray[Any], before: tuple[tuple[int, int], ...]) -> tuple[Any, int]:
    """(H, W) int32: the number of the region that each pixel is in, and how many there are.

    Neighbours are those of equal value at ``before``, ``EDGES`` or ``CORNERS``.
    """
    numbers = np.empty(values.shape, np.int32)
    plain = np.ascontiguousarray(values, np.uint16)
    count = compiled(join)(plain, np.array(before), np.empty(values.size, np.int32), numbers)
    return numbers, int(count)


def join(values: Any, before: Any, parents: Any, numbers: Any) -> Any:
    """Union-find over pixels row by row; the root of a region is its first pixel."""
    height, width = values.shape
    for y in range(height):
        for x in range(width):
            parents[y * width + x] = y * width + x
            for k in range(len(before)):
                up, left = y + before[k, 0], x + before[k, 1]
                if up < 0 or left < 0 or left >= width or values[up, left] != values[y, x]:
                    continue
                a, b = y * width + x, up * width + left
                while parents[a] != a:
                    parents[a] = parents[parents[a]]
                    a = parents[a]
                while parents[b] != b:
                    parents[b] = parents[parents[b]]
                    b = parents[b]
                parents[max(a, b)] = min(a, b)
    count, flat = 0, numbers.reshape(-1)
    for i in range(len(parents)):
        if parents[i] == i:
            flat[i] = count
            count += 1
        else:  # its parent comes before it, and has its number
            flat[i] = flat[parents[i]]
    return count
