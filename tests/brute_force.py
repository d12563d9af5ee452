"""Mean field of the dense CRF as its paper has it: every pair of pixels, in double precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Colours that drift across the picture, with an edge through it, and noise."""
    g = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    colours = g.integers(30, 220, (2, 3))[(3 * x + y > 2 * width).astype(int)]
    drift = np.stack([x * 40 / width, y * 40 / height, (x + y) % 23], -1)
    return (colours + drift + g.normal(0, 2, colours.shape)).clip(0, 255).astype(np.uint8)


def beliefs(labels: int, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Random probabilities (K, H, W): hard, since nothing but the kernels orders them."""
    p = np.random.default_rng(seed).random((labels, height, width)).astype(np.float32) + 0.05
    return p / p.sum(0)


def kernel(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """D^-1/2 exp(-|a - b|^2 / 2) D^-1/2 over all pairs of (N, d)."""
    apart = sum((f[:, None] - f) ** 2 for f in features.T)
    pairs = np.exp(-0.5 * apart)
    norm = 1 / np.sqrt(pairs.sum(1))
    return pairs * norm * norm[:, None]


def marginals(
    probabilities: NDArray[np.float32],
    image: NDArray[np.uint8],
    appearance: tuple[float, float, float],
    smoothness: tuple[float, float],
    iterations: int,
    compatibility: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(K, H, W) after ``iterations``; weight and deviations of each kernel."""
    k, height, width = probabilities.shape
    costs = 1 - np.eye(k) if compatibility is None else compatibility
    unary = -np.log(probabilities.reshape(k, -1).T.astype(np.float64))
    y, x = np.divmod(np.arange(height * width), width)
    places, colours = np.stack([x, y], 1), image.reshape(height * width, -1).astype(np.float64)
    weight, xy, rgb = appearance
    both = weight * kernel(np.concatenate([places / xy, colours / rgb], 1))
    both += smoothness[0] * kernel(places / smoothness[1])
    energy = unary
    for step in range(iterations + 1):
        q = np.exp(energy.min(1, keepdims=True) - energy)
        q /= q.sum(1, keepdims=True)
        if step < iterations:
            energy = unary + both @ q @ costs
    return q.T.reshape(k, height, width)


def agreement(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Share of pixels with the same best label."""
    return float((a.argmax(0) == b.argmax(0)).mean())
