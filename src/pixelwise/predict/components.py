"""Regions of a label map by their area: small ones go to their neighbours, holes are filled.

A region is all pixels of one label that hang together by their edges, as in outlines
(``pictures.tracing``); what lies in a hole hangs together by corners too. Void is no label: nothing
is given to it, and none of it is given away. Maps are (H, W) uint8, or uint16 without void, of any
tool.
"""

from __future__ import annotations

from collections import Counter
from heapq import heapify, heappop, heappush
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
    parts, count = connected(labels, EDGES)
    area = np.bincount(parts.ravel(), minlength=count)
    value = np.empty(count, np.int64)
    value[parts] = labels
    known = np.empty(count, bool)
    known[parts] = _known(labels)
    small = (area < least) & known
    if not small.any():
        return labels
    beside = _borders(parts, small, known)
    merged = _merged(area.tolist(), value.tolist(), beside, least)
    return np.asarray(merged.astype(labels.dtype)[parts])


def _known(labels: Map) -> NDArray[np.bool_]:
    wide = labels.dtype != np.uint8  # 255 is a class there
    return np.full(labels.shape, True) if wide else np.asarray(labels != VOID)


def _borders(
    parts: NDArray[np.int32], small: NDArray[np.bool_], known: NDArray[np.bool_]
) -> dict[int, Counter[int]]:
    """By small region its neighbours, each with the number of edges of pixels between them."""
    pairs = [(parts[:, :-1], parts[:, 1:]), (parts[:-1], parts[1:])]
    a, b = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    a, b = np.concatenate([a, b]), np.concatenate([b, a])
    kept = (a != b) & small[a] & known[b]
    names, edges = np.unique(a[kept].astype(np.int64) * len(small) + b[kept], return_counts=True)
    beside: dict[int, Counter[int]] = {i: Counter() for i in np.flatnonzero(small).tolist()}
    for name, count in zip(names.tolist(), edges.tolist(), strict=True):
        beside[name // len(small)][name % len(small)] = count
    return beside


def _merged(
    area: list[int], value: list[int], beside: dict[int, Counter[int]], least: int
) -> NDArray[np.int64]:
    """The label of each region after all small ones are merged."""
    into = [*range(len(area))]

    def now(i: int) -> int:
        while into[i] != i:
            into[i] = into[into[i]]
            i = into[i]
        return i

    waiting = [(area[i], i) for i in beside]
    heapify(waiting)
    while waiting:
        size, i = heappop(waiting)
        if into[i] != i or size != area[i]:
            continue  # it has grown, and waits anew if it is still small
        edges = Counter[int]()
        for j, count in beside.pop(i).items():
            edges[now(j)] += count
        del edges[i]
        shared = Counter[int]()
        for j, count in edges.items():
            shared[value[j]] += count
        if not shared:
            continue
        best = min(shared, key=lambda label: (-shared[label], label))
        root, *others = [j for j in edges if value[j] == best]
        for j in (i, *others):
            into[j] = root
            area[root] += area[j]
            edges.update(beside.pop(j, ()))
        if area[root] < least:
            beside[root] = beside.get(root, Counter()) + edges
            heappush(waiting, (area[root], root))
    return np.array([value[now(i)] for i in range(len(area))])


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
