"""Mean field: an iteration is one pass over all pixels, and a few over what they say to others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pixelwise.crf.dense import LEAST
from pixelwise.crf.lattice import build, features
from pixelwise.crf.messages import Messages, Update, smoothing
from pixelwise.crf.pairs import Pairs
from pixelwise.crf.parameters import DenseCrf
from pixelwise.crf.sweeps import LANES, Floats
from pixelwise.engine.workers import Workers, alone

REACH = 3.0  # deviations of the smoothness kernel in ``fast``: 99.5 % of it
PARTS = 16  # of a pass, each taken by the thread that is free
SHARE = 1 << 14  # numbers of a part at least: a microsecond's work for each that handing over takes
_workers = Workers()


@alone()
def mean_field(
    scores: Floats, image: Any, crf: DenseCrf, rewards: Floats | None, *, soft: bool
) -> Floats:
    """Marginals (K, H, W) of scores, which are probabilities if ``soft``.

    ``rewards`` (K, K) is minus the compatibility, of Potts None.
    """
    labels, height, width = scores.shape
    padded = -(-labels // LANES) * LANES
    rows = [height * i // min(height, PARTS) for i in range(min(height, PARTS) + 1)]
    own = np.empty((height * width, padded), np.float32)

    def take(part: int) -> None:
        given = scores[:, rows[part] : rows[part + 1]].reshape(labels, -1)
        here = own[rows[part] * width : rows[part + 1] * width]
        here[:, :labels] = (np.log(np.maximum(given, LEAST)) if soft else given).T
        here[:, labels:] = -1e30  # padding is never the best

    each(len(rows) - 1, take)
    exact, twice = crf.is_exact(height * width), crf.quality == "pydensecrf"
    seen = crf.appearance_xy, crf.appearance_rgb
    pairs = Pairs(features(image, *seen), crf.tolerance, each) if exact else None
    kernels = [] if exact else [(*seen, crf.appearance)]
    # That library has both kernels in lattices.
    kernels += [(crf.smoothness_xy, 0.0, crf.smoothness)] if twice else []
    lattices = [build(image, *kernel, rows, each) for kernel in kernels if kernel[2]]
    weight = 0.0 if twice else math.sqrt(crf.smoothness)  # half of it across, half down
    reach = math.inf if exact else REACH
    down, across = (smoothing(n, crf.smoothness_xy, reach, weight) for n in (height, width))
    messages = Messages(lattices, down, across, padded)
    before = own if rewards is None else np.zeros(padded, np.float32)
    costs = None if rewards is None else np.pad(rewards, ((0, 0), (0, padded - labels)))
    made, values = np.empty_like(scores), np.empty_like(own if pairs else own[:0])
    for turn in range(crf.iterations + 1):
        start = before
        if turn:
            messages.pass_on(bands)
            if pairs:
                start = start + np.float32(crf.appearance) * pairs.filtered(values)
        last = turn == crf.iterations
        update = messages.sweep(start, own, costs)

        def work(part: int, last: bool = last, update: Update = update) -> None:
            a, b = rows[part : part + 2]
            marginals = update(part, a, b, last or pairs is not None)
            if pairs:
                values[a * width : b * width] = marginals
            if last:
                made[:, a:b] = marginals[:, :labels].T.reshape(labels, b - a, width)

        each(len(rows) - 1, work)
    return made


def each(count: int, work: Callable[[int], object]) -> None:
    """``work(i)`` for the numbers below ``count``, side by side on torch's threads."""
    _workers.each(count, lambda i, _: work(i))


def bands(count: int, work: Callable[[int, int], object], numbers: int = SHARE) -> None:
    """``work(first, last)`` for parts of 0 to ``count``, of each of which there are ``numbers``."""
    parts = min(count, PARTS, max(1, count * numbers // SHARE))
    each(parts, lambda i: work(count * i // parts, count * (i + 1) // parts))
