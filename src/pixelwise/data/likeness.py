"""Which pictures look alike: copies in another size, compression or brightness, frames of a still.

A picture is remembered as a sketch of 16x16 greys. Sketches are compared where a quarter of the
signs of their slowest cosines agrees, so that the work grows with the pictures and not with their
square.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 16
SAMPLED = 256
"""Rows and columns that a sketch is made of at most: 16 of them for each of its greys."""
ALIKE = 0.99
"""Correlation of sketches from which on pictures look alike. Of real photos (184 frames of CamVid,
ISBI's cells, VOC's and ADE20K's samples) every copy of JPEG quality 30 or of half the size has
0.998 and more, one a fifth brighter 0.988 and more; of all pairs of other pictures 8 of 17,000
frames reach 0.99, where a car waits, and no pair of the others reaches 0.75."""
BITS, BANDS = 48, 4
"""Signs of cosines, and the parts of which one must agree: 0.6 % of the copies above differ in all
(of those a fifth brighter 2 %)."""
MOST = 64
"""Pictures of one part that each further one is compared with; 10,000 photos fill 4,096 parts."""
_CHUNK = 1024

Sketch = NDArray[np.float16]


def sketch(image: NDArray[np.generic]) -> Sketch:
    """(SIDE^2,) greys of a picture (H, W, B) less their mean, of length 1; of a flat one zeros."""
    steps = [max(1, n // SAMPLED) for n in image.shape[:2]]
    part = image[:: steps[0], :: steps[1], : 1 if image.shape[2] < 3 else 3]
    sampled = np.nan_to_num(part.astype(np.float32))
    if image.dtype != np.uint8:  # without a view's clipping: copies of other bits look alike
        sampled = (sampled - sampled.min()) * (255 / max(float(np.ptp(sampled)), 1e-6))
    height, width, bands = sampled.shape
    lines = (_parts(height) @ sampled.reshape(height, -1)).reshape(SIDE, width, bands)
    grey = (lines @ np.full(bands, 1 / bands, np.float32) @ _parts(width).T).ravel()
    grey -= grey.mean()
    length = float(np.linalg.norm(grey))
    # Two grey levels on average: noise, and no picture.
    flat = length <= 2 * SIDE
    return np.zeros(SIDE**2, np.float16) if flat else (grey / length).astype(np.float16)


@cache
def _parts(length: int) -> NDArray[np.float32]:
    """(SIDE, length) weights of the mean of each of ``SIDE`` equal parts, also in split pixels."""
    ends = np.arange(SIDE + 1)[:, None] * length / SIDE
    pixel = np.arange(length)
    shared = np.minimum(ends[1:], pixel + 1) - np.maximum(ends[:-1], pixel)
    return (shared.clip(0) * SIDE / length).astype(np.float32)


def look_alikes(sketches: NDArray[np.float16]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of sketches (N, SIDE^2) that are ``ALIKE``, each once.

    What looks like an earlier one stands for it no more: of a hundred frames of a still camera the
    first is in 99 pairs.
    """
    seen: set[tuple[int, int]] = set()
    drawn = np.flatnonzero(sketches.any(1))
    words = _words(sketches[drawn])
    for band in range(BANDS):
        known: dict[int, list[int]] = defaultdict(list)
        for word, j in zip(words[:, band].tolist(), drawn.tolist(), strict=True):
            firsts = known[word]
            alike = sketches[firsts].astype(np.float32) @ sketches[j].astype(np.float32) >= ALIKE
            pairs = {(firsts[n], j) for n in np.flatnonzero(alike).tolist()}
            yield from sorted(pairs - seen)
            seen |= pairs
            if not pairs and len(firsts) < MOST:
                firsts.append(j)


def _words(sketches: NDArray[np.float16]) -> NDArray[np.int64]:
    """(N, BANDS) numbers of BITS / BANDS bits: the signs of the slowest cosines, slowest first."""
    k = np.arange(SIDE)
    cosines = np.cos(np.pi * np.outer(k, 2 * k + 1) / (2 * SIDE)).astype(np.float32)
    order = sorted(np.ndindex(SIDE, SIDE), key=lambda at: (sum(at), at))[1 : BITS + 1]
    rows, columns = np.array(order).T
    signs = np.zeros((len(sketches), BITS), bool)
    for first in range(0, len(sketches), _CHUNK):
        grey = sketches[first : first + _CHUNK].reshape(-1, SIDE, SIDE).astype(np.float32)
        signs[first : first + _CHUNK] = (cosines @ grey @ cosines.T > 0)[:, rows, columns]
    weights = 1 << np.arange(BITS // BANDS)
    words: NDArray[np.int64] = signs.reshape(len(sketches), BANDS, len(weights)) @ weights
    return words
