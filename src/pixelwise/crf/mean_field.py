"""Mean field: each iteration is a few passes over all pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.crf.lattice import factors_of
from pixelwise.crf.pairs import Pairs
from pixelwise.crf.parameters import DenseCrf
from pixelwise.crf.sweeps import LANES, Floats, Matrix
from pixelwise.engine.workers import Workers, alone

REACH = 3.0  # deviations of the smoothness kernel in ``fast``: 99.5 % of it
LEAST = 1e-30  # of marginals: as good as nothing, but a number that is multiplied at full speed
PARTS = 16  # of a pass, each taken by the thread that is free
_workers = Workers()


@alone()
def mean_field(logits: Floats, image: Any, crf: DenseCrf, rewards: Floats | None) -> Floats:
    """Marginals (K, H, W) of such logits; ``rewards`` (K, K) is minus the compatibility."""
    labels, height, width = logits.shape
    padded = -(-labels // LANES) * LANES
    own = np.full((height * width, padded), -1e30, np.float32)  # padding is never the best
    own[:, :labels] = logits.reshape(labels, -1).T
    values, rows = own.copy(), np.zeros_like(own)
    whole = torch.from_numpy(values)
    exact, twice = crf.is_exact(height * width), crf.quality == "pydensecrf"
    weight = 0.0 if twice else crf.smoothness  # that library has both kernels in lattices
    deviation, reach = crf.smoothness_xy, math.inf if exact else REACH
    across, down = (banded(n, deviation, reach, math.sqrt(weight)) for n in (width, height))
    seen = features(image, crf.appearance_xy, crf.appearance_rgb)
    pairs = Pairs(seen, crf.tolerance, bands) if exact else None
    kernels = [] if exact else [(seen, crf.appearance)]
    kernels += [(features(image, deviation), crf.smoothness)] if twice else []
    lattices = [factors_of(*kernel, bands) for kernel in kernels if kernel[1]]
    tables = [np.zeros((2, len(onto.starts) - 1, padded), np.float32) for onto, *_ in lattices]
    smooth = across.times(values, rows, inner=width, row_outer=0, row_inner=1, at_outer=width)

    def soften(a: int, b: int) -> None:
        torch.softmax(whole[a:b], 1, out=whole[a:b]).clamp_min_(LEAST)

    bands(len(own), soften)
    for _ in range(crf.iterations):
        start = own if rewards is None else np.zeros_like(own)
        if pairs:
            start = start + np.float32(crf.appearance) * pairs.filtered(values)
        bands(height, smooth)
        for (onto, blurs, _), (table, other) in zip(lattices, tables, strict=True):
            bands(len(table), onto.times(values, table))
            for blur in blurs:
                bands(len(table), blur.times(table, other))
                table, other = other, table
        bands(height, down.times(rows, values, start, inner=width, at_inner=1, stride=width))
        for (_, blurs, back), pair in zip(lattices, tables, strict=True):
            bands(len(own), back.times(pair[len(blurs) % 2], values, values))
        if rewards is not None:
            values[:] = own + values @ np.pad(rewards, (0, padded - labels))
        bands(len(own), soften)
    return np.ascontiguousarray(values[:, :labels].T).reshape(logits.shape)


def features(image: NDArray[Any], xy: float, values: float = 0.0) -> Floats:
    """(H * W, 2 + B): pixels in a kernel of deviations ``xy``, and ``values``; of 0 (H * W, 2)."""
    y, x = np.indices(image.shape[:2], np.float32) / np.float32(xy)
    bands = [image[..., i] / np.float32(values) for i in range(image.shape[2] if values else 0)]
    return np.stack([x, y, *bands], -1).astype(np.float32).reshape(x.size, -1)


def bands(count: int, work: Callable[[int, int], object]) -> None:
    """``work(first, last)`` for parts of 0 to ``count``, side by side on torch's threads."""
    parts = min(count, PARTS)
    _workers.each(parts, lambda i, _: work(count * i // parts, count * (i + 1) // parts))


def banded(length: int, deviation: float, reach: float, factor: float) -> Matrix:
    """A Gaussian D^-1/2 K D^-1/2 times ``factor``, as far as it reaches; of 0 without entries."""
    apart = np.abs(np.arange(length)[:, None] - np.arange(length)) / deviation
    kernel = np.exp(-0.5 * apart**2) * (apart <= reach)
    norm = kernel.sum(1) ** -0.5
    kernel *= factor * norm * norm[:, None]
    columns, entries = np.nonzero(kernel)[1].astype(np.int32), kernel[kernel > 0]
    starts = np.append(0, np.count_nonzero(kernel, 1).cumsum())
    return Matrix(starts, columns, entries.astype(np.float32))
