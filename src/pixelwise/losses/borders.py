"""Losses that look at borders between classes: pixels near them weigh more, or stray from them."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.labels import VOID
from pixelwise.losses.cross_entropy import widened

SIGMA = 5.0  # pixels; U-Net's (Ronneberger et al. 2015, section 3: "approximately 5 pixels")
REACH = 20
"""Pixels from which on a distance no longer grows, four sigma: each more is a pass over the map."""


def distances(marks: Tensor, reach: int) -> Tensor:
    """(..., H, W) float32: Euclidean distance to the nearest marked pixel, at most ``reach``."""
    squares = torch.where(marks, 0.0, float(reach**2))
    for axis in (-1, -2):  # the nearest along rows, then of those along columns
        nearest = squares.clone()
        for step in range(1, min(reach, marks.shape[axis])):
            count = marks.shape[axis] - step
            for here, there in ((0, step), (step, 0)):
                own = nearest.narrow(axis, here, count)
                torch.minimum(own, squares.narrow(axis, there, count) + step**2, out=own)
        squares = nearest
    return squares.sqrt()


def border_weights(labels: Tensor, most: float) -> Tensor:
    """(N, H, W): 1 + most * exp(-d^2 / (2 sigma^2)), d pixels from the nearest border.

    After U-Net's equation 2, which adds up the distances to the two nearest cells; here it is that
    to the nearest pixel beside another class. Void has no borders.
    """
    marks, known = torch.zeros_like(labels, dtype=torch.bool), labels != VOID
    for axis in (-1, -2):
        first, second = (slice(None, -1), slice(1, None))
        values, named, at = (t.movedim(axis, 0) for t in (labels, known, marks))
        differ = (values[first] != values[second]) & named[first] & named[second]
        at[first] |= differ
        at[second] |= differ
    near = torch.exp(distances(marks, REACH).square() / (-2 * SIGMA**2))
    return 1 + most * near


def boundary_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Probabilities times signed distances, a picture's mean, averaged over pictures.

    Of each class in a picture a pixel costs its probability times its distance to the class, and
    earns as much within it by its distance to others, less 1 (Kervadec et al. 2019, equation 5).
    Distances are in units of ``REACH``, so that it lies in -1..1.

    Args:
        scores: (N, K, H, W), any float type; the loss is computed in float32 or wider.
        labels: (N, H, W) class ids; void is left out.

    Returns:
        A scalar; 0, with zero gradient, when every pixel is void.
    """
    chances, total = widened(scores).softmax(1), 0 * scores.sum()
    for chance, truth in zip(chances, labels, strict=True):
        known = truth != VOID
        present = truth[known].bincount().nonzero().flatten().tolist()
        if len(present) < 2:  # there is no border
            continue
        for k in present:
            own = truth == k
            outside, inside = distances(torch.stack([own, known & ~own]), REACH)
            signed = (outside - (inside - 1).clamp_min(0)).where(known, 0) / REACH
            total = total + (signed * chance[k]).sum() / known.sum()
    return total / len(labels)
