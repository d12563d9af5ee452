"""A Gaussian kernel as the sum over pairs of pixels: all of them, or all that are near enough."""

from __future__ import annotations

import math

import numpy as np

from pixelwise.crf.lattice import Each
from pixelwise.crf.sweeps import Floats

BLOCK = 128  # pixels: few enough to be alike, enough for a matrix product
LOWEST = -80.0  # of exponents: numbers below 1e-38 are slow


class Pairs:
    """D^-1/2 K D^-1/2 of pixels with ``features`` (N, d), with D the sums of K's rows.

    K holds exp(-|a - b|^2 / 2) of all pairs, or of all above a tolerance, and some below.
    """

    def __init__(self, features: Floats, tolerance: float, each: Each) -> None:
        # By cells of a deviation, so that most blocks are small and far from most others.
        self.order, self.each = np.lexsort(np.floor(features).T), each
        self.edges = [*range(0, len(features), BLOCK), len(features)]
        self.blocks = np.split(features[self.order], self.edges[1:-1])
        lows, highs = (np.array([end(b, 0) for b in self.blocks]) for end in (np.min, np.max))
        limit = -2 * math.log(tolerance) if tolerance else math.inf
        ends = zip(lows, highs, strict=True)
        gaps = (np.maximum(lows - high, low - highs).clip(0) for low, high in ends)
        self.near = [np.flatnonzero((gap**2).sum(1) <= limit) for gap in gaps]

        sums = self._sums(np.ones((len(features), 1), np.float32))
        self.norm = np.asarray(sums**-0.5, np.float32)

    def filtered(self, values: Floats) -> Floats:
        """The kernel times ``values`` (N, K)."""
        result = np.empty_like(values)
        result[self.order] = self.norm * self._sums(self.norm * values[self.order])
        return result

    def _sums(self, values: Floats) -> Floats:
        parts = np.split(values, self.edges[1:-1])
        sums = [values] * len(parts)

        def work(i: int) -> None:
            centre = self.blocks[i].mean(0)  # what is near is then small, its square exact
            a = self.blocks[i] - centre
            b = np.concatenate([self.blocks[j] for j in self.near[i]]) - centre
            kernel = a @ b.T - 0.5 * (a**2).sum(1)[:, None] - 0.5 * (b**2).sum(1)
            np.exp(np.clip(kernel, LOWEST, 0, out=kernel), out=kernel)
            sums[i] = kernel @ np.concatenate([parts[j] for j in self.near[i]])

        self.each(len(parts), work)
        return np.concatenate(sums)
