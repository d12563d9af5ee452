"""The best score that scores at a coarse stride allow (arXiv 1411.4038v2, appendix A).

The truth is made coarse by a factor, made fine again, and scored against itself. The paper does not
say how it resampled; ``CONVENTIONS`` are the ways by name, and ``DEFAULT`` comes closest to its
numbers on its 736 pictures (docs/exactness.md has all of them).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError, unknown_name
from pixelwise.labels import VOID
from pixelwise.metrics.confusion import compiled
from pixelwise.metrics.scores import scores

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
FACTORS = (128, 64, 32, 16, 8, 4)
"""Appendix A's."""
PUBLISHED = (0.509, 0.733, 0.861, 0.928, 0.964, 0.985)
"""Its mean IU for each of them, on the 736 pictures of seg11valid."""
TIE = 1e-6  # shares this near are one but for rounding; the lower class wins


@dataclass(frozen=True)
class Convention:
    """How a label map is made coarse and fine again."""

    about: str
    down: Literal["kernel", "triangle", "mean", "cells", "centres", "nearest"]
    """Shares of each class: under the net's upsampling kernel, two cells wide, from a cell on the
    edge of the picture to one on the other (as a convolution of pad ``factor``); under the triangle
    of as many cells as fit, rounded, as MATLAB's imresize does; over such a cell; or over a cell of
    whole pixels. Pictures are mirrored at the border. Or the class of one pixel: the middle one of
    a cell of whole pixels, or Pillow's nearest."""
    up: Literal["kernel", "bilinear", "nearest", "cells"]
    """Between the shares of the nearest four cells, which lie as ``down`` has them; or of one."""
    void: Literal["class", "first class", "none"]
    """Void is a class that may win, counts as class 0 (VOC's background), or has no share."""


CONVENTIONS = {
    "net": Convention(
        "shares of each class under the net's bilinear kernel both ways, void as class 0",
        "kernel", "kernel", "first class",
    ),
    "net-void": Convention("the same, void as a class that may win", "kernel", "kernel", "class"),
    "net-known": Convention("the same, of what is not void", "kernel", "kernel", "none"),
    "bilinear": Convention(
        "shares of each class by bilinear resizing both ways, void as class 0",
        "triangle", "bilinear", "first class",
    ),
    "mean": Convention(
        "shares over each cell, then bilinear, void as class 0", "mean", "bilinear", "first class"
    ),
    "majority": Convention("the commonest class of each cell, repeated", "cells", "cells", "class"),
    "centre": Convention("the middle pixel of each cell, repeated", "centres", "cells", "class"),
    "nearest": Convention("Pillow's nearest both ways", "nearest", "nearest", "class"),
}  # fmt: skip
DEFAULT = "net"


def convention(name: str) -> Convention:
    """A convention by its name; U001 there is none."""
    if name not in CONVENTIONS:
        raise unknown_name("convention", name, tuple(CONVENTIONS))
    return CONVENTIONS[name]


def restored(labels: Labels, factor: int, way: Convention) -> Labels:
    """A label map made coarse by ``factor`` and fine again.

    Args:
        labels: (H, W) uint8, 255 void.
        factor: pixels of a cell's side, at least 1.
        way: how.

    Returns:
        (H, W) uint8 of the classes that occur in ``labels``, and 255 where void wins.
    """
    if factor < 1:
        raise UsageError("U002", f"the factor is {factor}, expected at least 1", "--factors 32,16")
    if way.void == "first class":
        labels = np.where(labels == VOID, np.uint8(0), labels)
    classes = np.unique(labels)
    if way.void == "none" and classes.size > 1:
        classes = classes[classes != VOID]
    if factor == 1:  # nothing is lost, whatever the kernel
        return labels
    shares = _coarse(labels, classes, factor, way)
    if way.down == "cells":  # the commonest, not a mixture
        shares = (shares.argmax(2)[..., None] == np.arange(classes.size)).astype(np.float32)
    rows, columns = (
        _taps(size, cells, factor, way.up)
        for size, cells in zip(labels.shape, shares.shape, strict=False)
    )
    made: Labels = classes[compiled(largest)(shares, *rows, *columns)]
    return made


def count(truth: Labels, guess: Labels) -> NDArray[np.int64]:
    """(256, 256) pixels by true and restored class; void of the truth is not counted."""
    known = truth != VOID
    pairs = truth[known].astype(np.int64) * 256 + guess[known]
    return np.bincount(pairs, minlength=256 * 256).reshape(256, 256)


def bound(counts: NDArray[np.int64]) -> float:
    """The mean IU of counts, over the classes of the truth."""
    return scores(counts).mean_iu


def _coarse(labels: Labels, classes: Labels, factor: int, way: Convention) -> Floats:
    """(h, w, K) shares."""
    if way.down in ("centres", "nearest"):
        rows, columns = (_sampled(size, factor, way.down) for size in labels.shape)
        one: Floats = (labels[rows][:, columns][..., None] == classes).astype(np.float32)
        return one
    down, across = (_weights(size, factor, way.down) for size in labels.shape)
    one_hot = (labels == classes[:, None, None]).astype(np.float32)
    shares: Floats = np.matmul(np.matmul(down, one_hot), across.T)
    by_cell: Floats = np.ascontiguousarray(shares.transpose(1, 2, 0))
    return by_cell


def _cells(size: int, factor: int, down: str) -> int:
    if down in ("triangle", "mean"):
        return max(1, math.floor(size / factor + 0.5))
    return math.ceil(size / factor) + (down == "kernel")


def _sampled(size: int, factor: int, down: str) -> NDArray[np.int64]:
    cells = _cells(size, factor, down)
    if down == "centres":
        return np.minimum(np.arange(cells) * factor + factor // 2, size - 1)
    return _pillows(size, cells)


def _pillows(size: int, out: int) -> NDArray[np.int64]:
    """The pixel of ``size`` that each of ``out`` is; steps are added up, as Pillow does."""
    steps = np.full(out, size / out)
    steps[0] *= 0.5
    return np.minimum(steps.cumsum().astype(np.int64), size - 1)


@lru_cache(maxsize=256)  # sizes repeat: photographs of one set have a few
def _weights(size: int, factor: int, down: str) -> Floats:
    """(cells, size): what each pixel gives to each cell."""
    cells = np.arange(_cells(size, factor, down))[:, None]
    if down == "cells":
        given = (np.arange(size) // factor == cells).astype(np.float64)
    else:
        width = factor if down == "kernel" else size / cells.size
        middle = cells * width - (0.5 if down == "kernel" else (1 - width) / 2)
        away = np.abs(np.arange(-size, 2 * size) - middle)  # with a mirror image on either side
        # A pixel that straddles the edge of its cell gives each of the two its part.
        given = np.clip(width / 2 + 0.5 - away, 0, 1) if down == "mean" else 1 - away / width
        before, inside, after = np.split(given.clip(0), 3, axis=1)
        given = inside + before[:, ::-1] + after[:, ::-1]
    weights: Floats = (given / given.sum(1, keepdims=True)).astype(np.float32)
    return weights


def _taps(size: int, cells: int, factor: int, up: str) -> tuple[NDArray[Any], ...]:
    """For each pixel the cell before it, the one after, and the share of the latter."""
    pixel = np.arange(size)
    if up == "cells":
        at = pixel // factor + 0.0
    elif up == "nearest":
        at = _pillows(cells, size) + 0.0
    elif up == "kernel":
        at = (pixel + 0.5) / factor
    else:
        at = (pixel + 0.5) * (cells / size) - 0.5
    at = np.clip(at, 0, cells - 1)
    first = at.astype(np.int64)
    return first, np.minimum(first + 1, cells - 1), (at - first).astype(np.float32)


def largest(
    shares: Any, above: Any, below: Any, down: Any, left: Any, right: Any, across: Any
) -> Any:
    """The number of the largest interpolated share at each pixel, in one pass without a map of K.

    ``shares`` are (h, w, K) float32. For each of H rows ``above`` and ``below`` are rows of cells
    and ``down`` is the share of the latter; so are ``left``, ``right`` and ``across`` for each of W
    columns. (H, W) uint8.
    """
    _, width, classes = shares.shape
    out = np.empty((above.size, left.size), np.uint8)
    row = np.empty((width, classes), np.float32)
    for i in range(above.size):
        for j in range(width):
            for k in range(classes):
                upper = shares[above[i], j, k]
                row[j, k] = upper + down[i] * (shares[below[i], j, k] - upper)
        for j in range(left.size):
            best, winner = np.float32(-1), 0
            for k in range(classes):
                value = row[left[j], k] + across[j] * (row[right[j], k] - row[left[j], k])
                if value > best + np.float32(TIE):
                    best, winner = value, k
            out[i, j] = winner
    return out
